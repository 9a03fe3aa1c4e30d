//! Events: what changed, derived by apply, the same on every node, ordered by revision.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::id::{ConfigId, NodeId, ServiceId, TaskId, TokenId};
use crate::meta::Revision;
use crate::outcome::Kind;
use crate::units::Timestamp;

/// What an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Subject {
    /// The cluster.
    Cluster,
    /// A node.
    Node(NodeId),
    /// A service.
    Service(ServiceId),
    /// A task, of a service, perhaps on a node.
    Task {
        /// The task.
        task: TaskId,
        /// Its service.
        service: ServiceId,
        /// Its node.
        node: Option<NodeId>,
    },
    /// A config.
    Config(ConfigId),
    /// A join token.
    Token(TokenId),
}

impl Subject {
    /// Its kind.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Cluster => Kind::Cluster,
            Self::Node(_) => Kind::Node,
            Self::Service(_) => Kind::Service,
            Self::Task { .. } => Kind::Task,
            Self::Config(_) => Kind::Config,
            Self::Token(_) => Kind::Token,
        }
    }
}

/// What happened to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// It came to be.
    Create,
    /// It changed.
    Update,
    /// It went.
    Remove,
}

/// One thing that changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When in the cluster's history.
    pub revision: Revision,
    /// When by the proposer's clock.
    pub at: Timestamp,
    /// About what.
    pub subject: Subject,
    /// What.
    pub action: Action,
    /// The subject's name, as lists show it.
    pub name: String,
    /// More, by field: `state`, `desired`, `node`, `availability`, `error`, ….
    pub attributes: BTreeMap<String, String>,
}
