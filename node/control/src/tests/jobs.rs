//! Jobs by example: seats, retries, ends of runs, nodes that go.

use std::collections::BTreeSet;
use std::time::Duration;

use swarm_model::command::Op;
use swarm_model::id::ServiceId;
use swarm_model::job::RunPhase;
use swarm_model::node::Reachability;
use swarm_model::restart::RestartCondition;
use swarm_model::service::ServiceMode;
use swarm_model::task::Slot;
use swarm_model::task_state::{DesiredState, ObservedState};

use crate::testing::{Cluster, job};
use crate::{Outlook, outlook};

fn failed(cluster: &Cluster, id: ServiceId) -> String {
    match &cluster.run(id).phase {
        RunPhase::Failed { reason } => reason.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_job_has_as_many_successes_as_asked_for_and_never_more_tasks_than_seats() {
    let mut cluster = Cluster::new(3);
    let id = cluster.create(job("batch", 20, 3, "once"));
    for _ in 0..500 {
        cluster.round();
        let slots: BTreeSet<Slot> = cluster.active(id).iter().map(|task| task.slot).collect();
        assert!(slots.len() <= 3, "{slots:?}");
        if !cluster.agents() {
            break;
        }
    }
    let run = cluster.run(id);
    assert_eq!((run.phase.clone(), run.succeeded.count()), (RunPhase::Complete, 20));
    let ended = cluster.view().tasks_of(id).map(|task| task.status.state);
    assert_eq!(ended.collect::<Vec<_>>(), [ObservedState::Complete; 20]);
    assert_eq!(cluster.plan().changes, [], "what is done is left alone");
}

#[test]
fn ended_tasks_are_forgotten_beyond_a_bound_however_large_the_job_is() {
    let mut cluster = Cluster::new(2);
    let id = cluster.create(job("batch", 1500, 50, "once"));
    cluster.settle();
    assert_eq!(cluster.run(id).phase, RunPhase::Complete);
    assert!(cluster.view().tasks_of(id).count() <= 200, "{}", cluster.view().tasks_of(id).count());
}

#[test]
fn a_job_without_room_creates_a_bounded_number_of_tasks_that_wait() {
    let mut cluster = Cluster::new(1);
    let mut spec = job("batch", 100_000, 0, "once");
    spec.task_template.resources.reservations.memory.0 = 512;
    let id = cluster.create(spec);
    cluster.settle_now_for(20);
    let waiting = cluster.active(id).iter().filter(|task| task.node.is_none()).count();
    assert!((1..=256).contains(&waiting), "{waiting}");
}

#[test]
fn failed_tasks_are_tried_again_with_growing_pauses_until_they_succeed() {
    let mut cluster = Cluster::new(2);
    let id = cluster.create(job("batch", 2, 0, "stubborn"));
    let began = cluster.now;
    cluster.settle();
    let run = cluster.run(id);
    assert_eq!((run.phase.clone(), run.failures), (RunPhase::Complete, 4));
    assert!(cluster.now.since(began) >= Duration::from_millis(80), "the second retry waits");
}

#[test]
fn a_slot_out_of_attempts_fails_its_run_and_the_rest_stops() {
    let mut cluster = Cluster::new(2);
    let mut spec = job("batch", 5, 0, "ok");
    spec.task_template.restart_policy.max_attempts = Some(1);
    let id = cluster.create(spec);
    cluster.settle();
    assert_eq!(cluster.running(id).len(), 5);
    for _ in 0..2 {
        let third = |task: &&&swarm_model::task::Task| task.slot == Slot::Job { run: 1, index: 3 };
        let task = cluster.active(id).iter().find(third).expect("is active").id;
        cluster.report(task, ObservedState::Failed);
        cluster.settle_now();
    }
    let reason = failed(&cluster, id);
    assert!(reason.contains("task run1.3") && reason.contains("used up"), "{reason}");
    cluster.settle();
    assert_eq!(cluster.active(id).len(), 0);
    assert_eq!(cluster.run(id).succeeded.count(), 0, "who was asked to end did not succeed");
}

#[test]
fn without_restarts_the_first_failure_is_the_runs() {
    let mut cluster = Cluster::new(1);
    let mut spec = job("batch", 3, 1, "fail");
    spec.task_template.restart_policy.condition = RestartCondition::None;
    let id = cluster.create(spec);
    cluster.settle();
    assert!(failed(&cluster, id).contains("restart condition none"));
    assert_eq!(cluster.run(id).failures, 1);
}

#[test]
fn a_deadline_ends_a_run_whoever_leads() {
    let mut cluster = Cluster::new(1);
    let mut spec = job("batch", 2, 0, "ok");
    spec.job.deadline_ms = Some(5000);
    let id = cluster.create(spec);
    cluster.settle_now();
    assert_eq!(cluster.wake_at, Some(cluster.now.after(Duration::from_secs(5))));
    cluster.lead_anew(cluster.now.after(Duration::from_millis(4999)));
    cluster.settle_now();
    assert!(cluster.run(id).is_active());
    cluster.settle();
    assert!(
        failed(&cluster, id).contains("deadline is over and 2 of 2"),
        "{}",
        failed(&cluster, id)
    );
    assert_eq!(cluster.active(id).len(), 0);
}

#[test]
fn a_new_version_is_a_new_run_that_waits_for_the_end_of_the_old_one() {
    let mut cluster = Cluster::new(2);
    let id = cluster.create(job("batch", 2, 0, "ok"));
    cluster.settle();
    cluster.update(id, |spec| spec.task_template = crate::testing::template("once"));
    cluster.round();
    let runs = |cluster: &Cluster| -> BTreeSet<Option<u64>> {
        cluster.view().tasks_of(id).map(|task| task.slot.run()).collect()
    };
    assert_eq!(runs(&cluster), BTreeSet::from([Some(1)]), "the old ones still end");
    cluster.settle();
    let phases = cluster.view().runs_of(id).map(|run| run.phase.clone());
    assert_eq!(phases.collect::<Vec<_>>(), [RunPhase::Replaced, RunPhase::Complete]);
    let service = &cluster.view().services[&id];
    assert_eq!(service.update, None, "nothing is rolled");
    // Numbers count from the next run on.
    cluster.update(id, |spec| {
        spec.mode = ServiceMode::ReplicatedJob { completions: 7, max_concurrent: 0 };
    });
    cluster.settle();
    assert_eq!(cluster.run(id).number, 2);
    cluster.apply(Op::StartRun { id }).expect("nothing goes on");
    cluster.settle();
    let run = cluster.run(id);
    assert_eq!((run.number, run.succeeded.count()), (3, 7));
}

#[test]
fn runs_are_remembered_up_to_their_number_and_their_tasks_go_with_them() {
    let mut cluster = Cluster::new(1);
    let mut spec = job("batch", 2, 0, "once");
    spec.job.keep_runs = 3;
    let id = cluster.create(spec);
    cluster.settle();
    for _ in 0..5 {
        cluster.apply(Op::StartRun { id }).expect("nothing goes on");
        cluster.settle();
    }
    let numbers: Vec<_> = cluster.view().runs_of(id).map(|run| run.number).collect();
    assert_eq!(numbers, [4, 5, 6]);
    let runs: BTreeSet<_> = cluster.view().tasks_of(id).filter_map(|it| it.slot.run()).collect();
    assert_eq!(runs, BTreeSet::from([4, 5, 6]));
}

#[test]
fn a_new_run_waits_also_for_tasks_of_a_run_that_was_forgotten() {
    let mut cluster = Cluster::new(2);
    let mut spec = job("batch", 1, 0, "ok");
    spec.job.keep_runs = 1;
    let id = cluster.create(spec);
    cluster.settle();
    for _ in 0..2 {
        cluster.update(id, |spec| spec.task_template.force_update += 1);
        // Nobody hears that the task of the first run has ended.
        (0..3).for_each(|_| drop(cluster.round()));
        assert_eq!(cluster.view().tasks_of(id).count(), 1, "it is stopped first");
    }
    assert!(cluster.view().runs_of(id).all(|run| run.number > 1), "it is forgotten");
    cluster.settle();
    let runs: Vec<_> = cluster.active(id).iter().map(|task| task.slot.run()).collect();
    assert_eq!(runs, [Some(3)]);
}

#[test]
fn a_task_lost_with_its_node_runs_again_and_counts_once_though_both_succeed() {
    let mut cluster = Cluster::new(2);
    let id = cluster.create(job("batch", 1, 0, "ok"));
    cluster.settle();
    let first = cluster.active(id)[0].id;
    let node = cluster.active(id)[0].node.expect("is placed");
    cluster.reach(node, Reachability::Down);
    cluster.settle_now();
    let second = cluster.running(id)[0].id;
    assert_ne!(first, second);
    cluster.reach(node, Reachability::Ready);
    cluster.report(first, ObservedState::Complete);
    assert_eq!(cluster.run(id).phase, RunPhase::Complete);
    cluster.report(second, ObservedState::Complete);
    cluster.settle();
    assert_eq!(cluster.run(id).succeeded.count(), 1);
    assert_eq!(cluster.run(id).failures, 0);
}

#[test]
fn a_drain_lets_a_jobs_task_end_and_starts_no_second_one_beside_it() {
    let mut cluster = Cluster::new(2);
    let id = cluster.create(job("batch", 1, 0, "ok"));
    cluster.settle();
    let node = cluster.active(id)[0].node.expect("is placed");
    cluster.drain(node);
    cluster.settle();
    assert_eq!(cluster.running_on(id, node), 1, "it serves on");
    let deadline = Some(cluster.now.after(Duration::from_secs(9)));
    cluster.drain_by(node, deadline, |_| {});
    cluster.settle();
    assert_eq!(cluster.running_on(id, node), 0, "its time is over");
    assert_eq!(cluster.running(id).len(), 1, "it starts elsewhere");
}

#[test]
fn what_a_drain_ends_is_followed_only_when_it_has_ended() {
    let mut cluster = Cluster::new(2);
    let id = cluster.create(job("batch", 1, 0, "ok"));
    cluster.settle();
    let node = cluster.active(id)[0].node.expect("is placed");
    cluster.drain(node);
    cluster.drain_by(node, Some(cluster.now), |_| {});
    for _ in 0..3 {
        cluster.round();
        assert_eq!(cluster.view().tasks_of(id).count(), 1, "nobody heard yet that it ended");
    }
    assert_eq!(cluster.active(id).len(), 0);
    cluster.settle_now();
    assert_eq!((cluster.running(id).len(), cluster.running_on(id, node)), (1, 0));
}

#[test]
fn nothing_is_to_come_for_a_task_that_ended_well_whatever_its_restarts_are() {
    let mut cluster = Cluster::new(1);
    let mut spec = job("batch", 2, 0, "ok");
    spec.task_template.restart_policy.condition = RestartCondition::Any;
    let id = cluster.create(spec);
    cluster.settle();
    let done = cluster.active(id)[0].id;
    cluster.report(done, ObservedState::Complete);
    let view = cluster.view();
    assert_eq!(outlook(view, &view.tasks[&done], cluster.now), Outlook::Done);
    cluster.settle_now();
    assert_eq!(cluster.running(id).len(), 1);
}

#[test]
fn a_global_job_runs_once_on_each_node_that_fitted_at_its_beginning() {
    let mut cluster = Cluster::new(4);
    let mut spec = job("agent", 1, 0, "once");
    spec.mode = ServiceMode::GlobalJob {};
    spec.task_template.placement.constraints.extend("node.labels.zone==z1".parse().ok());
    let down = cluster.nodes[3];
    cluster.reach(down, Reachability::Down);
    let id = cluster.create(spec);
    cluster.settle();
    let run = cluster.run(id);
    assert_eq!(
        (run.phase.clone(), run.nodes.clone()),
        (RunPhase::Complete, vec![cluster.nodes[1]])
    );
    cluster.reach(down, Reachability::Ready);
    cluster.settle();
    assert_eq!(cluster.view().tasks_of(id).count(), 1, "it is a matter of the next run");
    cluster.apply(Op::StartRun { id }).expect("nothing goes on");
    cluster.settle();
    assert_eq!(cluster.run(id).succeeded.count(), 2);
}

#[test]
fn a_global_job_waits_for_a_silent_node_and_excuses_one_that_is_removed() {
    let mut cluster = Cluster::new(3);
    let mut spec = job("agent", 1, 0, "once");
    spec.mode = ServiceMode::GlobalJob {};
    let id = cluster.create(spec);
    cluster.round();
    let silent = cluster.nodes[2];
    cluster.reach(silent, Reachability::Down);
    cluster.settle_now();
    assert!(cluster.run(id).is_active());
    assert_eq!(cluster.run(id).succeeded.count(), 2);
    cluster.apply(Op::RemoveNode { id: silent, force: true }).expect("is a worker");
    cluster.settle();
    let run = cluster.run(id);
    assert_eq!((run.phase.clone(), run.succeeded.count()), (RunPhase::Complete, 2));
}

#[test]
fn a_global_job_whose_nodes_were_all_removed_has_failed() {
    let mut cluster = Cluster::new(2);
    let mut spec = job("agent", 1, 0, "ok");
    spec.mode = ServiceMode::GlobalJob {};
    spec.task_template.placement.constraints.extend("node.labels.zone==z1".parse().ok());
    let id = cluster.create(spec);
    cluster.settle();
    for node in cluster.run(id).nodes.clone() {
        cluster.apply(Op::RemoveNode { id: node, force: true }).expect("is a worker");
    }
    cluster.settle();
    assert!(
        failed(&cluster, id).contains("all its nodes were removed"),
        "{}",
        failed(&cluster, id)
    );
    assert_eq!(cluster.active(id).len(), 0);
}

#[test]
fn a_global_job_that_fits_nowhere_has_failed() {
    let mut cluster = Cluster::new(2);
    let mut spec = job("agent", 1, 0, "once");
    spec.mode = ServiceMode::GlobalJob {};
    spec.task_template.placement.constraints.extend("node.labels.zone==z7".parse().ok());
    let id = cluster.create(spec);
    assert!(failed(&cluster, id).contains("no node fitted"));
}

#[test]
fn a_stopped_run_ends_its_tasks() {
    let mut cluster = Cluster::new(2);
    let id = cluster.create(job("batch", 3, 0, "ok"));
    cluster.settle();
    cluster.apply(Op::StopRun { id, run: None }).expect("one goes on");
    cluster.settle();
    assert_eq!(cluster.run(id).phase, RunPhase::Stopped);
    let tasks = cluster.view().tasks_of(id);
    assert!(tasks.into_iter().all(|task| task.desired == DesiredState::Shutdown));
}
