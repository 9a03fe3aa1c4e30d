//! Updates by their rules: seats, monitor time, failures, rollbacks, and leaders that come and go.

use std::time::Duration;

use swarm_model::command::Op;
use swarm_model::id::{NodeId, ServiceId};
use swarm_model::node::Reachability;
use swarm_model::plan::Change;
use swarm_model::runtime::RuntimeSpec;
use swarm_model::service::ServiceSpec;
use swarm_model::share::Share;
use swarm_model::task_state::ObservedState;
use swarm_model::update::{
    FailureAction, Order, UpdateKind, UpdatePhase, UpdatePolicy, UpdateState,
};

use crate::testing::{Cluster, OFFERED_MEMORY, program, spec, template};

/// A settled service of `replicas` tasks that run `ok` under the default rules, changed by `change`.
fn service(cluster: &mut Cluster, replicas: u32, change: fn(&mut UpdatePolicy)) -> ServiceId {
    let mut spec = spec("web", Some(replicas), template("ok"));
    spec.update = UpdatePolicy::default();
    spec.rollback = UpdatePolicy::default();
    change(&mut spec.update);
    let web = cluster.create(spec);
    cluster.settle();
    web
}

fn run(spec: &mut ServiceSpec, name: &str) {
    let RuntimeSpec::Process(process) = &mut spec.task_template.runtime;
    process.command = vec![name.to_owned()];
}

fn set_program(cluster: &mut Cluster, service: ServiceId, name: &str) {
    cluster.update(service, |spec| run(spec, name));
}

fn running_of(cluster: &Cluster, service: ServiceId, name: &str) -> usize {
    cluster.running(service).iter().filter(|task| program(task) == name).count()
}

fn state(cluster: &Cluster, service: ServiceId) -> UpdateState {
    cluster.view().services[&service].update.clone().expect("there is an update")
}

/// Rounds, agents and time, until the update is not rolling any more.
fn until_over(cluster: &mut Cluster, service: ServiceId) -> UpdateState {
    for _ in 0..200 {
        cluster.settle_now();
        let state = state(cluster, service);
        if state.phase != UpdatePhase::Rolling {
            return state;
        }
        cluster.now = cluster.wake_at.expect("an update that waits for nothing").max(cluster.now);
    }
    panic!("does not end: {:#?}", cluster.view().tasks.values().collect::<Vec<_>>());
}

#[test]
fn each_batch_has_to_prove_itself_before_the_next_one() {
    let mut cluster = Cluster::new(3);
    let web = service(&mut cluster, 6, |policy| {
        policy.parallelism = 2;
        policy.delay_ms = 1000;
    });
    let begun = cluster.now;
    set_program(&mut cluster, web, "new");
    for done in [2, 4, 6] {
        cluster.settle_now();
        assert_eq!(running_of(&cluster, web, "new"), done);
        assert_eq!(running_of(&cluster, web, "ok"), 8 - done, "the old ones serve on meanwhile");
        cluster.now = cluster.now.after(Duration::from_millis(4999));
        cluster.settle_now();
        assert_eq!(running_of(&cluster, web, "new"), done, "the monitor time runs");
        cluster.now = cluster.now.after(Duration::from_millis(1));
        cluster.settle_now();
        assert_eq!(running_of(&cluster, web, "new"), done, "the delay runs");
        if done < 6 {
            cluster.now = cluster.now.after(Duration::from_millis(1000));
        }
    }
    let state = state(&cluster, web);
    assert_eq!((state.kind, state.phase), (UpdateKind::Update, UpdatePhase::Completed));
    assert_eq!(cluster.now.since(begun), Duration::from_secs(17), "no delay behind the last one");
}

#[test]
fn a_version_that_fails_is_rolled_back_and_the_old_tasks_are_not_touched() {
    let mut cluster = Cluster::new(3);
    let web = service(&mut cluster, 5, |_default| {});
    let before: Vec<_> = cluster.running(web).iter().map(|task| task.id).collect();
    for bad in ["fail", "reject"] {
        set_program(&mut cluster, web, bad);
        let over = until_over(&mut cluster, web);
        assert_eq!((over.kind, over.phase), (UpdateKind::Rollback, UpdatePhase::Completed));
        assert!(over.reason.starts_with("1 of 5 tasks failed; slot 1: "), "{}", over.reason);
        cluster.settle();
        let after: Vec<_> = cluster.running(web).iter().map(|task| task.id).collect();
        assert_eq!(before, after, "{bad}");
        assert_eq!(cluster.active(web).len(), 5);
    }
}

#[test]
fn a_version_that_runs_and_then_fails_takes_over_nothing() {
    let mut cluster = Cluster::new(3);
    let web = service(&mut cluster, 4, |policy| policy.parallelism = 2);
    let before: Vec<_> = cluster.running(web).iter().map(|task| task.id).collect();
    set_program(&mut cluster, web, "flaky");
    let over = until_over(&mut cluster, web);
    assert_eq!((over.kind, over.phase), (UpdateKind::Rollback, UpdatePhase::Completed));
    cluster.settle();
    let after: Vec<_> = cluster.running(web).iter().map(|task| task.id).collect();
    assert_eq!(before, after);
    let tried = cluster.view().tasks_of(web).filter(|task| program(task) == "flaky");
    let slots: std::collections::BTreeSet<_> = tried.map(|task| task.slot).collect();
    assert!(slots.len() <= 2, "no more than its seats: {slots:?}");
}

#[test]
fn a_version_that_does_not_come_to_run_in_time_has_failed() {
    let mut cluster = Cluster::new(3);
    let web = service(&mut cluster, 3, |policy| policy.start_timeout_ms = 60_000);
    let begun = cluster.now;
    set_program(&mut cluster, web, "slow");
    let over = until_over(&mut cluster, web);
    assert_eq!((over.kind, over.phase), (UpdateKind::Rollback, UpdatePhase::Completed));
    assert!(over.reason.contains("slot 1: not running in time"), "{}", over.reason);
    assert_eq!(cluster.now.since(begun), Duration::from_secs(60));
    cluster.settle();
    assert_eq!(running_of(&cluster, web, "ok"), 3);
}

#[test]
fn a_version_that_fits_nowhere_in_time_has_failed() {
    let mut cluster = Cluster::new(2);
    let web = service(&mut cluster, 2, |_default| {});
    cluster.update(web, |spec| {
        spec.task_template.resources.reservations.memory.0 = OFFERED_MEMORY.0 * 2;
    });
    let over = until_over(&mut cluster, web);
    assert_eq!((over.kind, over.phase), (UpdateKind::Rollback, UpdatePhase::Completed));
    assert!(over.reason.contains("insufficient memory"), "{}", over.reason);
    cluster.settle();
    assert_eq!((cluster.active(web).len(), cluster.running(web).len()), (2, 2));
}

#[test]
fn a_paused_update_stays_where_it_is_until_somebody_decides() {
    let mut cluster = Cluster::new(3);
    let web = service(&mut cluster, 4, |policy| {
        policy.failure_action = Some(FailureAction::Pause);
    });
    set_program(&mut cluster, web, "fail");
    let over = until_over(&mut cluster, web);
    assert_eq!((over.kind, over.phase), (UpdateKind::Update, UpdatePhase::Paused));
    assert_eq!(running_of(&cluster, web, "ok"), 4);
    for _ in 0..5 {
        cluster.now = cluster.wake_at.expect("the restart delay runs");
        cluster.settle_now();
        let tried = cluster.view().tasks_of(web).filter(|task| program(task) == "fail");
        assert!(tried.map(|task| task.slot.to_string()).all(|slot| slot == "1"));
    }
    let same = ServiceSpec::clone(&cluster.view().services[&web].spec);
    let op = Op::UpdateService { id: web, version: None, spec: Box::new(same), steered: true };
    cluster.apply(op).expect("the same once more");
    let again = until_over(&mut cluster, web);
    assert_eq!(again.phase, UpdatePhase::Paused, "it fails again, from the same slot");
    assert!(again.id > over.id);
    set_program(&mut cluster, web, "better");
    let over = until_over(&mut cluster, web);
    assert_eq!((over.kind, over.phase), (UpdateKind::Update, UpdatePhase::Completed));
    assert_eq!(running_of(&cluster, web, "better"), 4);
}

#[test]
fn somebody_can_stop_an_update_and_let_it_go_on() {
    let mut cluster = Cluster::new(3);
    let web = service(&mut cluster, 4, |policy| policy.monitor_ms = 0);
    set_program(&mut cluster, web, "new");
    cluster.round();
    cluster.apply(Op::PauseUpdate { id: web, paused: true }).expect("it rolls");
    cluster.settle();
    assert_eq!(running_of(&cluster, web, "new"), 1, "what was begun is finished");
    cluster.apply(Op::PauseUpdate { id: web, paused: false }).expect("it is paused");
    cluster.settle();
    assert_eq!(running_of(&cluster, web, "new"), 4);
}

#[test]
fn failures_within_the_ratio_do_not_stop_an_update() {
    let mut cluster = Cluster::new(1);
    let web = service(&mut cluster, 4, |policy| {
        policy.max_failure_permille = 250;
        policy.monitor_ms = 1000;
    });
    set_program(&mut cluster, web, "new");
    cluster.settle_now();
    let first = cluster.running(web).into_iter().find(|task| program(task) == "new");
    let first = first.expect("the first one runs").id;
    cluster.report(first, ObservedState::Failed);
    let over = until_over(&mut cluster, web);
    assert_eq!((over.kind, over.phase), (UpdateKind::Update, UpdatePhase::Completed));
    assert_eq!(over.reason, "1 of 4 tasks failed");
    cluster.settle();
    assert_eq!(running_of(&cluster, web, "new"), 4);
}

#[test]
fn an_update_that_goes_on_whatever_fails_gives_every_slot_its_turn() {
    let mut cluster = Cluster::new(3);
    let web = service(&mut cluster, 3, |policy| {
        policy.failure_action = Some(FailureAction::Continue);
    });
    set_program(&mut cluster, web, "fail");
    let over = until_over(&mut cluster, web);
    assert_eq!(over.phase, UpdatePhase::Completed);
    assert_eq!(over.reason, "3 of 3 tasks failed");
    assert_eq!(running_of(&cluster, web, "ok"), 3, "the old ones serve on");
}

#[test]
fn stop_first_ends_the_old_task_before_the_new_one_starts() {
    let mut cluster = Cluster::new(3);
    let web = service(&mut cluster, 4, |policy| {
        policy.order = Some(Order::StopFirst);
        policy.parallelism = 2;
        policy.monitor_ms = 0;
    });
    set_program(&mut cluster, web, "new");
    for _ in 0..30 {
        let plan = cluster.round();
        let yielded = plan.changes.iter().filter(|it| matches!(it, Change::Yield { .. })).count();
        assert!(yielded <= 2, "{plan:?}");
        assert!(cluster.active(web).len() <= 4, "never more than its replicas");
        assert!(cluster.running(web).len() >= 2, "at most two at a time");
        cluster.agents();
    }
    assert_eq!(running_of(&cluster, web, "new"), 4);
}

#[test]
fn start_first_waits_for_room_rather_than_stop() {
    let mut cluster = Cluster::new(2);
    let mut heavy = template("ok");
    heavy.resources.reservations.memory = OFFERED_MEMORY;
    let mut full = spec("web", Some(2), heavy);
    full.update.order = Some(Order::StartFirst);
    let web = cluster.create(full);
    cluster.settle();
    set_program(&mut cluster, web, "new");
    cluster.settle_now();
    assert_eq!(running_of(&cluster, web, "ok"), 2);
    cluster.add_node();
    cluster.settle();
    assert_eq!(running_of(&cluster, web, "new"), 2);
}

/// The node of a running task of `program`, and of no other one in the same slot.
fn node_of(cluster: &Cluster, service: ServiceId, name: &str) -> NodeId {
    let running = cluster.running(service);
    let task = running.iter().find(|task| program(task) == name).expect("one runs");
    task.node.expect("it has a node")
}

#[test]
fn a_machine_that_is_lost_within_the_monitor_time_is_no_failure_of_the_version() {
    for reach in [Reachability::Down, Reachability::Ready] {
        let mut cluster = Cluster::new(4);
        let web = service(&mut cluster, 4, |policy| policy.parallelism = 2);
        set_program(&mut cluster, web, "new");
        for _ in 0..3 {
            cluster.settle_now();
            let lost = node_of(&cluster, web, "new");
            cluster.reach(lost, Reachability::Down);
            cluster.settle_now();
            cluster.reach(lost, reach);
            cluster.settle_now();
            assert_eq!(state(&cluster, web).phase, UpdatePhase::Rolling);
            cluster.reach(lost, Reachability::Ready);
        }
        let over = until_over(&mut cluster, web);
        assert_eq!((over.kind, over.phase), (UpdateKind::Update, UpdatePhase::Completed));
        assert_eq!(over.reason, "");
        assert_eq!(running_of(&cluster, web, "new"), 4);
    }
}

#[test]
fn a_new_leader_hears_first_how_the_new_version_fares() {
    let mut cluster = Cluster::new(3);
    let web = service(&mut cluster, 3, |_default| {});
    set_program(&mut cluster, web, "new");
    cluster.settle_now();
    let first = cluster.running(web).into_iter().find(|task| program(task) == "new");
    let first = first.expect("the first one runs").id;
    let ended = cluster.now.after(Duration::from_secs(1));
    cluster.lead_anew(cluster.now.after(Duration::from_secs(6)));
    cluster.settle_now();
    assert_eq!(cluster.active(web).len(), 4, "nobody knows yet how the first one is");
    // It ended within its monitor time, when nobody led who could note it.
    cluster.report_late(first, ObservedState::Failed, ended);
    cluster.settle_now();
    assert_eq!(state(&cluster, web).kind, UpdateKind::Rollback);
    let tried = cluster.view().tasks_of(web).filter(|task| program(task) == "new").count();
    assert_eq!(tried, 1);
}

#[test]
fn a_slot_that_is_lost_before_its_turn_goes_on_with_the_former_version() {
    let mut cluster = Cluster::new(5);
    let web = service(&mut cluster, 5, |_default| {});
    set_program(&mut cluster, web, "new");
    cluster.settle_now();
    let proving = node_of(&cluster, web, "new");
    let others = cluster.running(web);
    let other = others.iter().find(|task| task.slot.to_string() == "5").expect("the last slot");
    let lost = other.node.filter(|node| *node != proving).expect("elsewhere");
    cluster.reach(lost, Reachability::Down);
    cluster.settle_now();
    assert_eq!((running_of(&cluster, web, "new"), running_of(&cluster, web, "ok")), (1, 5));
    let over = until_over(&mut cluster, web);
    assert_eq!((over.kind, over.phase), (UpdateKind::Update, UpdatePhase::Completed));
    assert_eq!(running_of(&cluster, web, "new"), 5);
}

#[test]
fn a_slot_that_is_lost_when_a_seat_is_free_has_the_first_turn() {
    let mut cluster = Cluster::new(5);
    let web = service(&mut cluster, 5, |_default| {});
    let lost = cluster.running(web).iter().find(|task| task.slot.to_string() == "4").cloned();
    let lost = lost.and_then(|task| task.node).expect("the fourth runs");
    cluster.reach(lost, Reachability::Down);
    set_program(&mut cluster, web, "new");
    cluster.settle_now();
    let new: Vec<_> = cluster.running(web).into_iter().filter(|it| program(it) == "new").collect();
    assert_eq!(new.iter().map(|task| task.slot.to_string()).collect::<Vec<_>>(), ["4"]);
}

#[test]
fn while_an_update_is_paused_lost_and_added_slots_run_the_former_version() {
    let mut cluster = Cluster::new(5);
    let web = service(&mut cluster, 3, |policy| policy.monitor_ms = 0);
    set_program(&mut cluster, web, "new");
    cluster.round();
    cluster.apply(Op::PauseUpdate { id: web, paused: true }).expect("it rolls");
    cluster.settle();
    assert_eq!((running_of(&cluster, web, "new"), running_of(&cluster, web, "ok")), (1, 2));
    cluster.reach(node_of(&cluster, web, "ok"), Reachability::Down);
    cluster.scale(web, 6);
    cluster.settle();
    assert_eq!((running_of(&cluster, web, "new"), running_of(&cluster, web, "ok")), (1, 5));
    let old = cluster.running(web).into_iter().find(|it| program(it) == "ok").map(|it| it.id);
    cluster.report(old.expect("one runs"), ObservedState::Failed);
    cluster.drain(node_of(&cluster, web, "ok"));
    cluster.settle();
    assert_eq!((running_of(&cluster, web, "new"), running_of(&cluster, web, "ok")), (1, 5));
    cluster.apply(Op::PauseUpdate { id: web, paused: false }).expect("it is paused");
    cluster.settle();
    assert_eq!(running_of(&cluster, web, "new"), 6);
}

#[test]
fn a_rollback_that_fails_pauses() {
    let mut cluster = Cluster::new(3);
    let web = service(&mut cluster, 3, |policy| policy.monitor_ms = 0);
    set_program(&mut cluster, web, "new");
    cluster.settle();
    // What ran once does not run any more: asked to go back, it fails.
    set_program(&mut cluster, web, "fail");
    cluster.apply(Op::PauseUpdate { id: web, paused: true }).expect("it rolls");
    cluster.update(web, |spec| {
        run(spec, "newest");
        spec.update.monitor_ms = 0;
    });
    cluster.settle();
    let history = cluster.view().histories[&web].clone();
    let bad = history.records().iter().find(|record| {
        let RuntimeSpec::Process(process) = &record.spec.task_template.runtime;
        process.command == ["fail"]
    });
    let to = Some(bad.expect("it is remembered").version);
    cluster.apply(Op::RollbackService { id: web, version: None, to }).expect("it is kept");
    let over = until_over(&mut cluster, web);
    assert_eq!((over.kind, over.phase), (UpdateKind::Rollback, UpdatePhase::Paused));
    assert_eq!(running_of(&cluster, web, "newest"), 3);
}

#[test]
fn a_rollback_on_request_goes_slot_by_slot() {
    let mut cluster = Cluster::new(3);
    let web = service(&mut cluster, 4, |policy| policy.monitor_ms = 0);
    set_program(&mut cluster, web, "new");
    cluster.settle();
    cluster
        .apply(Op::RollbackService { id: web, version: None, to: None })
        .expect("there is one to go back to");
    cluster.round();
    assert_eq!(cluster.active(web).len(), 5, "one at a time");
    assert_eq!(cluster.running(web).len(), 4);
    let over = until_over(&mut cluster, web);
    assert_eq!((over.kind, over.phase), (UpdateKind::Rollback, UpdatePhase::Completed));
    assert_eq!(running_of(&cluster, web, "ok"), 4);
}

#[test]
fn a_first_version_that_never_ran_is_nothing_to_go_back_to() {
    let mut cluster = Cluster::new(2);
    let web = cluster.create(spec("web", Some(2), template("fail")));
    cluster.settle_now();
    set_program(&mut cluster, web, "reject");
    let over = until_over(&mut cluster, web);
    assert_eq!(over.phase, UpdatePhase::Paused);
    assert!(over.reason.contains("there is nothing to go back to"), "{}", over.reason);
}

#[test]
fn a_new_leader_with_another_clock_does_not_take_an_update_for_failed() {
    for hours in [-2i64, 2] {
        let mut cluster = Cluster::new(3);
        cluster.now = cluster.now.after(Duration::from_secs(24 * 3600));
        let web = service(&mut cluster, 3, |_default| {});
        set_program(&mut cluster, web, "new");
        cluster.settle_now();
        let apart = Duration::from_secs(hours.unsigned_abs() * 3600);
        let now = if hours < 0 {
            let millis = u64::try_from(apart.as_millis()).expect("small");
            swarm_model::units::Timestamp::from_millis(cluster.now.as_millis() - millis)
        } else {
            cluster.now.after(apart)
        };
        cluster.lead_anew(now);
        let over = until_over(&mut cluster, web);
        assert_eq!((over.kind, over.phase), (UpdateKind::Update, UpdatePhase::Completed));
        assert_eq!(running_of(&cluster, web, "new"), 3);
    }
}

#[test]
fn an_update_from_before_there_were_rules_goes_on_slot_by_slot() {
    let mut cluster = Cluster::new(3);
    let web = service(&mut cluster, 3, |_default| {});
    let mut spec = ServiceSpec::clone(&cluster.view().services[&web].spec);
    run(&mut spec, "new");
    let op = Op::UpdateService { id: web, version: None, spec: Box::new(spec), steered: false };
    cluster.apply(op).expect("is valid");
    cluster.round();
    assert_eq!(cluster.active(web).len(), 4);
    cluster.settle();
    assert_eq!(running_of(&cluster, web, "new"), 3);
    assert_eq!(cluster.view().services[&web].update, None);
}

/// Rounds, agents and time, until a canary waits or the update is over.
fn until_somebody_decides(cluster: &mut Cluster, service: ServiceId) -> UpdateState {
    for _ in 0..200 {
        cluster.settle_now();
        let state = state(cluster, service);
        if state.phase != UpdatePhase::Rolling || state.awaits_promotion() {
            return state;
        }
        cluster.now = cluster.wake_at.expect("an update that waits for nothing").max(cluster.now);
    }
    panic!("does not end: {:#?}", cluster.view().tasks.values().collect::<Vec<_>>());
}

#[test]
fn the_others_wait_for_a_canary_until_it_is_promoted() {
    let mut cluster = Cluster::new(3);
    let web = service(&mut cluster, 5, |policy| policy.canary = Some(Share::Percent(40)));
    set_program(&mut cluster, web, "new");
    assert!(until_somebody_decides(&mut cluster, web).awaits_promotion());
    cluster.settle();
    assert_eq!((running_of(&cluster, web, "new"), running_of(&cluster, web, "ok")), (2, 3));
    // What happens to the others meanwhile brings nothing new.
    let other = cluster.running(web).into_iter().find(|task| program(task) == "ok");
    let other = other.expect("three of them").id;
    cluster.report(other, ObservedState::Failed);
    cluster.scale(web, 6);
    cluster.now = cluster.now.after(Duration::from_secs(60));
    cluster.settle();
    assert_eq!((running_of(&cluster, web, "new"), running_of(&cluster, web, "ok")), (3, 3));
    cluster.update(web, |spec| spec.update.canary = Some(Share::Count(4)));
    assert!(!state(&cluster, web).awaits_promotion(), "one more has its turn");
    assert!(until_somebody_decides(&mut cluster, web).awaits_promotion());
    cluster.settle();
    assert_eq!((running_of(&cluster, web, "new"), running_of(&cluster, web, "ok")), (4, 2));
    cluster.apply(Op::PromoteUpdate { id: web }).expect("it waits");
    let over = until_over(&mut cluster, web);
    assert_eq!((over.kind, over.phase), (UpdateKind::Update, UpdatePhase::Completed));
    cluster.settle();
    assert_eq!(running_of(&cluster, web, "new"), 6);
}

#[test]
fn a_canary_that_fails_is_rolled_back_and_one_that_runs_promotes_itself_if_it_may() {
    let mut cluster = Cluster::new(3);
    let web = service(&mut cluster, 5, |policy| {
        (policy.canary, policy.auto_promote) = (Some(Share::Count(2)), true);
        policy.parallelism = 0;
    });
    set_program(&mut cluster, web, "fail");
    let over = until_somebody_decides(&mut cluster, web);
    assert_eq!(over.kind, UpdateKind::Rollback);
    assert!(over.reason.starts_with("2 of 5 tasks failed"), "{}", over.reason);
    until_over(&mut cluster, web);
    set_program(&mut cluster, web, "new");
    cluster.settle_now();
    assert_eq!(running_of(&cluster, web, "new"), 2, "the others wait for its monitor time");
    let over = until_somebody_decides(&mut cluster, web);
    assert_eq!((over.kind, over.phase), (UpdateKind::Update, UpdatePhase::Completed));
    cluster.settle();
    assert_eq!(running_of(&cluster, web, "new"), 5);
}
