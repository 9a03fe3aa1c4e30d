//! A disk that is full: this node says so to the others, and hands over the lead to one that has room.
//!
//! Clients' writes are refused by [`crate::disk`]; room comes back by hand, and is noticed here.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use swarm_model::id::NodeId;
use swarm_net::gossip::StatusKey;
use tokio::time::Instant;

use crate::core::Core;
use crate::leader;

/// Between two looks.
const LOOK: Duration = Duration::from_secs(1);
/// A disk is full for so long before the lead is given away: a snapshot that replaces another takes room
/// for a moment.
const LASTING: Duration = Duration::from_secs(1);
/// Between two attempts: an heir may be full by then as well.
const PATIENCE: Duration = Duration::from_secs(10);

/// Looks until cancelled.
pub(crate) async fn run(core: Arc<Core>) {
    let cancel = core.tasks.token();
    cancel.run_until_cancelled(watch(&core)).await;
}

async fn watch(core: &Core) {
    let mut shortage = Shortage::default();
    loop {
        let (full, now) = (core.disk.check().err(), Instant::now());
        match (&full, shortage.since) {
            (Some(reason), None) => announce(core, reason),
            (None, Some(_)) => {
                tracing::info!("the disk has room again");
                core.gossip.retract(StatusKey::DiskFull);
            }
            (Some(_), Some(_)) | (None, None) => {}
        }
        if shortage.is_due(full.is_some(), core.consensus.status_now().is_leader(), now) {
            hand_over(core).await;
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// For how long there was no room, and when the lead was last offered to others.
#[derive(Debug, Default)]
struct Shortage {
    since: Option<Instant>,
    tried: Option<Instant>,
}

impl Shortage {
    /// Notes a look; whether the lead is to be handed over now.
    fn is_due(&mut self, full: bool, leads: bool, now: Instant) -> bool {
        if !full {
            *self = Self::default();
            return false;
        }
        let since = *self.since.get_or_insert(now);
        let rested = self.tried.is_none_or(|tried| now.duration_since(tried) >= PATIENCE);
        let due = leads && rested && now.duration_since(since) >= LASTING;
        if due {
            self.tried = Some(now);
        }
        due
    }
}

fn announce(core: &Core, reason: &str) {
    tracing::error!(reason, "the disk is full");
    let told = Bytes::copy_from_slice(reason.as_bytes());
    if let Err(error) = core.gossip.publish(StatusKey::DiskFull, told) {
        tracing::debug!(%error, "the full disk is not gossiped");
    }
}

fn has_room(core: &Core, node: NodeId) -> bool {
    !core.gossip.status(node).contains_key(&StatusKey::DiskFull)
}

async fn hand_over(core: &Core) {
    let Some(heir) = leader::successor(core, |node| has_room(core, node)) else { return };
    tracing::warn!(peer = %heir, "handing over the lead to a node whose disk has room");
    if let Err(error) = core.consensus.transfer_leadership(Some(heir)).await {
        tracing::warn!(peer = %heir, %error, "the lead was not taken over");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_leader_whose_disk_stays_full_hands_over_and_not_in_a_tight_loop() {
        let mut shortage = Shortage::default();
        let start = Instant::now();
        let mut look =
            |ms, full, leads| shortage.is_due(full, leads, start + Duration::from_millis(ms));
        assert!(!look(0, true, true), "it may pass");
        assert!(!look(500, false, true), "it passed");
        assert!(!look(1_000, true, true), "counted from here");
        assert!(!look(2_500, true, false), "nothing to hand over");
        assert!(look(3_000, true, true));
        assert!(!look(4_000, true, true), "all others may be full");
        assert!(look(13_000, true, true));
    }
}
