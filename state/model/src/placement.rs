//! Where tasks may and would rather run: constraints, preferences, bounds per node.

use core::net::IpAddr;
use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::grown::NEW_WORD;
use crate::name::Name;
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
    pub fn of<'a>(&self, node: &'a Node) -> Option<Cow<'a, str>> {
        match self {
            Self::Id => Some(node.id.to_string().into()),
            Self::Hostname => Some(node.description.hostname.as_str().into()),
            Self::Role => Some(node.spec.role.to_string().into()),
            Self::Ip => {
                let addr = &node.status.addr;
                Some(addr.rsplit_once(':').map_or(addr.as_str(), |(ip, _port)| ip).into())
            }
            Self::Os => Some(node.description.os.as_str().into()),
            Self::Arch => Some(node.description.arch.as_str().into()),
            Self::Label(key) => node.spec.labels.get(key).map(|value| value.as_str().into()),
            Self::EngineLabel(key) => {
                node.description.labels.get(key).map(|value| value.as_str().into())
            }
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
    /// No operator in it.
    #[error(
        "\"{0}\" is not a constraint: write KEY==VALUE, KEY!=VALUE, 'KEY in A,B' or KEY>NUMBER (or \
         <, >=, <=)"
    )]
    NoOperator(String),
    /// What is compared with is no number.
    #[error("constraint \"{0}\" compares with something that is not a number")]
    NotANumber(String),
    /// The key is not one of a node's.
    #[error(
        "\"{0}\" is not something a node can be asked for: use node.id, node.hostname, node.role, \
         node.ip, node.platform.os, node.platform.arch, node.labels.KEY or engine.labels.KEY"
    )]
    UnknownAttribute(String),
    /// Nothing to compare with.
    #[error("constraint \"{0}\" has no value")]
    NoValue(String),
    /// More parentheses than the two around a list.
    #[error("constraint \"{0}\" has parentheses in its list: write 'KEY in A,B' or 'KEY in (A,B)'")]
    Parentheses(String),
    /// It may end with a weight or with a part of an address.
    #[error("\"{0}\" may end with a weight or with an address: write ADDRESS/128:WEIGHT")]
    Ambiguous(String),
    /// Not a known strategy.
    #[error(
        "\"{0}\" is not a placement preference: write spread=node.labels.KEY, binpack, \
         affinity=service:NAME:WEIGHT, affinity=CONSTRAINT:WEIGHT, or anti-affinity=…"
    )]
    UnknownStrategy(String),
    /// A weight out of bounds.
    #[error("\"{0}\" has no weight from 1 to 100")]
    Weight(String),
    /// What is preferred is no name of a service.
    #[error("\"{0}\" names no service: write affinity=service:NAME:WEIGHT")]
    NoService(String),
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
    /// `in`: equal to one of several.
    In,
    /// `>`, of numbers; what is no number does not meet it.
    Greater,
    /// `<`
    Less,
    /// `>=`
    AtLeast,
    /// `<=`
    AtMost,
}

/// What is looked for when there is neither `==` nor `!=`, longer signs first.
const OTHERS: [Comparison; 5] = [
    Comparison::In,
    Comparison::AtLeast,
    Comparison::AtMost,
    Comparison::Greater,
    Comparison::Less,
];

impl Comparison {
    fn sign(self) -> &'static str {
        match self {
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::In => " in ",
            Self::Greater => ">",
            Self::Less => "<",
            Self::AtLeast => ">=",
            Self::AtMost => "<=",
        }
    }

    fn holds(self, attribute: &NodeAttribute, actual: &str, value: &str) -> bool {
        let number = |text: &str| text.parse().ok().filter(|number: &f64| number.is_finite());
        let numbers = |holds: fn(&f64, &f64) -> bool| {
            number(actual).zip(number(value)).is_some_and(|(actual, value)| holds(&actual, &value))
        };
        let same = |value: &str| is_same(attribute, actual, value);
        match self {
            Self::Equal => same(value),
            Self::NotEqual => !same(value),
            Self::In => value.split(',').any(|one| same(one.trim())),
            Self::Greater => numbers(f64::gt),
            Self::Less => numbers(f64::lt),
            Self::AtLeast => numbers(f64::ge),
            Self::AtMost => numbers(f64::le),
        }
    }
}

/// Whether a node's value is the one that was written: without regard to case, like Docker does, and
/// an address may be compared with a network.
fn is_same(attribute: &NodeAttribute, actual: &str, value: &str) -> bool {
    let within = || {
        let unbracketed = actual.trim_start_matches('[').trim_end_matches(']');
        let address = unbracketed.parse().ok();
        network(attribute, value).zip(address).is_some_and(|(network, it)| is_within(it, network))
    };
    actual.eq_ignore_ascii_case(value) || within()
}

/// What `value` is as a network, written `10.0.0.0/8`, with which `attribute` can be compared.
fn network(attribute: &NodeAttribute, value: &str) -> Option<(IpAddr, u32)> {
    let (base, bits) = value.split_once('/')?;
    let (base, bits): (IpAddr, u32) = (base.parse().ok()?, bits.parse().ok()?);
    let most = if base.is_ipv4() { 32 } else { 128 };
    (*attribute == NodeAttribute::Ip && bits <= most).then_some((base, bits))
}

/// Whether the first so many bits of both are the same.
fn is_within(address: IpAddr, (base, bits): (IpAddr, u32)) -> bool {
    match (address, base) {
        (IpAddr::V4(address), IpAddr::V4(base)) => {
            let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
            address.to_bits() & mask == base.to_bits() & mask
        }
        (IpAddr::V6(address), IpAddr::V6(base)) => {
            let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
            address.to_bits() & mask == base.to_bits() & mask
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
    }
}

/// A rule that a node must meet, kept true all the time. Written `KEY==VALUE`, `KEY!=VALUE`,
/// `KEY in A,B`, or with `>`, `<`, `>=` or `<=` and a number.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Constraint {
    /// What is compared.
    pub attribute: NodeAttribute,
    /// How.
    pub comparison: Comparison,
    /// With what.
    pub value: String,
}

impl Constraint {
    /// Whether who reads the former format has no such operator, or takes it for another one.
    fn is_new_word(&self) -> bool {
        match self.comparison {
            Comparison::Equal | Comparison::NotEqual => {
                network(&self.attribute, &self.value).is_some()
            }
            Comparison::In
            | Comparison::Greater
            | Comparison::Less
            | Comparison::AtLeast
            | Comparison::AtMost => true,
        }
    }

    /// Whether `node` meets the rule.
    pub fn allows(&self, node: &Node) -> bool {
        match self.attribute.of(node) {
            Some(actual) => self.comparison.holds(&self.attribute, &actual, &self.value),
            None => self.comparison == Comparison::NotEqual,
        }
    }
}

/// Where the operator of a constraint is, and which one. The first operators there were come first:
/// what was stored when there were no others still reads the same.
fn operator(text: &str) -> Option<(usize, Comparison)> {
    let first = [Comparison::Equal, Comparison::NotEqual];
    let find = |comparison: Comparison| Some((text.find(comparison.sign())?, comparison));
    let first = first.into_iter().filter_map(find).min_by_key(|(at, _)| *at);
    let other = OTHERS.into_iter().filter_map(find);
    // At one place the longer sign counts: it comes before the shorter one.
    first.or_else(|| other.min_by_key(|(at, _)| *at))
}

impl FromStr for Constraint {
    type Err = ParsePlacementError;

    fn from_str(text: &str) -> Result<Self, ParsePlacementError> {
        let Some((at, comparison)) = operator(text) else {
            return Err(ParsePlacementError::NoOperator(text.to_owned()));
        };
        let attribute = text[..at].trim().parse()?;
        let value = text[at + comparison.sign().len()..].trim();
        let value = match comparison {
            Comparison::Equal | Comparison::NotEqual => value.to_owned(),
            Comparison::In => {
                let list = value.strip_prefix('(').and_then(|inner| inner.strip_suffix(')'));
                let list = list.unwrap_or(value);
                // One pair is taken off each time that this is read: nothing may be left of it.
                if list.contains(['(', ')']) {
                    return Err(ParsePlacementError::Parentheses(text.to_owned()));
                }
                let list = list.split(',').map(str::trim);
                list.filter(|one| !one.is_empty()).collect::<Vec<_>>().join(",")
            }
            Comparison::Greater | Comparison::Less | Comparison::AtLeast | Comparison::AtMost => {
                if !value.parse::<f64>().is_ok_and(f64::is_finite) {
                    return Err(ParsePlacementError::NotANumber(text.to_owned()));
                }
                value.to_owned()
            }
        };
        if value.is_empty() {
            return Err(ParsePlacementError::NoValue(text.to_owned()));
        }
        Ok(Self { attribute, comparison, value })
    }
}

impl fmt::Display for Constraint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}{}", self.attribute, self.comparison.sign(), self.value)
    }
}

/// What the scheduler strives for among the nodes that would do. Written `spread=ATTRIBUTE`,
/// `binpack`, `affinity=…` or `anti-affinity=…`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Preference {
    /// Evenly over the values of an attribute.
    Spread(NodeAttribute),
    /// On as few nodes as possible, instead of evenly over all.
    Binpack,
    /// Near to something, or far from it.
    Affinity(Affinity),
}

/// What tasks would rather be near to, or far from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Affinity {
    /// What makes a node better or worse.
    pub to: AffinityTarget,
    /// How much, from 1 to 100; negative to be far from it.
    pub weight: i16,
}

/// What makes a node better or worse.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AffinityTarget {
    /// That it runs a task of this service.
    Service(Name),
    /// That it meets this rule.
    Node(Constraint),
}

/// The weight of an affinity that gives none.
pub const WEIGHT_DEFAULT: i16 = 50;
/// The highest weight.
pub const WEIGHT_MAX: i16 = 100;

impl Affinity {
    /// Whether it is about the tasks of `service`.
    pub fn is_to(&self, service: &Name) -> bool {
        match &self.to {
            AffinityTarget::Service(name) => name == service,
            AffinityTarget::Node(_) => false,
        }
    }

    fn parse(text: &str, sign: i16) -> Result<Self, ParsePlacementError> {
        let (target, weight) = split_weight(text)?;
        let to = match target.trim().strip_prefix("service:") {
            Some(name) => {
                let named = |_bad| ParsePlacementError::NoService(text.to_owned());
                AffinityTarget::Service(name.parse().map_err(named)?)
            }
            None => AffinityTarget::Node(target.parse()?),
        };
        Ok(Self { to, weight: sign * weight })
    }
}

/// What stands before the last colon, and the weight after it.
fn split_weight(text: &str) -> Result<(&str, i16), ParsePlacementError> {
    let address = last_address(text).unwrap_or_default();
    if address.parse::<IpAddr>().is_ok_and(|address| address.is_ipv6()) {
        return Err(ParsePlacementError::Ambiguous(text.to_owned()));
    }
    let Some((target, weight)) = text.rsplit_once(':') else { return Ok((text, WEIGHT_DEFAULT)) };
    let like_a_weight = |c: char| c.is_ascii_digit() || c.is_whitespace() || "+-".contains(c);
    if network(&NodeAttribute::Ip, &address).is_some() || !weight.starts_with(like_a_weight) {
        let colon = address.contains(':') && network(&NodeAttribute::Ip, &address).is_none();
        return match colon {
            true => Err(ParsePlacementError::Ambiguous(text.to_owned())),
            false => Ok((text, WEIGHT_DEFAULT)),
        };
    }
    let weight = weight.parse::<i16>().ok().filter(|weight| (1..=WEIGHT_MAX).contains(weight));
    let weight = weight.ok_or_else(|| ParsePlacementError::Weight(text.to_owned()))?;
    let rest = last_address(target).filter(|rest| rest.contains(':'));
    match rest.filter(|rest| network(&NodeAttribute::Ip, rest).is_none()) {
        Some(_) => Err(ParsePlacementError::Ambiguous(text.to_owned())),
        None => Ok((target, weight)),
    }
}

/// The only address, or the last one, that a rule compares with: a weight may seem a part of it.
fn last_address(rule: &str) -> Option<String> {
    let rule: Constraint = rule.parse().ok()?;
    let address = rule.value.rsplit(',').next()?.to_owned();
    (rule.attribute == NodeAttribute::Ip).then_some(address)
}

impl fmt::Display for Affinity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.weight < 0 { "anti-affinity=" } else { "affinity=" })?;
        match &self.to {
            AffinityTarget::Service(name) => write!(f, "service:{name}")?,
            AffinityTarget::Node(rule) => write!(f, "{rule}")?,
        }
        write!(f, ":{}", self.weight.unsigned_abs())
    }
}

impl Preference {
    /// Whether the former format has no such strategy.
    fn is_new_word(&self) -> bool {
        match self {
            Self::Spread(_) => false,
            Self::Binpack | Self::Affinity(_) => true,
        }
    }
}

impl FromStr for Preference {
    type Err = ParsePlacementError;

    fn from_str(text: &str) -> Result<Self, ParsePlacementError> {
        match text.split_once('=') {
            Some(("spread", attribute)) => attribute.trim().parse().map(Self::Spread),
            Some(("affinity", target)) => Affinity::parse(target, 1).map(Self::Affinity),
            Some(("anti-affinity", target)) => Affinity::parse(target, -1).map(Self::Affinity),
            None if text.trim() == "binpack" => Ok(Self::Binpack),
            Some(_) | None => Err(ParsePlacementError::UnknownStrategy(text.to_owned())),
        }
    }
}

impl fmt::Display for Preference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Spread(attribute) => write!(f, "spread={attribute}"),
            Self::Binpack => f.write_str("binpack"),
            Self::Affinity(affinity) => write!(f, "{affinity}"),
        }
    }
}

macro_rules! serde_as_text {
    ($($name:ident)*) => {$(
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                if self.is_new_word() {
                    return to.serialize_newtype_struct(NEW_WORD, &self.to_string());
                }
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
#[path = "placement_tests.rs"]
mod tests;
