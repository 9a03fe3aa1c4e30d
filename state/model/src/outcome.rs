//! What applying a command answered. The same on every node.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::id::{ConfigId, NodeId, ServiceId, TokenId};
use crate::meta::{Revision, Version};
use crate::service::SpecError;

/// The answer to a command: what was done, or why nothing was.
pub type Outcome = Result<Done, Rejection>;

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Done {
    /// Nothing to tell.
    Nothing,
    /// A service now stands at this version.
    Service(ServiceId, Version),
    /// A config now stands at this version.
    Config(ConfigId, Version),
    /// A node now stands at this version.
    Node(NodeId, Version),
    /// A token was made.
    Token(TokenId),
    /// A plan was taken.
    Plan {
        /// Changes made.
        applied: u32,
        /// Changes whose object had moved on.
        refused: u32,
    },
}

/// The kinds of object that people name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// The cluster itself.
    Cluster,
    /// A node.
    Node,
    /// A service.
    Service,
    /// A task.
    Task,
    /// A config.
    Config,
    /// A join token.
    Token,
}

impl Kind {
    /// What to do when one is not found, as the end of a sentence.
    fn where_to_look(self) -> &'static str {
        match self {
            Self::Node => ": see `swarm node ls`",
            Self::Service => ": see `swarm service ls`",
            Self::Task => ": see `swarm service ps SERVICE`",
            Self::Config => ": see `swarm config ls`",
            Self::Token => ": see `swarm join-token`",
            Self::Cluster => ": see `swarm status`",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Cluster => "cluster",
            Self::Node => "node",
            Self::Service => "service",
            Self::Task => "task",
            Self::Config => "config",
            Self::Token => "token",
        })
    }
}

fn no_such(given: Option<Version>, kept: &[Version]) -> String {
    let kept: Vec<_> = kept.iter().map(ToString::to_string).collect();
    match given {
        _ if kept.is_empty() => "was never updated: there is nothing to go back to".to_owned(),
        Some(given) => {
            format!("has no version {given} in its history: it keeps {}", kept.join(", "))
        }
        None => "has no earlier version: see `swarm service history`".to_owned(),
    }
}

fn moved_on(have: Revision, given: Revision) -> String {
    if given < have {
        format!(
            "the cluster changed at revision {have}, after {given}: what was seen then does not hold"
        )
    } else {
        format!("there is no revision {given} yet; specs, nodes and configs changed last at {have}")
    }
}

fn no_run(given: Option<u64>) -> String {
    match given {
        Some(number) => format!("that goes on has the number {number}"),
        None => "goes on".to_owned(),
    }
}

/// Why a command changed nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum Rejection {
    /// No such object.
    #[error("{kind} {reference} not found{}", kind.where_to_look())]
    NotFound {
        /// Its kind.
        kind: Kind,
        /// How it was named.
        reference: String,
    },
    /// The name is another object's.
    #[error("{kind} {name} already exists: choose another name, or update it")]
    NameTaken {
        /// Its kind.
        kind: Kind,
        /// The name.
        name: String,
    },
    /// Somebody else changed it first.
    #[error(
        "{kind} {name} was changed meanwhile (version {have}, you gave {given}): read it again, \
         then update"
    )]
    VersionConflict {
        /// Its kind.
        kind: Kind,
        /// Its name.
        name: String,
        /// Its version.
        have: Version,
        /// The version that was expected.
        given: Version,
    },
    /// Others need it.
    #[error("{kind} {name} is in use by {}: remove it there first", users.join(", "))]
    InUse {
        /// Its kind.
        kind: Kind,
        /// Its name.
        name: String,
        /// Who uses it.
        users: Vec<String>,
    },
    /// A field is wrong.
    #[error("invalid {kind}: {error}")]
    Invalid {
        /// Its kind.
        kind: Kind,
        /// The field and the reason.
        error: SpecError,
    },
    /// The node's state does not allow it.
    #[error("node {node} cannot be removed: it is not down; stop it, or use --force")]
    NodeNotDown {
        /// The node.
        node: NodeId,
    },
    /// There would be no manager left.
    #[error("node {node} is the last manager: promote another node first")]
    LastManager {
        /// The node.
        node: NodeId,
    },
    /// The token is used up or too old.
    #[error("the join token is no longer valid: get a new one with `swarm join-token`")]
    TokenExpired,
    /// The cluster exists already, or does not yet.
    #[error("the cluster is already initialised")]
    AlreadyInitialised,
    /// A plan of a leader that is none any more.
    #[error("the plan comes from term {given}, the log is at {have}")]
    StaleTerm {
        /// The entry's term.
        have: crate::meta::Term,
        /// The plan's.
        given: crate::meta::Term,
    },
    /// The history has no such spec.
    #[error("service {service} {}", no_such(*given, kept))]
    NoSuchVersion {
        /// The service's name.
        service: String,
        /// The version that was asked for; `None` was any earlier one.
        given: Option<Version>,
        /// The versions that are kept.
        kept: Vec<Version>,
    },
    /// There is no update that could be stopped or go on.
    #[error("service {service} has no update that could {verb}: {state}; see `swarm service ps`")]
    NoUpdate {
        /// The service's name.
        service: String,
        /// `stop` or `go on`.
        verb: String,
        /// How far it is.
        state: String,
    },
    /// A spec, a node or a config is not as it was when the asker looked.
    #[error("{}: look again, with `swarm plan`, and give the revision that it shows", moved_on(*have, *given))]
    RevisionConflict {
        /// When specs, nodes or configs changed last.
        have: Revision,
        /// What the asker saw.
        given: Revision,
    },
    /// Only jobs have runs.
    #[error("service {service} is no job: only replicated-job and global-job services have runs")]
    NotAJob {
        /// The service's name.
        service: String,
    },
    /// The job is at it already.
    #[error(
        "run {run} of {service} goes on: wait for it, or stop it with `swarm service stop-run \
         {service}`"
    )]
    RunActive {
        /// The service's name.
        service: String,
        /// The run's number.
        run: u64,
    },
    /// There is no such run that goes on.
    #[error("no run of {service} {}: see `swarm service runs {service}`", no_run(*given))]
    NoRun {
        /// The service's name.
        service: String,
        /// The number that was asked for; `None` was any.
        given: Option<u64>,
    },
}
