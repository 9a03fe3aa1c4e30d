//! Runs of jobs: how they are shown, started and stopped.

use serde_json::{Value, json};
use swarm_model::id::TaskId;
use swarm_model::task::Slot;
use swarm_model::task_state::ObservedState;

use crate::Fixture;
use crate::fake::node_id;
use crate::services::spec;

fn job(completions: u32) -> Value {
    spec("batch", json!({"ReplicatedJob": {"TotalCompletions": completions}}))
}

#[tokio::test]
async fn a_jobs_runs_show_how_far_they_are() {
    let it = Fixture::new(1);
    let created = it.client.post("/v1/services/create", &job(2)).await;
    assert_eq!(created.status, 201, "{created:?}");
    it.backend.start_task(1, "batch", Slot::Job { run: 1, index: 1 }, node_id(1));
    it.backend.start_task(2, "batch", Slot::Job { run: 1, index: 2 }, node_id(1));
    it.backend.report(TaskId::from_raw(1 << 64), ObservedState::Complete);
    let service = it.client.get("/v1/services/batch").await.body;
    let run = &service["RunStatus"];
    assert_eq!(run["Began"], created.body["Revision"]);
    let figures = ["Succeeded", "Completions", "Running", "Failures"].map(|key| &run[key]);
    assert_eq!(figures, [1, 2, 1, 0], "{run}");
    assert_eq!(service["ServiceStatus"]["CompletedTasks"], 1);
    let task = it.client.get("/v1/tasks/batch.run1.2").await;
    assert_eq!((task.status, &task.body["Name"]), (200, &json!("batch.run1.2")));
    let status = it.client.get("/v1/status").await.body;
    assert_eq!(status["ServicesShort"], json!([]), "a job that goes on is short of nothing");
    it.backend.report(TaskId::from_raw(2 << 64), ObservedState::Complete);
    let runs = it.client.get("/v1/services/batch/runs").await;
    assert_eq!(runs.column("/State"), ["complete"]);
}

#[tokio::test]
async fn a_run_says_whose_end_it_waits_for() {
    let it = Fixture::new(1);
    it.client.post("/v1/services/create", &job(2)).await;
    it.backend.start_task(1, "batch", Slot::Job { run: 1, index: 1 }, node_id(1));
    it.backend.start_task(2, "batch", Slot::Job { run: 1, index: 2 }, node_id(1));
    it.client.post("/v1/services/batch/stop-run", &Value::Null).await;
    it.client.post("/v1/services/batch/run", &Value::Null).await;
    let runs = it.client.get("/v1/services/batch/runs").await;
    let reasons = runs.column("/Reason");
    assert!(reasons[0].starts_with("waits for the end of batch.run1.1 on "), "{reasons:?}");
    assert!(reasons[0].ends_with(" and 1 more, left of runs that are over"), "{reasons:?}");
    assert_eq!((runs.column("/Running"), reasons[1].as_str()), (vec!["0".into(), "2".into()], ""));
    it.backend.report(TaskId::from_raw(1 << 64), ObservedState::Shutdown);
    it.backend.report(TaskId::from_raw(2 << 64), ObservedState::Shutdown);
    let service = it.client.get("/v1/services/batch").await.body;
    assert_eq!(service["RunStatus"]["Reason"], "");
}

#[tokio::test]
async fn tasks_of_a_service_that_is_called_like_a_run_are_found() {
    let it = Fixture::new(1);
    it.client
        .post("/v1/services/create", &spec("web.run3", json!({"Replicated": {"Replicas": 1}})))
        .await;
    it.backend.start_task(1, "web.run3", Slot::Replica(1), node_id(1));
    let found = async || it.client.get("/v1/tasks/web.run3.1").await;
    assert_eq!(found().await.body["Name"], "web.run3.1");
    it.client.post("/v1/services/create", &spec("web", json!({"GlobalJob": {}}))).await;
    assert_eq!(found().await.body["Name"], "web.run3.1", "also beside a job of that name");
}

#[tokio::test]
async fn runs_are_started_and_stopped_and_refusals_say_why() {
    let it = Fixture::new(1);
    it.client.post("/v1/services/create", &job(2)).await;
    let start = || it.client.post("/v1/services/batch/run", &Value::Null);
    let refused = start().await;
    assert_eq!((refused.status, refused.code()), (409, "conflict"));
    assert!(refused.message().contains("run 1 of batch goes on"), "{refused:?}");
    let stop = async |query: &str| {
        let target = format!("/v1/services/batch/stop-run{query}");
        it.client.post(&target, &Value::Null).await
    };
    assert_eq!(stop("?run=1").await.status, 200);
    let none = stop("").await;
    assert_eq!((none.status, none.code()), (404, "not_found"));
    assert_eq!(start().await.status, 200);
    let runs = it.client.get("/v1/services/batch/runs").await;
    assert_eq!(runs.column("/State"), ["active", "stopped"]);
    it.client.post("/v1/services/create", &spec("web", json!({"Global": {}}))).await;
    let no_job = it.client.get("/v1/services/web/runs").await;
    assert_eq!((no_job.status, no_job.code()), (409, "conflict"));
    assert!(no_job.message().contains("is no job"), "{no_job:?}");
}

#[tokio::test]
async fn what_does_not_go_with_a_jobs_mode_is_refused_by_field() {
    let it = Fixture::new(1);
    let refusals = [
        ("Job", json!({"Replicated": {"Replicas": 1}}), "Job", json!({"KeepRuns": 3})),
        ("UpdateConfig", json!({"GlobalJob": {}}), "UpdateConfig", json!({"Parallelism": 2})),
        ("Job.KeepRuns", json!({"GlobalJob": {}}), "Job", json!({"KeepRuns": 0})),
        ("Job.DeadlineMs", json!({"GlobalJob": {}}), "Job", json!({"DeadlineMs": 0})),
    ];
    for (field, mode, key, value) in refusals {
        let mut spec = spec("batch", mode);
        spec[key] = value;
        let refused = it.client.post("/v1/services/create", &spec).await;
        assert_eq!((refused.status, refused.code()), (400, "invalid"), "{field}");
        assert!(refused.message().contains(&format!("{field}: ")), "{refused:?}");
    }
    let none = it.client.post("/v1/services/create", &job(0)).await;
    assert!(none.message().contains("TotalCompletions: 0 is not from 1 to 100000"), "{none:?}");
}

#[tokio::test]
async fn a_schedule_shows_when_it_is_due_and_wrong_ones_say_what_is_wrong() {
    let it = Fixture::new(1);
    let nightly = |cron: &str, zone: &str| {
        let mut spec = job(1);
        spec["Schedule"] = json!({"Cron": cron, "TimeZone": zone});
        spec
    };
    for (cron, zone, said) in [
        ("0 0 31 2 *", "UTC", "Schedule.Cron: \"0 0 31 2 *\" is never due"),
        ("0 3 * *", "UTC", "it has 4 fields instead of five"),
        ("@daily", "Europe/Berln", "no time zone \"Europe/Berln\": near it are Europe/Berlin"),
    ] {
        let refused = it.client.post("/v1/services/create", &nightly(cron, zone)).await;
        assert_eq!((refused.status, refused.code()), (400, "invalid"), "{cron} {zone}");
        assert!(refused.message().contains(said), "{refused:?}");
    }
    let created = it.client.post("/v1/services/create", &nightly("30 2 * * *", "UTC")).await;
    assert_eq!(created.status, 201, "{created:?}");
    let service = it.client.get("/v1/services/batch").await.body;
    let next = service["NextRunAt"].as_str().unwrap();
    assert!(next.ends_with("T02:30:00.000Z"), "{next}");
    assert_eq!(service["RunStatus"], Value::Null);
    let schedule = &service["Spec"]["Schedule"];
    assert_eq!((&schedule["Overlap"], &schedule["CatchUp"]), (&json!("skip"), &json!("last")));
    let started = it.client.post("/v1/services/batch/run", &Value::Null).await;
    assert_eq!(started.status, 200, "also without waiting for its time: {started:?}");
    let mut web = spec("web", json!({"Global": {}}));
    web["Schedule"] = json!({"Cron": "@daily"});
    let refused = it.client.post("/v1/services/create", &web).await;
    assert!(refused.message().contains("Schedule: only a job has a schedule"), "{refused:?}");
}
