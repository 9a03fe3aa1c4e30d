//! Sets of numbers from 1 on, kept as ranges: what a job has done costs as much as there are gaps in it.
//!
//! Knows nothing of jobs.

use serde::{Deserialize, Serialize};

/// A set of numbers, as ranges in order that neither touch nor overlap.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(transparent)]
pub struct Ranges(Vec<(u32, u32)>);

impl Ranges {
    /// Where the range that holds `number` is, or else where one would be inserted.
    fn find(&self, number: u32) -> Result<usize, usize> {
        self.0.binary_search_by(|(first, last)| {
            if *last < number {
                std::cmp::Ordering::Less
            } else if *first > number {
                std::cmp::Ordering::Greater
            } else {
                std::cmp::Ordering::Equal
            }
        })
    }

    /// Whether `number` is in it.
    pub fn contains(&self, number: u32) -> bool {
        self.find(number).is_ok()
    }

    /// Adds `number`; whether it is new.
    pub fn insert(&mut self, number: u32) -> bool {
        let Err(at) = self.find(number) else { return false };
        let joins_left = at > 0 && self.0[at - 1].1.checked_add(1) == Some(number);
        let joins_right =
            self.0.get(at).is_some_and(|(first, _)| first.checked_sub(1) == Some(number));
        match (joins_left, joins_right) {
            (true, true) => {
                self.0[at - 1].1 = self.0[at].1;
                self.0.remove(at);
            }
            (true, false) => self.0[at - 1].1 = number,
            (false, true) => self.0[at].0 = number,
            (false, false) => self.0.insert(at, (number, number)),
        }
        true
    }

    /// How many numbers are in it.
    pub fn count(&self) -> u32 {
        let sizes = self.0.iter().map(|(first, last)| last.saturating_sub(*first) + 1);
        sizes.fold(0, u32::saturating_add)
    }

    /// The numbers from 1 to `most` that are not in it, in order.
    pub fn missing(&self, most: u32) -> impl Iterator<Item = u32> + '_ {
        let starts =
            std::iter::once(1).chain(self.0.iter().map(|(_, last)| last.saturating_add(1)));
        let ends = self.0.iter().map(|(first, _)| *first).chain(std::iter::once(u32::MAX));
        starts.zip(ends).flat_map(move |(from, until)| from..until.min(most.saturating_add(1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn ranges_hold_what_a_plain_set_holds(numbers in prop::collection::vec(1u32..40, 0..60)) {
            let (mut ranges, mut plain) = (Ranges::default(), BTreeSet::new());
            for number in numbers {
                prop_assert_eq!(ranges.insert(number), plain.insert(number));
                prop_assert!(ranges.0.windows(2).all(|pair| pair[0].1 + 1 < pair[1].0));
                prop_assert_eq!(ranges.count() as usize, plain.len());
                let missing: Vec<_> = (1..=25).filter(|number| !plain.contains(number)).collect();
                prop_assert_eq!(ranges.missing(25).collect::<Vec<_>>(), missing);
            }
            for number in 0..42 {
                prop_assert_eq!(ranges.contains(number), plain.contains(&number));
            }
        }
    }

    #[test]
    fn a_hundred_thousand_in_a_row_are_one_range() {
        let mut ranges = Ranges::default();
        (1..=100_000).rev().for_each(|number| assert!(ranges.insert(number)));
        assert_eq!((ranges.0.len(), ranges.count()), (1, 100_000));
        assert!(ranges.insert(u32::MAX) && ranges.insert(0));
    }
}
