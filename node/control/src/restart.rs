//! Whether a task that ended by itself is followed by another one, and when.
//!
//! Tasks that were lost, drained or outdated are none of its business: those are replaced under
//! every policy, see `orchestrator`.

use std::time::Duration;

use swarm_model::restart::{RestartCondition, RestartPolicy, RestartRecord};
use swarm_model::task::Task;
use swarm_model::task_state::ObservedState;
use swarm_model::units::Timestamp;

/// The delay of the second restart in a row; the first one has none.
pub const DELAY_FIRST: Duration = Duration::from_millis(100);
/// The longest delay.
pub const DELAY_MAX: Duration = Duration::from_secs(30);
/// A task that lived so long was healthy: its end starts a new row of restarts.
pub const HEALTHY_AFTER: Duration = Duration::from_secs(60);
/// Jitter: a delay is between 80 % and 120 % of its length.
const JITTER_PERMILLE: u64 = 200;

/// What follows the end of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Another task.
    Restart {
        /// What it knows of its predecessors.
        record: RestartRecord,
        /// When it may start; `None` is at once.
        not_before: Option<Timestamp>,
    },
    /// Nothing.
    Finished {
        /// Whether it ended badly.
        failed: bool,
    },
}

/// What follows `task`, which ended by itself.
pub(crate) fn after_end(task: &Task, policy: &RestartPolicy, now: Timestamp) -> Verdict {
    let failed = task.status.state != ObservedState::Complete;
    let wanted = match policy.condition {
        RestartCondition::Any => true,
        RestartCondition::OnFailure => failed,
        RestartCondition::None => false,
    };
    // Noted by the leader when it recorded the end. A clock that went back must not stop restarts.
    let ended_at = task.meta.updated_at.min(now);
    let record = current_record(task, policy, ended_at);
    if !wanted || policy.max_attempts.is_some_and(|most| record.attempts >= most) {
        return Verdict::Finished { failed };
    }
    let delay = delay(policy, record.streak, task.id.raw());
    Verdict::Restart {
        record: RestartRecord {
            streak: record.streak.saturating_add(1),
            attempts: record.attempts.saturating_add(1),
            window_start: record.window_start.or(Some(ended_at)),
            displaced: false,
            failed_update: task.restart.failed_update,
        },
        not_before: (!delay.is_zero()).then(|| ended_at.after(delay)),
    }
}

/// The record of `task` as it counts at its end: a healthy life ends the row of restarts, a window
/// that is over frees all attempts.
fn current_record(task: &Task, policy: &RestartPolicy, ended_at: Timestamp) -> RestartRecord {
    let mut record = task.restart;
    // The shorter of what its node and the leader saw: a wrong clock must not look like health.
    let started_at =
        task.not_before.map_or(task.meta.created_at, |at| at.max(task.meta.created_at));
    let lived = ended_at.min(task.status.since).since(started_at);
    if lived >= HEALTHY_AFTER {
        record.streak = 0;
    }
    let window = policy.window_ms.map(Duration::from_millis);
    if let (Some(window), Some(opened)) = (window, record.window_start)
        && ended_at.since(opened) > window
    {
        record.attempts = 0;
        record.window_start = None;
    }
    record
}

/// The delay before the restart that follows `streak` others in a row.
fn delay(policy: &RestartPolicy, streak: u32, seed: u128) -> Duration {
    if let Some(fixed) = policy.delay_ms {
        return Duration::from_millis(fixed);
    }
    if streak == 0 {
        return Duration::ZERO;
    }
    let doubled = DELAY_FIRST.saturating_mul(1 << (streak - 1).min(16)).min(DELAY_MAX);
    let permille = 1000 - JITTER_PERMILLE + spread_bits(seed) % (2 * JITTER_PERMILLE + 1);
    doubled.mul_f64(f64::from(u32::try_from(permille).unwrap_or(1000)) / 1000.0)
}

/// The longest delay that `policy` can have asked for.
fn longest_delay(policy: &RestartPolicy) -> Duration {
    policy.delay_ms.map_or(DELAY_MAX.saturating_mul(2), Duration::from_millis)
}

/// When the delay of `task` ends; `None` when it has ended. One that lies further ahead than any
/// delay was set by a clock that ran far ahead, and has ended as well.
pub(crate) fn delayed_until(task: &Task, now: Timestamp) -> Option<Timestamp> {
    let until = task.not_before.filter(|until| *until > now)?;
    let believable = until.since(now) <= longest_delay(&task.template.restart_policy);
    believable.then_some(until)
}

/// Mixes the bits of an id into an even number (the finaliser of splitmix64).
fn spread_bits(seed: u128) -> u64 {
    let bytes = seed.to_le_bytes();
    let (low, high) = bytes.split_at(8);
    let word = |half: &[u8]| half.iter().rfold(0u64, |word, byte| word << 8 | u64::from(*byte));
    let mut mixed = word(low) ^ word(high).rotate_left(32);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
#[path = "restart_tests.rs"]
mod tests;
