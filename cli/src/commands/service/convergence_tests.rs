//! Tests of [`Convergence`]: services and tasks made by hand, time made by hand.

use super::*;
use serde_json::json;

const SECOND: Duration = Duration::from_secs(1);

fn service(mode: serde_json::Value, condition: &str, desired: u32) -> ServiceEntry {
    let template = json!({
        "Runtime": {"Process": {"Command": ["x"]}},
        "RestartPolicy": {"Condition": condition}
    });
    serde_json::from_value(json!({
        "ID": "0".repeat(25),
        "Meta": {"Version": 1, "CreatedAt": "2026-01-01T00:00:00Z", "UpdatedAt": "2026-01-01T00:00:00Z"},
        "Spec": {"Name": "web", "Mode": mode, "TaskTemplate": template},
        "PreviousSpec": null, "TemplateVersion": 1, "Template": template, "Removing": false,
        "ServiceStatus": {"RunningTasks": 0, "DesiredTasks": desired, "UpdatedTasks": 0}
    }))
    .expect("is a service")
}

fn replicated(replicas: u32) -> ServiceEntry {
    service(json!({"Replicated": {"Replicas": replicas}}), "any", replicas)
}

fn task(slot: u32, id: u32, state: &str, error: &str) -> TaskEntry {
    serde_json::from_value(json!({
        "ID": format!("{id:025}"),
        "Meta": {
            "Version": 1, "CreatedAt": format!("2026-01-01T00:00:{id:02}Z"),
            "UpdatedAt": "2026-01-01T00:00:00Z"
        },
        "ServiceID": "0".repeat(25), "Slot": {"Replica": slot}, "NodeID": null, "TemplateVersion": 1,
        "Template": {"Runtime": {"Process": {"Command": ["x"]}}}, "Desired": "Running",
        "Status": {
            "State": state, "Since": "2026-01-01T00:00:00Z", "Message": "", "Error": error,
            "PID": null, "Exit": null
        },
        "NotBefore": null, "Restart": {"Streak": 0, "Attempts": 0, "WindowStart": null},
        "Name": format!("web.{slot}"), "ServiceName": "web", "NodeHostname": "", "Current": true
    }))
    .expect("is a task")
}

#[test]
fn running_tasks_must_run_for_the_monitor_time() {
    let (mut convergence, now) = (Convergence::new(SECOND), Instant::now());
    let tasks = [task(1, 1, "Running", ""), task(2, 2, "Running", "")];
    let early = convergence.judge(&replicated(2), &tasks, now);
    assert_eq!(early, Verdict::Waiting { running: 2, desired: 2, reasons: vec![], next: None });
    let late = convergence.judge(&replicated(2), &tasks, now + SECOND);
    assert_eq!(late, Verdict::Converged { tasks: 2 });
}

#[test]
fn a_replaced_task_starts_the_monitor_time_anew() {
    let (mut convergence, now) = (Convergence::new(SECOND), Instant::now());
    convergence.judge(&replicated(1), &[task(1, 1, "Running", "")], now);
    let replacement = [task(1, 2, "Running", "")];
    let verdict = convergence.judge(&replicated(1), &replacement, now + SECOND);
    assert!(matches!(verdict, Verdict::Waiting { .. }), "{verdict:?}");
    let verdict = convergence.judge(&replicated(1), &replacement, now + 2 * SECOND);
    assert_eq!(verdict, Verdict::Converged { tasks: 1 });
}

#[test]
fn pending_tasks_say_why() {
    let mut convergence = Convergence::new(SECOND);
    let tasks = [task(1, 1, "Running", ""), task(2, 2, "Pending", "no suitable node")];
    let verdict = convergence.judge(&replicated(2), &tasks, Instant::now());
    let reasons = vec!["web.2: pending: no suitable node".to_owned()];
    assert_eq!(verdict, Verdict::Waiting { running: 1, desired: 2, reasons, next: None });
}

#[test]
fn tasks_of_the_old_template_do_not_count() {
    let (mut convergence, now) = (Convergence::new(Duration::ZERO), Instant::now());
    let mut old = task(1, 1, "Running", "");
    old.current = false;
    let only_old = convergence.judge(&replicated(1), &[old.clone()], now);
    assert!(matches!(only_old, Verdict::Waiting { running: 0, .. }), "{only_old:?}");
    let both = convergence.judge(&replicated(1), &[old.clone(), task(1, 2, "Running", "")], now);
    assert!(matches!(both, Verdict::Waiting { .. }), "{both:?}");
    old.task.desired = DesiredState::Shutdown;
    let after = convergence.judge(&replicated(1), &[old, task(1, 2, "Running", "")], now);
    assert_eq!(after, Verdict::Converged { tasks: 1 });
}

#[test]
fn scaling_to_nothing_waits_until_nothing_is_wanted() {
    let (mut convergence, now) = (Convergence::new(Duration::ZERO), Instant::now());
    let some = convergence.judge(&replicated(0), &[task(1, 1, "Running", "")], now);
    assert!(matches!(some, Verdict::Waiting { .. }), "{some:?}");
    assert_eq!(convergence.judge(&replicated(0), &[], now), Verdict::Converged { tasks: 0 });
}

/// A task that ended and its service with this restart condition.
fn ended(state: &str, outlook: Outlook, condition: &str) -> (ServiceEntry, TaskEntry) {
    let mut task = task(1, 1, state, "");
    task.outlook = outlook;
    task.task.status.exit = Some(ExitStatus { code: Some(0), ..ExitStatus::default() });
    if outlook != Outlook::Open {
        task.task.desired = DesiredState::Shutdown;
    }
    (service(json!({"Replicated": {"Replicas": 1}}), condition, 1), task)
}

#[test]
fn finished_tasks_count_when_they_are_not_restarted() {
    let (mut convergence, now) = (Convergence::new(Duration::ZERO), Instant::now());
    let (service, task) = ended("Complete", Outlook::Done, "on-failure");
    assert_eq!(convergence.judge(&service, &[task], now), Verdict::Converged { tasks: 1 });
}

#[test]
fn a_program_that_ends_well_and_is_started_again_is_a_reason() {
    let (mut convergence, now) = (Convergence::new(Duration::ZERO), Instant::now());
    let (service, mut before) = ended("Complete", Outlook::Open, "any");
    before.task.desired = DesiredState::Shutdown;
    before.node_hostname = "alpha".to_owned();
    let mut waiting = task(1, 2, "Ready", "");
    waiting.outlook = Outlook::Waits;
    waiting.next_attempt_at = Some(Timestamp::from_millis(5));
    let verdict = convergence.judge(&service, &[before.clone(), waiting], now);
    let Verdict::Waiting { reasons, next, .. } = verdict else { panic!("{verdict:?}") };
    let want = "web.1: complete on alpha: exit code 0; it is started again each time \
                (--restart-condition any)";
    assert_eq!((reasons, next), (vec![want.to_owned()], Some(Timestamp::from_millis(5))));
    let running = task(1, 3, "Running", "");
    let verdict = Convergence::new(SECOND).judge(&service, &[before, running], now);
    let Verdict::Waiting { reasons, .. } = verdict else { panic!("{verdict:?}") };
    assert_eq!(reasons, [""; 0], "what runs needs no reason");
}

#[test]
fn a_task_that_is_given_up_ends_the_wait() {
    let (mut convergence, now) = (Convergence::new(SECOND), Instant::now());
    for (state, condition) in [("Failed", "any"), ("Complete", "any"), ("Failed", "none")] {
        let (service, mut task) = ended(state, Outlook::GivenUp, condition);
        task.note = "not restarted: for a reason".to_owned();
        let verdict = convergence.judge(&service, &[task], now);
        let Verdict::Stuck(reason) = verdict else { panic!("{verdict:?}") };
        assert!(reason.contains("exit code 0; not restarted: for a reason"), "{reason}");
    }
}

#[test]
fn nodes_of_one_name_are_told_apart() {
    let mut entry = task(1, 1, "Rejected", "no such program");
    entry.node_hostname = "vm".to_owned();
    entry.task.node = Some(swarm_model::id::NodeId::from_raw(0));
    assert_eq!(end(&entry), "web.1: rejected on vm: no such program");
    entry.node_hostname_shared = true;
    assert_eq!(end(&entry), "web.1: rejected on vm (000000000000): no such program");
}

#[test]
fn a_global_service_without_nodes_is_given_a_moment() {
    let (mut convergence, now) = (Convergence::new(Duration::ZERO), Instant::now());
    let global = service(json!({"Global": {}}), "any", 0);
    assert!(matches!(convergence.judge(&global, &[], now), Verdict::Waiting { .. }));
    let later = convergence.judge(&global, &[], now + SECOND);
    assert_eq!(later, Verdict::Converged { tasks: 0 });
}

#[test]
fn a_task_that_is_not_healthy_yet_says_why_it_is_waited_for() {
    let (mut convergence, now) = (Convergence::new(SECOND), Instant::now());
    let mut starting = task(1, 1, "Starting", "");
    starting.node_hostname = "alpha".to_owned();
    let judged = convergence.judge(&replicated(1), &[starting.clone()], now);
    assert_eq!(judged, Verdict::Waiting { running: 0, desired: 1, reasons: vec![], next: None });
    starting.task.status.health = Some(swarm_model::probe::Health {
        status: swarm_model::probe::HealthState::Starting,
        ready: false,
        message: "port 80: connection refused".to_owned(),
    });
    let reasons = vec!["web.1: not healthy yet on alpha: port 80: connection refused".to_owned()];
    let judged = convergence.judge(&replicated(1), &[starting], now);
    assert_eq!(judged, Verdict::Waiting { running: 0, desired: 1, reasons, next: None });
}
