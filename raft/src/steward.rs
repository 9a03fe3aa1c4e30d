//! Looks after the group in the background: publishes what this node knows of it, and finishes a
//! change of the voters that a leader left half-done.

use std::collections::BTreeSet;
use std::time::Duration;

use openraft::ChangeMembers;
use openraft::async_runtime::watch::WatchReceiver;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::service::Raft;
use crate::status::Status;

/// How long a change of the voters may be half-done before it is finished from here: its own leader
/// does that in one round trip.
const SETTLE_AFTER: Duration = Duration::from_secs(1);

/// Publishes the status until cancelled, or until openraft has stopped.
pub(crate) async fn run(raft: Raft, status: watch::Sender<Status>, cancel: CancellationToken) {
    let mut server = raft.server_metrics();
    loop {
        let now = Status::read(&raft.metrics().borrow_watched());
        let half_done = now.is_leader() && now.joint;
        status.send_replace(now);
        tokio::select! {
            () = cancel.cancelled() => return,
            changed = server.changed() => if changed.is_err() { break },
            () = tokio::time::sleep(SETTLE_AFTER), if half_done => settle(&raft).await,
        }
    }
    status.send_replace(Status::read(&raft.metrics().borrow_watched()));
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
