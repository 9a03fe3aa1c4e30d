//! Commands about members: joining, settings, what is seen of them, removal.

use std::sync::Arc;

use swarm_model::command::NewNode;
use swarm_model::event::{Action, Subject};
use swarm_model::id::{Incarnation, NodeId};
use swarm_model::meta::Version;
use swarm_model::node::{
    Availability, Drain, Node, NodeDescription, NodeSpec, NodeStatus, Reachability, Role,
    validate_addr,
};
use swarm_model::outcome::{Done, Kind, Outcome, Rejection};
use swarm_model::service::{SpecError, validate_labels};
use swarm_model::units::Timestamp;

use super::Change;
use crate::mistake::{Mistake, planted};

fn invalid(error: SpecError) -> Rejection {
    Rejection::Invalid { kind: Kind::Node, error }
}

/// What a node says of itself is bounded.
fn check(description: &NodeDescription, addr: &str) -> Result<(), Rejection> {
    description.validate().and_then(|()| validate_addr(addr)).map_err(invalid)
}

impl Change<'_> {
    pub(super) fn add_node(&mut self, new: &NewNode) -> Outcome {
        if self.view.nodes.contains_key(&new.id)
            || self.view.removed_nodes.contains(&new.id) && !planted(Mistake::ReuseNodeId)
        {
            let name = new.id.to_string();
            return Err(Rejection::NameTaken { kind: Kind::Node, name });
        }
        check(&new.description, &new.addr)?;
        validate_labels("Labels", &new.spec.labels).map_err(invalid)?;
        if let Some(token) = new.token {
            self.use_token(token)?;
        }
        let node = Node {
            id: new.id,
            meta: self.new_meta(),
            spec: new.spec.clone(),
            description: new.description.clone(),
            status: NodeStatus {
                since: self.now,
                addr: new.addr.clone(),
                message: "joined".to_owned(),
                ..NodeStatus::default()
            },
            drain: self.drain_of(&new.spec, None, None),
        };
        Ok(self.put_node(node, Action::Create))
    }

    fn drain_of(
        &self,
        spec: &NodeSpec,
        before: Option<Drain>,
        deadline: Option<Timestamp>,
    ) -> Option<Drain> {
        match spec.availability {
            Availability::Active | Availability::Pause => None,
            Availability::Drain => {
                let since = before.map_or(self.now, |drain| drain.since);
                Some(Drain { since, deadline: deadline.or(before.and_then(|d| d.deadline)) })
            }
        }
    }

    fn put_node(&mut self, node: Node, action: Action) -> Done {
        let attributes = [
            ("role", node.spec.role.to_string()),
            ("availability", node.spec.availability.to_string()),
            ("state", node.status.reachability.to_string()),
            ("message", node.status.message.clone()),
        ];
        self.emit(Subject::Node(node.id), action, &node.description.hostname, &attributes);
        let done = Done::Node(node.id, node.meta.version);
        self.view.nodes.insert(node.id, Arc::new(node));
        done
    }

    fn node(&self, id: NodeId) -> Result<Node, Rejection> {
        let missing = || Rejection::NotFound { kind: Kind::Node, reference: id.to_string() };
        self.view.nodes.get(&id).map(|node| Node::clone(node)).ok_or_else(missing)
    }

    fn is_last_manager(&self, id: NodeId) -> bool {
        !self.view.nodes.values().any(|node| node.id != id && node.spec.role == Role::Manager)
    }

    pub(super) fn update_node(
        &mut self,
        id: NodeId,
        given: Option<Version>,
        spec: &NodeSpec,
        deadline: Option<Timestamp>,
    ) -> Outcome {
        let mut node = self.node(id)?;
        let have = node.meta.version;
        if let Some(given) = given.filter(|given| *given != have) {
            let name = node.description.hostname;
            return Err(Rejection::VersionConflict { kind: Kind::Node, name, have, given });
        }
        validate_labels("Labels", &spec.labels).map_err(invalid)?;
        let demoted = node.spec.role == Role::Manager && spec.role == Role::Worker;
        if demoted && self.is_last_manager(id) {
            return Err(Rejection::LastManager { node: id });
        }
        let drain = self.drain_of(spec, node.drain, deadline);
        if node.spec == *spec && node.drain == drain {
            return Ok(Done::Node(id, have));
        }
        node.drain = drain;
        node.spec = spec.clone();
        node.meta.touch(self.at, self.now);
        Ok(self.put_node(node, Action::Update))
    }

    pub(super) fn describe_node(
        &mut self,
        id: NodeId,
        incarnation: Incarnation,
        description: &NodeDescription,
        addr: &str,
    ) -> Outcome {
        let mut node = self.node(id)?;
        check(description, addr)?;
        let unchanged = node.status.incarnation == incarnation
            && node.status.reachability == Reachability::Ready
            && node.status.addr == addr
            && node.description == *description;
        if unchanged {
            return Ok(Done::Node(id, node.meta.version));
        }
        if node.status.reachability != Reachability::Ready {
            node.status.since = self.now;
        }
        // A node that speaks is heard from.
        node.status.reachability = Reachability::Ready;
        node.status.message.clear();
        node.status.incarnation = incarnation;
        addr.clone_into(&mut node.status.addr);
        node.description = description.clone();
        node.meta.touch(self.at, self.now);
        Ok(self.put_node(node, Action::Update))
    }

    pub(super) fn set_reachability(
        &mut self,
        id: NodeId,
        incarnation: Incarnation,
        reachability: Reachability,
        message: &str,
    ) -> Outcome {
        let mut node = self.node(id)?;
        let about_another_life = node.status.incarnation != incarnation;
        if about_another_life || node.status.reachability == reachability {
            return Ok(Done::Node(id, node.meta.version));
        }
        node.status.reachability = reachability;
        node.status.since = self.now;
        message.clone_into(&mut node.status.message);
        node.meta.touch(self.at, self.now);
        Ok(self.put_node(node, Action::Update))
    }

    pub(super) fn remove_node(&mut self, id: NodeId, force: bool) -> Outcome {
        let node = self.node(id)?;
        if node.spec.role == Role::Manager && self.is_last_manager(id) {
            return Err(Rejection::LastManager { node: id });
        }
        if !force && node.status.reachability != Reachability::Down {
            return Err(Rejection::NodeNotDown { node: id });
        }
        self.view.nodes.remove(&id);
        if !planted(Mistake::DropTombstones) {
            self.view.removed_nodes.insert(id);
        }
        self.emit(Subject::Node(id), Action::Remove, &node.description.hostname, &[]);
        Ok(Done::Node(id, self.at.into()))
    }
}
