//! Logs: merged over nodes, kept up with, gaps named.

use serde_json::json;
use swarm_model::task::Slot;

use crate::Fixture;
use crate::fake::node_id;
use crate::services::spec;

async fn with_service() -> Fixture {
    let it = Fixture::new(3);
    it.client
        .post("/v1/services/create", &spec("web", json!({"Replicated": {"Replicas": 3}})))
        .await;
    it
}

#[tokio::test]
async fn lines_of_all_nodes_are_merged_by_time() {
    let it = with_service().await;
    let one = it.backend.start_task(1, "web", Slot::Replica(1), node_id(1));
    let two = it.backend.start_task(2, "web", Slot::Replica(2), node_id(2));
    for (task, at) in [(one, 10), (one, 30), (two, 20), (two, 40)] {
        it.backend.write_line(task, at, &format!("at {at}"));
    }
    let lines = it.client.stream("/v1/services/web/logs").await.all().await;
    let field =
        |key: &str| lines.iter().map(|line| line[key].as_str().unwrap()).collect::<Vec<_>>();
    assert_eq!(field("Line"), ["at 10", "at 20", "at 30", "at 40"]);
    assert_eq!(field("TaskName"), ["web.1", "web.2", "web.1", "web.2"]);
    assert_eq!(field("NodeHostname"), ["n1", "n2", "n1", "n2"]);
    let lines = it.client.stream("/v1/tasks/web.2/logs").await.column(2, "Line").await;
    assert_eq!(lines, ["at 20", "at 40"]);
}

#[tokio::test]
async fn a_node_that_cannot_be_read_is_named_and_the_rest_is_shown() {
    let it = with_service().await;
    let one = it.backend.start_task(1, "web", Slot::Replica(1), node_id(1));
    it.backend.start_task(2, "web", Slot::Replica(2), node_id(2));
    it.backend.write_line(one, 10, "here");
    it.backend.set_reachable(node_id(2), false);
    let lines = it.client.stream("/v1/services/web/logs").await.all().await;
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert_eq!(lines[0]["Line"], "here");
    let gap = &lines[1];
    assert_eq!((&gap["NodeHostname"], &gap["MissingTasks"]), (&json!("n2"), &json!(1)));
    assert_eq!(gap["Error"], "cannot be reached", "the node is not named again");
}

#[tokio::test]
async fn followers_get_the_lines_of_tasks_that_come_later() {
    let it = with_service().await;
    let one = it.backend.start_task(1, "web", Slot::Replica(1), node_id(1));
    it.backend.write_line(one, 10, "first");
    let mut lines = it.client.stream("/v1/services/web/logs?follow=true").await;
    assert_eq!(lines.column(1, "Line").await, ["first"]);
    let two = it.backend.start_task(2, "web", Slot::Replica(2), node_id(2));
    it.backend.write_line(two, 20, "second");
    assert_eq!(lines.column(1, "Line").await, ["second"]);
    it.backend.write_line(one, 30, "third");
    assert_eq!(lines.column(1, "Line").await, ["third"]);
}

#[tokio::test]
async fn a_follower_goes_on_without_gap_or_repeat_when_a_node_is_back() {
    let it = with_service().await;
    let one = it.backend.start_task(1, "web", Slot::Replica(1), node_id(2));
    let two = it.backend.start_task(2, "web", Slot::Replica(2), node_id(2));
    for (task, text) in [(one, "a"), (two, "b"), (one, "c")] {
        it.backend.write_line(task, 10, text);
    }
    let mut lines = it.client.stream("/v1/services/web/logs?follow=true").await;
    assert_eq!(lines.column(3, "Line").await, ["a", "b", "c"]);
    it.backend.set_reachable(node_id(2), false);
    let error = lines.next().await.unwrap();
    assert_eq!((&error["NodeHostname"], &error["MissingTasks"]), (&json!("n2"), &json!(2)));
    it.backend.write_line(two, 10, "d");
    it.backend.write_line(one, 11, "e");
    it.backend.set_reachable(node_id(2), true);
    assert_eq!(lines.column(2, "Line").await, ["d", "e"]);
}
