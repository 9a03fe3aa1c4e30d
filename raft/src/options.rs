//! What consensus needs to run on a node.

use std::sync::Arc;

use openraft::{Config, SnapshotPolicy};
use swarm_model::id::NodeId;
use swarm_net::task::TaskGroup;
use swarm_net::transport::Transport;
use swarm_state::store::{LogTable, MetaTable, SnapshotTable, VoteTable};

use crate::gate::Gate;
use crate::timing::{Timing, millis};

/// Records between two snapshots when nobody asked for another number.
pub const DEFAULT_SNAPSHOT_INTERVAL: u64 = 10_000;
/// Requests that may wait for the core before proposers have to wait themselves.
const REQUESTS_WAITING: u64 = 4096;
/// Records in one message to a follower; its bytes are limited by the log store.
const RECORDS_PER_MESSAGE: u64 = 1024;
/// Applied records that are kept behind a snapshot, as a part of the interval: a follower that
/// lags less than this needs no snapshot.
const TAIL_PART: u64 = 4;

/// What consensus needs to run on a node.
#[derive(Debug)]
pub struct Options {
    /// This node.
    pub node_id: NodeId,
    /// How long the cluster waits for its leader.
    pub timing: Timing,
    /// Records between two snapshots; the log is cut behind each.
    pub snapshot_interval: u64,
    /// The tables on disk; consensus is their only user.
    pub tables: Tables,
    /// The way to the other members.
    pub transport: Arc<dyn Transport>,
    /// Owns the background tasks.
    pub tasks: TaskGroup,
    /// All disk access in the calling task, without threads: for simulations on paused time.
    pub inline_io: bool,
    /// For the jitter of campaigns.
    pub seed: u64,
    /// Whether the replica takes part in the group.
    pub gate: Gate,
}

/// The tables that belong to consensus.
#[derive(Debug)]
pub struct Tables {
    /// Records.
    pub log: LogTable,
    /// The vote.
    pub vote: VoteTable,
    /// What is committed.
    pub meta: MetaTable,
    /// Snapshots.
    pub snapshots: SnapshotTable,
}

impl Options {
    /// openraft's settings for these.
    pub(crate) fn config(&self) -> Config {
        let interval = self.snapshot_interval.max(1);
        let election_max = millis(self.timing.election_max);
        Config {
            cluster_name: "swarm".into(),
            heartbeat_interval: millis(self.timing.heartbeat),
            election_timeout_min: millis(self.timing.election_min),
            election_timeout_max: election_max,
            // The pacemaker beats instead.
            enable_tick: false,
            enable_pre_vote: Some(true),
            // A restarted leader has to be elected again: what it had committed may not be on disk.
            enable_leader_restore: Some(false),
            // A leader that hears nobody (a one-way link) goes silent, so that others can lead.
            quorum_loss_probe_interval: Some(3 * election_max),
            // A follower whose disk lost what it had acknowledged is fed again. openraft's default is
            // to panic, on the leader: one bad disk would take node after node down.
            allow_log_reversion: Some(true),
            // Followers write while the leader does.
            broadcast_submitted_on_append: Some(true),
            api_channel_size: Some(REQUESTS_WAITING),
            max_payload_entries: RECORDS_PER_MESSAGE,
            snapshot_policy: SnapshotPolicy::Never,
            max_in_snapshot_log_to_keep: interval / TAIL_PART,
            purge_batch_size: (interval / TAIL_PART).max(1),
            replication_lag_threshold: 2 * interval,
            ..Config::default()
        }
    }
}
