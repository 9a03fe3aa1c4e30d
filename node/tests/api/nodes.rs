//! Nodes: references, roles, availability, removal.

use serde_json::json;
use swarm_model::command::Op;
use swarm_model::node::Reachability;

use crate::Fixture;
use crate::fake::node_id;

#[tokio::test]
async fn nodes_are_found_by_id_name_prefix_and_self() {
    let it = Fixture::new(3);
    let id = node_id(2).to_string();
    for reference in ["n2", &id, &id[..12]] {
        let found = it.client.get(&format!("/v1/nodes/{reference}")).await;
        assert_eq!(found.body["ID"], id.as_str(), "{reference}");
        assert_eq!((&found.body["Self"], &found.body["Voter"]), (&json!(false), &json!(true)));
    }
    let this = it.client.get("/v1/nodes/self").await.body;
    assert_eq!((&this["Self"], &this["ManagerStatus"]), (&json!(true), &json!("Leader")));
    let ambiguous = it.client.get("/v1/nodes/0").await;
    assert_eq!((ambiguous.status, ambiguous.code()), (409, "ambiguous"));
    assert!(ambiguous.message().contains("(n3)"), "{ambiguous:?}");
}

#[tokio::test]
async fn a_silent_manager_is_unreachable() {
    let it = Fixture::new(3);
    it.backend.set_reachable(node_id(3), false);
    let nodes = it.client.get("/v1/nodes").await;
    assert_eq!(nodes.column("/ManagerStatus"), ["Leader", "Reachable", "Unreachable"]);
}

#[tokio::test]
async fn nodes_are_demoted_drained_and_labelled() {
    let it = Fixture::new(2);
    let update = json!({"Role": "worker", "Availability": "drain", "DrainDeadlineMs": 5000,
        "LabelsAdd": {"zone": "a"}, "LabelsRemove": ["gpu"]});
    let changed = it.client.post("/v1/nodes/n2/update", &update).await;
    assert_eq!(changed.status, 200, "{changed:?}");
    assert_eq!(changed.body["Warnings"], json!(["label gpu was not set"]));
    let node = it.client.get("/v1/nodes/n2").await.body;
    assert_eq!(
        node["Spec"],
        json!({"Role": "worker", "Availability": "drain", "Labels": {"zone": "a"}})
    );
    assert_eq!(node["ManagerStatus"], json!(null));
    assert_eq!(node["Drain"]["Deadline"], "1970-01-01T00:16:45.000Z");
    let filter = |filter: &str| format!("/v1/nodes?filters={filter}");
    let list = it.client.get(&filter("%7B%22role%22:[%22worker%22]%7D")).await;
    assert_eq!(list.column("/Description/Hostname"), ["n2"]);
    let list = it.client.get(&filter("%7B%22label%22:%7B%22zone=a%22:true%7D%7D")).await;
    assert_eq!(list.column("/Description/Hostname"), ["n2"]);
    let last = it.client.post("/v1/nodes/n1/update", &json!({"Role": "worker"})).await;
    assert_eq!((last.status, last.code()), (409, "conflict"));
    let stale = it.client.post("/v1/nodes/n2/update?version=1", &json!({"Role": "manager"})).await;
    assert_eq!(stale.code(), "version_conflict");
}

#[tokio::test]
async fn a_node_is_removed_when_down_or_by_force_and_never_by_itself() {
    let it = Fixture::new(3);
    let refused = it.client.delete("/v1/nodes/n2").await;
    assert_eq!((refused.status, refused.code()), (409, "conflict"));
    assert!(refused.message().contains("not down"), "{refused:?}");
    it.backend.must(Op::SetReachability {
        id: node_id(2),
        incarnation: Default::default(),
        reachability: Reachability::Down,
        message: String::new(),
    });
    assert_eq!(it.client.delete("/v1/nodes/n2").await.status, 200);
    assert_eq!(it.client.delete("/v1/nodes/n3?force=true").await.status, 200);
    assert_eq!(it.client.get("/v1/nodes").await.column("/Description/Hostname"), ["n1"]);
    assert_eq!(it.client.delete("/v1/nodes/n3").await.code(), "not_found");
    let own = it.client.delete("/v1/nodes/self?force=true").await;
    assert!(own.message().contains("swarm leave"), "{own:?}");
}
