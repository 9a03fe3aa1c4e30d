//! Nodes: what a person decides about one, what it says of itself, what the cluster sees of it.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::id::{Incarnation, NodeId};
use crate::meta::Meta;
use crate::resources::Resources;
use crate::service::{SpecError, at_most, validate_labels};
use crate::units::Timestamp;

/// Why a text is none of an enum's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{given}\" is not one of: {allowed}")]
pub struct UnknownWord {
    /// What was given.
    pub given: String,
    /// The words that would do.
    pub allowed: &'static str,
}

/// What a node is trusted to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Runs tasks; follows the replicated state; never votes.
    Worker,
    /// May also vote, issue certificates and lead.
    Manager,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Worker => "worker",
            Self::Manager => "manager",
        })
    }
}

impl FromStr for Role {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        match text {
            "worker" => Ok(Self::Worker),
            "manager" => Ok(Self::Manager),
            _ => Err(UnknownWord { given: text.to_owned(), allowed: "worker, manager" }),
        }
    }
}

/// Whether a node takes tasks.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Availability {
    /// Takes tasks.
    #[default]
    Active,
    /// Keeps what it runs, takes nothing new.
    Pause,
    /// Its tasks move away.
    Drain,
}

impl fmt::Display for Availability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Active => "active",
            Self::Pause => "pause",
            Self::Drain => "drain",
        })
    }
}

impl FromStr for Availability {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        match text {
            "active" => Ok(Self::Active),
            "pause" => Ok(Self::Pause),
            "drain" => Ok(Self::Drain),
            _ => Err(UnknownWord { given: text.to_owned(), allowed: "active, pause, drain" }),
        }
    }
}

/// Whether the cluster hears from a node. Set from gossip, by the leader, through Raft.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Reachability {
    /// Not heard from yet since it joined.
    #[default]
    Unknown,
    /// Heard from.
    Ready,
    /// Silent for longer than the suspicion time: its tasks are replaced.
    Down,
}

impl fmt::Display for Reachability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Unknown => "Unknown",
            Self::Ready => "Ready",
            Self::Down => "Down",
        })
    }
}

/// What a person decides about a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "PascalCase")]
pub struct NodeSpec {
    /// Worker or manager.
    pub role: Role,
    /// Active, pause or drain.
    #[serde(default)]
    pub availability: Availability,
    /// Labels for placement.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}

/// What a node says of itself when it starts.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "PascalCase")]
pub struct NodeDescription {
    /// Host name.
    pub hostname: String,
    /// Operating system, like `linux`.
    pub os: String,
    /// Architecture, like `x86_64`.
    pub arch: String,
    /// What it offers to tasks.
    pub resources: Resources,
    /// Version of the program.
    pub version: String,
    /// Labels of the machine, from the node's own configuration.
    pub labels: BTreeMap<String, String>,
}

/// The longest host name, in bytes.
pub const HOSTNAME_MAX: usize = 255;
/// The longest word that a node says of itself (operating system, architecture, version), in bytes.
pub const WORD_MAX: usize = 64;
/// The longest address of a node, in bytes.
pub const ADDR_MAX: usize = 64;

impl NodeDescription {
    /// Checks what the types cannot: a member must not fill the replicated state.
    ///
    /// # Errors
    /// The first field that is too long.
    pub fn validate(&self) -> Result<(), SpecError> {
        let texts = [
            ("Description.Hostname", &self.hostname, HOSTNAME_MAX),
            ("Description.Os", &self.os, WORD_MAX),
            ("Description.Arch", &self.arch, WORD_MAX),
            ("Description.Version", &self.version, WORD_MAX),
        ];
        for (field, text, most) in texts {
            at_most(field, text, most)?;
        }
        self.resources.validate("Description.Resources.Generic")?;
        validate_labels("Description.Labels", &self.labels)
    }
}

/// Checks where a node says it is.
///
/// # Errors
/// When it is too long to be an address.
pub fn validate_addr(addr: &str) -> Result<(), SpecError> {
    at_most("Status.Addr", addr, ADDR_MAX)
}

/// What the cluster sees of a node.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "PascalCase")]
pub struct NodeStatus {
    /// Heard from or not.
    pub reachability: Reachability,
    /// Why, when there is something to say.
    pub message: String,
    /// Since when.
    pub since: Timestamp,
    /// `ip:port` where peers last reached it. A hint: identity is the key pair.
    pub addr: String,
    /// The life of its process that this speaks of.
    pub incarnation: Incarnation,
}

/// An ongoing drain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "PascalCase")]
pub struct Drain {
    /// When it was asked for.
    pub since: Timestamp,
    /// When tasks are stopped even though their replacement does not run yet.
    pub deadline: Option<Timestamp>,
}

/// One member of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "PascalCase")]
pub struct Node {
    /// Its id: one key pair, one disk.
    #[serde(rename = "ID")]
    pub id: NodeId,
    /// Version and times.
    pub meta: Meta,
    /// What a person decided.
    pub spec: NodeSpec,
    /// What it said of itself.
    pub description: NodeDescription,
    /// What the cluster sees.
    pub status: NodeStatus,
    /// Set while `availability` is drain.
    pub drain: Option<Drain>,
}

impl Node {
    /// Whether new tasks may be placed here.
    pub fn takes_tasks(&self) -> bool {
        self.spec.availability == Availability::Active
            && self.status.reachability == Reachability::Ready
    }
}
