//! Turns gossip's hints into the record: which nodes are heard from, and what their tasks do.

use std::collections::BTreeMap;
use std::time::Duration;

use swarm_model::command::{Op, StatusReport};
use swarm_model::id::{Incarnation, NodeId};
use swarm_model::node::{Node, Reachability};
use swarm_model::task::TaskStatus;
use swarm_net::frame;
use swarm_net::gossip::{Liveness, MemberInfo, MemberView, StatusKey};
use tokio::time::Instant;

use super::Leadership;
use crate::core::Core;

/// A new leader gives nodes that it has never heard of this long before it counts them as down.
const FIRST_WORD: Duration = Duration::from_secs(3);
/// The newest proof of a majority that a leader needs to call another node down: some heartbeats.
const MAJORITY_PROVED: Duration = Duration::from_secs(2);
/// How often to look again although gossip is quiet.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Watches the nodes until the term ends.
pub(super) async fn run(core: &Core, leadership: &Leadership) {
    tokio::join!(nodes(core), statuses(core, leadership));
}

async fn nodes(core: &Core) {
    // What the record says of each node, and since when, as this leader saw it.
    let mut recorded: BTreeMap<NodeId, (Incarnation, Reachability, Instant)> = BTreeMap::new();
    let mut members = core.gossip.members();
    let mut views = core.consensus.views();
    loop {
        let heard = members.borrow_and_update().clone();
        let view = views.borrow_and_update().clone();
        let mut waiting = false;
        recorded.retain(|id, _| view.nodes.contains_key(id));
        for node in view.nodes.values() {
            if node.id == core.id {
                if belied(node, core.incarnation) {
                    propose(core, node, Reachability::Ready, "").await;
                }
                continue;
            }
            let (life, state) = (node.status.incarnation, node.status.reachability);
            let entry = recorded.entry(node.id).or_insert((life, state, Instant::now()));
            if (entry.0, entry.1) != (life, state) {
                *entry = (life, state, Instant::now());
            }
            match verdict(node, &heard, entry.2.elapsed()) {
                Verdict::Same => {}
                Verdict::Wait => waiting = true,
                Verdict::Set(Reachability::Down, _) if !may_condemn(core, &heard) => waiting = true,
                Verdict::Set(reachability, message) => {
                    propose(core, node, reachability, message).await;
                }
            }
        }
        let quiet = async {
            if waiting {
                tokio::time::sleep(LOOK_AGAIN).await
            } else {
                std::future::pending().await
            }
        };
        tokio::select! {
            changed = members.changed() => if changed.is_err() { return },
            changed = node_changed(&mut views, &view) => if !changed { return },
            () = quiet => {}
        }
    }
}

/// Waits for a view whose nodes differ from those of `old`.
async fn node_changed(
    views: &mut tokio::sync::watch::Receiver<std::sync::Arc<swarm_model::view::View>>,
    old: &swarm_model::view::View,
) -> bool {
    views.wait_for(|view| !view.nodes.ptr_eq(&old.nodes)).await.is_ok()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Same,
    Wait,
    Set(Reachability, &'static str),
}

/// What gossip's word about `node` means for the record. Pure.
///
/// `settled`: for how long this leader has seen the record say the same. What gossip says of
/// another life of the node, or does not say, may be behind the record until then.
fn verdict(node: &Node, heard: &MemberView, settled: Duration) -> Verdict {
    let same_life = |info: &MemberInfo| info.incarnation == node.status.incarnation;
    match (heard.get(&node.id), node.status.reachability) {
        (Some(info), Reachability::Down | Reachability::Unknown)
            if info.liveness == Liveness::Alive && same_life(info) =>
        {
            Verdict::Set(Reachability::Ready, "")
        }
        (Some(info), Reachability::Ready | Reachability::Unknown)
            if info.liveness == Liveness::Down && (same_life(info) || settled >= FIRST_WORD) =>
        {
            Verdict::Set(Reachability::Down, "heartbeat failure: gossip does not hear it")
        }
        (Some(info), Reachability::Ready) if info.liveness == Liveness::Down => Verdict::Wait,
        (None, Reachability::Ready) if settled >= FIRST_WORD => {
            Verdict::Set(Reachability::Down, "not heard of since the leader changed")
        }
        (None, Reachability::Ready) => Verdict::Wait,
        (Some(_) | None, Reachability::Unknown | Reachability::Ready | Reachability::Down) => {
            Verdict::Same
        }
    }
}

/// Whether the record says of this node, which leads, that it is not heard from: a former leader's
/// word, agreed on only after this one's agent was introduced. Pure.
fn belied(own: &Node, life: Incarnation) -> bool {
    own.status.incarnation == life && own.status.reachability != Reachability::Ready
}

/// Whether this leader's gossip may call anybody down now. A leader that is cut off hears nobody: what
/// it proposes then is agreed on the moment its links are back, before gossip hears the others again.
fn may_condemn(core: &Core, heard: &MemberView) -> bool {
    let status = core.consensus.status_now();
    let heard_for = |id: &NodeId| {
        let alive = heard.get(id).filter(|info| info.liveness == Liveness::Alive);
        alive.map(|info| info.since.elapsed())
    };
    let others = status.voters.iter().filter(|id| **id != core.id).map(heard_for);
    is_majority(others, status.quorum_acked)
}

/// Whether, beside this voter, so many of the `others` have been heard for long enough that they are
/// a majority, and answered its consensus of late. Pure.
fn is_majority(
    others: impl Iterator<Item = Option<Duration>>,
    quorum_acked: Option<Duration>,
) -> bool {
    let (mut voters, mut hearing) = (1, 1);
    for heard_for in others {
        voters += 1;
        hearing += usize::from(heard_for.is_some_and(|time| time >= FIRST_WORD));
    }
    let proved = quorum_acked.is_some_and(|ago| ago <= MAJORITY_PROVED);
    voters == 1 || proved && 2 * hearing > voters
}

async fn propose(core: &Core, node: &Node, reachability: Reachability, message: &str) {
    tracing::info!(node_id = %node.id, %reachability, message, "a node's reachability changed");
    let op = Op::SetReachability {
        id: node.id,
        incarnation: node.status.incarnation,
        reachability,
        message: message.to_owned(),
    };
    if let Err(error) = core.consensus.propose(&core.own_command(op)).await {
        tracing::warn!(node_id = %node.id, %error, "reachability not recorded");
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// Statuses that reached gossip but no session: the record learns of them all the same.
async fn statuses(core: &Core, leadership: &Leadership) {
    let mut statuses = core.gossip.statuses();
    loop {
        let changed = statuses.changed().await;
        let view = core.consensus.view();
        let mut news: BTreeMap<NodeId, Vec<StatusReport>> = BTreeMap::new();
        for (node, map) in changed {
            for (key, value) in map.iter() {
                let StatusKey::Task(id) = key else { continue };
                let Some(task) = view.tasks.get(id).filter(|task| task.node == Some(node)) else {
                    continue;
                };
                let Ok(status) = frame::decode::<TaskStatus>(value) else { continue };
                let forward = status.state > task.status.state && !task.status.state.is_terminal();
                if forward && status.validate().is_ok() {
                    news.entry(node).or_default().push(StatusReport { task: *id, status });
                }
            }
        }
        for item in news {
            if leadership.reports.send(item).await.is_err() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use swarm_model::meta::Meta;
    use swarm_model::node::{Availability, NodeDescription, NodeSpec, NodeStatus, Role};

    const LIFE: u128 = 7;

    fn node(reachability: Reachability) -> Node {
        Node {
            id: NodeId::from_raw(1),
            meta: Meta::default(),
            spec: NodeSpec {
                role: Role::Worker,
                availability: Availability::Active,
                labels: BTreeMap::new(),
            },
            description: NodeDescription::default(),
            status: NodeStatus {
                reachability,
                incarnation: Incarnation::from_raw(LIFE),
                ..NodeStatus::default()
            },
            drain: None,
        }
    }

    fn heard(said: Option<(Liveness, u128)>) -> MemberView {
        let info = |(liveness, life)| MemberInfo {
            addr: "127.0.0.1:1".parse().expect("valid"),
            incarnation: Incarnation::from_raw(life),
            liveness,
            since: Instant::now(),
        };
        said.map(|said| (NodeId::from_raw(1), info(said)))
            .into_iter()
            .collect::<BTreeMap<_, _>>()
            .into()
    }

    #[test]
    fn only_who_hears_a_majority_and_has_for_a_while_calls_others_down() {
        let check = |others: &[Option<u64>], acked: Option<u64>, expect: bool| {
            let others = others.iter().map(|time| time.map(Duration::from_secs));
            let got = is_majority(others.clone(), acked.map(Duration::from_secs));
            assert_eq!(got, expect, "{:?} {acked:?}", others.collect::<Vec<_>>());
        };
        check(&[Some(60), None], Some(0), true);
        check(&[Some(60), Some(60), None, None], Some(0), true);
        // Cut off: nobody is heard, or not yet called down but silent.
        check(&[None, None], Some(0), false);
        check(&[Some(60), Some(60)], Some(3), false);
        check(&[Some(60), Some(60)], None, false);
        // Back: consensus was faster than gossip.
        check(&[Some(1), None], Some(0), false);
        check(&[Some(1), Some(1)], Some(0), false);
        check(&[Some(3), None], Some(0), true);
        // Alone it is the majority.
        check(&[], None, true);
    }

    #[tokio::test(start_paused = true)]
    async fn gossip_changes_the_record_only_when_it_is_not_behind_it() {
        use Liveness::{Alive, Down as Gone, Suspect};
        use Reachability::{Down, Ready, Unknown};
        let check = |said, record, settled_s, expect: &str| {
            let verdict = verdict(&node(record), &heard(said), Duration::from_secs(settled_s));
            let got = match verdict {
                Verdict::Same => "same",
                Verdict::Wait => "wait",
                Verdict::Set(Ready, _) => "ready",
                Verdict::Set(Down, _) => "down",
                Verdict::Set(Unknown, _) => "unknown",
            };
            assert_eq!(got, expect, "{said:?} {record} {settled_s}");
        };
        check(Some((Alive, LIFE)), Ready, 9, "same");
        check(Some((Suspect, LIFE)), Ready, 9, "same");
        check(Some((Gone, LIFE)), Ready, 0, "down");
        check(Some((Gone, LIFE)), Down, 9, "same");
        check(Some((Alive, LIFE)), Down, 0, "ready");
        check(Some((Alive, LIFE)), Unknown, 0, "ready");
        // Alive in a life that has not introduced itself yet: its session will say so.
        check(Some((Alive, 8)), Down, 9, "same");
        // It has just come back, and gossip still speaks of its former life.
        check(Some((Gone, 8)), Ready, 0, "wait");
        check(Some((Gone, 8)), Ready, 3, "down");
        // Not heard of: a new leader, or a node that has just joined, gets some time.
        check(None, Ready, 0, "wait");
        check(None, Ready, 3, "down");
        check(None, Down, 9, "same");
        check(None, Unknown, 9, "same");
    }

    #[test]
    fn leader_is_heard_from_whatever_its_predecessor_said() {
        let life = Incarnation::from_raw(LIFE);
        assert!(belied(&node(Reachability::Down), life));
        assert!(belied(&node(Reachability::Unknown), life));
        assert!(!belied(&node(Reachability::Ready), life));
        // Its agent has yet to introduce this life, and says so then.
        assert!(!belied(&node(Reachability::Down), Incarnation::from_raw(8)));
    }
}
