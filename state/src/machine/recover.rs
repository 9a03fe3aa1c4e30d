//! The one change that is never proposed: a survivor founds the cluster's next epoch.
//!
//! It is made on a state at rest and becomes the snapshot that the new epoch starts from; agreeing on it
//! is what there is no majority for.

use swarm_model::command::Actor;
use swarm_model::epoch::{Encounter, Recovery};
use swarm_model::meta::Revision;
use swarm_model::node::Role;
use swarm_model::outcome::{Kind, Rejection};
use swarm_model::service::SpecError;
use swarm_model::units::Timestamp;

use super::{Change, DONE, Machine};

impl Machine {
    /// Begins the next epoch at `at`: the lost members are removed for ever, everything else stays.
    ///
    /// # Errors
    /// When the state does not allow it; nothing was changed.
    ///
    /// # Panics
    /// When `at` is not newer than everything applied before.
    pub fn recover(
        &mut self,
        at: Revision,
        now: Timestamp,
        recovery: &Recovery,
    ) -> Result<(), Rejection> {
        assert!(at > self.view.revision, "recovered at {at} after {}", self.view.revision);
        let mut view = self.view.clone();
        view.revision = at;
        if view.intent > Revision(0) {
            view.intent = at;
        }
        let (actor, events) = (&Actor::default(), Vec::new());
        Change { view: &mut view, at, now, actor, events }.recover(recovery)?;
        self.view = view;
        Ok(())
    }
}

impl Change<'_> {
    fn recover(&mut self, recovery: &Recovery) -> Result<(), Rejection> {
        if let Some(founder) = &recovery.joins {
            self.add_node(founder)?;
        }
        let refuse = |field: &'static str, why: &str| Rejection::Invalid {
            kind: Kind::Cluster,
            error: SpecError::new(field, why),
        };
        let missing =
            || Rejection::NotFound { kind: Kind::Node, reference: recovery.founder.to_string() };
        let founder = self.view.nodes.get(&recovery.founder).ok_or_else(missing)?;
        if founder.spec.role != Role::Manager || recovery.lost.contains(&recovery.founder) {
            return Err(refuse("Founder", "only a manager that stays can found an epoch"));
        }
        let mut gone = Vec::new();
        for id in &recovery.lost {
            let Some(node) = self.view.nodes.get(id).cloned() else { continue };
            self.remove_node(*id, true)?;
            gone.push((*id, node.status.addr.clone()));
        }
        self.with_cluster(|cluster| {
            if cluster.epoch.meet(recovery.epoch) != Encounter::Newer {
                return Err(refuse("Epoch", "it must be newer than the one before"));
            }
            cluster.epoch = recovery.epoch;
            cluster.left_out.extend(gone);
            DONE
        })?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use swarm_model::cluster::ClusterSpec;
    use swarm_model::command::{Actor, Command, NewNode, Op};
    use swarm_model::epoch::Epoch;
    use swarm_model::id::{ClusterId, NodeId};
    use swarm_model::meta::Term;
    use swarm_model::node::{Availability, NodeSpec};

    use super::*;

    fn node(id: u128, role: Role) -> NewNode {
        NewNode {
            id: NodeId::from_raw(id),
            spec: NodeSpec { role, availability: Availability::Active, labels: BTreeMap::new() },
            description: Default::default(),
            addr: format!("127.0.0.{id}:2377"),
            token: None,
        }
    }

    /// Managers 1 to 3 and worker 4.
    fn cluster() -> Machine {
        let mut machine = Machine::new();
        let first = Op::InitCluster {
            id: ClusterId::from_raw(1),
            spec: ClusterSpec::default(),
            ca_certificate: vec![1, 2, 3],
            node: node(1, Role::Manager),
        };
        let more = [(2, Role::Manager), (3, Role::Manager), (4, Role::Worker)];
        let ops = std::iter::once(first)
            .chain(more.into_iter().map(|(id, role)| Op::AddNode(node(id, role))));
        for (op, at) in ops.zip(1..) {
            let command = Command {
                request: None,
                at: Timestamp::default(),
                actor: Actor::default(),
                op,
                if_revision: None,
            };
            machine.apply(Revision(at), Term(1), &command).0.expect("valid");
        }
        machine
    }

    fn recovery(founder: u128, lost: &[u128]) -> Recovery {
        Recovery {
            epoch: Epoch::FIRST.next(7),
            founder: NodeId::from_raw(founder),
            joins: None,
            lost: lost.iter().copied().map(NodeId::from_raw).collect::<BTreeSet<_>>(),
        }
    }

    #[test]
    fn the_lost_are_removed_for_ever_and_the_rest_stays() {
        let mut machine = cluster();
        machine
            .recover(Revision(1000), Timestamp::default(), &recovery(1, &[2, 3]))
            .expect("a manager survives");
        let view = machine.view();
        assert_eq!(view.revision, Revision(1000));
        assert_eq!(view.nodes.keys().map(|id| id.raw()).collect::<Vec<_>>(), [1, 4]);
        assert!(view.removed_nodes.contains(&NodeId::from_raw(3)));
        let cluster = view.cluster.as_ref().expect("there");
        assert_eq!(cluster.epoch, Epoch { number: 2, mark: 7 });
        assert_eq!(cluster.left_out[&NodeId::from_raw(2)], "127.0.0.2:2377");
    }

    #[test]
    fn what_cannot_be_recovered_changes_nothing() {
        let before = cluster();
        let worker = recovery(4, &[1, 2, 3]);
        let itself = recovery(1, &[1]);
        let stale = Recovery { epoch: Epoch::FIRST, ..recovery(1, &[2]) };
        let stranger = recovery(9, &[]);
        for wrong in [worker, itself, stale, stranger] {
            let mut machine = before.clone();
            let refused = machine.recover(Revision(1000), Timestamp::default(), &wrong);
            assert!(refused.is_err(), "{wrong:?}");
            assert_eq!(machine.view(), before.view());
        }
    }

    #[test]
    fn a_restored_backup_is_founded_by_a_new_node() {
        let mut machine = cluster();
        let joins = Some(node(9, Role::Manager));
        let recovery = Recovery { joins, ..recovery(9, &[1, 2, 3]) };
        machine.recover(Revision(1000), Timestamp::default(), &recovery).expect("it joins");
        let ids: Vec<_> = machine.view().nodes.keys().map(|id| id.raw()).collect();
        assert_eq!(ids, [4, 9]);
    }
}
