//! One field of a cron expression: lists, ranges, steps and names, and what is wrong with them.
//!
//! Knows what may stand in each field; what fields mean together is the expression's.

const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// The numbers that a field means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Field(u64);

impl Field {
    /// Whether `number` is meant.
    pub(super) fn has(self, number: u8) -> bool {
        number < 64 && self.0 & 1 << number != 0
    }

    /// The first number that is meant, from `from` to `most`.
    pub(super) fn next(self, from: u8, most: u8) -> Option<u8> {
        (from..=most).find(|number| self.has(*number))
    }
}

/// What a field is called, and what may stand in it.
pub(super) struct Kind {
    name: &'static str,
    least: u8,
    most: u8,
    words: &'static [&'static str],
}

/// The fields in their order, beginning with the second.
pub(super) const KINDS: [Kind; 6] = [
    Kind { name: "second", least: 0, most: 59, words: &[] },
    Kind { name: "minute", least: 0, most: 59, words: &[] },
    Kind { name: "hour", least: 0, most: 23, words: &[] },
    Kind { name: "day of the month", least: 1, most: 31, words: &[] },
    Kind { name: "month", least: 1, most: 12, words: &MONTHS },
    Kind { name: "day of the week", least: 0, most: 7, words: &WEEKDAYS },
];

impl Kind {
    fn number(&self, text: &str) -> Result<u8, String> {
        let (name, least, most) = (self.name, self.least, self.most);
        let word = self.words.iter().position(|word| word.eq_ignore_ascii_case(text));
        if let Some(at) = word.and_then(|at| u8::try_from(at).ok()) {
            // Months count from 1, weekdays from 0, as their least numbers do.
            return Ok(at + least);
        }
        let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = text.parse().ok().filter(|number| plain && (least..=most).contains(number));
        let words = match (self.words.first(), self.words.last()) {
            (Some(first), Some(last)) => format!(", or {first} to {last}"),
            (None, _) | (_, None) => String::new(),
        };
        number.ok_or_else(|| format!("\"{text}\" is no {name}: {least} to {most}{words}"))
    }

    /// One part of a list: `*`, a number, a range, each but a number alone with a step.
    fn part(&self, text: &str) -> Result<u64, String> {
        let (range, step) = match text.split_once('/') {
            Some((range, step)) => (range, Some(step)),
            None => (text, None),
        };
        let (first, last) = if range == "*" {
            (self.least, if self.most == 7 { 6 } else { self.most })
        } else if let Some((first, last)) = range.split_once('-') {
            let (first, last) = (self.number(first)?, self.number(last)?);
            if first > last {
                return Err(format!("\"{range}\" ends before it begins: write it as two ranges"));
            }
            (first, last)
        } else {
            let number = self.number(range)?;
            if step.is_some() {
                return Err(format!(
                    "\"{text}\": a step goes with a range: {number}-{}/…",
                    self.most
                ));
            }
            (number, number)
        };
        let step: usize = match step {
            None => 1,
            Some(step) => {
                let plain = !step.is_empty() && step.bytes().all(|byte| byte.is_ascii_digit());
                let step = step.parse().ok().filter(|step| plain && *step > 0);
                step.ok_or_else(|| format!("\"{text}\": a step is a number above 0"))?
            }
        };
        Ok((first..=last).step_by(step).fold(0, |bits, number| bits | 1 << number))
    }

    /// Reads a field.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn field(&self, text: &str) -> Result<Field, String> {
        let mut bits = 0;
        for part in text.split(',') {
            bits |= self.part(part)?;
        }
        if self.most == 7 {
            // Sunday has two numbers.
            bits = (bits | bits >> 7) & 0x7f;
        }
        Ok(Field(bits))
    }
}
