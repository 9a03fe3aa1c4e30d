//! The answer to a change: which object, at which version.

use std::fmt::Display;

use swarm_model::meta::Version;
use swarm_model::outcome::Done;

use super::backend::Applied;
use super::types::Written;

/// What `applied` did. A repeated request names the object that its first run made; `asked` stands in
/// where the outcome names none.
pub(super) fn of(applied: &Applied, asked: impl Display) -> Written {
    let (id, version) = match &applied.done {
        Done::Service(id, version) => (id.to_string(), *version),
        Done::Config(id, version) => (id.to_string(), *version),
        Done::Node(id, version) => (id.to_string(), *version),
        Done::Token(id) => (id.to_string(), Version::from(applied.revision)),
        Done::Nothing | Done::Plan { .. } => (asked.to_string(), applied.revision.into()),
    };
    Written { id, version, revision: applied.revision, warnings: Vec::new() }
}
