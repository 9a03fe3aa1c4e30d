//! Spans of time as people write them: `90s`, `1m30s`, `2h`, `500ms`.

use std::fmt::Write as _;
use std::time::Duration;

/// Units from long to short, in milliseconds.
const UNITS: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];
/// What a wrong text should have looked like.
const HINT: &str = "write it like 90s, 1m30s, 2h or 500ms";

/// Reads a span. `0` needs no unit; each unit may have decimals (`1.5h`).
///
/// # Errors
/// Says what is wrong and how a span looks.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    if text.is_empty() {
        return Err(format!("a duration is missing: {HINT}"));
    }
    let mut total: u64 = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, tail) = rest.split_at(digits);
        let letters = tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len());
        let (unit, next) = tail.split_at(letters);
        let (_, millis) = UNITS
            .into_iter()
            .find(|(name, _)| *name == unit)
            .ok_or_else(|| format!("\"{text}\" is not a duration: {HINT}"))?;
        let part = scaled(number, millis)
            .ok_or_else(|| format!("\"{text}\" is not a duration, or too long: {HINT}"))?;
        total = total.checked_add(part).ok_or_else(|| format!("\"{text}\" is too long"))?;
        rest = next;
    }
    Ok(Duration::from_millis(total))
}

/// `number` (digits with at most one point) times `unit`, rounded down, without floating point.
pub(crate) fn scaled(number: &str, unit: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() || fraction.len() > 9 {
        return None;
    }
    let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !all_digits(whole) || !all_digits(fraction) {
        return None;
    }
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let mut part = 0u128;
    if !fraction.is_empty() {
        let scale = 10u128.pow(u32::try_from(fraction.len()).ok()?);
        part = u128::from(fraction.parse::<u64>().ok()?) * u128::from(unit) / scale;
    }
    whole.checked_mul(unit)?.checked_add(u64::try_from(part).ok()?)
}

/// Writes a span the way [`parse`] reads it, with all its parts.
pub(crate) fn format(span: Duration) -> String {
    let mut rest = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
    if rest == 0 {
        return "0s".to_owned();
    }
    let mut text = String::new();
    for (unit, millis) in UNITS {
        if rest >= millis {
            // Writing to a String cannot fail.
            let _infallible = write!(text, "{}{unit}", rest / millis);
            rest %= millis;
        }
    }
    text
}

/// Milliseconds of a span.
pub(crate) fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// Writes a span in its one or two largest words: `5 seconds`, `About an hour`, `3 days`.
pub(crate) fn in_words(span: Duration) -> String {
    let seconds = span.as_secs();
    let (minutes, hours) = (seconds / 60, seconds / 3600);
    match () {
        () if seconds < 1 => "Less than a second".to_owned(),
        () if seconds == 1 => "1 second".to_owned(),
        () if seconds < 60 => format!("{seconds} seconds"),
        () if minutes == 1 => "About a minute".to_owned(),
        () if minutes < 60 => format!("{minutes} minutes"),
        () if hours == 1 => "About an hour".to_owned(),
        () if hours < 48 => format!("{hours} hours"),
        () if hours < 24 * 14 => format!("{} days", hours / 24),
        () if hours < 24 * 90 => format!("{} weeks", hours / 24 / 7),
        () if hours < 24 * 365 * 2 => format!("{} months", hours / 24 / 30),
        () => format!("{} years", hours / 24 / 365),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_read_as_people_write_them() {
        for (text, millis) in [
            ("90s", 90_000),
            ("1m30s", 90_000),
            ("2h", 7_200_000),
            ("500ms", 500),
            ("1.5h", 5_400_000),
            ("0", 0),
            ("0s", 0),
            ("1d", 86_400_000),
            ("2160h", 7_776_000_000),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn texts_that_are_no_durations_are_refused_with_a_hint() {
        for text in ["", "10", "s", "10x", "-1s", "1s-", "1.2.3s", "99999999999999999999h", "1 s"] {
            let error = parse(text).expect_err(text);
            assert!(!error.is_empty(), "{text}");
        }
        assert!(parse("10").expect_err("no unit").contains("1m30s"));
    }

    proptest! {
        #[test]
        fn durations_round_trip(millis in 0u64..10_000_000_000) {
            let span = Duration::from_millis(millis);
            prop_assert_eq!(parse(&format(span)), Ok(span));
        }

        #[test]
        fn no_text_panics(text in ".*") {
            let _either = parse(&text);
        }
    }

    #[test]
    fn ages_read_like_dockers() {
        for (seconds, words) in [
            (0, "Less than a second"),
            (1, "1 second"),
            (59, "59 seconds"),
            (60, "About a minute"),
            (150, "2 minutes"),
            (3600, "About an hour"),
            (86_400, "24 hours"),
            (86_400 * 3, "3 days"),
        ] {
            assert_eq!(in_words(Duration::from_secs(seconds)), words);
        }
    }
}
