//! E: at most one leader a term.

use std::collections::BTreeMap;

/// Who led in which term.
#[derive(Debug, Default)]
pub struct Leaders {
    by_term: BTreeMap<u64, u32>,
}

impl Leaders {
    /// Node `number` says that it leads in `term`. Gives whether that is news.
    ///
    /// # Errors
    /// When another node led in that term.
    pub fn see(&mut self, term: u64, number: u32) -> Result<bool, String> {
        match self.by_term.insert(term, number) {
            None => Ok(true),
            Some(known) if known == number => Ok(false),
            Some(known) => Err(format!("E: n{known} and n{number} both lead in term {term}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_leaders_of_one_term_are_found() {
        let mut leaders = Leaders::default();
        assert_eq!(leaders.see(1, 1), Ok(true));
        assert_eq!(leaders.see(1, 1), Ok(false));
        assert_eq!(leaders.see(2, 2), Ok(true));
        assert!(leaders.see(1, 3).is_err());
    }
}
