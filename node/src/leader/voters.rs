//! Keeps the consensus group in step with the members: who follows, who votes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use swarm_model::id::NodeId;
use swarm_model::node::{Node, Reachability, Role};
use swarm_model::view::View;
use swarm_raft::membership::{Candidate, REPLACE_AFTER, choose_voters};
use swarm_raft::{MAX_LEARNERS, Readmission, Status};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::core::Core;

/// Pause after a change that did not come about.
const RETRY: Duration = Duration::from_millis(500);
/// How long a node that could not be made a follower is left alone.
const FOLLOW_AGAIN: Duration = Duration::from_secs(5);
/// A follower that is further behind gets no vote yet, in records: it would count for the majority
/// without adding to it.
const CAUGHT_UP: u64 = 4096;
/// How often it is looked whether a follower has caught up.
const LOOK: Duration = Duration::from_millis(50);
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
    /// A removed node that the group still knows, or a worker that makes room.
    Drop(NodeId),
}

/// A node that lost its replica asks to be taken out of the group, so that it can be fed anew. Here,
/// because one hand alone changes the group.
#[derive(Debug)]
pub(crate) struct Plea {
    /// The node.
    pub(crate) node: NodeId,
    /// Hears what shows that it was taken out.
    pub(crate) answer: oneshot::Sender<Result<Readmission, swarm_raft::Error>>,
}

/// Adapts the group until the term ends.
pub(super) async fn run(core: &Core, mut pleas: mpsc::Receiver<Plea>) {
    let mut views = core.consensus.views();
    let mut status = core.consensus.status();
    let mut refused = BTreeMap::new();
    let (mut plea, mut tried) = (None, None);
    loop {
        if let Some(plea) = plea.take().or_else(|| pleas.try_recv().ok()) {
            expel(core, plea).await;
            continue;
        }
        let view = views.borrow_and_update().clone();
        let mut group = status.borrow_and_update().clone();
        group.lag = core.consensus.status_now().lag;
        refused.retain(|_, until| *until > Instant::now());
        let left_alone = refused.keys().copied().collect();
        let step = next_step(core.id, &view, &group, &left_alone, core.clock.now());
        if let Some(step) = step {
            let again = tried.as_ref() == Some(&step);
            if !again {
                tracing::info!(?step, "changing the consensus group");
            }
            match (take(core, &view, &step).await, &step) {
                (Ok(()), _) => {}
                // It must not be in the way of who votes and who goes.
                (Err(error), Step::Follow(node)) => {
                    tracing::info!(node_id = %node, %error, "not made a follower for now");
                    refused.insert(*node, Instant::now() + FOLLOW_AGAIN);
                }
                (Err(error), Step::Vote(_) | Step::HandOver | Step::Drop(_)) => {
                    if !again {
                        tracing::info!(?step, %error, "the consensus group stays as it is for now");
                    }
                    tokio::time::sleep(RETRY).await;
                }
            }
            tried = Some(step);
            continue;
        }
        tried = None;
        tokio::select! {
            next = pleas.recv() => {
                if next.is_none() { return }
                plea = next;
            }
            () = tokio::time::sleep(LOOK), if someone_catches_up(&view, &group) => {}
            () = tokio::time::sleep(FOLLOW_AGAIN), if !refused.is_empty() => {}
            changed = views.wait_for(|new| concerns_voters(new, &view)) => {
                if changed.is_err() { return }
            }
            changed = status.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(REPLACE_AFTER), if someone_is_gone(&view) => {}
        }
    }
}

/// Answers a plea; whoever asked may have given up meanwhile and asks again.
async fn expel(core: &Core, plea: Plea) {
    let expelled = core.consensus.expel(plea.node).await;
    if let Err(error) = &expelled {
        tracing::info!(node_id = %plea.node, %error, "not taken in anew yet");
    }
    drop(plea.answer.send(expelled));
}

fn is_caught_up(group: &Status, node: NodeId) -> bool {
    group.lag.get(&node).is_some_and(|lag| *lag <= CAUGHT_UP)
}

/// Whether a manager follows that may get a vote when it has caught up.
fn someone_catches_up(view: &View, group: &Status) -> bool {
    let managers = view.nodes.values().filter(|node| node.spec.role == Role::Manager);
    let mut following = managers.filter(|node| group.learners.contains(&node.id));
    following.any(|node| !is_caught_up(group, node.id))
}

fn someone_is_gone(view: &View) -> bool {
    view.nodes.values().any(|node| node.status.reachability == Reachability::Down)
}

fn concerns_voters(new: &View, old: &View) -> bool {
    !new.nodes.ptr_eq(&old.nodes) || max_voters(new) != max_voters(old)
}

fn max_voters(view: &View) -> usize {
    let most = view.cluster.as_ref().map_or(1, |cluster| cluster.spec.max_voters);
    usize::try_from(most).unwrap_or(1)
}

/// What to do next, if anything. Pure.
fn next_step(
    me: NodeId,
    view: &View,
    group: &Status,
    left_alone: &BTreeSet<NodeId>,
    now: swarm_model::units::Timestamp,
) -> Option<Step> {
    if group.joint {
        return None;
    }
    let known: BTreeSet<NodeId> = group.voters.union(&group.learners).copied().collect();
    let gone = known.iter().find(|id| **id != me && view.removed_nodes.contains(*id));
    if let Some(step) = next_follower(view, group, &known, left_alone) {
        return Some(step);
    }
    let candidates: Vec<_> = view
        .nodes
        .values()
        .filter(|node| group.voters.contains(&node.id) || is_caught_up(group, node.id))
        .map(|node| Candidate {
            node: node.id,
            role: node.spec.role,
            reachable: node.id == me || node.status.reachability == Reachability::Ready,
            zone: node.spec.labels.get(ZONE).cloned(),
            is_voter: group.voters.contains(&node.id),
            unreachable_for: now.since(node.status.since),
        })
        .collect();
    let most = max_voters(view);
    let voters = without_shrinking(view, group, most, choose_voters(&candidates, most));
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

/// Who follows next: managers first, because they may vote. Where there is no room for one, a worker
/// that follows makes it.
fn next_follower(
    view: &View,
    group: &Status,
    known: &BTreeSet<NodeId>,
    left_alone: &BTreeSet<NodeId>,
) -> Option<Step> {
    let is_worker = |node: &Node| node.spec.role == Role::Worker;
    let nodes = view.nodes.values();
    let strangers =
        nodes.filter(|node| !known.contains(&node.id) && !left_alone.contains(&node.id));
    let stranger = strangers.min_by_key(|node| (is_worker(node), node.id))?;
    if group.learners.len() < MAX_LEARNERS {
        return Some(Step::Follow(stranger.id));
    }
    let follows = |id: &NodeId| view.nodes.get(id).is_some_and(|node| is_worker(node));
    let worker = group.learners.iter().find(|id| follows(id)).filter(|_| !is_worker(stranger));
    worker.map(|id| Step::Drop(*id))
}

/// `chosen`, unless only its odd number makes it smaller than the voters there are, while a manager is
/// on its way that makes more of them: until then a vote less would be a copy less of what is
/// acknowledged.
fn without_shrinking(
    view: &View,
    group: &Status,
    most: usize,
    chosen: BTreeSet<NodeId>,
) -> BTreeSet<NodeId> {
    let managers = view.nodes.values().filter(|node| node.spec.role == Role::Manager);
    let managers: BTreeSet<NodeId> = managers.map(|node| node.id).collect();
    let staying: BTreeSet<NodeId> = group.voters.intersection(&managers).copied().collect();
    let on_the_way = staying.len() < managers.len().min(most);
    let only_fewer = chosen.len() < staying.len() && chosen.is_subset(&staying);
    if on_the_way && only_fewer && managers.len() > 2 { staying } else { chosen }
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
            let to = successor(core, |_| true);
            core.consensus.transfer_leadership(to).await
        }
        Step::Drop(node) => core.consensus.remove(*node).await,
    }
}

/// A manager that could lead instead of this node: a voter, heard from and `fit`, the least behind.
pub(crate) fn successor(core: &Core, fit: impl Fn(NodeId) -> bool) -> Option<NodeId> {
    let Status { voters, lag, .. } = core.consensus.status_now();
    let view = core.consensus.view();
    view.nodes
        .values()
        .filter(|node| node.id != core.id && voters.contains(&node.id))
        .filter(|node| node.spec.role == Role::Manager)
        .filter(|node| node.status.reachability == Reachability::Ready && fit(node.id))
        .min_by_key(|node| lag.get(&node.id).copied().unwrap_or(u64::MAX))
        .map(|node| node.id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use swarm_model::id::Incarnation;
    use swarm_model::meta::{Meta, Revision, Term};
    use swarm_model::node::{Availability, NodeDescription, NodeSpec, NodeStatus};
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
            lag: learners.iter().map(|id| (NodeId::from_raw(*id), 0)).collect(),
            quorum_acked: None,
            fault: None,
        }
    }

    #[test]
    fn the_group_follows_the_members_step_by_step() {
        let check = |nodes, removed: &[u128], voters: &[u128], learners: &[u128], expect| {
            let group = group(voters, learners, false);
            let nobody = BTreeSet::new();
            let view = view(nodes, removed);
            let step = next_step(NodeId::from_raw(1), &view, &group, &nobody, NOW);
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
        let (group, nobody) = (group(&[1], &[], true), BTreeSet::new());
        assert_eq!(next_step(NodeId::from_raw(1), &view, &group, &nobody, NOW), None);
    }

    #[test]
    fn node_that_cannot_be_made_a_follower_holds_up_nobody_else() {
        let me = NodeId::from_raw(1);
        let step = |group: &Status, removed: &[u128]| {
            next_step(me, &view("1m 2m 3m 4m", removed), group, &ids(&[4]), NOW)
        };
        assert_eq!(step(&group(&[1], &[2, 3], false), &[]), Some(Step::Vote(ids(&[1, 2, 3]))));
        let full = group(&[1, 2, 3], &[9], false);
        assert_eq!(step(&full, &[9]), Some(Step::Drop(NodeId::from_raw(9))));
    }

    #[test]
    fn follower_gets_a_vote_only_when_it_has_caught_up() {
        let (me, nobody) = (NodeId::from_raw(1), BTreeSet::new());
        let mut group = group(&[1], &[2, 3], false);
        let view = view("1m 2m 3m", &[]);
        let behind = NodeId::from_raw(3);
        for lag in [None, Some(CAUGHT_UP + 1)] {
            group.lag.remove(&behind);
            group.lag.extend(lag.map(|lag| (behind, lag)));
            assert_eq!(next_step(me, &view, &group, &nobody, NOW), None, "{lag:?}");
            assert!(someone_catches_up(&view, &group));
        }
        group.lag.insert(behind, CAUGHT_UP);
        let step = next_step(me, &view, &group, &nobody, NOW);
        assert_eq!(step, Some(Step::Vote(ids(&[1, 2, 3]))));
    }

    #[test]
    fn nobody_loses_a_vote_while_a_manager_comes_back() {
        let (me, nobody) = (NodeId::from_raw(1), BTreeSet::new());
        let check = |nodes, voters: &[u128], caught_up: bool, expect| {
            let mut group = group(voters, &[3], false);
            if !caught_up {
                group.lag.clear();
            }
            assert_eq!(next_step(me, &view(nodes, &[]), &group, &nobody, NOW), expect, "{nodes}");
        };
        check("1m 2m 3m", &[1, 2], false, None);
        check("1m 2m 3m-40", &[1, 2], true, None);
        check("1m 2m 3m", &[1, 2], true, Some(Step::Vote(ids(&[1, 2, 3]))));
        // A worker is nobody to wait for.
        check("1m 2m 3w", &[1, 2], true, Some(Step::Vote(ids(&[1]))));
    }

    #[test]
    fn more_followers_than_the_group_takes_do_not_hold_up_its_voters() {
        let nodes: String = (1..=40).map(|id| format!("{id}m ")).collect();
        let learners: Vec<u128> = (2..=33).collect();
        let (group, nobody) = (group(&[1], &learners, false), BTreeSet::new());
        let step = next_step(NodeId::from_raw(1), &view(&nodes, &[]), &group, &nobody, NOW);
        assert_eq!(step, Some(Step::Vote(ids(&[1, 2, 3, 4, 5]))));
    }

    #[test]
    fn manager_that_comes_back_follows_before_the_workers_and_in_their_place() {
        let workers: String = (2..=39).map(|id| format!("{id}w ")).collect();
        let (view, nobody) = (view(&format!("1m 40m {workers}"), &[]), BTreeSet::new());
        let step = |learners: &[u128]| {
            next_step(NodeId::from_raw(1), &view, &group(&[1], learners, false), &nobody, NOW)
        };
        let (full, manager) = ((2..=33).collect::<Vec<u128>>(), NodeId::from_raw(40));
        assert_eq!(step(&[]), Some(Step::Follow(manager)));
        assert_eq!(step(&full), Some(Step::Drop(NodeId::from_raw(2))));
        assert_eq!(step(&full[1..]), Some(Step::Follow(manager)));
        // Workers do not make room for workers.
        assert_eq!(step(&[&full[1..], &[40]].concat()), None);
    }
}
