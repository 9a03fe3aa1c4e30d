//! Tests of [`Client`] against a socket that misbehaves on purpose.

use std::path::Path;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};

use super::*;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\ntrue";
const CONFLICT: &str = r#"{"Message":"changed","Code":"name_taken"}"#;

/// Reads one request; gives its head.
async fn head(stream: &mut UnixStream) -> String {
    let mut bytes = Vec::new();
    let mut part = [0; 1024];
    while !bytes.ends_with(b"}") {
        let length = stream.read(&mut part).await.expect("the client writes");
        bytes.extend_from_slice(&part[..length]);
    }
    String::from_utf8_lossy(&bytes).to_lowercase()
}

fn key(head: &str) -> &str {
    head.lines().find(|line| line.starts_with("idempotency-key")).expect("there is a key")
}

fn client(dir: &Path) -> (Client, UnixListener) {
    let endpoint = Endpoint::of_data_dir(dir);
    let listener = UnixListener::bind(endpoint.socket()).expect("a fresh directory");
    (Client::new(endpoint), listener)
}

#[tokio::test]
async fn a_change_whose_connection_was_lost_is_asked_again_under_the_same_key() {
    let dir = tempfile::tempdir().expect("a directory");
    let (client, listener) = client(dir.path());
    let server = async {
        let (mut first, _) = listener.accept().await.expect("a client");
        let asked = head(&mut first).await;
        drop(first);
        let (mut second, _) = listener.accept().await.expect("the client again");
        let again = head(&mut second).await;
        second.write_all(OK.as_bytes()).await.expect("the client reads");
        (asked, again)
    };
    let body = json!({});
    let asking = client.post::<_, Value>("/v1/services/create", &[], &body);
    let (answer, (asked, again)) = tokio::join!(asking, server);
    assert_eq!(answer, Ok(json!(true)));
    assert_eq!(key(&asked), key(&again));
}

#[tokio::test]
async fn a_refusal_is_not_asked_again() {
    let dir = tempfile::tempdir().expect("a directory");
    let (client, listener) = client(dir.path());
    let server = async {
        let (mut stream, _) = listener.accept().await.expect("a client");
        head(&mut stream).await;
        let length = CONFLICT.len();
        let answer = format!("HTTP/1.1 409 Conflict\r\nContent-Length: {length}\r\n\r\n{CONFLICT}");
        stream.write_all(answer.as_bytes()).await.expect("the client reads");
    };
    let body = json!({});
    let asking = client.post::<_, Value>("/v1/services/create", &[], &body);
    let (answer, ()) = tokio::join!(asking, server);
    assert_eq!(answer, Err(Failure::new(Exit::Conflict, "changed")));
}

#[tokio::test]
async fn a_node_that_is_not_there_is_said_at_once() {
    let dir = tempfile::tempdir().expect("a directory");
    let client = Client::new(Endpoint::of_data_dir(dir.path()));
    let failure = client.get::<Value>("/v1/info", &[]).await.expect_err("nobody is there");
    assert_eq!(failure.exit, Exit::Unreachable);
    assert!(failure.message.contains("swarm init"), "{failure}");
    let (_, listener) = self::client(dir.path());
    drop(listener);
    let failure = client.get::<Value>("/v1/info", &[]).await.expect_err("nobody listens");
    assert!(failure.message.contains("swarm daemon --data-dir"), "{failure}");
}

#[tokio::test]
async fn a_node_that_ends_before_it_answers_is_not_asked_again() {
    let dir = tempfile::tempdir().expect("a directory");
    let (client, listener) = client(dir.path());
    let server = async {
        let (mut stream, _) = listener.accept().await.expect("a client");
        head(&mut stream).await;
        std::fs::remove_file(client.endpoint().socket()).expect("it was bound");
        drop((stream, listener));
    };
    let (began, body) = (Instant::now(), json!({}));
    let deadline = Duration::from_secs(900);
    let asking = client.post_within::<_, Value>("/v1/leave", &[], &body, deadline);
    let (answer, ()) = tokio::join!(asking, server);
    let failure = answer.expect_err("nobody is left");
    assert_eq!(failure.exit, Exit::Unreachable);
    assert!(failure.message.contains("ended before it answered"), "{failure}");
    assert!(began.elapsed() < Duration::from_secs(10), "after {:?}", began.elapsed());
}
