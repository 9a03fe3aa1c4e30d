//! Quorum lost: reads answer from the local replica and say so, writes fail and say why.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use crate::Fixture;
use crate::fake::node_id;
use crate::services::spec;

#[tokio::test]
async fn reads_are_marked_stale_within_two_seconds_and_fresh_again_later() {
    let it = Fixture::new(3);
    let fresh = it.client.get("/v1/nodes").await;
    assert_eq!(fresh.header("swarm-stale"), None);
    let revision = it.backend_revision();
    assert_eq!(fresh.header("swarm-revision"), Some(revision.as_str()));
    let absent = it.client.get("/v1/configs/nothing").await;
    assert_eq!((absent.status, absent.header("swarm-revision")), (404, Some(revision.as_str())));
    it.backend.set_quorum(false);
    let began = Instant::now();
    let stale = it.client.get("/v1/nodes").await;
    assert!(began.elapsed() >= Duration::from_secs(1), "an election would have had no chance");
    assert!(began.elapsed() < Duration::from_millis(2500), "{:?}", began.elapsed());
    assert_eq!(stale.header("swarm-stale"), Some("true"));
    assert_eq!(stale.header("swarm-leader-silent-ms"), Some("4321"));
    assert_eq!(stale.body.as_array().unwrap().len(), 3);
    it.backend.set_quorum(true);
    assert_eq!(it.client.get("/v1/nodes").await.header("swarm-stale"), None);
}

/// The leader was heard a moment ago: another one is being elected.
#[tokio::test]
async fn an_election_is_not_called_a_lost_quorum() {
    let it = Fixture::new(3);
    it.backend.set_silence(Duration::from_millis(120));
    it.backend.set_quorum(false);
    let elected = async {
        tokio::time::sleep(Duration::from_millis(2500)).await;
        it.backend.set_quorum(true);
    };
    let (answer, ()) = tokio::join!(it.client.get("/v1/nodes"), elected);
    assert_eq!(answer.header("swarm-stale"), None);
}

#[tokio::test]
async fn the_client_may_choose_stale_or_nothing() {
    let it = Fixture::new(3);
    it.backend.set_quorum(false);
    let began = Instant::now();
    let stale = it.client.get("/v1/nodes?stale=true").await;
    assert!(began.elapsed() < Duration::from_secs(1), "it waited {:?}", began.elapsed());
    assert_eq!((stale.status, stale.header("swarm-stale")), (200, Some("true")));
    let refused = it.client.get("/v1/nodes?stale=false").await;
    assert_eq!((refused.status, refused.code()), (503, "no_quorum"));
}

#[tokio::test]
async fn writes_say_which_voters_are_silent_and_that_nothing_changed() {
    let it = Fixture::new(3);
    it.backend.set_quorum(false);
    let refused = it.client.post("/v1/configs/create", &json!({"Name": "a", "Data": ""})).await;
    assert_eq!((refused.status, refused.code()), (503, "no_quorum"));
    let message = refused.message();
    assert!(message.contains("1 of 3 voters heard"), "{message}");
    assert!(message.contains("n2") && message.contains("n3"), "{message}");
    assert!(message.contains("nothing was changed"), "{message}");
    let refused = it.client.delete("/v1/configs/a").await;
    assert_eq!((refused.status, refused.code()), (503, "no_quorum"), "it may exist elsewhere");
}

#[tokio::test]
async fn the_status_tells_quorum_from_none() {
    let it = Fixture::new(3);
    let status = it.client.get("/v1/status").await.body;
    assert_eq!((&status["Quorum"], &status["VotersReachable"]), (&json!(true), &json!(3)));
    assert_eq!(status["Replicas"][2]["Lag"], 0);
    assert_eq!(status["Info"]["Leader"], status["Info"]["NodeID"]);
    assert_eq!(status["DiskBytesPerDay"], json!(null), "the daemon is too young to tell");
    it.backend.set_reachable(node_id(3), false);
    let status = it.client.get("/v1/status").await.body;
    assert_eq!(status["Replicas"][2]["Lag"], json!(null), "of a silent one nobody knows");
    it.backend.set_reachable(node_id(3), true);
    it.backend.set_quorum(false);
    let status = it.client.get("/v1/status").await.body;
    assert_eq!((&status["Quorum"], &status["VotersReachable"]), (&json!(false), &json!(1)));
    assert_eq!(status["Replicas"][2]["Lag"], json!(null));
    assert_eq!(status["Info"]["Leader"], json!(null));
}

/// Nobody notes who falls silent then: the node's own gossip stands in.
#[tokio::test]
async fn without_quorum_nobody_leads_and_only_who_is_heard_is_ready() {
    let it = Fixture::new(3);
    it.client.post("/v1/services/create", &spec("web", json!({"Global": {}}))).await;
    let all = ["/Status/Reachability", "/ManagerStatus"];
    let shown = async || {
        let nodes = it.client.get("/v1/nodes").await;
        all.map(|column| nodes.column(column))
    };
    assert_eq!(shown().await[0], ["ready", "ready", "ready"]);
    it.backend.keep_leader(node_id(2));
    it.backend.set_quorum(false);
    assert_eq!(
        shown().await,
        [["ready", "unknown", "unknown"], ["Reachable", "Unreachable", "Unreachable"]]
    );
    let status = it.client.get("/v1/status").await.body;
    assert_eq!((&status["NodesReady"], &status["NodesUnknown"]), (&json!(1), &json!(2)));
    assert_eq!(status["Info"]["Leader"], json!(null));
    let explained = it.client.get("/v1/services/web/explain").await;
    let refusals = &explained.body["Nodes"][2]["Refusals"];
    assert_eq!(refusals, &json!(["not heard from"]), "{explained:?}");
    // Asked for what the node knows, it says the same once the leader has been silent for long.
    let nodes = it.client.get("/v1/nodes?stale=true").await;
    assert_eq!(nodes.column("/Status/Reachability"), ["ready", "unknown", "unknown"]);
}

impl Fixture {
    fn backend_revision(&self) -> String {
        use swarm_node::api::Backend;
        self.backend.view().revision.to_string()
    }
}
