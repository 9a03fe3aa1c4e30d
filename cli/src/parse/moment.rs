//! Moments as people write them: `2026-01-31T12:00:00Z`, `2026-01-31`, Unix seconds, or `10m` ago.

use swarm_model::units::Timestamp;

use super::duration;

/// Reads a moment; spans count back from `now`.
///
/// # Errors
/// Says how a moment looks.
pub(crate) fn parse(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    if let Ok(stamp) = Timestamp::parse_rfc3339(text) {
        return Ok(stamp);
    }
    if text.len() >= 10 && text.as_bytes()[4] == b'-' {
        for tail in ["Z", ":00Z", "T00:00:00Z"] {
            if let Ok(stamp) = Timestamp::parse_rfc3339(&format!("{text}{tail}")) {
                return Ok(stamp);
            }
        }
    }
    if text.len() >= 9
        && let Some(millis) = duration::scaled(text, 1000)
    {
        return Ok(Timestamp::from_millis(millis));
    }
    let span = duration::parse(text).map_err(|_not_a_span| {
        format!("\"{text}\" is not a time: write 2026-01-31T12:00:00Z, Unix seconds, or 10m (ago)")
    })?;
    Ok(Timestamp::from_millis(now.as_millis().saturating_sub(duration::millis(span))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_absolute_or_relative() {
        let now = Timestamp::from_millis(1_800_000_000_000);
        for (text, millis) in [
            ("1970-01-01T00:00:10Z", 10_000),
            ("1970-01-01T01:00:10+01:00", 10_000),
            ("1970-01-02", 86_400_000),
            ("1970-01-01T00:01", 60_000),
            ("1970-01-01T00:01:05", 65_000),
            ("1700000000", 1_700_000_000_000),
            ("1700000000.5", 1_700_000_000_500),
            ("10m", 1_799_999_400_000),
        ] {
            assert_eq!(parse(text, now), Ok(Timestamp::from_millis(millis)), "{text}");
        }
        for text in ["", "yesterday", "10", "2026-13-01", "äöüäöüäöü"] {
            assert!(parse(text, now).is_err(), "{text}");
        }
    }
}
