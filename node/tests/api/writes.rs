//! Changes: what they answer, who is said to have asked, repetition, conflicts.

use std::os::unix::fs::MetadataExt;

use futures::future::join_all;
use http::Method;
use serde_json::json;
use tokio::time::timeout;

use crate::{DEADLINE, Fixture};

fn config(name: &str, data: &str) -> serde_json::Value {
    json!({"Name": name, "Data": data})
}

#[tokio::test]
async fn a_config_lives_from_create_to_remove() {
    let it = Fixture::new(1);
    let made = it.client.post("/v1/configs/create", &config("site", "aGk=")).await;
    assert_eq!(made.status, 201, "{made:?}");
    let id = made.body["ID"].as_str().unwrap().to_owned();
    for reference in ["site", &id, &id[..20]] {
        let found = it.client.get(&format!("/v1/configs/{reference}")).await;
        assert_eq!(found.body["Spec"]["Data"], "aGk=", "{reference}");
        assert_eq!(found.body["Meta"]["Version"], made.body["Version"]);
    }
    let target = format!("/v1/configs/site/update?version={}", made.body["Version"]);
    let changed = it.client.post(&target, &config("site", "aG8=")).await;
    assert_eq!((changed.status, &changed.body["ID"]), (200, &made.body["ID"]));
    let late = it.client.post(&target, &config("site", "eW8=")).await;
    assert_eq!((late.status, late.code()), (409, "version_conflict"));
    let again = it.client.post("/v1/configs/create", &config("site", "")).await;
    assert_eq!((again.status, again.code()), (409, "name_taken"));
    assert_eq!(it.client.delete("/v1/configs/site").await.status, 200);
    let gone = it.client.get("/v1/configs/site").await;
    assert_eq!((gone.status, gone.code()), (404, "not_found"));
    assert_eq!(gone.message(), "config site not found: see `swarm config ls`");
}

#[tokio::test]
async fn a_repeated_request_gets_the_same_answer_and_changes_nothing_again() {
    let it = Fixture::new(1);
    let key = Some("0000000000000000000000abc");
    let body = config("site", "");
    let create = || it.client.send(Method::POST, "/v1/configs/create", key, Some(&body));
    let (first, second) = (create().await, create().await);
    assert_eq!((first.status, second.status), (201, 201));
    assert_eq!(first.body["ID"], second.body["ID"]);
    assert_eq!(first.body["Version"], second.body["Version"]);
    assert_eq!(it.client.get("/v1/configs").await.column("/Spec/Name"), ["site"]);
}

#[tokio::test]
async fn the_caller_is_who_the_kernel_says() {
    let it = Fixture::new(1);
    it.client.post("/v1/configs/create", &config("site", "")).await;
    let me = std::fs::metadata("/proc/self").unwrap().uid();
    assert_eq!(it.backend.last_caller().unwrap().uid, Some(me));
}

#[tokio::test]
async fn a_connection_serves_many_requests() {
    use http::Request;
    use http_body_util::Full;
    let it = Fixture::new(1);
    let mut sender = it.client.connect().await;
    for number in 0..50 {
        let body = config(&format!("c{number}"), "").to_string();
        let request = Request::post("/v1/configs/create").body(Full::from(body)).unwrap();
        let answer = timeout(DEADLINE, sender.send_request(request)).await.unwrap().unwrap();
        assert_eq!(crate::client::collect(answer).await.status, 201);
    }
    assert_eq!(it.client.get("/v1/configs").await.column("/ID").len(), 50);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_clients_write_at_once_and_nothing_is_lost() {
    let it = Fixture::new(1);
    let clients = (0..256).map(|number| {
        let client = &it.client;
        async move {
            let body = config(&format!("c{number}"), "");
            client.post("/v1/configs/create", &body).await.status
        }
    });
    let statuses = join_all(clients).await;
    assert!(statuses.iter().all(|status| *status == 201), "{statuses:?}");
    assert_eq!(it.client.get("/v1/configs").await.column("/ID").len(), 256);
}

#[tokio::test]
async fn tokens_are_shown_rotated_and_limited() {
    let it = Fixture::new(2);
    let worker = it.client.get("/v1/tokens/worker").await;
    assert_eq!(worker.body["Token"], "SWMTKN-1-worker-0");
    assert_eq!(worker.body["Addresses"], json!(["127.0.0.1:2377", "127.0.0.2:2377"]));
    let rotated = it.client.post("/v1/tokens/worker/rotate", &json!({})).await;
    assert_eq!(rotated.body["Token"], "SWMTKN-1-worker-1");
    assert_eq!(it.client.get("/v1/tokens/manager").await.body["Token"], "SWMTKN-1-manager-0");
    let limited = it.client.post("/v1/tokens", &json!({"Role": "worker", "Uses": 2})).await;
    assert_eq!((limited.status, limited.body["Role"].as_str()), (201, Some("worker")));
    assert_eq!(it.client.get("/v1/tokens/boss").await.status, 400);
    let useless = it.client.post("/v1/tokens", &json!({"Role": "worker", "Uses": 0})).await;
    assert_eq!(useless.status, 400);
}

#[tokio::test]
async fn the_clusters_settings_change_and_bad_ones_are_refused() {
    let it = Fixture::new(1);
    let cluster = it.client.get("/v1/cluster").await;
    let mut spec = cluster.body["Spec"].clone();
    spec["TaskHistoryLimit"] = json!(2);
    let target = format!("/v1/cluster/update?version={}", cluster.body["Meta"]["Version"]);
    assert_eq!(it.client.post(&target, &spec).await.status, 200);
    assert_eq!(it.client.get("/v1/cluster").await.body["Spec"]["TaskHistoryLimit"], 2);
    assert_eq!(it.client.post(&target, &spec).await.code(), "version_conflict");
    spec["MaxVoters"] = json!(4);
    let refused = it.client.post("/v1/cluster/update", &spec).await;
    assert_eq!((refused.status, refused.code()), (400, "invalid"));
    assert!(refused.message().contains("1, 3, 5 or 7"), "{}", refused.message());
}

#[tokio::test]
async fn the_last_manager_leaves_only_by_force() {
    let it = Fixture::new(1);
    let refused = it.client.post("/v1/leave", &json!({})).await;
    assert_eq!((refused.status, refused.code()), (409, "conflict"));
    assert_eq!(it.client.post("/v1/leave", &json!({"Force": true})).await.status, 200);
}
