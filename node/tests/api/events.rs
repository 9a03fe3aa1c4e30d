//! Events: history, live, filters, ends.

use serde_json::json;
use swarm_model::task::Slot;

use crate::fake::node_id;
use crate::services::spec;
use crate::{DEADLINE, Fixture};

async fn add(it: &Fixture, name: &str) -> String {
    let made = it.client.post("/v1/configs/create", &json!({"Name": name, "Data": ""})).await;
    made.body["Revision"].to_string()
}

#[tokio::test]
async fn a_watcher_goes_on_where_it_stopped_then_live() {
    let it = Fixture::new(1);
    let first = add(&it, "a").await;
    add(&it, "b").await;
    let mut events = it.client.stream(&format!("/v1/events?since={first}")).await;
    assert_eq!(events.column(1, "Name").await, ["b"]);
    add(&it, "c").await;
    let event = events.next().await.unwrap();
    assert_eq!((&event["Name"], &event["Type"]), (&json!("c"), &json!("config")));
    assert_eq!(event["Action"], "create");
    let mut fresh = it.client.stream("/v1/events").await;
    add(&it, "d").await;
    assert_eq!(fresh.column(1, "Name").await, ["d"], "without since, from now on");
}

#[tokio::test]
async fn until_ends_the_stream_at_a_revision_or_a_time() {
    let it = Fixture::new(1);
    add(&it, "a").await;
    let second = add(&it, "b").await;
    add(&it, "c").await;
    let names = |events: Vec<serde_json::Value>| -> Vec<String> {
        let of_configs = events.iter().filter(|event| event["Type"] == "config");
        of_configs.map(|event| event["Name"].as_str().unwrap().to_owned()).collect()
    };
    let events = it.client.stream(&format!("/v1/events?since=0&until={second}")).await;
    assert_eq!(names(events.all().await), ["a", "b"]);
    let now = "1970-01-01T00:16:40Z";
    let events = it.client.stream(&format!("/v1/events?since={now}&until={now}")).await;
    assert_eq!(names(events.all().await), ["a", "b", "c"]);
    let soon = "1970-01-01T00:16:40.050Z";
    let mut events = it.client.stream(&format!("/v1/events?until={soon}")).await;
    add(&it, "d").await;
    assert_eq!(events.column(1, "Name").await, ["d"]);
    it.backend.set_clock(1_000_060);
    add(&it, "late").await;
    assert_eq!(names(events.all().await), Vec::<String>::new());
}

#[tokio::test]
async fn filters_choose_by_type_action_service_and_node() {
    let it = Fixture::new(2);
    add(&it, "web").await;
    it.client
        .post("/v1/services/create", &spec("web", json!({"Replicated": {"Replicas": 2}})))
        .await;
    it.client.post("/v1/services/create", &spec("api", json!({"Global": {}}))).await;
    it.backend.start_task(1, "web", Slot::Replica(1), node_id(1));
    it.backend.start_task(2, "web", Slot::Replica(2), node_id(2));
    it.backend.start_task(3, "api", Slot::Node(node_id(2)), node_id(2));
    let names = async |filters: &str| {
        let last = it.client.get("/v1/nodes").await.header("swarm-revision").unwrap().to_owned();
        let filters = filters.replace('"', "%22").replace('{', "%7B").replace('}', "%7D");
        let target = format!("/v1/events?since=0&until={last}&filters={filters}");
        let events = it.client.stream(&target).await.all().await;
        let name = |event: &serde_json::Value| event["Name"].as_str().unwrap().to_owned();
        events.iter().map(name).collect::<Vec<_>>()
    };
    let created = names(r#"{"service":["web"],"action":["create"]}"#).await;
    assert_eq!(created, ["web", "web.1", "web.2"]);
    let on_node = names(r#"{"type":["task"],"node":["n2"],"event":["create"]}"#).await;
    assert_eq!(on_node.len(), 2, "{on_node:?}");
    assert_eq!(names(r#"{"type":["config"]}"#).await, ["web"]);
    let refused = it.client.get("/v1/events?filters=%7B%22type%22:[%22volume%22]%7D").await;
    assert!(refused.message().contains("service, task, config"), "{refused:?}");
}

#[tokio::test]
async fn history_that_is_no_longer_kept_is_gone_not_skipped() {
    let it = Fixture::new(1);
    for _ in 0..=swarm_state::feed::EVENTS_KEPT {
        let role = swarm_model::node::Role::Worker;
        it.backend.must(swarm_model::command::Op::RotateToken { role });
    }
    let refused = it.client.get("/v1/events?since=1").await;
    assert_eq!((refused.status, refused.code()), (410, "gone"));
}

#[tokio::test]
async fn a_stream_ends_with_the_daemon() {
    let it = Fixture::new(1);
    let events = it.client.stream("/v1/events").await;
    let late = it.tasks.shutdown(DEADLINE).await;
    assert_eq!(late, Vec::<&str>::new());
    assert_eq!(events.all().await, Vec::<serde_json::Value>::new());
}

/// One revision, several events: a service and its tasks go in one.
#[tokio::test]
async fn a_cursor_goes_on_in_the_middle_of_a_revision() {
    let it = Fixture::new(2);
    it.client
        .post("/v1/services/create", &spec("web", json!({"Replicated": {"Replicas": 3}})))
        .await;
    it.backend.place("web", &[1, 2, 3].map(|n| (n.into(), Slot::Replica(n), node_id(1))));
    let last = it.client.get("/v1/nodes").await.header("swarm-revision").unwrap().to_owned();
    let all = it.client.stream(&format!("/v1/events?since=0&until={last}")).await.all().await;
    let cursor = |event: &serde_json::Value| event["Cursor"].as_str().unwrap().to_owned();
    let cursors: Vec<String> = all.iter().map(cursor).collect();
    assert!(cursors.iter().any(|it| it.ends_with(".3")), "one event a revision: {cursors:?}");
    for (index, since) in cursors.iter().enumerate() {
        let rest = it.client.stream(&format!("/v1/events?since={since}&until={last}")).await;
        let rest: Vec<String> = rest.all().await.iter().map(cursor).collect();
        assert_eq!(rest, cursors[index + 1..], "behind {since}");
        let head = it.client.stream(&format!("/v1/events?since=0&until={since}")).await;
        let head: Vec<String> = head.all().await.iter().map(cursor).collect();
        assert_eq!(head, cursors[..=index], "up to {since}");
    }
    let mut live = it.client.stream(&format!("/v1/events?since={last}.99")).await;
    add(&it, "new").await;
    assert_eq!(live.column(1, "Name").await, ["new"]);
}
