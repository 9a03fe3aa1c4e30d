//! The epoch of this node: kept on its disk, compared with those it meets, told to those left out.
//!
//! Who hears of a newer epoch from a manager either was kept, and comes back through quarantine, or was
//! left out, and is fenced: nothing of it takes part in anything until a person decides. How an epoch
//! begins is in [`crate::recover`]. docs/design/recovery.md.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use swarm_model::epoch::{Encounter, Epoch};
use swarm_model::id::NodeId;
use swarm_model::node::Role;
use swarm_model::units::Timestamp;
use swarm_net::transport::{Foreign, Members};

use crate::config::{self, ConfigError};
use crate::core::Core;
use crate::quarantine;

/// The epoch's file.
const EPOCH_FILE: &str = "epoch.json";
/// The fence's file.
pub const FENCE_FILE: &str = "fenced.json";
/// How soon those that were left out are called at first, and how often at most.
const KNOCKS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// A rival that was not met for so long is no more.
const RIVAL_GONE: Duration = KNOCKS.1.saturating_mul(3);

/// Why a node takes no part in anything any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Fence {
    /// The epoch that went on without it.
    pub epoch: Epoch,
    /// Who told.
    pub by: NodeId,
    /// When.
    pub at: Timestamp,
}

impl Fence {
    /// For a person.
    pub fn reason(&self) -> String {
        format!(
            "this node was left out when the cluster was recovered as epoch {}: \
             `swarm leave --force`, then join again",
            self.epoch
        )
    }
}

/// What to do about another epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// Nothing.
    Ignore,
    /// Say so: only a person can tell which one should go on.
    Rival,
    /// Come back as an empty replica of it.
    Adopt,
    /// Never take part again.
    Fence,
}

/// The epoch that `dir` belongs to, as far as was noted. Blocks on the disk.
///
/// # Errors
/// See [`ConfigError`].
pub fn last(dir: &Path) -> Result<Option<Epoch>, ConfigError> {
    config::load(&dir.join(EPOCH_FILE))
}

/// Notes the epoch of `dir`, durably. Blocks on the disk.
///
/// # Errors
/// See [`ConfigError`].
pub fn save(dir: &Path, epoch: Epoch) -> Result<(), ConfigError> {
    config::save(&dir.join(EPOCH_FILE), &epoch)
}

/// The fence around `dir`, if any. Blocks on the disk.
///
/// # Errors
/// See [`ConfigError`].
pub fn fence(dir: &Path) -> Result<Option<Fence>, ConfigError> {
    config::load(&dir.join(FENCE_FILE))
}

/// Keeps the noted epoch in step, acts on others, calls those left out; until cancelled.
pub(crate) async fn run(core: Arc<Core>) {
    let cancel = core.tasks.token();
    tokio::select! {
        () = cancel.cancelled() => {}
        () = note(&core) => {}
        () = heed(&core) => {}
        () = herald(&core) => {}
    }
}

/// A replica that is lost later must not make this node forget which epoch it belongs to.
async fn note(core: &Core) {
    let mut views = core.consensus.views();
    let mut noted = None;
    loop {
        let epoch = views.borrow_and_update().cluster.as_ref().map(|cluster| cluster.epoch);
        if let Some(epoch) = epoch.filter(|epoch| noted != Some(*epoch)) {
            let dir = core.data_dir.clone();
            let work = move || match last(&dir)? {
                Some(old) if old == epoch => Ok(()),
                Some(_) | None => save(&dir, epoch),
            };
            match core.work.run(work).await {
                Ok(()) => noted = Some(epoch),
                Err(error) => tracing::warn!(%error, "the epoch is not noted"),
            }
        }
        if views.changed().await.is_err() {
            return;
        }
    }
}

async fn heed(core: &Core) {
    let mut meetings = core.members.meetings();
    loop {
        let met = *meetings.borrow_and_update();
        if let Some(met) = met {
            let ours = core.members.epoch();
            match judge(ours, is_quarantined(core), &met) {
                Verdict::Ignore => {}
                Verdict::Rival => {
                    let (rival, now) = (describe(core, &met), core.clock.now());
                    if core.rival.send_replace(Some((now, rival.clone()))).is_none() {
                        tracing::error!(peer = %met.node, epoch = %met.epoch, rival);
                    }
                }
                Verdict::Adopt => return adopt(core, met).await,
                Verdict::Fence => return shut_out(core, met).await,
            }
        }
        if meetings.changed().await.is_err() {
            return;
        }
    }
}

fn is_quarantined(core: &Core) -> bool {
    core.quarantine.borrow().is_some()
}

/// Whether the leader's word that this node was removed, in the epoch `told`, means that it left the
/// cluster for good, with all that it has. Otherwise [`heed`] decides what it means.
pub(crate) fn dismisses(core: &Core, told: Epoch) -> bool {
    is_own(core.members.epoch(), is_quarantined(core), told)
}

/// Only what happened in the node's own epoch counts. One in quarantine may have come over from an older
/// one and not belong to this: unless there is no older one.
fn is_own(ours: Option<Epoch>, quarantined: bool, told: Epoch) -> bool {
    ours.unwrap_or_default() == told && (!quarantined || told == Epoch::FIRST)
}

/// A worker is not believed: it could end the cluster with a word.
fn judge(ours: Option<Epoch>, quarantined: bool, met: &Foreign) -> Verdict {
    if met.role != Role::Manager {
        return Verdict::Ignore;
    }
    if met.left_out && is_own(ours, quarantined, met.epoch) {
        // The replica tells, or the leader to whom the agent talks.
        return Verdict::Ignore;
    }
    match ours.map(|ours| ours.meet(met.epoch)) {
        Some(Encounter::Newer | Encounter::Same) | None if met.left_out => Verdict::Fence,
        Some(Encounter::Newer) => Verdict::Adopt,
        Some(Encounter::Rival) => Verdict::Rival,
        Some(Encounter::Same | Encounter::Older) | None => Verdict::Ignore,
    }
}

/// The rival that is still there: each leader knocks at the other.
pub(crate) fn rival(core: &Core) -> Option<String> {
    let met = core.rival.borrow();
    let (at, rival) = met.as_ref()?;
    (core.clock.now().since(*at) < RIVAL_GONE).then(|| rival.clone())
}

/// For a person.
fn describe(core: &Core, met: &Foreign) -> String {
    let addr = core.transport.address(met.node);
    let addr = addr.or_else(|| {
        let view = core.consensus.view();
        view.cluster.as_ref()?.left_out.get(&met.node)?.parse().ok()
    });
    let addr = addr.map_or_else(String::new, |addr| format!(" at {addr}"));
    format!(
        "node {}{addr} belongs to another cluster of epoch {}: there were two recoveries that did not \
         know of each other. Decide for one; on each node of the other `swarm leave --force`, then \
         join again",
        met.node, met.epoch
    )
}

/// Gives the replica of the older epoch up and comes back as a follower of the newer one. The marker is
/// first: an old replica must never pass for one of the new epoch.
async fn adopt(core: &Core, met: Foreign) {
    let reason = format!(
        "the cluster was recovered as epoch {}: this node's replica of the epoch before is replaced",
        met.epoch
    );
    tracing::warn!(peer = %met.node, epoch = %met.epoch, "the cluster was recovered without this node");
    core.consensus.gate().shut();
    let (dir, addr) = (core.data_dir.clone(), core.transport.address(met.node));
    let work = move || {
        quarantine::impose(&dir, &reason)?;
        save(&dir, met.epoch)?;
        let mut peers = config::load_peers(&dir)?;
        peers.extend(addr.map(|addr| (met.node, addr)));
        config::save_peers(&dir, &peers)
    };
    if let Err(error) = core.work.run(work).await {
        // Behind the shut gate the old replica does no harm; the next life meets the epoch again.
        tracing::error!(%error, "the newer epoch is not noted");
    }
    core.born_again.cancel();
}

async fn shut_out(core: &Core, met: Foreign) {
    let fence = Fence { epoch: met.epoch, by: met.node, at: core.clock.now() };
    tracing::error!(reason = fence.reason(), "fenced");
    core.consensus.gate().shut();
    let dir = core.data_dir.clone();
    let path = dir.join(FENCE_FILE);
    if let Err(error) = core.work.run(move || config::save(&path, &fence)).await {
        tracing::error!(%error, "the fence is not noted");
    }
    core.born_again.cancel();
}

/// While this node leads, those that were left out are told: with the others that were they could
/// otherwise go on as a second cluster.
async fn herald(core: &Core) {
    let (mut pause, longest) = KNOCKS;
    let mut status = core.consensus.status();
    loop {
        if status.wait_for(|status| status.is_leader()).await.is_err() {
            return;
        }
        let view = core.consensus.view();
        let left_out = view.cluster.iter().flat_map(|cluster| &cluster.left_out);
        for (node, addr) in left_out {
            if let Ok(addr) = addr.parse() {
                core.transport.knock(*node, addr);
            }
        }
        tokio::time::sleep(pause).await;
        pause = pause.saturating_mul(2).min(longest);
    }
}

pub(crate) mod fuzz {
    use swarm_model::fuzz::Target;

    use super::{Epoch, Fence, NodeId, Timestamp};
    use crate::fuzz::{json, text};

    /// The epoch on the disk.
    pub(crate) const EPOCH: Target = Target::new("node.epoch-file", json::<Epoch>, || {
        vec![text(&Epoch::FIRST), text(&Epoch::FIRST.next(7))]
    });
    /// The fence on the disk.
    pub(crate) const FENCE: Target = Target::new("node.fence-file", json::<Fence>, || {
        let by = NodeId::from_raw(1);
        vec![text(&Fence { epoch: Epoch::FIRST.next(7), by, at: Timestamp::from_millis(1000) })]
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn met(epoch: Epoch, role: Role, left_out: bool) -> Foreign {
        Foreign { node: NodeId::from_raw(1), role, epoch, left_out }
    }

    #[test]
    fn a_newer_epoch_is_adopted_by_who_was_kept_and_fences_who_was_left_out() {
        let newer = Epoch::FIRST.next(7);
        let judge = |ours, left_out| judge(ours, false, &met(newer, Role::Manager, left_out));
        assert_eq!(judge(Some(Epoch::FIRST), false), Verdict::Adopt);
        assert_eq!(judge(Some(Epoch::FIRST), true), Verdict::Fence);
        // It joined, and was left out before it had heard of any epoch.
        assert_eq!(judge(None, true), Verdict::Fence);
        assert_eq!(judge(None, false), Verdict::Ignore);
    }

    #[test]
    fn a_worker_is_not_believed_and_an_older_epoch_changes_nothing() {
        let newer = Epoch::FIRST.next(7);
        let worker = met(newer, Role::Worker, true);
        assert_eq!(judge(Some(Epoch::FIRST), false, &worker), Verdict::Ignore);
        let older = met(Epoch::FIRST, Role::Manager, true);
        assert_eq!(judge(Some(newer), true, &older), Verdict::Ignore);
    }

    #[test]
    fn rivals_wait_for_a_person_and_a_member_that_was_removed_by_hand_is_not_fenced() {
        let (ours, rival) = (Epoch::FIRST.next(7), Epoch::FIRST.next(8));
        let judge = |ours: Epoch, quarantined, other| {
            judge(Some(ours), quarantined, &met(other, Role::Manager, true))
        };
        assert_eq!(judge(ours, false, rival), Verdict::Rival);
        assert_eq!(judge(ours, false, ours), Verdict::Ignore);
        assert_eq!(judge(ours, true, ours), Verdict::Fence);
        assert_eq!(judge(Epoch::FIRST, true, Epoch::FIRST), Verdict::Ignore);
    }

    #[test]
    fn only_a_removal_in_the_own_epoch_ends_a_node() {
        let (second, rival) = (Epoch::FIRST.next(7), Epoch::FIRST.next(8));
        assert!(is_own(Some(Epoch::FIRST), false, Epoch::FIRST));
        assert!(is_own(Some(second), false, second));
        assert!(is_own(None, false, Epoch::FIRST));
        assert!(is_own(Some(Epoch::FIRST), true, Epoch::FIRST));
        for (ours, told) in [(Epoch::FIRST, second), (second, Epoch::FIRST), (second, rival)] {
            assert!(!is_own(Some(ours), false, told), "{ours:?} {told:?}");
        }
        assert!(!is_own(None, false, second));
        assert!(!is_own(Some(second), true, second));
    }

    #[test]
    fn epoch_and_fence_are_kept() {
        let dir = tempfile::tempdir().expect("temp dir");
        assert_eq!(last(dir.path()).expect("absent"), None);
        let epoch = Epoch::FIRST.next(7);
        save(dir.path(), epoch).expect("written");
        assert_eq!(last(dir.path()).expect("just written"), Some(epoch));
        assert_eq!(fence(dir.path()).expect("absent"), None);
        let fence = Fence { epoch, by: NodeId::from_raw(1), at: Timestamp::default() };
        assert!(fence.reason().contains("epoch 2") && fence.reason().contains("leave --force"));
    }
}
