//! Keeps the consensus group in step with the members: who follows, who votes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use swarm_model::id::NodeId;
use swarm_model::node::{Reachability, Role};
use swarm_model::view::View;
use swarm_raft::membership::{Candidate, REPLACE_AFTER, choose_voters};
use swarm_raft::{MAX_LEARNERS, Status};

use crate::core::Core;

/// Pause after a change that did not come about.
const RETRY: Duration = Duration::from_millis(500);
/// The label that names a node's failure domain.
const ZONE: &str = "zone";

/// One step towards the group that should be.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// A member that the group does not know yet.
    Follow(NodeId),
    /// The voters that should be.
    Vote(BTreeSet<NodeId>),
    /// This node should not vote any more, so it must not lead.
    HandOver,
    /// A removed node that the group still knows.
    Drop(NodeId),
}

/// Adapts the group until the term ends.
pub(super) async fn run(core: &Core) {
    let mut views = core.consensus.views();
    let mut status = core.consensus.status();
    let mut tried = None;
    loop {
        let view = views.borrow_and_update().clone();
        let group = status.borrow_and_update().clone();
        if let Some(step) = next_step(core.id, &view, &group, core.clock.now()) {
            let again = tried.as_ref() == Some(&step);
            if !again {
                tracing::info!(?step, "changing the consensus group");
            }
            if let Err(error) = take(core, &view, &step).await {
                if !again {
                    tracing::info!(?step, %error, "the consensus group stays as it is for now");
                }
                tokio::time::sleep(RETRY).await;
            }
            tried = Some(step);
            continue;
        }
        tried = None;
        tokio::select! {
            changed = views.wait_for(|new| !new.nodes.ptr_eq(&view.nodes)) => {
                if changed.is_err() { return }
            }
            changed = status.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(REPLACE_AFTER), if someone_is_gone(&view) => {}
        }
    }
}

fn someone_is_gone(view: &View) -> bool {
    view.nodes.values().any(|node| node.status.reachability == Reachability::Down)
}

/// What to do next, if anything. Pure.
fn next_step(
    me: NodeId,
    view: &View,
    group: &Status,
    now: swarm_model::units::Timestamp,
) -> Option<Step> {
    if group.joint {
        return None;
    }
    let known: BTreeSet<NodeId> = group.voters.union(&group.learners).copied().collect();
    let gone = known.iter().find(|id| **id != me && view.removed_nodes.contains(*id));
    let strangers = view.nodes.keys().filter(|id| !known.contains(id));
    if group.learners.len() < MAX_LEARNERS
        && let Some(stranger) = strangers.copied().next()
    {
        return Some(Step::Follow(stranger));
    }
    let candidates: Vec<_> = view
        .nodes
        .values()
        .map(|node| Candidate {
            node: node.id,
            role: node.spec.role,
            reachable: node.id == me || node.status.reachability == Reachability::Ready,
            zone: node.spec.labels.get(ZONE).cloned(),
            is_voter: group.voters.contains(&node.id),
            unreachable_for: now.since(node.status.since),
        })
        .collect();
    let most = view.cluster.as_ref().map_or(1, |cluster| cluster.spec.max_voters);
    let voters = choose_voters(&candidates, usize::try_from(most).unwrap_or(1));
    if voters.is_empty() || voters == group.voters {
        return gone.map(|id| Step::Drop(*id));
    }
    if voters.contains(&me) {
        return Some(Step::Vote(voters));
    }
    // Only a voter can take over the lead: without one the new voters come in beside this node first.
    if voters.is_disjoint(&group.voters) {
        return Some(Step::Vote(voters.into_iter().chain([me]).collect()));
    }
    Some(Step::HandOver)
}

async fn take(core: &Core, view: &View, step: &Step) -> Result<(), swarm_raft::Error> {
    match step {
        Step::Follow(node) => {
            let addr = view.nodes.get(node).and_then(|node| node.status.addr.parse().ok());
            if let Some(addr) = addr {
                core.transport.set_address(*node, addr);
            }
            core.consensus.add_learner(*node, addr).await
        }
        Step::Vote(voters) => core.consensus.set_voters(voters.clone()).await,
        Step::HandOver => {
            let to = successor(core, view);
            core.consensus.transfer_leadership(to).await
        }
        Step::Drop(node) => core.consensus.remove(*node).await,
    }
}

/// A manager that could lead instead of this node: one that votes already, or will.
fn successor(core: &Core, view: &View) -> Option<NodeId> {
    let voters = core.consensus.status_now().voters;
    let lag: BTreeMap<NodeId, u64> = core.consensus.status_now().lag;
    view.nodes
        .values()
        .filter(|node| node.id != core.id && voters.contains(&node.id))
        .filter(|node| node.spec.role == Role::Manager)
        .filter(|node| node.status.reachability == Reachability::Ready)
        .min_by_key(|node| lag.get(&node.id).copied().unwrap_or(u64::MAX))
        .map(|node| node.id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use swarm_model::id::Incarnation;
    use swarm_model::meta::{Meta, Revision, Term};
    use swarm_model::node::{Availability, Node, NodeDescription, NodeSpec, NodeStatus};
    use swarm_model::units::Timestamp;
    use swarm_raft::Part;

    const NOW: Timestamp = Timestamp::from_millis(100_000);

    fn ids(raw: &[u128]) -> BTreeSet<NodeId> {
        raw.iter().copied().map(NodeId::from_raw).collect()
    }

    /// A node by a word: `1m` a manager, `2w` a worker, `3m-40` a manager that is down for 40 s.
    fn view(nodes: &str, removed: &[u128]) -> View {
        let mut view = View::default();
        for word in nodes.split_whitespace() {
            let (name, down) = word.split_once('-').unwrap_or((word, ""));
            let (id, role) = name.split_at(name.len() - 1);
            let id = NodeId::from_raw(id.parse().expect("a number"));
            let down: Option<u64> = down.parse().ok();
            let node = Node {
                id,
                meta: Meta::default(),
                spec: NodeSpec {
                    role: if role == "m" { Role::Manager } else { Role::Worker },
                    availability: Availability::Active,
                    labels: BTreeMap::new(),
                },
                description: NodeDescription::default(),
                status: NodeStatus {
                    reachability: down.map_or(Reachability::Ready, |_| Reachability::Down),
                    since: Timestamp::from_millis(100_000 - 1000 * down.unwrap_or(0)),
                    incarnation: Incarnation::from_raw(1),
                    ..NodeStatus::default()
                },
                drain: None,
            };
            view.nodes.insert(id, Arc::new(node));
        }
        view.removed_nodes = ids(removed).into_iter().collect();
        view.cluster = Some(Arc::new(swarm_model::cluster::Cluster {
            id: swarm_model::id::ClusterId::from_raw(1),
            meta: Meta::default(),
            spec: swarm_model::cluster::ClusterSpec::default(),
            ca_certificate: Vec::new(),
            tokens: Default::default(),
            limited_tokens: BTreeMap::new(),
            epoch: Default::default(),
            left_out: BTreeMap::new(),
        }));
        view
    }

    fn group(voters: &[u128], learners: &[u128], joint: bool) -> Status {
        Status {
            part: Part::Leader,
            term: Term(1),
            leader: Some(NodeId::from_raw(1)),
            last_log: Revision(1),
            applied: Revision(1),
            snapshot: None,
            voters: ids(voters),
            learners: ids(learners),
            joint,
            lag: BTreeMap::new(),
            quorum_acked: None,
            fault: None,
        }
    }

    #[test]
    fn the_group_follows_the_members_step_by_step() {
        let check = |nodes, removed: &[u128], voters: &[u128], learners: &[u128], expect| {
            let group = group(voters, learners, false);
            let step = next_step(NodeId::from_raw(1), &view(nodes, removed), &group, NOW);
            assert_eq!(step, expect, "{nodes} {voters:?} {learners:?}");
        };
        let follow = |id| Some(Step::Follow(NodeId::from_raw(id)));
        let vote = |raw: &[u128]| Some(Step::Vote(ids(raw)));
        let drop = |id| Some(Step::Drop(NodeId::from_raw(id)));
        check("1m", &[], &[1], &[], None);
        check("1m 2w", &[], &[1], &[], follow(2));
        check("1m 2w", &[], &[1], &[2], None);
        // One vote more would survive no more.
        check("1m 2m", &[], &[1], &[2], None);
        check("1m 2m 3m", &[], &[1], &[2], follow(3));
        check("1m 2m 3m", &[], &[1], &[2, 3], vote(&[1, 2, 3]));
        // A voter that is gone is replaced when it is gone for long and somebody can take over.
        check("1m 2m 3m-40", &[], &[1, 2, 3], &[], None);
        check("1m 2m 3m-20 4m", &[], &[1, 2, 3], &[4], None);
        check("1m 2m 3m-40 4m", &[], &[1, 2, 3], &[4], vote(&[1, 2, 4]));
        check("1m 2m", &[3], &[1, 2, 3], &[], vote(&[1]));
        check("1m 2m", &[3], &[1], &[2, 3], drop(3));
        // A demoted leader hands over to a voter; where there is none, one is made first.
        check("1w 2m 3m 4m", &[], &[1, 2, 3], &[4], Some(Step::HandOver));
        check("1w 2m", &[], &[1], &[2], vote(&[1, 2]));
        check("1w 2m", &[], &[1, 2], &[], Some(Step::HandOver));
    }

    #[test]
    fn nothing_is_begun_while_a_change_is_under_way() {
        let view = view("1m 2w", &[]);
        assert_eq!(next_step(NodeId::from_raw(1), &view, &group(&[1], &[], true), NOW), None);
    }

    #[test]
    fn more_followers_than_the_group_takes_do_not_hold_up_its_voters() {
        let nodes: String = (1..=40).map(|id| format!("{id}m ")).collect();
        let learners: Vec<u128> = (2..=33).collect();
        let step =
            next_step(NodeId::from_raw(1), &view(&nodes, &[]), &group(&[1], &learners, false), NOW);
        assert_eq!(step, Some(Step::Vote(ids(&[1, 2, 3, 4, 5]))));
    }
}
