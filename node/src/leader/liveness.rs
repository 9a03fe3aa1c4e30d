//! Turns gossip's hints into the record: which nodes are heard from, and what their tasks do.

use std::collections::BTreeMap;
use std::time::Duration;

use swarm_model::command::{Op, StatusReport};
use swarm_model::id::NodeId;
use swarm_model::node::{Node, Reachability};
use swarm_model::task::TaskStatus;
use swarm_net::frame;
use swarm_net::gossip::{Liveness, MemberInfo, MemberView, StatusKey};
use tokio::time::Instant;

use super::Leadership;
use crate::core::Core;

/// A new leader gives nodes that it has never heard of this long before it counts them as down.
const FIRST_WORD: Duration = Duration::from_secs(3);
/// How often to look again although gossip is quiet.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Watches the nodes until the term ends.
pub(super) async fn run(core: &Core, leadership: &Leadership) {
    tokio::join!(nodes(core), statuses(core, leadership));
}

async fn nodes(core: &Core) {
    let since = Instant::now();
    let mut members = core.gossip.members();
    let mut views = core.consensus.views();
    loop {
        let heard = members.borrow_and_update().clone();
        let view = views.borrow_and_update().clone();
        let mut waiting = false;
        for node in view.nodes.values().filter(|node| node.id != core.id) {
            match verdict(node, &heard, since.elapsed()) {
                Verdict::Same => {}
                Verdict::Wait => waiting = true,
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

enum Verdict {
    Same,
    Wait,
    Set(Reachability, &'static str),
}

/// What gossip's word about `node` means for the record. Pure.
fn verdict(node: &Node, heard: &MemberView, leading_for: Duration) -> Verdict {
    let alive = |info: &MemberInfo| info.incarnation == node.status.incarnation;
    match (heard.get(&node.id), node.status.reachability) {
        (Some(info), Reachability::Down | Reachability::Unknown)
            if info.liveness == Liveness::Alive && alive(info) =>
        {
            Verdict::Set(Reachability::Ready, "")
        }
        (Some(info), Reachability::Ready | Reachability::Unknown)
            if info.liveness == Liveness::Down =>
        {
            Verdict::Set(Reachability::Down, "heartbeat failure: gossip does not hear it")
        }
        (None, Reachability::Ready) if leading_for >= FIRST_WORD => {
            Verdict::Set(Reachability::Down, "not heard of since the leader changed")
        }
        (None, Reachability::Ready) => Verdict::Wait,
        (Some(_) | None, Reachability::Unknown | Reachability::Ready | Reachability::Down) => {
            Verdict::Same
        }
    }
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
                if status.state > task.status.state && !task.status.state.is_terminal() {
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
