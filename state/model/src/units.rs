//! Quantities with their unit in the type: time stamps, CPU shares, bytes.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A moment of the wall clock: milliseconds since 1970-01-01 UTC. RFC 3339 in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema), schema(value_type = String))]
pub struct Timestamp(u64);

/// The end of the year 9999.
const LAST_MILLIS: u64 = 253_402_300_799_999;

impl Timestamp {
    /// From milliseconds since the epoch.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the epoch.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// This moment plus `span`, at most the end of time.
    #[must_use]
    pub fn after(self, span: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(span.as_millis()).unwrap_or(u64::MAX)))
    }

    /// How long ago `earlier` was; zero when it lies in the future.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// Reads an RFC 3339 text.
    ///
    /// # Errors
    /// When `text` is no such time, or lies before 1970.
    pub fn parse_rfc3339(text: &str) -> Result<Self, ParseTimestampError> {
        let moment =
            OffsetDateTime::parse(text, &Rfc3339).map_err(|_format| ParseTimestampError)?;
        let millis = moment.unix_timestamp_nanos() / 1_000_000;
        u64::try_from(millis).map(Self).map_err(|_before_epoch| ParseTimestampError)
    }
}

/// Why a text is not a time stamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a time reads like 2026-01-31T12:00:00Z (RFC 3339)")]
pub struct ParseTimestampError;

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What lies behind the last year that RFC 3339 can write (a peer may send it) prints as that.
        let nanos = i128::from(self.0.min(LAST_MILLIS)) * 1_000_000;
        let moment =
            OffsetDateTime::from_unix_timestamp_nanos(nanos).map_err(|_range| fmt::Error)?;
        write!(
            f,
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
            moment.year(),
            u8::from(moment.month()),
            moment.day(),
            moment.hour(),
            moment.minute(),
            moment.second(),
            moment.millisecond()
        )
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        if to.is_human_readable() { to.collect_str(self) } else { self.0.serialize(to) }
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        if from.is_human_readable() {
            Self::parse_rfc3339(&String::deserialize(from)?).map_err(de::Error::custom)
        } else {
            u64::deserialize(from).map(Self)
        }
    }
}

/// Thousandths of one CPU.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(transparent)]
pub struct MilliCpu(pub u64);

impl fmt::Display for MilliCpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03}", self.0 / 1000, self.0 % 1000)
    }
}

/// A number of bytes.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(transparent)]
pub struct Bytes(pub u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
        let mut value = self.0;
        let mut rest = 0;
        let mut unit = 0;
        while value >= 1024 && unit + 1 < UNITS.len() {
            rest = value % 1024;
            value /= 1024;
            unit += 1;
        }
        match rest * 10 / 1024 {
            0 => write!(f, "{value}{}", UNITS[unit]),
            tenths => write!(f, "{value}.{tenths}{}", UNITS[unit]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn time_stamps_round_trip_through_text(millis in 0u64..253_402_300_799_000) {
            let stamp = Timestamp::from_millis(millis);
            prop_assert_eq!(Timestamp::parse_rfc3339(&stamp.to_string()), Ok(stamp));
        }
    }

    #[test]
    fn quantities_read_well() {
        assert_eq!(Bytes(512).to_string(), "512B");
        assert_eq!(Bytes(1536).to_string(), "1.5KiB");
        assert_eq!(Bytes(64 << 20).to_string(), "64MiB");
        assert_eq!(MilliCpu(1500).to_string(), "1.500");
    }

    #[test]
    fn every_time_stamp_has_a_text_that_reads_back() {
        for millis in [0, LAST_MILLIS, LAST_MILLIS + 1, u64::MAX] {
            let text = Timestamp::from_millis(millis).to_string();
            let read = Timestamp::parse_rfc3339(&text).map(Timestamp::as_millis);
            assert_eq!(read, Ok(millis.min(LAST_MILLIS)));
        }
    }

    #[test]
    fn time_never_runs_backwards() {
        let (early, late) = (Timestamp::from_millis(5), Timestamp::from_millis(9));
        assert_eq!(late.since(early), Duration::from_millis(4));
        assert_eq!(early.since(late), Duration::ZERO);
    }
}
