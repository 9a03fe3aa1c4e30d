//! Looks after the group in the background: publishes what this node knows of it, and finishes a
//! change of the voters that a leader left half-done.

use std::collections::BTreeSet;
use std::time::Duration;

use openraft::async_runtime::watch::WatchReceiver;
use openraft::metrics::RaftServerMetrics;
use openraft::{ChangeMembers, RaftMetrics};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::pace::Pace;
use crate::service::Raft;
use crate::status::Status;
use crate::types::Types;

/// How long a change of the voters may be half-done before it is finished from here: its own leader
/// does that in one round trip.
const SETTLE_AFTER: Duration = Duration::from_secs(1);

/// Publishes the status until cancelled, or until openraft has stopped.
pub(crate) async fn run(raft: Raft, status: watch::Sender<Status>, cancel: CancellationToken) {
    let mut server = raft.server_metrics();
    let mut all = raft.metrics();
    loop {
        let now = whole(&server.borrow_watched(), &all.borrow_watched());
        let half_done = now.as_ref().is_some_and(|now| now.is_leader() && now.joint);
        let torn = now.is_none();
        if let Some(now) = now {
            status.send_replace(now);
        }
        tokio::select! {
            () = cancel.cancelled() => return,
            changed = server.changed() => if changed.is_err() { break },
            changed = all.changed(), if torn => if changed.is_err() { break },
            () = tokio::time::sleep(SETTLE_AFTER), if half_done => settle(&raft).await,
        }
    }
    status.send_replace(Status::read(&raft.metrics().borrow_watched()));
}

/// The status, once both reports tell the same: openraft sends the rare one first and the whole one
/// after it, and nothing more until the next rare change.
fn whole(server: &RaftServerMetrics<Types>, all: &RaftMetrics<Types>) -> Option<Status> {
    let same = all.state == server.state
        && all.vote == server.vote
        && all.current_leader == server.current_leader
        && all.membership_config == server.membership_config;
    same.then(|| Status::read(all))
}

/// Has snapshots taken when they are due, until cancelled, or until openraft has stopped.
pub(crate) async fn take_snapshots(raft: Raft, pace: Pace, cancel: CancellationToken) {
    while cancel.run_until_cancelled(pace.due()).await.is_some() {
        if raft.trigger().snapshot().await.is_err() {
            return;
        }
    }
}

/// Adding nobody turns a joint membership into the one it leads to.
async fn settle(raft: &Raft) {
    tracing::info!("finishing a change of the voters that an earlier leader began");
    let nobody = ChangeMembers::AddVoterIds(BTreeSet::new());
    let change = raft.change_membership(nobody, true);
    match tokio::time::timeout(SETTLE_AFTER, change).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => tracing::debug!(%error, "the change is not finished yet"),
        Err(_elapsed) => tracing::debug!("no majority yet to finish the change with"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Id;
    use swarm_model::id::NodeId;

    #[test]
    fn a_status_is_read_only_when_both_reports_tell_the_same() {
        let id = Id(NodeId::from_raw(1));
        let all = RaftMetrics::<Types>::new_initial(id);
        let mut server = RaftServerMetrics::<Types> {
            id,
            vote: all.vote,
            state: all.state,
            current_leader: all.current_leader,
            membership_config: all.membership_config.clone(),
            committed_membership_config: all.committed_membership_config.clone(),
        };
        assert_eq!(whole(&server, &all).and_then(|status| status.leader), None);
        assert!(whole(&server, &all).is_some());
        // The rare report already names the new leader, the whole one does not yet: reading it now
        // would publish the old leader for as long as nothing else changes.
        server.current_leader = Some(Id(NodeId::from_raw(2)));
        assert!(whole(&server, &all).is_none());
    }
}
