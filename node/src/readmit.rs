//! How a node takes part again after a start. One that is known to be itself goes on. One without a
//! trusted replica asks the leader to take it out of the consensus group, promises what the leader's
//! term asks of it, is fed as a learner again, and votes when it has what it had before.
//!
//! Until then it answers nobody about the group and votes for nobody; its tasks go on. Without a
//! majority of the others it waits. docs/design/recovery.md has the protocol and its argument.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::{FuturesUnordered, StreamExt};
use serde::{Deserialize, Serialize};
use swarm_model::id::{Incarnation, NodeId};
use swarm_net::frame;
use swarm_net::gossip::StatusKey;
use swarm_net::rpc::{Method, Refusal, RefusalCode};
use swarm_net::transport::{CallError, Peer};
use swarm_raft::{Error, Readmission};
use tokio::sync::oneshot;

use crate::config::Peers;
use crate::core::Core;
use crate::leader::Plea;
use crate::quarantine::Quarantine;
use crate::{boot, greet, quarantine};

/// One attempt: the leader changes the group twice meanwhile.
const ATTEMPT: Duration = Duration::from_secs(15);
/// Pause between two rounds.
const RETRY: Duration = Duration::from_millis(250);
/// A leader that was silent for so long is none.
const GONE: Duration = Duration::from_secs(3);
/// How long after the first answer a node waits for more voters before it asks to be taken in anew.
const STRANDED: Duration = Duration::from_secs(10);
/// How often it looks for more nodes to ask.
const LOOK_AROUND: Duration = Duration::from_secs(3);
/// The most that gossip is told of a reason, in bytes.
const REASON_MAX: usize = 400;

/// What the leader is asked.
#[derive(Debug, Serialize, Deserialize)]
struct Ask {
    incarnation: Incarnation,
    reason: String,
}

/// What the leader grants.
#[derive(Debug, Serialize, Deserialize)]
struct Grant {
    /// What shows that the asker was taken out.
    grounds: Readmission,
    /// The highest start of the asker that the leader knows of, this one aside.
    boot: u64,
}

/// Takes part again, as soon as that is safe.
pub(crate) async fn run(core: Arc<Core>, quarantine: Option<Quarantine>, peers: Peers) {
    let cancel = core.tasks.token();
    tokio::select! {
        () = cancel.cancelled() => {}
        begun = begin(&core, quarantine, &peers) => if let Err(error) = begun {
            tracing::error!(error, "this node's replica takes no part in the group");
        },
    }
}

async fn begin(core: &Core, quarantine: Option<Quarantine>, peers: &Peers) -> Result<(), String> {
    let grounds = match &quarantine {
        Some(quarantine) => {
            announce(core, &quarantine.reason);
            // Without a record it knows nobody who could say whether it is an old copy.
            let fed = !core.consensus.status_now().voters.is_empty();
            match quarantine.grounds().filter(|_| fed) {
                Some(grounds) => hello(core, peers, Some(grounds)).await,
                None => Some(come_back(core, &quarantine.reason, peers, true).await),
            }
        }
        None => hello(core, peers, None).await,
    };
    if let Some(grounds) = grounds {
        let why = format!("it is fed, and votes when it has record {}", grounds.record);
        core.quarantine.send_replace(Some(why));
        core.consensus.catch_up(grounds).await.map_err(|error| error.to_string())?;
        tracing::warn!(record = grounds.record.0, "this node has again what it had before");
    }
    // Without grounds, too: a grant may have come just before the voters answered.
    let dir = core.data_dir.clone();
    let lifted = core.work.run(move || quarantine::lift(&dir)).await;
    lifted.map_err(|error| error.to_string())?;
    core.gossip.retract(StatusKey::Quarantine);
    core.quarantine.send_replace(None);
    core.consensus.gate().open();
    Ok(())
}

fn announce(core: &Core, reason: &str) {
    let told: String = reason.chars().take(REASON_MAX).collect();
    if let Err(error) = core.gossip.publish(StatusKey::Quarantine, Bytes::from(told.into_bytes())) {
        tracing::debug!(%error, "the quarantine is not gossiped");
    }
}

/// Hears from the others that this life is its node's newest; or, where too many of those whom it
/// knows as voters are gone, has the leader take it in anew with the replica that it has. Gives what it
/// has to have before it votes.
async fn hello(core: &Core, peers: &Peers, known: Option<Readmission>) -> Option<Readmission> {
    if greet::until(core, peers, Some(STRANDED)).await {
        return known;
    }
    let reason = "most of the voters that this node knew do not answer";
    tokio::select! {
        _ = greet::until(core, peers, None) => known,
        grounds = come_back(core, reason, peers, false) => Some(grounds),
    }
}

/// Asks until it is taken in. `emptied`: whether its replica was replaced by an empty one.
async fn come_back(core: &Core, reason: &str, peers: &Peers, emptied: bool) -> Readmission {
    let ask = frame::encode(&Ask { incarnation: core.incarnation, reason: reason.to_owned() });
    let (mut asked, mut pleas) = (BTreeSet::new(), FuturesUnordered::new());
    loop {
        // All at once: one that is dead must not hold up the others.
        for peer in whom_to_ask(core, peers) {
            if asked.insert(peer) {
                pleas.push(plead(core, reason, peer, &ask));
            }
        }
        if asked.is_empty() {
            tell(core, reason, "this node knows no other one");
        }
        tokio::select! {
            Some((leader, grant)) = pleas.next() => {
                match accept(core, reason, leader, grant, emptied).await {
                    Ok(grounds) => return grounds,
                    Err(why) => tell(core, reason, &why),
                }
                asked.remove(&leader);
                tokio::time::sleep(RETRY).await;
            }
            () = tokio::time::sleep(LOOK_AROUND) => {}
        }
    }
}

/// Everybody who may know the leader.
fn whom_to_ask(core: &Core, peers: &Peers) -> BTreeSet<NodeId> {
    let members = core.gossip.members();
    let mut all: BTreeSet<NodeId> = members.borrow().keys().copied().collect();
    all.extend(peers.keys());
    all.remove(&core.id);
    all
}

/// Says why this node is still in quarantine.
fn tell(core: &Core, reason: &str, why: &str) {
    let text = format!("{reason}; {why}");
    let changed = core.quarantine.send_if_modified(|said| {
        let changed = said.as_ref() != Some(&text);
        *said = Some(text);
        changed
    });
    if changed {
        tracing::warn!(reason, why, "still in quarantine");
    }
}

/// Asks one other node until it leads and grants.
async fn plead(core: &Core, reason: &str, peer: NodeId, ask: &Bytes) -> (NodeId, Grant) {
    loop {
        match core.transport.call(peer, Method::Readmit, ask.clone(), ATTEMPT).await {
            Ok(answer) => match frame::decode(&answer) {
                Ok(grant) => return (peer, grant),
                Err(error) => tell(core, reason, &error.to_string()),
            },
            // Who points to another one, which is asked, too, has nothing to say.
            Err(CallError::Refused(refusal)) if !refusal.detail.is_empty() => {}
            Err(CallError::Refused(refusal)) => tell(core, reason, &refusal.message),
            Err(error) => tracing::debug!(%peer, %error, "asked in vain to be taken in"),
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// Promises what was granted, durably.
async fn accept(
    core: &Core,
    reason: &str,
    leader: NodeId,
    grant: Grant,
    emptied: bool,
) -> Result<Readmission, String> {
    let Grant { grounds, boot } = grant;
    if boot::counted(boot).is_some_and(|boot| boot >= core.incarnation.boot()) {
        // Under a number that others know already nobody could tell this life from an older one.
        let dir = core.data_dir.clone();
        let passed = core.work.run(move || boot::pass(&dir, boot)).await;
        passed.map_err(|error| error.to_string())?;
        if emptied {
            core.born_again.cancel();
        } else {
            quarantine::enter(core, "the data directory is an old copy").await;
        }
        std::future::pending::<()>().await;
    }
    match core.consensus.adopt_vote(leader, grounds.term).await {
        Err(Error::Unknown { .. }) if !emptied => {
            // Whoever has its promise cannot win with it any more, and all it has the others have.
            quarantine::enter(core, "it had promised its vote to a group that is gone").await;
            std::future::pending::<()>().await;
        }
        adopted => adopted.map_err(|error| error.to_string())?,
    }
    let (dir, text) = (core.data_dir.clone(), reason.to_owned());
    let noted = core.work.run(move || quarantine::grant(&dir, &text, grounds)).await;
    noted.map_err(|error| error.to_string())?;
    tracing::warn!(peer = %leader, term = grounds.term.0, "taken in again: the leader feeds this node");
    Ok(grounds)
}

/// Answers [`Method::Readmit`]: takes the caller, and nobody else, out of the group.
///
/// # Errors
/// When this node does not lead (the detail tells who does), the caller is no member, or the others are
/// no majority without it.
pub(crate) async fn serve(core: Arc<Core>, from: Peer, body: Bytes) -> Result<Bytes, Refusal> {
    let ask: Ask = frame::decode(&body)
        .map_err(|error| Refusal::new(RefusalCode::Malformed, error.to_string()))?;
    let node = from.node_id;
    let Some(leadership) = core.leadership.borrow().clone() else {
        return Err(elsewhere(&core, node));
    };
    if !core.consensus.view().nodes.contains_key(&node) {
        let message = format!(
            "node {node} is no member of the cluster any more, or of the epoch that it goes on as: on \
             that node `swarm leave --force`, then join again"
        );
        return Err(Refusal::new(RefusalCode::NotAllowed, message));
    }
    let known = greet::known(&core, node, ask.incarnation).map_or(0, Incarnation::boot);
    tracing::warn!(peer = %node, reason = ask.reason, "a node lost its replica: it is fed anew");
    let (answer, answered) = oneshot::channel();
    let busy = || Refusal::new(RefusalCode::Busy, "the leader changes the group already");
    leadership.pleas.try_send(Plea { node, answer }).map_err(|_full| busy())?;
    match answered.await {
        Ok(Ok(grounds)) => Ok(frame::encode(&Grant { grounds, boot: known })),
        Ok(Err(Error::NotLeader { .. })) | Err(_) => Err(elsewhere(&core, node)),
        Ok(Err(Error::NoQuorum { .. })) => Err(Refusal::new(
            RefusalCode::Unavailable,
            "without this node the others are no majority: it comes back when one more of them does, \
             or with `swarm recover`",
        )),
        Ok(Err(error)) => Err(Refusal::new(RefusalCode::Unavailable, error.to_string())),
    }
}

fn elsewhere(core: &Core, asker: NodeId) -> Refusal {
    // A leader that is gone is known until there is another one.
    let heard = core.consensus.leader_silent().is_some_and(|silent| silent < GONE);
    match core.leader().filter(|leader| *leader != asker && *leader != core.id) {
        Some(leader) if heard => {
            Refusal::new(RefusalCode::NotLeader, format!("node {leader} leads"))
                .with_detail(frame::encode(&leader))
        }
        Some(_) | None => Refusal::new(
            RefusalCode::NotLeader,
            "the others have no leader without this node: it comes back when they have one, or \
             with `swarm recover`",
        ),
    }
}

pub(crate) mod fuzz {
    use swarm_model::fuzz::Target;
    use swarm_model::meta::{Revision, Term};
    use swarm_net::fuzz::message;

    use super::{Ask, Grant, Incarnation, Readmission, frame};

    /// What a node asks that lost its replica.
    pub(crate) const ASK: Target = Target::new("node.readmit", message::<Ask>, || {
        let reason = "the log is damaged".to_owned();
        vec![frame::encode(&Ask { incarnation: Incarnation::of_boot(7, 1), reason }).to_vec()]
    });
    /// What it is granted.
    pub(crate) const GRANT: Target = Target::new("node.readmit-grant", message::<Grant>, || {
        let grounds = Readmission { term: Term(3), record: Revision(40) };
        vec![frame::encode(&Grant { grounds, boot: 6 }).to_vec()]
    });
}
