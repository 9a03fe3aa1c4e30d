//! Configs: named bytes that services mount as files.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::id::ConfigId;
use crate::meta::Meta;
use crate::name::Name;
use crate::service::{SpecError, validate_labels};

/// The most bytes of one config.
pub const CONFIG_BYTES_MAX: usize = 1000 * 1024;

/// Bytes that read base64 in JSON. Cheap to clone; not printed.
#[derive(Clone, PartialEq, Eq, Default)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema), schema(value_type = String, format = Byte))]
pub struct Data(Arc<[u8]>);

impl Data {
    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        &self.0
    }
}

impl From<Vec<u8>> for Data {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes.into())
    }
}

impl fmt::Debug for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl Serialize for Data {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        if to.is_human_readable() {
            to.serialize_str(&STANDARD.encode(&self.0))
        } else {
            to.serialize_bytes(&self.0)
        }
    }
}

struct DataVisitor;

impl de::Visitor<'_> for DataVisitor {
    type Value = Data;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("base64 text or bytes")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Data, E> {
        STANDARD.decode(text).map(Data::from).map_err(E::custom)
    }

    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Data, E> {
        Ok(Data(bytes.into()))
    }

    fn visit_byte_buf<E: de::Error>(self, bytes: Vec<u8>) -> Result<Data, E> {
        Ok(bytes.into())
    }
}

impl<'de> Deserialize<'de> for Data {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        if from.is_human_readable() {
            from.deserialize_str(DataVisitor)
        } else {
            from.deserialize_byte_buf(DataVisitor)
        }
    }
}

/// What a user declares.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "PascalCase")]
pub struct ConfigSpec {
    /// Unique among configs.
    pub name: Name,
    /// For people and filters.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// The bytes.
    pub data: Data,
}

impl ConfigSpec {
    /// Checks what the types cannot.
    ///
    /// # Errors
    /// The first field that is wrong.
    pub fn validate(&self) -> Result<(), SpecError> {
        if self.data.as_slice().len() > CONFIG_BYTES_MAX {
            let reason = format!(
                "{} bytes are more than the {CONFIG_BYTES_MAX} a config may have",
                self.data.as_slice().len()
            );
            return Err(SpecError::new("Data", reason));
        }
        validate_labels("Labels", &self.labels)
    }
}

/// A stored config.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "PascalCase")]
pub struct Config {
    /// Its id.
    #[serde(rename = "ID")]
    pub id: ConfigId,
    /// Version and times.
    pub meta: Meta,
    /// What was declared last.
    pub spec: ConfigSpec,
}
