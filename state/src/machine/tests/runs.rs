//! Which runs are remembered, and which times of a schedule start one.

use swarm_model::job::RunPhase;
use swarm_model::schedule::{CatchUp, Overlap, ScheduleSpec};

use super::jobs::{JOB, created, end, in_slot, job, run};
use super::*;
use crate::machine::due::ACTIVE_RUNS_MAX;

/// A job with a schedule (version 2), and so many runs of it, a minute apart.
fn scheduled(overlap: Overlap, keep_runs: u32, runs: u64) -> Log {
    let mut log = Log::with_cluster();
    let mut spec = job(1, 0);
    spec.job.keep_runs = keep_runs;
    spec.schedule = Some(ScheduleSpec {
        cron: "* * * * *".parse().expect("is a schedule"),
        time_zone: "UTC".to_owned(),
        overlap,
        catch_up: CatchUp::All,
    });
    log.apply(Op::CreateService { id: JOB, spec }).expect("new");
    (1..=runs).for_each(|minute| assert_eq!(fire(&mut log, &[minute]), APPLIED));
    log
}

fn cursor(log: &Log) -> Timestamp {
    log.machine.view().services[&JOB].schedule.expect("it has one").cursor
}

fn at(minute: u64) -> Timestamp {
    Timestamp::from_millis(60_000 * minute)
}

/// Decides on the times of these minutes.
fn fire(log: &mut Log, minutes: &[u64]) -> Outcome {
    let due: Vec<Timestamp> = minutes.iter().copied().map(at).collect();
    let (cursor_was, last) = (cursor(log), due.last().copied());
    let cursor = last.unwrap_or(cursor_was);
    log.plan(Decision::Fire { service: JOB, cursor_was, cursor, due })
}

fn numbers(log: &Log) -> Vec<u64> {
    log.machine.view().runs_of(JOB).map(|run| run.number).collect()
}

/// Lets the only task of a run end well.
fn complete(log: &mut Log, run: u64) {
    let task = 100 + u128::from(run);
    assert_eq!(log.plan(in_slot(task, run, 1)), APPLIED);
    end(log, task, ObservedState::Complete);
}

#[test]
fn runs_that_may_overlap_do_not_pile_up_without_a_bound() {
    let mut log = scheduled(Overlap::Allow, 10, 0);
    assert_eq!(fire(&mut log, &(1..=100).collect::<Vec<_>>()), APPLIED);
    assert_eq!(fire(&mut log, &(101..=120).collect::<Vec<_>>()), APPLIED);
    let active = |log: &Log| log.machine.view().runs_of(JOB).filter(|it| it.is_active()).count();
    assert_eq!(active(&log), ACTIVE_RUNS_MAX);
    let refused = log.apply(Op::StartRun { id: JOB }).expect_err("all places are taken");
    assert!(refused.to_string().contains("run 1 of batch goes on"), "{refused}");
    log.apply(Op::StopRun { id: JOB, run: Some(1) }).expect("it goes on");
    log.apply(Op::StartRun { id: JOB }).expect("there is a place");
    assert_eq!(active(&log), ACTIVE_RUNS_MAX);
}

#[test]
fn more_times_than_are_ever_due_at_once_are_refused() {
    let mut log = scheduled(Overlap::Skip, 10, 0);
    assert_eq!(fire(&mut log, &(1..=101).collect::<Vec<_>>()), REFUSED);
    assert_eq!(cursor(&log), Timestamp::from_millis(2000));
}

#[test]
fn the_runs_that_ended_last_are_remembered_whenever_they_began() {
    let mut log = scheduled(Overlap::Allow, 2, 4);
    [2, 3, 1].into_iter().for_each(|run| complete(&mut log, run));
    assert_eq!(numbers(&log), [1, 3, 4], "the first one ended last");
    complete(&mut log, 4);
    assert_eq!(numbers(&log), [1, 4]);
}

#[test]
fn no_number_is_given_twice_although_the_newest_run_ended_first() {
    let mut log = scheduled(Overlap::Allow, 1, 3);
    [3, 2, 1].into_iter().for_each(|run| complete(&mut log, run));
    assert_eq!(numbers(&log), [1, 3], "the one that ended last, and the newest for its number");
    log.apply(Op::StartRun { id: JOB }).expect("runs may overlap");
    assert_eq!(run(&log).number, 4);
    complete(&mut log, 4);
    assert_eq!(numbers(&log), [4]);
}

#[test]
fn no_more_ended_runs_are_remembered_than_was_said_also_when_that_becomes_less() {
    let mut log = created(1, 0);
    for run in 1..=11 {
        complete(&mut log, run);
        log.apply(Op::StartRun { id: JOB }).expect("none goes on");
    }
    assert_eq!(numbers(&log), (2..=12).collect::<Vec<_>>(), "ten that ended and one that goes on");
    let mut spec = job(1, 0);
    spec.job.keep_runs = 3;
    log.apply(Op::UpdateService { id: JOB, version: None, spec, steered: true }).expect("valid");
    assert_eq!(numbers(&log), [9, 10, 11, 12]);
    complete(&mut log, 12);
    assert_eq!(numbers(&log), [10, 11, 12]);
}

#[test]
fn a_time_that_has_a_run_starts_no_other_one_although_a_clock_took_the_schedule_back() {
    let mut log = scheduled(Overlap::Allow, 10, 3);
    let cursor_was = cursor(&log);
    let back = Decision::Fire { service: JOB, cursor_was, cursor: at(1), due: Vec::new() };
    assert_eq!(log.plan(back), APPLIED);
    assert_eq!(fire(&mut log, &[2, 3]), APPLIED);
    assert_eq!((numbers(&log), cursor(&log)), (vec![1, 2, 3], at(3)));
    let schedule = "schedule";
    let said = log.events.iter().any(|event| event.attributes.contains_key(schedule));
    assert!(said, "the leader looks again when it hears of it");
    assert_eq!(fire(&mut log, &[4]), APPLIED);
    assert_eq!(numbers(&log), [1, 2, 3, 4]);
}

#[test]
fn a_changed_schedule_never_goes_back_behind_what_was_decided_on() {
    let mut log = scheduled(Overlap::Allow, 10, 3);
    let mut spec = job(1, 0);
    let schedule = log.machine.view().services[&JOB].spec.schedule.clone();
    spec.schedule = schedule.map(|schedule| ScheduleSpec {
        cron: "*/1 * * * *".parse().expect("is a schedule"),
        ..schedule
    });
    // The clock of who was asked is at some seconds; the third minute was decided on.
    log.apply(Op::UpdateService { id: JOB, version: None, spec, steered: true }).expect("valid");
    assert_eq!(cursor(&log), at(3));
}

#[test]
fn of_several_times_at_once_only_the_newest_runs_where_it_takes_the_place_of_the_others() {
    let mut log = scheduled(Overlap::Replace, 10, 1);
    assert_eq!(fire(&mut log, &[2, 3, 4]), APPLIED);
    let phases: Vec<_> = log.machine.view().runs_of(JOB).map(|run| run.phase.word()).collect();
    assert_eq!(phases, ["replaced", "skipped", "skipped", "active"]);
    assert_eq!(run(&log).due, Some(at(4)));
}

#[test]
fn a_template_stood_only_if_all_of_a_run_was_made_from_it() {
    let mut log = scheduled(Overlap::Skip, 10, 1);
    let update = |log: &mut Log, force: u64| {
        let mut spec = ServiceSpec::clone(&log.machine.view().services[&JOB].spec);
        spec.task_template.force_update = force;
        let op = Op::UpdateService { id: JOB, version: None, spec: spec.into(), steered: true };
        log.apply(op).expect("valid");
    };
    let stood = |log: &Log| -> Vec<bool> {
        log.machine.view().histories[&JOB].records().iter().map(|record| record.stood).collect()
    };
    update(&mut log, 1);
    let Decision::CreateTask(mut new) = in_slot(50, 1, 1) else { unreachable!("it makes one") };
    new.template_version = log.machine.view().services[&JOB].template_version;
    assert_eq!(log.plan(Decision::CreateTask(new)), APPLIED);
    end(&mut log, 50, ObservedState::Complete);
    assert_eq!(run(&log).phase, RunPhase::Complete);
    assert_eq!(stood(&log), [false, false], "a run of two templates proves neither");
    update(&mut log, 2);
    assert_eq!(stood(&log), [false, false, false]);
}
