//! Identifiers: 128 random bits each, one newtype per kind of object, shown as 25 base36 digits.
//!
//! Ids are drawn outside (see [`IdSource`]); this module never makes randomness of its own.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
/// Digits of the text form: 36^25 > 2^128.
pub const ID_LEN: usize = 25;

/// Why a text is not an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an id is {ID_LEN} characters of 0-9 and a-z")]
pub struct ParseIdError;

/// Where new ids come from: injected, so that a seed replays a run.
pub trait IdSource {
    /// 128 bits that no one else has drawn.
    fn draw(&mut self) -> u128;
}

/// Writes `raw` as base36, left-padded to [`ID_LEN`] digits.
fn encode(mut raw: u128) -> [u8; ID_LEN] {
    let mut text = [b'0'; ID_LEN];
    for digit in text.iter_mut().rev() {
        let index = usize::try_from(raw % 36).expect("a remainder of 36 fits");
        *digit = DIGITS[index];
        raw /= 36;
    }
    text
}

fn decode(text: &str) -> Result<u128, ParseIdError> {
    if text.len() != ID_LEN {
        return Err(ParseIdError);
    }
    text.bytes().try_fold(0u128, |raw, byte| {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'z' => byte - b'a' + 10,
            _ => return Err(ParseIdError),
        };
        raw.checked_mul(36).and_then(|raw| raw.checked_add(digit.into())).ok_or(ParseIdError)
    })
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        #[cfg_attr(feature = "schema", derive(utoipa::ToSchema), schema(value_type = String))]
        pub struct $name(u128);

        impl $name {
            /// Wraps 128 bits drawn elsewhere.
            pub const fn from_raw(raw: u128) -> Self {
                Self(raw)
            }

            /// The bits.
            pub const fn raw(self) -> u128 {
                self.0
            }

            /// A new id from `source`.
            pub fn draw(source: &mut dyn IdSource) -> Self {
                Self(source.draw())
            }

            /// The first twelve digits, as lists show it.
            pub fn short(self) -> String {
                self.to_string()[..12].to_owned()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let digits = encode(self.0);
                f.pad(std::str::from_utf8(&digits).map_err(|_ascii| fmt::Error)?)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                decode(text).map(Self)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                if to.is_human_readable() { to.collect_str(self) } else { self.0.serialize(to) }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                if from.is_human_readable() {
                    String::deserialize(from)?.parse().map_err(de::Error::custom)
                } else {
                    u128::deserialize(from).map(Self)
                }
            }
        }
    )*};
}

ids! {
    /// One cluster, drawn at `swarm init`.
    ClusterId;
    /// One node: one key pair, one disk. Never reused.
    NodeId;
    /// One service.
    ServiceId;
    /// One task: one run of a program, on one node.
    TaskId;
    /// One config.
    ConfigId;
    /// One write asked for by a client; a retry carries the same id.
    RequestId;
    /// One join token with limits.
    TokenId;
    /// One life of a node process: a restart draws a new one.
    Incarnation;
}

impl Incarnation {
    /// The life that begins with a node's start number `boot`; `drawn` tells two of one number apart,
    /// as two copies of one data directory have.
    pub const fn of_boot(boot: u64, drawn: u64) -> Self {
        Self(((boot as u128) << 64) | drawn as u128)
    }

    /// Which start of its node it is.
    pub const fn boot(self) -> u64 {
        (self.0 >> 64) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn text_form_round_trips(raw: u128) {
            let id = TaskId::from_raw(raw);
            prop_assert_eq!(id.to_string().len(), ID_LEN);
            prop_assert_eq!(id.to_string().parse(), Ok(id));
        }
    }

    #[test]
    fn text_that_is_no_id_is_refused() {
        for text in ["", "abc", "zzzzzzzzzzzzzzzzzzzzzzzzz", "ABCDEFGHIJKLMNOPQRSTUVWXY"] {
            assert_eq!(text.parse::<NodeId>(), Err(ParseIdError), "{text}");
        }
    }

    #[test]
    fn short_form_is_a_prefix() {
        let id = NodeId::from_raw(u128::MAX);
        assert!(id.to_string().starts_with(&id.short()));
        assert_eq!(id.short().len(), 12);
    }
}
