//! Plans: what they tell, that they change nothing, and changes that hold only as long as they do.

use http::Method;
use serde_json::{Value, json};
use swarm_model::task::Slot;
use swarm_node::api::Backend as _;

use crate::Fixture;
use crate::fake::node_id;
use crate::services::spec;

fn replicated(count: u32) -> Value {
    spec("web", json!({"Replicated": {"Replicas": count}}))
}

fn create(spec: &Value) -> Value {
    json!({"Changes": [{"CreateService": {"Spec": spec}}]})
}

fn update(spec: &Value) -> Value {
    json!({"Changes": [{"UpdateService": {"Service": "web", "Spec": spec}}]})
}

/// A service with two running tasks, on n1 and n2.
async fn running(it: &Fixture) {
    assert_eq!(it.client.post("/v1/services/create", &replicated(2)).await.status, 201);
    it.backend.start_task(1, "web", Slot::Replica(1), node_id(1));
    it.backend.start_task(2, "web", Slot::Replica(2), node_id(2));
}

fn kinds(plan: &Value) -> Vec<String> {
    let steps = plan["Steps"].as_array().unwrap();
    steps.iter().map(|step| format!("{} {}", step["Kind"], step["Name"]).replace('"', "")).collect()
}

#[tokio::test]
async fn a_plan_tells_what_would_start_where_and_changes_nothing() {
    let it = Fixture::new(2);
    let before = it.backend.view();
    let plan = it.client.post("/v1/plan", &create(&replicated(2))).await;
    assert_eq!(plan.status, 200, "{plan:?}");
    assert_eq!(kinds(&plan.body), ["start web.1", "start web.2"]);
    let hosts: Vec<_> = (0..2).map(|at| plan.body["Steps"][at]["To"]["Hostname"].clone()).collect();
    assert!(hosts.contains(&json!("n1")) && hosts.contains(&json!("n2")), "{hosts:?}");
    assert_eq!(plan.body["Finished"], json!(true));
    let revision = plan.body["Revision"].to_string();
    assert_eq!(plan.header("swarm-revision"), Some(revision.as_str()));
    assert_eq!(*it.backend.view(), *before);
}

#[tokio::test]
async fn every_kind_of_change_can_be_planned() {
    let it = Fixture::new(2);
    running(&it).await;
    let mut heavy = replicated(3);
    heavy["TaskTemplate"]["Resources"] =
        json!({"Reservations": {"NanoCPUs": 0, "CPUMilli": 0, "MemoryBytes": 1u64 << 40}});
    for (change, expect) in [
        (json!({"UpdateService": {"Service": "web", "Spec": replicated(3)}}), "start web.3"),
        (json!({"UpdateService": {"Service": "web", "Spec": replicated(1)}}), "stop web.2"),
        (json!({"UpdateService": {"Service": "web", "Spec": heavy}}), "wait web.3"),
        (json!({"RemoveService": {"Service": "web"}}), "stop web.1"),
        (json!({"UpdateNode": {"Node": "n2", "Update": {"Availability": "drain"}}}), "move web.2"),
    ] {
        let plan = it.client.post("/v1/plan", &json!({"Changes": [change]})).await;
        assert_eq!(plan.status, 200, "{plan:?}");
        assert!(kinds(&plan.body).contains(&expect.to_owned()), "{expect}: {plan:?}");
    }
    let both = json!({"Changes": [
        {"UpdateNode": {"Node": "n2", "Update": {"Availability": "drain"}}},
        {"UpdateService": {"Service": "web", "Spec": replicated(1)}}
    ]});
    let plan = it.client.post("/v1/plan", &both).await;
    assert_eq!(kinds(&plan.body).len(), 1, "{plan:?}");
}

#[tokio::test]
async fn what_would_be_refused_is_refused_and_says_the_same() {
    let it = Fixture::new(1);
    it.client.post("/v1/services/create", &replicated(1)).await;
    let check = async |body: Value, status: u16, code: &str| {
        let reply = it.client.post("/v1/plan", &body).await;
        assert_eq!((reply.status, reply.code()), (status, code), "{body} {reply:?}");
    };
    check(create(&replicated(1)), 409, "name_taken").await;
    check(json!({"Changes": []}), 400, "invalid").await;
    check(
        json!({"Changes": vec![json!({"RemoveService": {"Service": "web"}}); 101]}),
        400,
        "invalid",
    )
    .await;
    check(json!({"Changes": [{"RemoveService": {"Service": "nope"}}]}), 404, "not_found").await;
    check(json!({"Changes": [{"RollbackService": {"Service": "web"}}]}), 404, "not_found").await;
    check(json!({"Changes": [{"Destroy": {}}]}), 400, "invalid").await;
    let change = json!({"UpdateNode": {"Node": "n1", "Update": {"Role": "worker"}}});
    check(json!({"Changes": [change]}), 409, "conflict").await;
    let mut stale = update(&replicated(2));
    stale["Changes"][0]["UpdateService"]["Version"] = json!(1);
    check(stale, 409, "version_conflict").await;
    let mut wrong = replicated(1);
    wrong["TaskTemplate"]["Runtime"]["Process"]["Command"] = json!([]);
    check(update(&wrong), 400, "invalid").await;
    let reply = it.client.post("/v1/plan?if-revision=3", &update(&replicated(2))).await;
    assert_eq!((reply.status, reply.code()), (400, "invalid"), "a plan changes nothing");
}

#[tokio::test]
async fn a_change_holds_as_long_as_its_plan_does() {
    let it = Fixture::new(2);
    running(&it).await;
    let plan = it.client.post("/v1/plan", &update(&replicated(3))).await.body;
    let guarded = format!("/v1/services/web/update?if-revision={}", plan["Revision"]);
    it.client.post("/v1/configs/create", &json!({"Name": "c", "Data": "YQ=="})).await;
    let late = it.client.post(&guarded, &replicated(3)).await;
    assert_eq!((late.status, late.code()), (409, "revision_conflict"), "{late:?}");
    assert!(late.message().contains("look again, with `swarm plan`"), "{late:?}");
    let again = it.client.post("/v1/plan", &update(&replicated(3))).await.body;
    it.backend.report(
        swarm_model::id::TaskId::from_raw(1 << 64),
        swarm_model::task_state::ObservedState::Failed,
    );
    let guarded = format!("/v1/services/web/update?if-revision={}", again["Revision"]);
    let made = it.client.post(&guarded, &replicated(3)).await;
    assert_eq!(made.status, 200, "what tasks do does not count: {made:?}");
    assert_eq!(it.client.post(&guarded, &replicated(4)).await.code(), "revision_conflict");
}

#[tokio::test]
async fn every_change_of_specs_takes_the_guard() {
    let it = Fixture::new(2);
    running(&it).await;
    let old = it.backend.view().revision.0;
    it.client.post("/v1/configs/create", &json!({"Name": "c", "Data": "YQ=="})).await;
    let node = json!({"Availability": "pause"});
    let config = json!({"Name": "c", "Data": "Yg=="});
    let nothing = json!({});
    let settings = it.client.get("/v1/cluster").await.body["Spec"].clone();
    for (method, path, body) in [
        (Method::POST, "cluster/update", &settings),
        (Method::POST, "services/create", &spec("other", json!({"Replicated": {"Replicas": 1}}))),
        (Method::POST, "services/web/update", &replicated(1)),
        (Method::POST, "services/web/rollback", &nothing),
        (Method::POST, "services/web/pause", &nothing),
        (Method::POST, "services/web/run", &nothing),
        (Method::POST, "services/web/stop-run", &nothing),
        (Method::DELETE, "services/web", &nothing),
        (Method::POST, "nodes/n1/update", &node),
        (Method::DELETE, "nodes/n2", &nothing),
        (Method::POST, "configs/create", &json!({"Name": "d", "Data": "YQ=="})),
        (Method::POST, "configs/c/update", &config),
        (Method::DELETE, "configs/c", &nothing),
    ] {
        let target = format!("/v1/{path}?if-revision={old}");
        let late = it.client.send(method, &target, None, Some(body)).await;
        assert_eq!((late.status, late.code()), (409, "revision_conflict"), "{path} {late:?}");
    }
    let wrong = it.client.post("/v1/services/web/update?if-revision=new", &replicated(1)).await;
    assert_eq!((wrong.status, wrong.code()), (400, "invalid"));
    assert_eq!(wrong.message(), "parameter if-revision: \"new\" is not a revision");
    let unknown = it.client.post("/v1/tokens/worker/rotate?if-revision=1", &nothing).await;
    assert_eq!((unknown.status, unknown.code()), (400, "invalid"), "it guards nothing there");
}

#[tokio::test]
async fn without_quorum_a_plan_is_of_the_local_copy_or_none() {
    let it = Fixture::new(2);
    running(&it).await;
    it.backend.set_quorum(false);
    let plan = it.client.post("/v1/plan?stale=true", &update(&replicated(3))).await;
    assert_eq!((plan.status, plan.header("swarm-stale")), (200, Some("true")), "{plan:?}");
    let none = it.client.post("/v1/plan?stale=false", &update(&replicated(3))).await;
    assert_eq!((none.status, none.code()), (503, "no_quorum"), "{none:?}");
}

#[tokio::test]
async fn a_plan_in_a_large_cluster_is_made_in_time() {
    let it = Fixture::new(50);
    let began = tokio::time::Instant::now();
    let mut web = replicated(2000);
    web["UpdateConfig"] = json!({"Parallelism": 1, "MonitorMs": 1000});
    let plan = it.client.post("/v1/plan", &create(&web)).await;
    assert_eq!(plan.status, 200, "{plan:?}");
    assert!(began.elapsed().as_secs() < 15, "{:?}", began.elapsed());
    assert_eq!(plan.body["Services"][0]["Steps"]["start"], json!(2000));
}
