//! Services and their tasks: declared, counted, filtered, explained, removed.

use serde_json::{Value, json};
use swarm_model::task::Slot;
use swarm_model::task_state::ObservedState;

use crate::Fixture;
use crate::fake::node_id;

pub(crate) fn spec(name: &str, mode: Value) -> Value {
    json!({"Name": name, "Mode": mode, "TaskTemplate": {
        "Runtime": {"Process": {"Command": ["sleep", "1"]}}}})
}

fn replicated(name: &str, replicas: u32) -> Value {
    spec(name, json!({"Replicated": {"Replicas": replicas}}))
}

async fn counts(it: &Fixture, name: &str) -> (u64, u64, u64) {
    let service = it.client.get(&format!("/v1/services/{name}")).await.body;
    let count = |key: &str| service["ServiceStatus"][key].as_u64().unwrap();
    (count("RunningTasks"), count("DesiredTasks"), count("UpdatedTasks"))
}

#[tokio::test]
async fn a_service_counts_slots_that_run() {
    let it = Fixture::new(3);
    let made = it.client.post("/v1/services/create", &replicated("web", 2)).await;
    assert_eq!(made.status, 201, "{made:?}");
    assert_eq!(made.body["Warnings"], json!([]));
    assert_eq!(counts(&it, "web").await, (0, 2, 0));
    let short = it.client.get("/v1/status").await.body["ServicesShort"].clone();
    let want = json!([{"Name": "web", "Running": 0, "Desired": 2, "Reason": "starting"}]);
    assert_eq!(short, want);
    it.backend.start_task(1, "web", Slot::Replica(1), node_id(1));
    let second = it.backend.start_task(2, "web", Slot::Replica(2), node_id(2));
    assert_eq!(counts(&it, "web").await, (2, 2, 2));
    let target = format!("/v1/services/web/update?version={}", made.body["Version"]);
    let mut changed = replicated("web", 3);
    changed["TaskTemplate"]["Runtime"]["Process"]["Command"] = json!(["sleep", "2"]);
    assert_eq!(it.client.post(&target, &changed).await.status, 200);
    assert_eq!(it.client.post(&target, &changed).await.code(), "version_conflict");
    assert_eq!(counts(&it, "web").await, (2, 3, 0));
    // Old and new of one slot are one.
    it.backend.start_task(3, "web", Slot::Replica(2), node_id(3));
    assert_eq!(counts(&it, "web").await, (2, 3, 1));
    it.backend.report(second, ObservedState::Failed);
    assert_eq!(counts(&it, "web").await, (2, 3, 1));
}

#[tokio::test]
async fn a_global_service_wants_every_node_that_fits() {
    let it = Fixture::new(3);
    it.client.post("/v1/services/create", &spec("agent", json!({"Global": {}}))).await;
    assert_eq!(counts(&it, "agent").await, (0, 3, 0));
    it.backend.start_task(1, "agent", Slot::Node(node_id(1)), node_id(1));
    for (node, availability) in [("n1", "pause"), ("n2", "pause"), ("n3", "drain")] {
        let update = json!({"Availability": availability});
        it.client.post(&format!("/v1/nodes/{node}/update"), &update).await;
    }
    assert_eq!(counts(&it, "agent").await, (1, 1, 1), "a paused node keeps what it has");
}

#[tokio::test]
async fn tasks_are_listed_by_slot_newest_first_and_filtered() {
    let it = Fixture::new(2);
    it.client.post("/v1/services/create", &replicated("web", 2)).await;
    it.client.post("/v1/services/create", &replicated("api", 1)).await;
    let first = it.backend.start_task(1, "web", Slot::Replica(1), node_id(1));
    it.backend.start_task(2, "web", Slot::Replica(2), node_id(2));
    it.backend.start_task(3, "api", Slot::Replica(1), node_id(2));
    it.backend.report(first, ObservedState::Failed);
    let newer = it.backend.start_task(4, "web", Slot::Replica(1), node_id(1));
    let all = it.client.get("/v1/tasks").await;
    assert_eq!(all.column("/Name"), ["api.1", "web.1", "web.1", "web.2"]);
    assert_eq!(all.column("/ID")[1], newer.to_string());
    assert_eq!(all.column("/NodeHostname"), ["n2", "n1", "n1", "n2"]);
    let of_web =
        it.client.get("/v1/tasks?filters=%7B%22service%22:[%22web%22],%22node%22:[%22n2%22]%7D");
    assert_eq!(of_web.await.column("/Name"), ["web.2"]);
    let unknown = it.client.get("/v1/tasks?filters=%7B%22service%22:[%22nope%22]%7D").await;
    assert_eq!(
        (unknown.status, unknown.message()),
        (404, "service nope not found: see `swarm service ls`")
    );
    let bad = it.client.get("/v1/tasks?filters=%7B%22desired-state%22:[%22up%22]%7D").await;
    assert!(bad.message().contains("ready, running, shutdown, remove"), "{bad:?}");
    let in_slot = it.client.get("/v1/tasks/web.1").await.body;
    assert_eq!(in_slot["ID"], newer.to_string().as_str(), "the one that is active");
}

#[tokio::test]
async fn a_removed_service_is_gone_at_once_but_its_tasks_are_still_there_by_id() {
    let it = Fixture::new(1);
    let made = it.client.post("/v1/services/create", &replicated("web", 1)).await;
    it.backend.start_task(1, "web", Slot::Replica(1), node_id(1));
    assert_eq!(it.client.delete("/v1/services/web").await.status, 200);
    assert_eq!(it.client.get("/v1/services/web").await.code(), "not_found");
    assert_eq!(it.client.get("/v1/services").await.body, json!([]));
    let id = made.body["ID"].as_str().unwrap();
    let left = it.client.get(&format!("/v1/tasks?filters=%7B%22service%22:[%22{id}%22]%7D")).await;
    assert_eq!(left.column("/Name"), ["web.1"]);
    assert_eq!(it.client.post("/v1/services/create", &replicated("web", 1)).await.status, 201);
}

#[tokio::test]
async fn what_cannot_run_anywhere_is_said_at_once() {
    let it = Fixture::new(2);
    let mut huge = replicated("huge", 1);
    huge["TaskTemplate"]["Resources"] = json!({"Reservations": {"MemoryBytes": 8_u64 << 30}});
    let made = it.client.post("/v1/services/create", &huge).await;
    let warning = made.body["Warnings"][0].as_str().unwrap();
    assert!(warning.contains("no node is large enough"), "{warning}");
    let mut far = replicated("far", 1);
    far["TaskTemplate"]["Placement"] = json!({"Constraints": ["node.labels.zone==mars"]});
    let made = it.client.post("/v1/services/create", &far).await;
    let warning = made.body["Warnings"][0].as_str().unwrap();
    assert!(warning.contains("node.labels.zone==mars"), "{warning}");
    let why = it.client.get("/v1/services/far/explain").await.body;
    assert_eq!(why["ServiceName"], "far");
    assert_eq!(why["Nodes"].as_array().unwrap().len(), 2);
    assert!(why["Refusal"].as_str().unwrap().contains("zone==mars"), "{why}");
}

#[tokio::test]
async fn wrong_specs_name_the_field() {
    let it = Fixture::new(1);
    let mut none = replicated("web", 1);
    none["TaskTemplate"]["Runtime"]["Process"]["Command"] = json!([]);
    let refused = it.client.post("/v1/services/create", &none).await;
    assert_eq!((refused.status, refused.code()), (400, "invalid"));
    assert!(refused.message().contains("Process.Command"), "{refused:?}");
    it.client.post("/v1/services/create", &replicated("web", 1)).await;
    let renamed = it.client.post("/v1/services/web/update", &replicated("api", 1)).await;
    assert!(renamed.message().contains("keeps its name"), "{renamed:?}");
    let mode = spec("web", json!({"Global": {}}));
    let changed = it.client.post("/v1/services/web/update", &mode).await;
    assert!(changed.message().contains("keeps its mode"), "{changed:?}");
}

/// A service of one task on n1, whose program ended like this.
async fn ended(policy: Value, state: ObservedState) -> Fixture {
    let it = Fixture::new(1);
    let mut once = replicated("once", 1);
    once["TaskTemplate"]["RestartPolicy"] = policy;
    it.client.post("/v1/services/create", &once).await;
    let task = it.backend.start_task(1, "once", Slot::Replica(1), node_id(1));
    it.backend.report(task, state);
    it
}

#[tokio::test]
async fn a_task_that_nothing_restarts_says_so_everywhere() {
    let reason = "not restarted: its restarts are used up (at most 0)";
    let it = ended(json!({"MaxAttempts": 0}), ObservedState::Failed).await;
    let task = &it.client.get("/v1/tasks").await.body[0];
    assert_eq!((&task["Outlook"], &task["Note"]), (&json!("GivenUp"), &json!(reason)));
    assert_eq!(task["Desired"], it.client.get("/v1/tasks/once.1").await.body["Desired"]);
    let listed = async |state: &str| {
        let filters = format!("%7B%22desired-state%22:[%22{state}%22]%7D");
        it.client.get(&format!("/v1/tasks?filters={filters}")).await.column("/Outlook")
    };
    assert_eq!(listed("shutdown").await, ["GivenUp"]);
    assert_eq!(listed("running").await, [""; 0]);
    let short = &it.client.get("/v1/status").await.body["ServicesShort"][0];
    assert_eq!(short["Reason"], reason);
    let explained = it.client.get("/v1/services/once/explain").await.body;
    assert_eq!(explained["Waiting"][0]["Reason"], reason);
}

#[tokio::test]
async fn a_task_that_has_done_its_work_is_done() {
    let it = ended(json!({"Condition": "on-failure"}), ObservedState::Complete).await;
    let task = &it.client.get("/v1/tasks").await.body[0];
    assert_eq!((&task["Outlook"], &task["Note"]), (&json!("Done"), &json!("")));
}

#[tokio::test]
async fn nodes_of_one_name_are_told_apart_and_filtered_together() {
    let it = Fixture::new(3);
    it.client.post("/v1/services/create", &replicated("web", 3)).await;
    for number in [1, 2, 3] {
        let slot = Slot::Replica(u32::try_from(number).unwrap());
        it.backend.start_task(number, "web", slot, node_id(number));
    }
    it.backend.rename(node_id(1), "vm");
    it.backend.rename(node_id(2), "vm");
    let tasks = it.client.get("/v1/tasks").await;
    assert_eq!(tasks.column("/NodeHostname"), ["vm", "vm", "n3"]);
    let shared = tasks.body.as_array().unwrap().iter().map(|task| &task["NodeHostnameShared"]);
    assert_eq!(shared.collect::<Vec<_>>(), [true, true, false]);
    let on_vm = it.client.get("/v1/tasks?filters=%7B%22node%22:[%22vm%22]%7D").await;
    assert_eq!(on_vm.column("/Name"), ["web.1", "web.2"]);
    let nowhere = it.client.get("/v1/tasks?filters=%7B%22node%22:[%22pc%22]%7D").await;
    assert_eq!(nowhere.code(), "not_found");
    assert!(nowhere.message().ends_with("see `swarm node ls`"), "{nowhere:?}");
}

#[tokio::test]
async fn one_more_program_is_for_tasks_that_run_or_are_not_healthy_yet() {
    let it = Fixture::new(1);
    it.client.post("/v1/services/create", &replicated("web", 1)).await;
    it.backend.place("web", &[(1, Slot::Replica(1), node_id(1))]);
    let task = swarm_model::id::TaskId::from_raw(1 << 64);
    for (state, code) in [
        (ObservedState::Preparing, "conflict"),
        // No task is here, so these get as far as that.
        (ObservedState::Starting, "unavailable"),
        (ObservedState::Running, "unavailable"),
        (ObservedState::Failed, "conflict"),
    ] {
        it.backend.report(task, state);
        let reply = it.client.upgrade("/v1/tasks/web.1/exec", &json!({"Command": ["id"]})).await;
        assert_eq!(reply.code(), code, "{state}: {reply:?}");
    }
}
