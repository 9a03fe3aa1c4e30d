//! Updates, rollbacks and the history, command by command.

use swarm_model::share::Share;
use swarm_model::update::{Canary, Cause, UpdateKind, UpdatePhase, UpdateState};

use super::*;

const WEB: ServiceId = ServiceId::from_raw(7);

/// A cluster with service `web` (version 2), of which task 50 runs (revision 4).
fn running() -> Log {
    let mut log = Log::with_cluster();
    log.apply(create(7, "web")).expect("new");
    assert_eq!(log.plan(new_task(50, 7, Version(2), Some(1))), APPLIED);
    log.apply(report(1, 50, ObservedState::Running)).expect("reported");
    log
}

fn forced(force: u64) -> Box<ServiceSpec> {
    let mut spec = spec("web", 1);
    spec.task_template.force_update = force;
    spec
}

fn update(force: u64) -> Op {
    Op::UpdateService { id: WEB, version: None, spec: forced(force), steered: true }
}

fn rollback(to: Option<u64>) -> Op {
    Op::RollbackService { id: WEB, version: None, to: to.map(Version) }
}

fn step(log: &Log, step: UpdateStep) -> Decision {
    Decision::Update { service: WEB, version: web(log).meta.version, step }
}

fn web(log: &Log) -> &swarm_model::service::Service {
    &log.machine.view().services[&WEB]
}

fn state(log: &Log) -> &UpdateState {
    web(log).update.as_ref().expect("there is an update")
}

fn because() -> String {
    "1 of 1 tasks failed".to_owned()
}

#[test]
fn a_new_template_is_an_update_and_the_specs_are_remembered() {
    let mut log = running();
    assert_eq!(web(&log).update, None);
    log.apply(update(1)).expect("is valid");
    let begun = state(&log).clone();
    assert_eq!((begun.kind, begun.phase), (UpdateKind::Update, UpdatePhase::Rolling));
    assert_eq!((begun.id, begun.from, begun.to), (Revision(5), Version(2), Version(5)));
    let history = &log.machine.view().histories[&WEB];
    let kept: Vec<_> = history.records().iter().map(|it| (it.version, it.stood)).collect();
    assert_eq!(kept, [(Version(2), true), (Version(5), false)]);
    assert_eq!(history.records()[1].cause, Cause::Updated);
    // Other fields change nothing about the tasks, so the update goes on.
    let mut scaled = forced(1);
    scaled.mode = ServiceMode::Replicated { replicas: 3 };
    log.apply(Op::UpdateService { id: WEB, version: None, spec: scaled, steered: true })
        .expect("is valid");
    assert_eq!(state(&log), &begun);
    assert_eq!(web(&log).template_version, Version(5));
}

#[test]
fn an_update_without_tasks_has_nothing_to_replace() {
    let mut log = Log::with_cluster();
    log.apply(create(7, "web")).expect("new");
    log.apply(update(1)).expect("is valid");
    assert_eq!(web(&log).update, None);
    assert_eq!(web(&log).template_version, Version(3));
}

#[test]
fn what_was_logged_before_there_were_policies_is_applied_as_then() {
    let mut log = running();
    let op = Op::UpdateService { id: WEB, version: None, spec: forced(1), steered: false };
    log.apply(op).expect("is valid");
    assert_eq!(web(&log).update, None);
    assert_eq!(web(&log).template_version, Version(5));
    assert!(log.machine.view().histories.is_empty());
}

#[test]
fn a_template_that_is_known_has_its_version_again() {
    let mut log = running();
    log.apply(update(1)).expect("is valid");
    log.apply(update(0)).expect("is valid");
    assert_eq!(web(&log).template_version, Version(2));
    assert_eq!((state(&log).from, state(&log).to), (Version(5), Version(2)));
    assert_eq!(state(&log).kind, UpdateKind::Update);
}

#[test]
fn a_failed_update_goes_back_to_the_template_that_ran_and_its_version() {
    let mut log = running();
    log.apply(update(1)).expect("is valid");
    log.apply(update(2)).expect("is valid");
    let failed = step(&log, UpdateStep::RollBack { reason: because() });
    assert_eq!(log.plan(failed.clone()), APPLIED);
    assert_eq!(web(&log).template_version, Version(2), "not that of the update that never ran");
    assert_eq!(*web(&log).spec, *spec("web", 1));
    let back = state(&log).clone();
    assert_eq!((back.kind, back.phase), (UpdateKind::Rollback, UpdatePhase::Rolling));
    assert_eq!((back.reason, back.from), (because(), Version(6)));
    assert_eq!(log.plan(failed), REFUSED, "the same decision twice");
    let again = step(&log, UpdateStep::RollBack { reason: because() });
    assert_eq!(log.plan(again), REFUSED, "a rollback is never rolled back");
    let done = step(&log, UpdateStep::Complete { reason: String::new() });
    assert_eq!(log.plan(done), APPLIED);
    assert_eq!(state(&log).phase, UpdatePhase::Completed);
    assert_eq!(state(&log).reason, because(), "why stays");
    let newest = log.machine.view().histories[&WEB].records().last().cloned();
    let newest = newest.expect("there is one");
    assert_eq!((newest.cause, newest.stood), (Cause::RolledBack { to: Version(2) }, true));
}

#[test]
fn with_nothing_to_go_back_to_a_failed_update_pauses() {
    let mut log = Log::with_cluster();
    log.apply(create(7, "web")).expect("new");
    assert_eq!(log.plan(new_task(50, 7, Version(2), Some(1))), APPLIED);
    log.apply(update(1)).expect("is valid");
    let failed = step(&log, UpdateStep::RollBack { reason: because() });
    assert_eq!(log.plan(failed), APPLIED);
    assert_eq!((state(&log).kind, state(&log).phase), (UpdateKind::Update, UpdatePhase::Paused));
    assert!(state(&log).reason.contains("no version before it ever ran"), "{:?}", state(&log));
    let late = step(&log, UpdateStep::Complete { reason: String::new() });
    assert_eq!(log.plan(late), REFUSED, "it is paused");
}

#[test]
fn a_spec_whose_config_is_gone_is_not_gone_back_to() {
    let mut log = Log::with_cluster();
    let config = ConfigId::from_raw(9);
    let name: swarm_model::name::Name = "app".parse().expect("valid");
    let data = ConfigSpec { name, labels: BTreeMap::new(), data: vec![1].into() };
    log.apply(Op::CreateConfig { id: config, spec: data }).expect("new");
    let mut with = spec("web", 1);
    let RuntimeSpec::Process(process) = &mut with.task_template.runtime;
    process.configs.push(swarm_model::runtime::ConfigReference {
        config,
        name: "app".to_owned(),
        target: "app".to_owned(),
        uid: None,
        gid: None,
        mode: 0o444,
    });
    log.apply(Op::CreateService { id: WEB, spec: with }).expect("new");
    assert_eq!(log.plan(new_task(50, 7, Version(3), Some(1))), APPLIED);
    log.apply(report(1, 50, ObservedState::Running)).expect("reported");
    log.apply(update(1)).expect("is valid");
    log.apply(Op::RemoveConfig { id: config }).expect("nobody uses it");
    let asked = log.apply(rollback(None));
    assert!(matches!(asked, Err(Rejection::Invalid { .. })), "{asked:?}");
    let failed = step(&log, UpdateStep::RollBack { reason: because() });
    assert_eq!(log.plan(failed), APPLIED);
    assert_eq!(state(&log).phase, UpdatePhase::Paused);
    assert!(state(&log).reason.contains("config app does not exist"), "{:?}", state(&log));
}

#[test]
fn rolling_back_without_a_history_or_to_an_unknown_version_is_refused_by_name() {
    let mut log = running();
    let refused = log.apply(rollback(None)).expect_err("never updated");
    assert!(refused.to_string().contains("was never updated"), "{refused}");
    assert!(log.machine.view().histories.is_empty(), "nothing was changed");
    log.apply(update(1)).expect("is valid");
    let refused = log.apply(rollback(Some(3))).expect_err("not kept").to_string();
    assert!(refused.contains("no version 3 in its history: it keeps 2, 6"), "{refused}");
    log.apply(rollback(Some(2))).expect("is kept");
    assert_eq!(web(&log).template_version, Version(2));
    let stale = Op::RollbackService { id: WEB, version: Some(Version(1)), to: None };
    assert!(matches!(log.apply(stale), Err(Rejection::VersionConflict { .. })));
    log.apply(Op::RemoveService { id: WEB }).expect("exists");
    assert!(matches!(log.apply(rollback(None)), Err(Rejection::NotFound { .. })));
}

#[test]
fn a_canary_is_tried_waits_and_is_promoted_once() {
    let mut log = running();
    let promote = || Op::PromoteUpdate { id: WEB };
    let mut spec = forced(1);
    spec.update.canary = Some(Share::Count(1));
    let asked = Op::UpdateService { id: WEB, version: None, spec, steered: true };
    log.apply(asked).expect("is valid");
    assert_eq!((state(&log).canary, state(&log).word()), (Some(Canary::Trying), "updating"));
    let early = log.apply(promote()).expect_err("it is tried").to_string();
    assert!(early.contains("has no update that could be promoted: updating"), "{early}");
    let proved = step(&log, UpdateStep::Prove { promoted: false });
    assert_eq!(log.plan(proved.clone()), APPLIED);
    assert_eq!((state(&log).canary, state(&log).word()), (Some(Canary::Waiting), "canary"));
    assert_eq!(log.plan(proved), REFUSED, "the same decision twice");
    let late = step(&log, UpdateStep::Prove { promoted: true });
    assert_eq!(log.plan(late), REFUSED, "it was proven before");
    log.apply(Op::PauseUpdate { id: WEB, paused: true }).expect("it waits");
    assert!(matches!(log.apply(promote()), Err(Rejection::NoUpdate { .. })), "it is paused");
    log.apply(Op::PauseUpdate { id: WEB, paused: false }).expect("it is paused");
    log.apply(promote()).expect("it waits");
    assert_eq!((state(&log).canary, state(&log).word()), (Some(Canary::Promoted), "updating"));
    assert!(matches!(log.apply(promote()), Err(Rejection::NoUpdate { .. })), "it goes on");
    log.apply(rollback(None)).expect("there is one before");
    assert_eq!(state(&log).canary, None, "what ran before needs no trying");
}

#[test]
fn a_canary_that_somebody_changes_is_tried_anew_until_it_is_promoted() {
    let mut log = running();
    let given = |canary: Option<u32>, auto_promote: bool| {
        let mut spec = forced(1);
        (spec.update.canary, spec.update.auto_promote) = (canary.map(Share::Count), auto_promote);
        Op::UpdateService { id: WEB, version: None, spec, steered: true }
    };
    log.apply(given(None, false)).expect("is valid");
    assert_eq!(state(&log).canary, None);
    for (canary, auto) in [(1, false), (2, false), (2, true)] {
        log.apply(given(Some(canary), auto)).expect("is valid");
        assert_eq!(state(&log).canary, Some(Canary::Trying), "{canary} {auto}");
        assert_eq!(log.plan(step(&log, UpdateStep::Prove { promoted: false })), APPLIED);
        log.apply(given(Some(canary), auto)).expect("the same once more");
        assert_eq!(state(&log).canary, Some(Canary::Waiting), "{canary} {auto}");
    }
    log.apply(given(None, false)).expect("is valid");
    assert_eq!((state(&log).canary, state(&log).word()), (None, "updating"));
    log.apply(given(Some(1), false)).expect("is valid");
    assert_eq!(log.plan(step(&log, UpdateStep::Prove { promoted: true })), APPLIED);
    log.apply(given(Some(2), false)).expect("is valid");
    assert_eq!(state(&log).canary, Some(Canary::Promoted), "the others have their turn");
}

#[test]
fn an_update_stops_and_goes_on_when_somebody_says_so() {
    let mut log = running();
    let pause = |paused| Op::PauseUpdate { id: WEB, paused };
    let none = log.apply(pause(true)).expect_err("there is none").to_string();
    assert!(none.contains("has no update that could stop: there was none yet"), "{none}");
    log.apply(update(1)).expect("is valid");
    assert!(matches!(log.apply(pause(false)), Err(Rejection::NoUpdate { .. })), "it goes on");
    log.apply(pause(true)).expect("it goes on");
    assert_eq!((state(&log).phase, state(&log).id.0), (UpdatePhase::Paused, 6));
    log.apply(pause(false)).expect("it is paused");
    assert_eq!((state(&log).phase, state(&log).id.0), (UpdatePhase::Rolling, 6));
    log.apply(pause(true)).expect("it goes on");
    log.apply(update(1)).expect("the same spec");
    assert_eq!((state(&log).phase, state(&log).id.0), (UpdatePhase::Rolling, 11), "a new one");
}

#[test]
fn the_tasks_of_an_update_know_it_and_when_they_ran() {
    let mut log = running();
    assert_eq!((log.task(50).update, log.task(50).ran_at), (None, None));
    log.apply(update(1)).expect("is valid");
    assert_eq!(log.plan(new_task(51, 7, Version(5), Some(1))), APPLIED);
    assert_eq!((log.task(51).update, log.task(51).ran_at), (Some(Revision(5)), None));
    log.apply(report(1, 51, ObservedState::Running)).expect("reported");
    let ran_at = log.task(51).ran_at;
    assert_eq!(ran_at, Some(Timestamp::from_millis(7000)), "by the leader's clock");
    log.apply(report(1, 51, ObservedState::Failed)).expect("reported");
    assert_eq!(log.task(51).ran_at, ran_at);
}

#[test]
fn voluntary_changes_are_refused_when_anything_of_the_service_changed_since() {
    let mut log = running();
    log.apply(update(1)).expect("is valid");
    let voluntary = |id, slot| {
        let Decision::CreateTask(mut new) = new_task(id, 7, Version(5), Some(1)) else {
            unreachable!("it is one")
        };
        (new.voluntary, new.slot) = (true, Slot::Replica(slot));
        Decision::CreateTask(new)
    };
    let old = Decision::Yield { task: TaskId::from_raw(50), version: Version(4) };
    let base = Revision(log.next);
    // Two plans from one view: the first takes its whole share, the second comes too late.
    let plan = |changes| Op::ApplyPlan { term: TERM, base, changes };
    let both = plan(vec![voluntary(51, 2), voluntary(52, 3)]);
    assert_eq!(log.apply(both), Ok(Done::Plan { applied: 2, refused: 0 }));
    let late = plan(vec![voluntary(53, 4), old.clone()]);
    assert_eq!(log.apply(late), Ok(Done::Plan { applied: 0, refused: 2 }));
    assert_eq!(log.plan(old.clone()), APPLIED, "decided anew");
    assert_eq!(log.task(50).desired, DesiredState::Shutdown);
    assert_eq!(log.plan(old), REFUSED, "its version is another one");
}

#[test]
fn what_was_decided_before_the_service_changed_takes_no_more_of_its_update() {
    let by_user = [
        Op::PauseUpdate { id: WEB, paused: true },
        rollback(None),
        Op::UpdateService { id: WEB, version: None, spec: spec("web", 3), steered: true },
    ];
    for op in by_user {
        let mut log = running();
        log.apply(update(1)).expect("is valid");
        let base = Revision(log.next);
        log.apply(op).expect("is valid");
        let old = Decision::Yield { task: TaskId::from_raw(50), version: Version(4) };
        let Decision::CreateTask(mut new) = new_task(51, 7, web(&log).template_version, Some(1))
        else {
            unreachable!("it is one")
        };
        (new.voluntary, new.slot) = (true, Slot::Replica(2));
        let changes = vec![old, Decision::CreateTask(new)];
        let late = Op::ApplyPlan { term: TERM, base, changes: changes.clone() };
        assert_eq!(log.apply(late), Ok(Done::Plan { applied: 0, refused: 2 }));
        let base = Revision(log.next);
        let anew = log.apply(Op::ApplyPlan { term: TERM, base, changes });
        assert_eq!(anew, Ok(Done::Plan { applied: 2, refused: 0 }));
    }
}
