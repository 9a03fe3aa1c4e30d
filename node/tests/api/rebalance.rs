//! Evening out: which tasks would move, and that they are asked to.

use serde_json::json;
use swarm_model::task::Slot;
use swarm_node::api::Backend as _;

use crate::Fixture;
use crate::fake::node_id;
use crate::services::spec;

/// A service whose four tasks are all on the first of two nodes.
async fn uneven() -> Fixture {
    let it = Fixture::new(2);
    let web = spec("web", json!({"Replicated": {"Replicas": 4}}));
    assert_eq!(it.client.post("/v1/services/create", &web).await.status, 201);
    for number in 1..=4 {
        it.backend.start_task(u128::from(number), "web", Slot::Replica(number), node_id(1));
    }
    it
}

#[tokio::test]
async fn what_would_move_is_told_and_then_asked_to() {
    let it = uneven().await;
    let before = it.backend.view();
    let dry = it.client.post("/v1/rebalance?dry-run=true", &json!({})).await;
    assert_eq!(dry.status, 200, "{dry:?}");
    let moves = dry.body["Moves"].as_array().unwrap();
    assert_eq!((moves.len(), &dry.body["Applied"]), (2, &json!(0)));
    assert!(moves.iter().all(|it| it["To"]["Hostname"] == "n2" && it["From"]["Hostname"] == "n1"));
    assert_eq!(moves[0]["Reason"], "4 of its tasks on the one, 0 on the other");
    assert_eq!(*it.backend.view(), *before, "nothing was changed");
    let one = it.client.post("/v1/rebalance?dry-run=true&max-moves=1", &json!({})).await;
    assert_eq!(one.body["Moves"].as_array().unwrap().len(), 1);
    let made = it.client.post("/v1/rebalance", &json!({})).await;
    assert_eq!((made.status, &made.body["Applied"]), (200, &json!(2)), "{made:?}");
    assert_eq!(made.body["Moves"], dry.body["Moves"]);
    let notes = it.client.get("/v1/tasks").await.column("/Note");
    assert_eq!(notes.iter().filter(|note| *note == "is to move to n2").count(), 2, "{notes:?}");
    let again = it.client.post("/v1/rebalance", &json!({})).await;
    assert_eq!((again.status, &again.body["Moves"]), (200, &json!([])), "they are on their way");
    let removed = it.client.delete("/v1/nodes/n2?force=true").await;
    assert_eq!(removed.status, 200, "{removed:?}");
    let notes = it.client.get("/v1/tasks").await.column("/Note");
    let gone = format!("is to move to {}", node_id(2).short());
    assert_eq!(notes.iter().filter(|note| **note == gone).count(), 2, "{notes:?}");
}

#[tokio::test]
async fn a_repetition_tells_of_what_it_would_move_and_moves_nothing_again() {
    let it = uneven().await;
    let key = Some("0000000000000000000000abc");
    let (target, body) = ("/v1/rebalance?max-moves=1", json!({}));
    let post = || it.client.send(http::Method::POST, target, key, Some(&body));
    let first = post().await;
    assert_eq!((first.status, &first.body["Applied"]), (200, &json!(1)), "{first:?}");
    let evicted = || it.backend.view().tasks.values().filter(|it| it.eviction.is_some()).count();
    let again = post().await;
    assert_eq!((again.status, evicted()), (200, 1), "{again:?}");
}

#[tokio::test]
async fn wrong_numbers_and_overtaken_requests_are_refused() {
    let it = uneven().await;
    for target in ["max-moves=0", "max-moves=101", "max-moves=many", "dry-run=perhaps", "all=true"]
    {
        let wrong = it.client.post(&format!("/v1/rebalance?{target}"), &json!({})).await;
        assert_eq!((wrong.status, wrong.code()), (400, "invalid"), "{target}: {wrong:?}");
    }
    let late = it.client.post("/v1/rebalance?if-revision=1", &json!({})).await;
    assert_eq!((late.status, late.code()), (409, "revision_conflict"), "{late:?}");
}
