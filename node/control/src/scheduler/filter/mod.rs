//! Filters: each one says whether a node will do for a task, or why not.
//!
//! A filter looks at one node only; weighing nodes against each other is `taste`'s and `tree`'s.

mod constraint;
mod max_per_node;
mod ready;
mod resources;

use std::fmt;

use swarm_model::node::{Availability, Node};
use swarm_model::placement::Constraint;
use swarm_model::resources::{DEVICE_PREFIX, Resources};
use swarm_model::task::TaskTemplate;
use swarm_model::units::{Bytes, MilliCpu};

/// A node as a place for one more task.
#[derive(Debug, Clone)]
pub(crate) struct Candidate<'a> {
    /// The node.
    pub(crate) node: &'a Node,
    /// Whether it is heard from and takes tasks.
    pub(crate) open: bool,
    /// What can be reserved there; of generic resources just those that the task needs.
    pub(crate) free: Resources,
    /// Tasks of the same service that hold it.
    pub(crate) held: u32,
    /// What the task is made from.
    pub(crate) template: &'a TaskTemplate,
}

impl<'a> Candidate<'a> {
    /// What the task reserves.
    pub(crate) fn needs(&self) -> &'a Resources {
        &self.template.resources.reservations
    }
}

/// Why a node will not do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Refusal<'a> {
    /// It is silent.
    Down,
    /// It was not heard from since it joined, or nobody could say lately.
    NotHeard,
    /// It takes no new tasks.
    Closed(Availability),
    /// It does not meet a constraint.
    Constraint(&'a Constraint),
    /// It has as many tasks of the service as may be.
    MaxPerNode(u32),
    /// Too little memory can be reserved.
    Memory {
        /// The reservation.
        needs: Bytes,
        /// What there is.
        free: Bytes,
    },
    /// Too little CPU can be reserved.
    Cpu {
        /// The reservation.
        needs: MilliCpu,
        /// What there is.
        free: MilliCpu,
    },
    /// Too little of something else can be reserved.
    Generic {
        /// Of what.
        kind: &'a str,
        /// The reservation.
        needs: u64,
        /// What there is.
        free: u64,
    },
}

impl Refusal<'_> {
    /// Whether both are the same but for how much is free.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Memory { needs, .. }, Self::Memory { needs: theirs, .. }) => needs == theirs,
            (Self::Cpu { needs, .. }, Self::Cpu { needs: theirs, .. }) => needs == theirs,
            (
                Self::Generic { kind, needs, .. },
                Self::Generic { kind: other, needs: theirs, .. },
            ) => (kind, needs) == (other, theirs),
            (left, right) => left == right,
        }
    }
}

/// The alternate form speaks of several nodes.
impl fmt::Display for Refusal<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let has = if f.alternate() { "at most" } else { "has" };
        match self {
            Self::Down => f.write_str("down"),
            Self::NotHeard => f.write_str("not heard from"),
            Self::Closed(Availability::Active) => f.write_str("active"),
            Self::Closed(Availability::Pause) => f.write_str("paused"),
            Self::Closed(Availability::Drain) => f.write_str("drained"),
            Self::Constraint(constraint) => write!(f, "constraint {constraint} not met"),
            Self::MaxPerNode(1) => f.write_str("has a task of this service, at most 1 allowed"),
            Self::MaxPerNode(most) => {
                write!(f, "has {most} tasks of this service, at most {most} allowed")
            }
            Self::Memory { needs, free } => {
                write!(f, "insufficient memory, needs {needs}, {has} {free} free")
            }
            Self::Cpu { needs, free } => {
                write!(f, "insufficient cpu, needs {needs}, {has} {free} free")
            }
            Self::Generic { kind, needs, free } => match kind.strip_prefix(DEVICE_PREFIX) {
                Some(class) => {
                    write!(f, "too few devices of class {class}, needs {needs}, {has} {free} free")
                }
                None => write!(f, "insufficient {kind}, needs {needs}, {has} {free} free"),
            },
        }
    }
}

/// A filter.
type Filter = for<'a> fn(&Candidate<'a>) -> Result<(), Refusal<'a>>;

/// What does not change while tasks are placed.
const LASTING: [Filter; 2] = [ready::check, constraint::check];
/// What each placement may change.
const CHANGING: [Filter; 2] = [max_per_node::check, resources::check];

/// Whether the node will do, or the first reason why not.
pub(crate) fn check<'a>(candidate: &Candidate<'a>) -> Result<(), Refusal<'a>> {
    LASTING.iter().chain(&CHANGING).try_for_each(|filter| filter(candidate))
}

/// Whether a node that would have done still does.
pub(crate) fn check_again<'a>(candidate: &Candidate<'a>) -> Result<(), Refusal<'a>> {
    CHANGING.iter().try_for_each(|filter| filter(candidate))
}

/// Whether a node has room for one more task of its service but for what that reserves.
pub(crate) fn check_held<'a>(candidate: &Candidate<'a>) -> Result<(), Refusal<'a>> {
    max_per_node::check(candidate)
}

/// All reasons why the node will not do.
pub(crate) fn refusals<'a>(candidate: &Candidate<'a>) -> Vec<Refusal<'a>> {
    LASTING.iter().chain(&CHANGING).filter_map(|filter| filter(candidate).err()).collect()
}
