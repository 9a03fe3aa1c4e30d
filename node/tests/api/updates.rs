//! Updates: their status, the history, differences, the way back.

use serde_json::{Value, json};
use swarm_model::task::Slot;

use crate::Fixture;
use crate::fake::node_id;
use crate::services::spec;

fn web(word: &str) -> Value {
    let mut spec = spec("web", json!({"Replicated": {"Replicas": 1}}));
    spec["TaskTemplate"]["Runtime"]["Process"]["Command"] = json!(["sleep", word]);
    spec["TaskTemplate"]["Runtime"]["Process"]["Env"] = json!({"WORD": word});
    spec
}

/// A service with a running task, updated once: its versions.
async fn updated(it: &Fixture) -> (Value, Value) {
    let first = it.client.post("/v1/services/create", &web("1")).await;
    it.backend.start_task(1, "web", Slot::Replica(1), node_id(1));
    let second = it.client.post("/v1/services/web/update", &web("2")).await;
    assert_eq!(second.status, 200, "{second:?}");
    (first.body["Version"].clone(), second.body["Version"].clone())
}

async fn state(it: &Fixture) -> Value {
    it.client.get("/v1/services/web").await.body["UpdateStatus"]["State"].clone()
}

#[tokio::test]
async fn an_update_shows_how_far_it_is_and_can_be_stopped_and_turned_back() {
    let it = Fixture::new(1);
    let (first, second) = updated(&it).await;
    assert_eq!(state(&it).await, "updating");
    let pause = |paused: bool| format!("/v1/services/web/pause?paused={paused}");
    assert_eq!(it.client.post(&pause(true), &json!({})).await.status, 200);
    assert_eq!(state(&it).await, "paused");
    let twice = it.client.post(&pause(true), &json!({})).await;
    assert_eq!((twice.status, twice.code()), (409, "conflict"));
    assert!(twice.message().contains("has no update that could stop: paused"), "{twice:?}");
    assert_eq!(it.client.post(&pause(false), &json!({})).await.status, 200);
    assert_eq!(state(&it).await, "updating");
    let stale = format!("/v1/services/web/rollback?version={second}");
    let stale = it.client.post(&stale, &json!({})).await;
    assert_eq!((stale.status, stale.code()), (409, "version_conflict"));
    let back = it.client.post("/v1/services/web/rollback", &json!({})).await;
    assert_eq!(back.status, 200, "{back:?}");
    assert_eq!(state(&it).await, "rollback_started");
    let spec = it.client.get("/v1/services/web").await.body["Spec"].clone();
    assert_eq!(spec["TaskTemplate"]["Runtime"]["Process"]["Env"]["WORD"], "1");
    let history = it.client.get("/v1/services/web/history").await;
    let cause = format!("rolled back to {first}");
    assert_eq!(history.column("/Cause"), [cause.as_str(), "updated", "created"]);
    let current: Vec<_> =
        history.body.as_array().unwrap().iter().map(|it| it["Current"].clone()).collect();
    assert_eq!(current, [json!(true), json!(false), json!(false)]);
}

#[tokio::test]
async fn two_specs_differ_field_by_field() {
    let it = Fixture::new(1);
    let (first, second) = updated(&it).await;
    let diff = it.client.get("/v1/services/web/diff").await.body;
    assert_eq!((&diff["From"], &diff["To"]), (&first, &second));
    let process = "TaskTemplate.Runtime.Process";
    let expect = json!([
        {"Field": format!("{process}.Command"), "From": ["sleep", "1"], "To": ["sleep", "2"]},
        {"Field": format!("{process}.Env.WORD"), "From": "1", "To": "2"}
    ]);
    assert_eq!(diff["Differences"], expect);
    let target = format!("/v1/services/web/diff?from={second}&to={second}");
    assert_eq!(it.client.get(&target).await.body["Differences"], json!([]));
}

#[tokio::test]
async fn what_the_history_does_not_have_is_refused_with_what_it_has() {
    let it = Fixture::new(1);
    it.client.post("/v1/services/create", &web("1")).await;
    let none = it.client.post("/v1/services/web/rollback", &json!({})).await;
    assert_eq!((none.status, none.code()), (404, "not_found"));
    assert!(none.message().contains("was never updated"), "{none:?}");
    let none = it.client.get("/v1/services/web/diff").await;
    assert_eq!((none.status, none.code()), (404, "not_found"));
    assert_eq!(it.client.get("/v1/services/web/history").await.column("/Cause"), ["created"]);
    let paused = it.client.post("/v1/services/web/pause", &json!({})).await;
    assert_eq!((paused.status, paused.code()), (409, "conflict"));
    it.client.post("/v1/services/web/update", &web("2")).await;
    let unknown = it.client.post("/v1/services/web/rollback?to=999", &json!({})).await;
    assert_eq!((unknown.status, unknown.code()), (404, "not_found"));
    assert!(unknown.message().contains("no version 999 in its history: it keeps"), "{unknown:?}");
    let wrong = it.client.post("/v1/services/web/rollback?to=old", &json!({})).await;
    assert_eq!((wrong.status, wrong.code()), (400, "invalid"));
    let nobody = it.client.post("/v1/services/nope/rollback", &json!({})).await;
    assert_eq!((nobody.status, nobody.code()), (404, "not_found"));
}

#[tokio::test]
async fn rules_that_contradict_are_refused_by_field() {
    let it = Fixture::new(1);
    for (field, policy) in [
        ("RollbackConfig.FailureAction", json!({"FailureAction": "rollback"})),
        ("RollbackConfig.MaxFailurePermille", json!({"MaxFailurePermille": 1001})),
        ("RollbackConfig.StartTimeoutMs", json!({"StartTimeoutMs": 0})),
        ("RollbackConfig.MonitorMs", json!({"MonitorMs": 86_400_001})),
    ] {
        let mut spec = web("1");
        spec["RollbackConfig"] = policy;
        let refused = it.client.post("/v1/services/create", &spec).await;
        assert_eq!((refused.status, refused.code()), (400, "invalid"), "{field}");
        assert!(refused.message().contains(field), "{refused:?}");
    }
    let mut spec = web("1");
    spec["UpdateConfig"] = json!({"Order": "sideways"});
    assert_eq!(it.client.post("/v1/services/create", &spec).await.code(), "invalid");
}
