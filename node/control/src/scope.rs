//! Which part of the view a round looks at.
//!
//! A scope is a hint that saves work. Waiting tasks are found by every round, however small its
//! scope; delays and deadlines by a round that looks at their service, which then asks to be called
//! for that service when they are over.

use std::collections::BTreeSet;

use swarm_model::event::{Event, Subject};
use swarm_model::id::{NodeId, ServiceId};
use swarm_model::units::Timestamp;

/// Which part of the view a round looks at. The empty scope still serves the tasks that wait
/// for a place.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Scope {
    /// These services.
    pub services: BTreeSet<ServiceId>,
    /// The services with tasks on these nodes, and all global ones.
    pub nodes: BTreeSet<NodeId>,
    /// Everything: for a new leader, and when events were missed.
    pub all: bool,
    /// When the leader that asks took the lead: what happened just before is told to it only then.
    pub led_since: Timestamp,
    /// Whether jobs are left to themselves: none is due, and no deadline of one passes. For forecasts,
    /// which would never come to rest otherwise.
    pub still: bool,
}

impl Scope {
    /// Everything.
    pub fn everything() -> Self {
        Self { all: true, ..Self::default() }
    }

    /// Adds what `event` touched.
    pub fn extend(&mut self, event: &Event) {
        match event.subject {
            Subject::Cluster => self.all = true,
            Subject::Node(node) => {
                self.nodes.insert(node);
            }
            Subject::Service(service) | Subject::Task { service, .. } => {
                self.services.insert(service);
            }
            Subject::Config(_) | Subject::Token(_) => {}
        }
    }

    /// Adds another scope.
    pub fn merge(&mut self, other: Self) {
        self.services.extend(other.services);
        self.nodes.extend(other.nodes);
        self.all |= other.all;
        self.led_since = self.led_since.max(other.led_since);
        self.still |= other.still;
    }

    /// Whether nothing was touched.
    pub fn is_empty(&self) -> bool {
        !self.all && self.services.is_empty() && self.nodes.is_empty()
    }
}

impl From<&[Event]> for Scope {
    fn from(events: &[Event]) -> Self {
        let mut scope = Self::default();
        for event in events {
            scope.extend(event);
        }
        scope
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use swarm_model::event::Action;
    use swarm_model::id::TaskId;
    use swarm_model::meta::Revision;
    use swarm_model::units::Timestamp;

    use super::*;

    fn event(subject: Subject) -> Event {
        Event {
            revision: Revision(1),
            at: Timestamp::from_millis(1),
            subject,
            action: Action::Update,
            name: String::new(),
            attributes: BTreeMap::new(),
        }
    }

    #[test]
    fn a_scope_holds_what_events_touched() {
        let (service, node) = (ServiceId::from_raw(1), NodeId::from_raw(2));
        let task = Subject::Task { task: TaskId::from_raw(3), service, node: Some(node) };
        let scope = Scope::from([event(task), event(Subject::Node(node))].as_slice());
        assert_eq!(scope.services, BTreeSet::from([service]));
        assert_eq!(scope.nodes, BTreeSet::from([node]));
        assert!(!scope.all && !scope.is_empty());
        assert!(Scope::from([event(Subject::Cluster)].as_slice()).all);
        assert!(Scope::default().is_empty());
    }
}
