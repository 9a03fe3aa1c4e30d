//! Runs of jobs, command by command.

use swarm_model::job::{Run, RunPhase};

use super::*;

pub(super) const JOB: ServiceId = ServiceId::from_raw(7);

pub(super) fn job(completions: u32, max_concurrent: u32) -> Box<ServiceSpec> {
    let mut spec = spec("batch", 1);
    spec.mode = ServiceMode::ReplicatedJob { completions, max_concurrent };
    spec
}

/// A cluster with a job (version 2).
pub(super) fn created(completions: u32, max_concurrent: u32) -> Log {
    let mut log = Log::with_cluster();
    log.apply(Op::CreateService { id: JOB, spec: job(completions, max_concurrent) }).expect("new");
    log
}

pub(super) fn run(log: &Log) -> &Run {
    log.machine.view().newest_run(JOB).expect("a job has a run")
}

pub(super) fn in_slot(id: u128, run: u64, index: u32) -> Decision {
    let Decision::CreateTask(new) = new_task(id, 7, Version(2), Some(1)) else {
        unreachable!("that is what it makes")
    };
    Decision::CreateTask(Box::new(NewTask { slot: Slot::Job { run, index }, ..*new }))
}

pub(super) fn end(log: &mut Log, task: u128, state: ObservedState) {
    log.apply(report(1, task, state)).expect("reported");
}

#[test]
fn a_job_begins_its_first_run_when_it_is_created() {
    let log = created(3, 0);
    let run = run(&log);
    assert_eq!((run.number, run.began, run.completions), (1, Revision(2), 3));
    assert!(run.is_active());
}

#[test]
fn each_slot_that_ended_well_counts_once_and_the_last_one_completes_the_run() {
    let mut log = created(2, 0);
    assert_eq!(log.plan(in_slot(50, 1, 1)), APPLIED);
    assert_eq!(log.plan(in_slot(51, 1, 2)), APPLIED);
    end(&mut log, 50, ObservedState::Complete);
    end(&mut log, 50, ObservedState::Complete);
    assert_eq!(run(&log).succeeded.count(), 1);
    end(&mut log, 51, ObservedState::Failed);
    assert_eq!((run(&log).succeeded.count(), run(&log).failures), (1, 1));
    assert_eq!(log.plan(in_slot(52, 1, 2)), APPLIED);
    end(&mut log, 52, ObservedState::Complete);
    assert_eq!(run(&log).phase, RunPhase::Complete);
    assert_eq!(run(&log).ended_at, Some(log.task(52).meta.updated_at));
}

#[test]
fn stale_plans_create_no_task_in_a_slot_that_succeeded_or_of_a_run_that_ended() {
    let mut log = created(2, 0);
    let base = Revision(log.next);
    assert_eq!(log.plan(in_slot(50, 1, 1)), APPLIED);
    end(&mut log, 50, ObservedState::Complete);
    let version = log.task(50).meta.version;
    let gone = Decision::RemoveTask { task: TaskId::from_raw(50), version };
    assert_eq!(log.plan(gone), APPLIED);
    let changes = vec![in_slot(53, 1, 1)];
    assert_eq!(log.apply(Op::ApplyPlan { term: TERM, base, changes }), REFUSED);
    for wrong in [in_slot(54, 1, 3), in_slot(55, 1, 0), in_slot(56, 2, 1)] {
        assert_eq!(log.plan(wrong), REFUSED, "there is no such slot");
    }
    assert_eq!(log.plan(new_task(57, 7, Version(2), Some(1))), REFUSED, "a job has no replicas");
    log.apply(Op::StopRun { id: JOB, run: None }).expect("it goes on");
    assert_eq!(log.plan(in_slot(58, 1, 2)), REFUSED);
}

#[test]
fn plans_never_take_more_seats_than_there_are() {
    let mut log = created(9, 2);
    let changes = vec![in_slot(50, 1, 1), in_slot(51, 1, 2), in_slot(52, 1, 3)];
    let base = Revision(log.next);
    let done = log.apply(Op::ApplyPlan { term: TERM, base, changes });
    assert_eq!(done, Ok(Done::Plan { applied: 2, refused: 1 }));
    assert_eq!(log.plan(in_slot(53, 1, 4)), REFUSED);
    end(&mut log, 50, ObservedState::Complete);
    assert_eq!(log.plan(in_slot(54, 1, 4)), APPLIED);
}

#[test]
fn a_leader_ends_a_run_once_and_completes_none_that_is_not() {
    let mut log = created(2, 0);
    let end = |phase| Decision::EndRun { service: JOB, run: 1, phase };
    assert_eq!(log.plan(end(RunPhase::Complete)), REFUSED);
    assert_eq!(log.plan(end(RunPhase::Active)), REFUSED);
    let failed = RunPhase::Failed { reason: "it took too long".to_owned() };
    assert_eq!(log.plan(end(failed.clone())), APPLIED);
    assert_eq!(log.plan(end(failed.clone())), REFUSED);
    assert_eq!(run(&log).phase, failed);
}

#[test]
fn a_run_is_not_given_up_by_rules_that_were_changed_since() {
    let mut log = created(2, 0);
    let base = Revision(log.next);
    let mut spec = job(2, 0);
    spec.job.deadline_ms = Some(3_600_000);
    log.apply(Op::UpdateService { id: JOB, version: None, spec, steered: true }).expect("valid");
    let phase = RunPhase::Failed { reason: "its deadline is over".to_owned() };
    let changes = vec![Decision::EndRun { service: JOB, run: 1, phase: phase.clone() }];
    assert_eq!(log.apply(Op::ApplyPlan { term: TERM, base, changes }), REFUSED);
    assert_eq!(log.plan(Decision::EndRun { service: JOB, run: 1, phase }), APPLIED);
}

#[test]
fn why_a_run_failed_is_told_within_a_bound() {
    let mut log = created(2, 0);
    let end = |bytes: usize| {
        let phase = RunPhase::Failed { reason: "x".repeat(bytes) };
        Decision::EndRun { service: JOB, run: 1, phase }
    };
    assert_eq!(log.plan(end(100_000)), REFUSED);
    assert_eq!(log.plan(end(1000)), APPLIED);
}

#[test]
fn a_new_template_replaces_the_run_and_nothing_is_rolled_out() {
    let mut log = created(2, 0);
    assert_eq!(log.plan(in_slot(50, 1, 1)), APPLIED);
    let mut spec = job(2, 0);
    spec.task_template.force_update = 1;
    let update = |spec| Op::UpdateService { id: JOB, version: None, spec, steered: true };
    log.apply(update(spec.clone())).expect("is valid");
    let phases = |log: &Log| -> Vec<RunPhase> {
        log.machine.view().runs_of(JOB).map(|run| run.phase.clone()).collect()
    };
    assert_eq!(phases(&log), [RunPhase::Replaced, RunPhase::Active]);
    assert_eq!(log.machine.view().services[&JOB].update, None);
    spec.mode = ServiceMode::ReplicatedJob { completions: 5, max_concurrent: 1 };
    log.apply(update(spec)).expect("is valid");
    assert_eq!(phases(&log).len(), 2, "numbers count from the next run on");
    log.apply(Op::RollbackService { id: JOB, version: None, to: None }).expect("there is one");
    assert_eq!(phases(&log), [RunPhase::Replaced, RunPhase::Replaced, RunPhase::Active]);
    assert_eq!(run(&log).template_version, Version(2));
}

#[test]
fn runs_are_asked_for_and_stopped_one_at_a_time() {
    let mut log = created(2, 0);
    let again = log.apply(Op::StartRun { id: JOB }).expect_err("one goes on");
    assert!(again.to_string().contains("run 1 of batch goes on"), "{again}");
    let unknown = log.apply(Op::StopRun { id: JOB, run: Some(7) }).expect_err("there is none");
    assert!(unknown.to_string().contains("has the number 7"), "{unknown}");
    log.apply(Op::StopRun { id: JOB, run: Some(1) }).expect("it goes on");
    assert_eq!(run(&log).phase, RunPhase::Stopped);
    let none = log.apply(Op::StopRun { id: JOB, run: None }).expect_err("it has ended");
    assert!(none.to_string().contains("no run of batch goes on"), "{none}");
    log.apply(Op::StartRun { id: JOB }).expect("none goes on");
    assert_eq!((run(&log).number, run(&log).began), (2, Revision(log.next)));
    log.apply(create(8, "web")).expect("new");
    let web = Op::StartRun { id: ServiceId::from_raw(8) };
    assert!(matches!(log.apply(web), Err(Rejection::NotAJob { .. })));
}

#[test]
fn what_ends_well_after_its_run_was_stopped_counts_for_nothing() {
    let mut log = created(1, 0);
    assert_eq!(log.plan(in_slot(50, 1, 1)), APPLIED);
    log.apply(Op::StopRun { id: JOB, run: None }).expect("it goes on");
    end(&mut log, 50, ObservedState::Complete);
    assert_eq!((run(&log).phase.clone(), run(&log).succeeded.count()), (RunPhase::Stopped, 0));
}

#[test]
fn runs_survive_a_snapshot_and_go_with_their_service() {
    let mut log = created(2, 0);
    assert_eq!(log.plan(in_slot(50, 1, 2)), APPLIED);
    end(&mut log, 50, ObservedState::Complete);
    let bytes = log.machine.snapshot().expect("small");
    let restored = Machine::restore(&bytes).expect("is one");
    assert_eq!(restored.view(), log.machine.view());
    log.apply(Op::RemoveService { id: JOB }).expect("there");
    let gone =
        Decision::RemoveTask { task: TaskId::from_raw(50), version: log.task(50).meta.version };
    assert_eq!(log.plan(gone), APPLIED);
    let version = log.machine.view().services[&JOB].meta.version;
    assert_eq!(log.plan(Decision::DeleteService { service: JOB, version }), APPLIED);
    assert!(log.machine.view().runs.is_empty());
}
