//! Cron expressions: five fields as cron has them, or six with seconds before them.
//!
//! Says which times of day and which days are meant; knows neither clocks nor zones.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::field::{Field, KINDS};

/// The longest expression.
const TEXT_MAX: usize = 1024;
const SHORTHANDS: [(&str, &str); 7] = [
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];

/// A cron expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cron {
    text: String,
    seconds: Field,
    minutes: Field,
    hours: Field,
    days: Field,
    months: Field,
    weekdays: Field,
    /// Whether a day has to be meant by both of its fields, because one of them begins with a star.
    both: bool,
}

/// Why a text is no cron expression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{text}\" is no schedule: {reason}")]
pub struct CronError {
    /// What was given.
    text: String,
    /// What is wrong with it.
    reason: String,
}

impl FromStr for Cron {
    type Err = CronError;

    fn from_str(given: &str) -> Result<Self, CronError> {
        let refuse = |reason: String| CronError { text: given.to_owned(), reason };
        if given.len() > TEXT_MAX {
            let text = given.chars().take(40).collect::<String>() + "…";
            let reason = format!("it has more than {TEXT_MAX} bytes");
            return Err(CronError { text, reason });
        }
        let text = given.split_whitespace().collect::<Vec<_>>().join(" ");
        let long = if text.starts_with('@') {
            let known = SHORTHANDS.iter().find(|(short, _)| text.eq_ignore_ascii_case(short));
            let known = known.map(|(_, long)| (*long).to_owned());
            known.ok_or_else(|| {
                refuse("known are @yearly, @monthly, @weekly, @daily, @hourly".to_owned())
            })?
        } else {
            text.clone()
        };
        let mut words: Vec<&str> = long.split(' ').filter(|word| !word.is_empty()).collect();
        match words.len() {
            5 => words.insert(0, "0"),
            6 => {}
            count => {
                return Err(refuse(format!(
                    "it has {count} fields instead of five (minute, hour, day of the month, month, \
                     day of the week) or six (the second before them)"
                )));
            }
        }
        let field = |at: usize| KINDS[at].field(words[at]).map_err(&refuse);
        Ok(Self {
            seconds: field(0)?,
            minutes: field(1)?,
            hours: field(2)?,
            days: field(3)?,
            months: field(4)?,
            weekdays: field(5)?,
            both: [3, 5].iter().any(|at: &usize| words[*at].starts_with('*')),
            text,
        })
    }
}

impl fmt::Display for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl Serialize for Cron {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Cron {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(de::Error::custom)
    }
}

impl Cron {
    /// Whether it is meant on a day: `month` and `day` from 1, `weekday` from 0, a Sunday. Where both the day
    /// of the month and that of the week are restricted, either is enough; a field that begins with a star,
    /// like `*/2`, does not count as such (as in Vixie's cron).
    pub fn has_day(&self, month: u8, day: u8, weekday: u8) -> bool {
        let (in_month, in_week) = (self.days.has(day), self.weekdays.has(weekday));
        let day = if self.both { in_month && in_week } else { in_month || in_week };
        self.months.has(month) && day
    }

    /// Whether it is meant at a time of day.
    pub fn has_time(&self, hour: u8, minute: u8, second: u8) -> bool {
        self.hours.has(hour) && self.minutes.has(minute) && self.seconds.has(second)
    }

    /// The first time of day that is meant, from this one on.
    pub fn next_time(&self, hour: u8, minute: u8, second: u8) -> Option<(u8, u8, u8)> {
        if self.hours.has(hour) {
            if self.minutes.has(minute)
                && let Some(second) = self.seconds.next(second, 59)
            {
                return Some((hour, minute, second));
            }
            if let Some(minute) = minute.checked_add(1).and_then(|it| self.minutes.next(it, 59)) {
                return Some((hour, minute, self.seconds.next(0, 59)?));
            }
        }
        let hour = self.hours.next(hour.checked_add(1)?, 23)?;
        Some((hour, self.minutes.next(0, 59)?, self.seconds.next(0, 59)?))
    }

    /// Whether its hours are all there are, however that is written, so that it follows the clock through
    /// changes of daylight saving, instead of naming times of day.
    pub fn follows_clock(&self) -> bool {
        (0..24).all(|hour| self.hours.has(hour))
    }

    /// Whether there is any day that is meant.
    pub fn is_ever_due(&self) -> bool {
        // A day of any month falls on any weekday in some year.
        const LENGTHS: [u8; 12] = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
        (1..=12).zip(LENGTHS).any(|(month, length)| {
            (1..=length).any(|day| (0..7).any(|weekday| self.has_day(month, day, weekday)))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cron(text: &str) -> Cron {
        text.parse().unwrap_or_else(|error| panic!("{error}"))
    }

    fn refused(text: &str) -> String {
        text.parse::<Cron>().expect_err(text).to_string()
    }

    #[test]
    fn fields_are_numbers_names_ranges_steps_and_lists() {
        let it = cron("*/20 9-17/4 1,15 jan-Mar mon-fri,0");
        assert!(it.has_time(9, 40, 0) && it.has_time(17, 0, 0) && it.has_time(13, 20, 0));
        assert!(!it.has_time(10, 0, 0) && !it.has_time(9, 10, 0) && !it.has_time(9, 20, 1));
        assert!(it.has_day(2, 15, 6), "the day of the month is enough");
        assert!(it.has_day(2, 16, 0), "and so is that of the week");
        assert!(!it.has_day(2, 16, 6) && !it.has_day(4, 1, 1));
        let stars = cron("0 0 */2 * 1");
        assert!(stars.has_day(1, 3, 1) && !stars.has_day(1, 4, 1) && !stars.has_day(1, 3, 2));
        let six = cron("*/15 30 2 * * 7");
        assert!(six.has_time(2, 30, 45) && six.has_day(5, 5, 0) && !six.has_day(5, 5, 6));
        assert_eq!(cron("@daily").to_string(), "@daily");
    }

    #[test]
    fn all_hours_follow_the_clock_however_they_are_written() {
        for text in ["@Hourly", "0 0-23 * * *", "30 */1 * * *", "0 12-23,0-11 * * *"] {
            assert!(cron(text).follows_clock(), "{text}");
        }
        for text in ["@daily", "0 */2 * * *", "0 1-23 * * *", "0 */7,5 * * *"] {
            assert!(!cron(text).follows_clock(), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, said) in [
            ("", "0 fields"),
            ("* * * *", "4 fields instead of five"),
            ("a b c d e", "\"a\" is no minute: 0 to 59"),
            ("60 * * * *", "\"60\" is no minute"),
            ("* 24 * * *", "is no hour: 0 to 23"),
            ("* * 0 * *", "is no day of the month: 1 to 31"),
            ("* * * 13 *", "is no month: 1 to 12, or jan to dec"),
            ("* * * * 8", "is no day of the week: 0 to 7, or sun to sat"),
            ("* * * * fri-mon", "ends before it begins"),
            ("*/0 * * * *", "a step is a number above 0"),
            ("*/ * * * *", "a step is a number above 0"),
            ("5/10 * * * *", "a step goes with a range: 5-59/"),
            ("1,,2 * * * *", "\"\" is no minute"),
            ("+1 * * * *", "\"+1\" is no minute"),
            ("@reboot", "known are @yearly"),
        ] {
            assert!(refused(text).contains(said), "{text}: {}", refused(text));
        }
        assert!(refused(&"*".repeat(2000)).len() < 200);
    }

    #[test]
    fn a_day_that_no_month_has_is_never_due() {
        for text in ["0 0 31 2 *", "0 0 31 2,4,6 *", "0 0 30 feb */2"] {
            assert!(!cron(text).is_ever_due(), "{text}");
        }
        for text in ["0 0 29 2 *", "0 0 31 2 mon", "0 0 29 2 */7", "0 0 31 * *"] {
            assert!(cron(text).is_ever_due(), "{text}");
        }
    }

    fn field(least: u8, most: u8) -> impl Strategy<Value = String> {
        let range = (least..=most, least..=most, 1u8..9).prop_map(|(a, b, step)| {
            let (first, last) = (a.min(b), a.max(b));
            if step == 1 { format!("{first}-{last}") } else { format!("{first}-{last}/{step}") }
        });
        let part = prop_oneof![
            2 => Just("*".to_owned()),
            1 => (1u8..20).prop_map(|step| format!("*/{step}")),
            3 => (least..=most).prop_map(|number| number.to_string()),
            2 => range,
        ];
        prop::collection::vec(part, 1..3).prop_map(|parts| parts.join(","))
    }

    proptest! {
        #[test]
        fn what_was_read_is_written_and_read_again(
            second in prop::option::of(field(0, 59)),
            rest in (field(0, 59), field(0, 23), field(1, 31), field(1, 12), field(0, 7)),
            time in (0u8..24, 0u8..60, 0u8..60),
        ) {
            let (minute, hour, day, month, weekday) = rest;
            let text = format!("{minute} {hour} {day} {month} {weekday}");
            let text = second.map_or(text.clone(), |second| format!("{second} {text}"));
            let read = cron(&text);
            prop_assert_eq!(read.to_string(), text);
            prop_assert_eq!(cron(&read.to_string()), read.clone());
            let all = (0u8..24).flat_map(|h| (0u8..60).flat_map(move |m| (0u8..60).map(move |s| (h, m, s))));
            let naive = all.skip_while(|it| *it < time).find(|(h, m, s)| read.has_time(*h, *m, *s));
            prop_assert_eq!(read.next_time(time.0, time.1, time.2), naive);
        }

        #[test]
        fn no_text_breaks_the_reader(text in ".{0,40}") {
            let _either = text.parse::<Cron>();
        }
    }
}
