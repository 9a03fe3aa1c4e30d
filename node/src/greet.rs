//! What a node does before it takes part after a start: it greets the others and hears what they
//! remember of its earlier lives. Who finds itself older than that is an old copy of a data directory.
//!
//! Also notices another process that was started under this node's identity. What becomes of a
//! replica that is not trusted is the part of [`crate::quarantine`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::stream::{FuturesUnordered, StreamExt};
use serde::{Deserialize, Serialize};
use swarm_model::id::{Incarnation, NodeId};
use swarm_model::meta::{Revision, Term};
use swarm_model::node::Role;
use swarm_net::frame;
use swarm_net::rpc::{Method, Refusal, RefusalCode};
use swarm_net::transport::Peer;
use swarm_raft::Status;
use tokio::time::Instant;

use crate::config::Peers;
use crate::core::Core;
use crate::{boot, quarantine};

/// One call.
const DEADLINE: Duration = Duration::from_secs(1);
/// Pause between rounds.
const RETRY: Duration = Duration::from_millis(100);
/// The only voter needs nobody; it gives the others this long to say what they remember.
const ALONE: Duration = Duration::from_millis(500);

/// How often a node that hears no leader, or leads, asks for later lives of its own, and how long it
/// hears none before it does.
const LOOK_AROUND: Duration = Duration::from_secs(3);

/// The newest life that greeted here, by node. In memory: the record of the members keeps the rest.
pub(crate) type Lives = Mutex<BTreeMap<NodeId, Incarnation>>;

/// A node's first words after a start.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Greeting {
    incarnation: Incarnation,
}

/// What the callee remembers of the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Memory {
    /// The newest of its other lives.
    life: Option<Incarnation>,
    /// From a leader: its term, and the newest record that the caller said it has, if it said so.
    had: Option<(Term, Revision)>,
}

/// Greets until a majority of the voters, this node included, has answered: true. False if `patience`
/// after the first answer there are too few. Ends in quarantine, and never returns, if someone
/// remembers more than this node does.
pub(crate) async fn until(core: &Core, peers: &Peers, patience: Option<Duration>) -> bool {
    let peers: BTreeSet<NodeId> = peers.keys().copied().collect();
    let begun = Instant::now();
    let mut first = None;
    let mut heard = BTreeSet::new();
    loop {
        let status = core.consensus.status_now();
        let missing = peers.union(&status.voters).copied();
        let missing: Vec<_> = missing.filter(|id| *id != core.id && !heard.contains(id)).collect();
        let mut calls: FuturesUnordered<_> =
            missing.into_iter().map(|peer| ask(core, peer)).collect();
        while let Some((peer, memory)) = calls.next().await {
            let Some(memory) = memory else { continue };
            let doubt = contradiction(core.incarnation, &status, memory);
            if let Some(reason) = doubt.filter(|_| counts(core, &status, peer)) {
                betray(core, &reason, memory).await;
                std::future::pending::<()>().await;
            }
            heard.insert(peer);
            first.get_or_insert_with(Instant::now);
            if is_enough(core.id, &status, &heard) {
                return true;
            }
        }
        if is_alone(core.id, &status) && begun.elapsed() >= ALONE {
            return true;
        }
        let waited = first.map(|first: Instant| first.elapsed());
        if waited.zip(patience).is_some_and(|(waited, patience)| waited >= patience) {
            return false;
        }
        tokio::time::sleep(RETRY).await;
    }
}

async fn ask(core: &Core, peer: NodeId) -> (NodeId, Option<Memory>) {
    let body = frame::encode(&Greeting { incarnation: core.incarnation });
    match core.transport.call(peer, Method::Greet, body, DEADLINE).await {
        Ok(answer) => (peer, frame::decode(&answer).ok()),
        Err(error) => {
            tracing::debug!(%peer, %error, "greeted in vain");
            (peer, None)
        }
    }
}

/// An old copy: the next start draws a number that nobody has heard of, and asks to be taken in.
async fn betray(core: &Core, reason: &str, memory: Memory) {
    let known = memory.life.map_or(0, Incarnation::boot);
    let dir = core.data_dir.clone();
    if let Err(error) = core.work.run(move || boot::pass(&dir, known)).await {
        tracing::error!(%error, "the number of starts could not be kept");
    }
    quarantine::enter(core, reason).await;
}

/// Whether the memory of `peer` counts. A worker's does not where other managers remember as well: one
/// that lies could keep every manager from its start.
fn counts(core: &Core, status: &Status, peer: NodeId) -> bool {
    let view = core.consensus.view();
    let worker = view.nodes.get(&peer).is_some_and(|node| node.spec.role == Role::Worker);
    is_believed(worker, is_alone(core.id, status))
}

fn is_believed(worker: bool, alone: bool) -> bool {
    !worker || alone
}

fn is_alone(me: NodeId, status: &Status) -> bool {
    status.voters.len() == 1 && status.voters.contains(&me)
}

/// Whether those who answered and this node are a majority of the voters. While the voters change,
/// of both sets together, which is more than either needs.
fn is_enough(me: NodeId, status: &Status, heard: &BTreeSet<NodeId>) -> bool {
    let with_me = status.voters.iter().filter(|id| **id == me || heard.contains(id)).count();
    with_me > status.voters.len() / 2 && !heard.is_empty()
}

/// Why this life, whose replica stands as `status` says, cannot be the newest of its node. Pure.
fn contradiction(me: Incarnation, status: &Status, memory: Memory) -> Option<String> {
    if let Some(life) = memory.life
        && boot::counted(life.boot()).is_some_and(|boot| boot >= me.boot())
    {
        return Some(format!(
            "this is start {} of the node, but others have seen start {}: the data directory is an \
             old copy, or was copied",
            me.boot(),
            life.boot()
        ));
    }
    let (term, had) = memory.had?;
    let older = status.term < term || (status.term == term && status.last_log < had);
    older.then(|| {
        format!(
            "the replica ends at record {} of term {}, but the leader of term {} knows that it had \
             record {had}: the data directory is an old copy, or the disk lost writes",
            status.last_log, status.term, term
        )
    })
}

/// The newest life of `node` that this node knows of, `but` aside.
pub(crate) fn known(core: &Core, node: NodeId, but: Incarnation) -> Option<Incarnation> {
    let greeted = core.lives.lock().unwrap_or_else(PoisonError::into_inner).get(&node).copied();
    let recorded = core.consensus.view().nodes.get(&node).map(|node| node.status.incarnation);
    let lives = [greeted, recorded].into_iter().flatten();
    let counted = lives.filter(|life| *life != but && boot::counted(life.boot()).is_some());
    counted.max_by_key(|life| life.boot())
}

/// Answers [`Method::Greet`].
///
/// # Errors
/// When it makes no sense.
pub(crate) fn serve(core: &Core, from: Peer, body: &[u8]) -> Result<Bytes, Refusal> {
    let greeting: Greeting = frame::decode(body)
        .map_err(|error| Refusal::new(RefusalCode::Malformed, error.to_string()))?;
    let (node, life) = (from.node_id, greeting.incarnation);
    let memory = Memory { life: known(core, node, life), had: had(core, node) };
    // Only members are remembered, so this grows no further than the cluster.
    if core.consensus.view().nodes.contains_key(&node) {
        let mut lives = core.lives.lock().unwrap_or_else(PoisonError::into_inner);
        let newest = lives.entry(node).or_insert(life);
        if life.boot() > newest.boot() {
            *newest = life;
        }
    }
    Ok(frame::encode(&memory))
}

/// On the leader: how far `node` said in this term that it is.
fn had(core: &Core, node: NodeId) -> Option<(Term, Revision)> {
    let status = core.consensus.status_now();
    let lag = status.is_leader().then(|| status.lag.get(&node).copied()).flatten()?;
    Some((status.term, Revision(status.last_log.0.saturating_sub(lag))))
}

/// Watches for another process under this node's identity, until cancelled.
pub(crate) async fn watch_for_a_double(core: Arc<Core>) {
    let cancel = core.tasks.token();
    let addr = tokio::select! {
        () = cancel.cancelled() => return,
        addr = recorded_double(&core) => addr,
        () = remembered_double(&core) => None,
    };
    let at = addr.map(|addr| format!(", at {addr}")).unwrap_or_default();
    let reason = format!(
        "another process runs as this node{at}: its data directory is a copy of this one, or this \
         one of it"
    );
    quarantine::supersede(&core, &reason).await;
}

/// Waits until this node's own record shows a later life; gives that one's address.
async fn recorded_double(core: &Core) -> Option<String> {
    let mut views = core.consensus.views();
    let mine = core.incarnation.boot();
    let newer = views.wait_for(|view| {
        let recorded = view.nodes.get(&core.id).map(|node| node.status.incarnation);
        recorded.is_some_and(|life| is_later(life, mine))
    });
    let seen = newer.await.map(|view| view.nodes.get(&core.id).map(|it| it.status.addr.clone()));
    match seen {
        Ok(addr) => addr,
        // The consensus has ended; so does this node.
        Err(_closed) => std::future::pending().await,
    }
}

/// Waits until another node remembers a later life of this one. While a leader feeds this process its
/// record tells; a later life elsewhere is fed instead of it. One that leads is fed by nobody, and a
/// later life has no leader to report to: the others follow this one.
async fn remembered_double(core: &Core) {
    loop {
        tokio::time::sleep(LOOK_AROUND).await;
        let status = core.consensus.status_now();
        let silent = core.consensus.leader_silent().unwrap_or_default();
        if !status.is_leader() && silent < LOOK_AROUND {
            continue;
        }
        let others = status.voters.into_iter().filter(|id| *id != core.id);
        let mut calls: FuturesUnordered<_> = others.map(|peer| ask(core, peer)).collect();
        while let Some((_peer, memory)) = calls.next().await {
            let life = memory.and_then(|memory| memory.life);
            if life.is_some_and(|life| is_later(life, core.incarnation.boot())) {
                return;
            }
        }
    }
}

/// Whether `life` began after the start numbered `mine`.
fn is_later(life: Incarnation, mine: u64) -> bool {
    boot::counted(life.boot()).is_some_and(|boot| boot > mine)
}

pub(crate) mod fuzz {
    use swarm_model::fuzz::Target;
    use swarm_net::fuzz::message;

    use super::{Greeting, Incarnation, Memory, Revision, Term, frame};

    /// What a node says first.
    pub(crate) const GREETING: Target = Target::new("node.greeting", message::<Greeting>, || {
        vec![frame::encode(&Greeting { incarnation: Incarnation::of_boot(7, 1) }).to_vec()]
    });
    /// What it hears.
    pub(crate) const MEMORY: Target =
        Target::new("node.greeting-answer", message::<Memory>, || {
            let had = Some((Term(3), Revision(40)));
            vec![frame::encode(&Memory { life: Some(Incarnation::of_boot(7, 1)), had }).to_vec()]
        });
}

#[cfg(test)]
mod tests {
    use super::*;
    use swarm_raft::Part;

    fn status(term: u64, last: u64, voters: &[u128]) -> Status {
        Status {
            part: Part::Follower,
            term: Term(term),
            leader: None,
            last_log: Revision(last),
            applied: Revision(last),
            snapshot: None,
            voters: voters.iter().copied().map(NodeId::from_raw).collect(),
            learners: BTreeSet::new(),
            joint: false,
            lag: BTreeMap::new(),
            quorum_acked: None,
            fault: None,
        }
    }

    #[test]
    fn old_copy_is_told_by_its_start_or_by_what_it_had() {
        let me = Incarnation::of_boot(6, 1);
        let check = |boot: Option<u64>, had: Option<(u64, u64)>, old: bool| {
            let memory = Memory {
                life: boot.map(|boot| Incarnation::of_boot(boot, 2)),
                had: had.map(|(term, at)| (Term(term), Revision(at))),
            };
            let found = contradiction(me, &status(3, 100, &[1, 2, 3]), memory);
            assert_eq!(found.is_some(), old, "{memory:?}: {found:?}");
        };
        check(None, None, false);
        check(Some(5), None, false);
        check(Some(6), None, true);
        check(Some(7), None, true);
        // Drawn at random by a version that counted no starts.
        check(Some(1 << 60), None, false);
        check(None, Some((3, 100)), false);
        check(None, Some((3, 101)), true);
        // It has heard of a newer term, in which what it had may have been cut off.
        check(None, Some((2, 101)), false);
        check(None, Some((4, 1)), true);
    }

    #[test]
    fn worker_is_believed_only_where_no_other_manager_remembers() {
        assert!(is_believed(false, false) && is_believed(false, true) && is_believed(true, true));
        assert!(!is_believed(true, false));
    }

    #[test]
    fn majority_of_the_voters_is_enough_and_nobody_is_not() {
        let id = NodeId::from_raw;
        let check = |me: u128, voters: &[u128], heard: &[u128], enough: bool| {
            let heard = heard.iter().copied().map(id).collect();
            assert_eq!(is_enough(id(me), &status(1, 1, voters), &heard), enough, "{heard:?}");
        };
        check(1, &[1, 2, 3], &[], false);
        check(1, &[1, 2, 3], &[2], true);
        check(4, &[1, 2, 3], &[2], false);
        check(4, &[1, 2, 3], &[2, 3], true);
        check(1, &[1, 2, 3, 4, 5], &[2], false);
        check(1, &[1], &[9], true);
        check(9, &[], &[1], false);
    }
}
