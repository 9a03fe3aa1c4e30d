//! How long restarts wait, and when there is none.

use std::sync::Arc;

use swarm_model::id::{ServiceId, TaskId};
use swarm_model::meta::{Meta, Version};
use swarm_model::task::{Slot, TaskStatus};
use swarm_model::task_state::DesiredState;

use super::*;
use crate::testing::template;

const START: u64 = 1_000_000;

/// A task of the given record that ended in `state` after it lived for `lived`.
fn ended(state: ObservedState, record: RestartRecord, lived: Duration) -> Task {
    let start = Timestamp::from_millis(START);
    let end = start.after(lived);
    Task {
        id: TaskId::from_raw(7),
        meta: Meta { version: Version(3), created_at: start, updated_at: end },
        service: ServiceId::from_raw(1),
        slot: Slot::Replica(1),
        node: None,
        template_version: Version(1),
        template: Arc::new(template("ok")),
        desired: DesiredState::Running,
        status: TaskStatus::new(state, end, ""),
        not_before: None,
        restart: record,
        eviction: None,
        update: None,
        ran_at: None,
    }
}

fn wait(task: &Task, policy: &RestartPolicy) -> Option<Duration> {
    let now = task.meta.updated_at;
    match after_end(task, policy, now) {
        Verdict::Restart { not_before, .. } => {
            Some(not_before.map_or(Duration::ZERO, |until| until.since(now)))
        }
        Verdict::Finished { .. } => None,
    }
}

const SHORT: Duration = Duration::from_secs(1);

#[test]
fn the_first_restart_is_at_once_and_then_delays_double_up_to_thirty_seconds() {
    let waits = |streak| {
        let record = RestartRecord { streak, ..RestartRecord::default() };
        wait(&ended(ObservedState::Failed, record, SHORT), &RestartPolicy::default())
            .expect("it restarts")
            .as_millis()
    };
    assert_eq!(waits(0), 0);
    for (streak, middle) in
        [(1, 100), (2, 200), (5, 1600), (9, 25_600), (10, 30_000), (999, 30_000)]
    {
        let (low, high) = (middle * 8 / 10, middle * 12 / 10);
        assert!((low..=high).contains(&waits(streak)), "{streak}: {}", waits(streak));
    }
}

#[test]
fn a_minute_of_health_ends_the_row() {
    let record = RestartRecord { streak: 9, ..RestartRecord::default() };
    let healthy = ended(ObservedState::Failed, record, HEALTHY_AFTER);
    assert_eq!(wait(&healthy, &RestartPolicy::default()), Some(Duration::ZERO));
}

#[test]
fn a_node_whose_clock_runs_ahead_does_not_look_healthy() {
    let record = RestartRecord { streak: 9, ..RestartRecord::default() };
    let mut task = ended(ObservedState::Failed, record, SHORT);
    task.status.since = task.status.since.after(Duration::from_secs(3600));
    assert!(wait(&task, &RestartPolicy::default()) > Some(Duration::from_secs(20)));
}

#[test]
fn a_fixed_delay_is_kept_from_the_first_restart_on() {
    let policy = RestartPolicy { delay_ms: Some(700), ..RestartPolicy::default() };
    let task = ended(ObservedState::Failed, RestartRecord::default(), SHORT);
    assert_eq!(wait(&task, &policy), Some(Duration::from_millis(700)));
}

#[test]
fn conditions_choose_which_ends_are_followed_by_a_restart() {
    let restarts = |condition, state| {
        let policy = RestartPolicy { condition, ..RestartPolicy::default() };
        wait(&ended(state, RestartRecord::default(), SHORT), &policy).is_some()
    };
    for (condition, complete, failed) in [
        (RestartCondition::Any, true, true),
        (RestartCondition::OnFailure, false, true),
        (RestartCondition::None, false, false),
    ] {
        assert_eq!(restarts(condition, ObservedState::Complete), complete, "{condition}");
        assert_eq!(restarts(condition, ObservedState::Failed), failed, "{condition}");
        assert_eq!(restarts(condition, ObservedState::Rejected), failed, "{condition}");
    }
}

#[test]
fn attempts_are_bounded_within_the_window_only() {
    let policy = RestartPolicy {
        max_attempts: Some(2),
        window_ms: Some(10_000),
        ..RestartPolicy::default()
    };
    let opened = |ago: u64| {
        let window_start = Some(Timestamp::from_millis(START + 1000 - ago));
        let record = RestartRecord { attempts: 2, window_start, ..RestartRecord::default() };
        wait(&ended(ObservedState::Failed, record, SHORT), &policy).is_some()
    };
    assert!(!opened(9_000));
    assert!(opened(11_000));
    let for_ever = RestartPolicy { window_ms: None, ..policy };
    let record = RestartRecord { attempts: 2, ..RestartRecord::default() };
    assert_eq!(wait(&ended(ObservedState::Failed, record, SHORT), &for_ever), None);
}

#[test]
fn a_delay_that_no_policy_can_have_asked_for_has_ended() {
    let now = Timestamp::from_millis(START);
    let mut task = ended(ObservedState::Pending, RestartRecord::default(), SHORT);
    task.not_before = Some(now.after(Duration::from_secs(30)));
    assert_eq!(delayed_until(&task, now), task.not_before);
    task.not_before = Some(now.after(Duration::from_secs(864_000)));
    assert_eq!(delayed_until(&task, now), None);
}
