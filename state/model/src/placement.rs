//! Where tasks may and would rather run: constraints, preferences, bounds per node.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::node::Node;

/// Something a node can be asked for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NodeAttribute {
    /// `node.id`
    Id,
    /// `node.hostname`
    Hostname,
    /// `node.role`
    Role,
    /// `node.ip`
    Ip,
    /// `node.platform.os`
    Os,
    /// `node.platform.arch`
    Arch,
    /// `node.labels.KEY`: given by people.
    Label(String),
    /// `engine.labels.KEY`: from the node's own configuration.
    EngineLabel(String),
}

impl NodeAttribute {
    /// What `node` answers; `None` when a label is not set.
    pub fn of(&self, node: &Node) -> Option<String> {
        match self {
            Self::Id => Some(node.id.to_string()),
            Self::Hostname => Some(node.description.hostname.clone()),
            Self::Role => Some(node.spec.role.to_string()),
            Self::Ip => {
                let addr = &node.status.addr;
                Some(addr.rsplit_once(':').map_or(addr.as_str(), |(ip, _port)| ip).to_owned())
            }
            Self::Os => Some(node.description.os.clone()),
            Self::Arch => Some(node.description.arch.clone()),
            Self::Label(key) => node.spec.labels.get(key).cloned(),
            Self::EngineLabel(key) => node.description.labels.get(key).cloned(),
        }
    }
}

impl fmt::Display for NodeAttribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id => f.write_str("node.id"),
            Self::Hostname => f.write_str("node.hostname"),
            Self::Role => f.write_str("node.role"),
            Self::Ip => f.write_str("node.ip"),
            Self::Os => f.write_str("node.platform.os"),
            Self::Arch => f.write_str("node.platform.arch"),
            Self::Label(key) => write!(f, "node.labels.{key}"),
            Self::EngineLabel(key) => write!(f, "engine.labels.{key}"),
        }
    }
}

/// Why a text is neither constraint nor preference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParsePlacementError {
    /// No `==` or `!=` in it.
    #[error("\"{0}\" is not a constraint: write KEY==VALUE or KEY!=VALUE")]
    NoOperator(String),
    /// The key is not one of a node's.
    #[error(
        "\"{0}\" is not something a node can be asked for: use node.id, node.hostname, node.role, \
         node.ip, node.platform.os, node.platform.arch, node.labels.KEY or engine.labels.KEY"
    )]
    UnknownAttribute(String),
    /// Nothing to compare with.
    #[error("constraint \"{0}\" has no value")]
    NoValue(String),
    /// Not a known strategy.
    #[error("\"{0}\" is not a placement preference: write spread=node.labels.KEY")]
    UnknownStrategy(String),
}

impl FromStr for NodeAttribute {
    type Err = ParsePlacementError;

    fn from_str(text: &str) -> Result<Self, ParsePlacementError> {
        let label = |prefix| text.strip_prefix(prefix).filter(|key| !key.is_empty());
        match text {
            "node.id" => Ok(Self::Id),
            "node.hostname" => Ok(Self::Hostname),
            "node.role" => Ok(Self::Role),
            "node.ip" => Ok(Self::Ip),
            "node.platform.os" => Ok(Self::Os),
            "node.platform.arch" => Ok(Self::Arch),
            _ => label("node.labels.")
                .map(|key| Self::Label(key.to_owned()))
                .or_else(|| label("engine.labels.").map(|key| Self::EngineLabel(key.to_owned())))
                .ok_or_else(|| ParsePlacementError::UnknownAttribute(text.to_owned())),
        }
    }
}

/// How a constraint compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Comparison {
    /// `==`
    Equal,
    /// `!=`; true of a label that is not set.
    NotEqual,
}

/// A rule that a node must meet, kept true all the time. Written `KEY==VALUE` or `KEY!=VALUE`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Constraint {
    /// What is compared.
    pub attribute: NodeAttribute,
    /// How.
    pub comparison: Comparison,
    /// With what, compared without regard to case like Docker does.
    pub value: String,
}

impl Constraint {
    /// Whether `node` meets the rule.
    pub fn allows(&self, node: &Node) -> bool {
        let equal =
            self.attribute.of(node).is_some_and(|actual| actual.eq_ignore_ascii_case(&self.value));
        match self.comparison {
            Comparison::Equal => equal,
            Comparison::NotEqual => !equal,
        }
    }
}

impl FromStr for Constraint {
    type Err = ParsePlacementError;

    fn from_str(text: &str) -> Result<Self, ParsePlacementError> {
        let (at, comparison) = match (text.find("=="), text.find("!=")) {
            (Some(equal), Some(not)) if not < equal => (not, Comparison::NotEqual),
            (Some(equal), _) => (equal, Comparison::Equal),
            (None, Some(not)) => (not, Comparison::NotEqual),
            (None, None) => return Err(ParsePlacementError::NoOperator(text.to_owned())),
        };
        let attribute = text[..at].trim().parse()?;
        let value = text[at + 2..].trim();
        if value.is_empty() {
            return Err(ParsePlacementError::NoValue(text.to_owned()));
        }
        Ok(Self { attribute, comparison, value: value.to_owned() })
    }
}

impl fmt::Display for Constraint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = match self.comparison {
            Comparison::Equal => "==",
            Comparison::NotEqual => "!=",
        };
        write!(f, "{}{sign}{}", self.attribute, self.value)
    }
}

/// What the scheduler strives for among the nodes that would do. Written `spread=ATTRIBUTE`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Preference {
    /// Evenly over the values of an attribute.
    Spread(NodeAttribute),
}

impl FromStr for Preference {
    type Err = ParsePlacementError;

    fn from_str(text: &str) -> Result<Self, ParsePlacementError> {
        match text.split_once('=') {
            Some(("spread", attribute)) => attribute.trim().parse().map(Self::Spread),
            _ => Err(ParsePlacementError::UnknownStrategy(text.to_owned())),
        }
    }
}

impl fmt::Display for Preference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Spread(attribute) => write!(f, "spread={attribute}"),
        }
    }
}

macro_rules! serde_as_text {
    ($($name:ident)*) => {$(
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                String::deserialize(from)?.parse().map_err(de::Error::custom)
            }
        }
    )*};
}

serde_as_text! { Constraint Preference }

/// Where tasks of a service may and would rather run.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "PascalCase", default)]
pub struct Placement {
    /// All must hold.
    #[cfg_attr(feature = "schema", schema(value_type = Vec<String>))]
    pub constraints: Vec<Constraint>,
    /// In order of weight; nested.
    #[cfg_attr(feature = "schema", schema(value_type = Vec<String>))]
    pub preferences: Vec<Preference>,
    /// At most so many tasks of the service on one node; 0 is no bound.
    pub max_replicas_per_node: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constraints_read_and_print_the_same() {
        for text in
            ["node.id==abc", "node.labels.zone!=a", "engine.labels.gpu==yes", "node.ip==127.0.0.1"]
        {
            assert_eq!(text.parse::<Constraint>().map(|c| c.to_string()), Ok(text.to_owned()));
        }
        assert_eq!(
            "node.role == manager".parse::<Constraint>().map(|c| c.to_string()),
            Ok("node.role==manager".into())
        );
    }

    #[test]
    fn bad_constraints_say_why() {
        let error = |text: &str| text.parse::<Constraint>().expect_err(text);
        assert!(matches!(error("node.id=abc"), ParsePlacementError::NoOperator(_)));
        assert!(matches!(error("color==red"), ParsePlacementError::UnknownAttribute(_)));
        assert!(matches!(error("node.labels.==a"), ParsePlacementError::UnknownAttribute(_)));
        assert!(matches!(error("node.id=="), ParsePlacementError::NoValue(_)));
        assert!("random".parse::<Preference>().is_err());
        assert!("spread=node.labels.zone".parse::<Preference>().is_ok());
    }
}
