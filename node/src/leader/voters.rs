//! Keeps the consensus group in step with the members: who follows, who votes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use swarm_model::id::NodeId;
use swarm_model::node::{Reachability, Role};
use swarm_model::view::View;
use swarm_raft::Status;
use swarm_raft::membership::{Candidate, REPLACE_AFTER, choose_voters};

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
    loop {
        let view = views.borrow_and_update().clone();
        let group = status.borrow_and_update().clone();
        if let Some(step) = next_step(core.id, &view, &group, core.clock.now()) {
            if let Err(error) = take(core, &view, &step).await {
                tracing::info!(?step, %error, "the consensus group stays as it is for now");
                tokio::time::sleep(RETRY).await;
            }
            continue;
        }
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
    if let Some(stranger) = view.nodes.keys().find(|id| !known.contains(id)) {
        return Some(Step::Follow(*stranger));
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
    // Hand over while there is somebody to hand over to; the last of the old voters votes itself out.
    let stays = voters.contains(&me) || voters.is_disjoint(&group.voters);
    if stays { Some(Step::Vote(voters)) } else { Some(Step::HandOver) }
}

async fn take(core: &Core, view: &View, step: &Step) -> Result<(), swarm_raft::Error> {
    tracing::info!(?step, "changing the consensus group");
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
