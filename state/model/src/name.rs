//! Names that people give: services, configs, label keys.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The longest name, in characters (a DNS label).
pub const NAME_MAX: usize = 63;
/// The longest label key or value, in bytes.
pub const LABEL_MAX: usize = 4096;
/// The most labels of one object.
pub const LABELS_MAX: usize = 256;
/// The most bytes of all label keys and values of one object.
pub const LABELS_BYTES_MAX: usize = 64 * 1024;

/// A name of a service or config: letters, digits, `-`, `_` and `.`, starting and ending with a
/// letter or digit. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema), schema(value_type = String))]
pub struct Name(Arc<str>);

/// Why a text is not a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "\"{text}\" is not a valid name: use 1 to {NAME_MAX} letters, digits, '-', '_' or '.', \
     starting and ending with a letter or digit"
)]
pub struct ParseNameError {
    /// What was given, cut to a printable length.
    pub text: String,
}

impl Name {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = ParseNameError;

    fn from_str(text: &str) -> Result<Self, ParseNameError> {
        let edge = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
        let inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        let valid = text.len() <= NAME_MAX
            && edge(text.bytes().next())
            && edge(text.bytes().last())
            && text.bytes().all(inner);
        if valid {
            Ok(Self(text.into()))
        } else {
            Err(ParseNameError { text: text.chars().take(NAME_MAX + 1).collect() })
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl Serialize for Name {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_rule() {
        for good in ["web", "a", "web-1", "a_b.c", "9lives", &"x".repeat(63)] {
            assert!(good.parse::<Name>().is_ok(), "{good}");
        }
        for bad in ["", "-web", "web-", "a b", "a/b", "ü", ".x", &"x".repeat(64), "a\n"] {
            assert!(bad.parse::<Name>().is_err(), "{bad}");
        }
    }
}
