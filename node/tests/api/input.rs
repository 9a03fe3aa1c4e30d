//! Wrong requests: each its own answer, and the daemon lives on.

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::{DEADLINE, Fixture};

async fn status_of(stream: &mut UnixStream) -> String {
    let mut answer = String::new();
    timeout(DEADLINE, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
    answer
}

#[tokio::test]
async fn a_body_announced_as_100_mib_is_refused_unread() {
    let it = Fixture::new(1);
    let mut stream = UnixStream::connect(&it.socket).await.unwrap();
    let head =
        "POST /v1/configs/create HTTP/1.1\r\nHost: swarm\r\nContent-Length: 104857600\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let answer = status_of(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert!(answer.contains(r#""Code":"too_large""#), "{answer}");
    assert_eq!(it.client.get("/v1/ping").await.status, 200);
}

#[tokio::test]
async fn a_body_without_end_is_cut_off_at_the_limit() {
    let it = Fixture::new(1);
    let mut stream = UnixStream::connect(&it.socket).await.unwrap();
    let head =
        "POST /v1/configs/create HTTP/1.1\r\nHost: swarm\r\nTransfer-Encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
    let mut sent = 0;
    // The daemon stops reading, then closes.
    while sent < 100 << 20 && stream.write_all(chunk.as_bytes()).await.is_ok() {
        sent += chunk.len();
    }
    assert!(sent < 4 << 20, "{sent} bytes were taken");
    let mut answer = vec![0; 16];
    timeout(DEADLINE, stream.read_exact(&mut answer)).await.unwrap().unwrap();
    assert_eq!(&answer[..13], b"HTTP/1.1 413 ");
    assert_eq!(it.client.get("/v1/ping").await.status, 200);
}

#[tokio::test]
async fn what_is_no_http_is_refused_and_the_daemon_lives() {
    let it = Fixture::new(1);
    let mut stream = UnixStream::connect(&it.socket).await.unwrap();
    stream.write_all(&[0x16, 0x03, 0x01, 0x00, b'\r', b'\n', b'\r', b'\n']).await.unwrap();
    assert!(status_of(&mut stream).await.starts_with("HTTP/1.1 400 "));
    assert_eq!(it.client.get("/v1/ping").await.status, 200);
}

#[tokio::test]
async fn wrong_bodies_say_what_is_wrong() {
    let it = Fixture::new(1);
    let refusal = async |target: &str, body| {
        let reply = it.client.post(target, &body).await;
        assert_eq!((reply.status, reply.code()), (400, "invalid"), "{reply:?}");
        reply.message().to_owned()
    };
    let message = refusal("/v1/configs/create", json!({"Name": "a"})).await;
    assert!(message.contains("missing field `Data`"), "{message}");
    let message = refusal("/v1/configs/create", json!({"Name": "-a", "Data": ""})).await;
    assert!(message.contains("not a valid name"), "{message}");
    let message = refusal("/v1/configs/create", json!({"Name": "a", "Data": "%"})).await;
    assert!(message.contains("request's body"), "{message}");
    let reply = it.client.delete("/v1/configs/a?force=1").await;
    assert!(reply.message().contains("\"force\" is not known"), "{reply:?}");
    let reply = it.client.get("/v1/configs?filters=%7B%22color%22:[%22red%22]%7D").await;
    assert_eq!(reply.status, 400);
    assert!(reply.message().contains("id, label, name, names"), "{reply:?}");
    let reply = it.client.send(http::Method::POST, "/v1/configs/create", Some("xyz"), None).await;
    assert!(reply.message().contains("Idempotency-Key"), "{reply:?}");
    let reply = it.client.send(http::Method::POST, "/v1/configs/create", None, None).await;
    assert!(reply.message().contains("needs a body"), "{reply:?}");
}

#[tokio::test]
async fn unknown_routes_and_methods_are_json_errors_too() {
    let it = Fixture::new(1);
    let unknown = it.client.get("/v1/secrets").await;
    assert_eq!((unknown.status, unknown.code()), (404, "not_found"));
    let wrong = it.client.delete("/v1/status").await;
    assert_eq!((wrong.status, wrong.code()), (405, "invalid"));
    assert_eq!(it.client.get("/v1/openapi.json").await.body["info"]["title"], "swarm");
    assert_eq!(it.client.get("/v1/version").await.body["ApiVersion"], "1");
}

#[tokio::test]
async fn the_socket_is_gone_when_the_server_ended() {
    let it = Fixture::new(1);
    assert_eq!(it.client.get("/v1/ping").await.status, 200);
    let late = it.tasks.shutdown(DEADLINE).await;
    assert_eq!(late, Vec::<&str>::new());
    assert!(!it.socket.exists());
}
