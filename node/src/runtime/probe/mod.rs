//! Asking a running task whether it is well: one question, one answer in time.
//!
//! How often it is asked and what follows is the agent's business; commands inside of a task are each
//! runtime's own.

mod http;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The most bytes that are read of what a probe says.
pub(crate) const OUTPUT_MAX: usize = 4096;

/// What came of one probe.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Answer {
    /// The task is well.
    Passed,
    /// It is not, or did not answer in time.
    Failed(String),
    /// It could not be asked: this says nothing about the task.
    Unknown(String),
}

/// No answer within the time that there was.
pub(crate) fn late(within: Duration) -> Answer {
    Answer::Failed(format!("no answer within {}", Span(within)))
}

/// A short span of time for people: `1.5s`, `200ms`.
struct Span(Duration);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_millis() {
            millis if millis < 1000 => write!(f, "{millis}ms"),
            millis if millis.is_multiple_of(1000) => write!(f, "{}s", millis / 1000),
            millis => write!(f, "{}.{:03}s", millis / 1000, millis % 1000),
        }
    }
}

/// Connects to `address`, and lets go at once.
pub(crate) async fn tcp(address: SocketAddr, within: Duration) -> Answer {
    match tokio::time::timeout(within, connect(address)).await {
        Err(_late) => late(within),
        Ok(Ok(_connected)) => Answer::Passed,
        Ok(Err(answer)) => answer,
    }
}

async fn connect(address: SocketAddr) -> Result<TcpStream, Answer> {
    let stream = TcpStream::connect(address).await;
    stream.and_then(to_another).map_err(|error| refused(address, &error))
}

/// Refuses a connection to itself: that is what comes of a local port that nobody listens on when the
/// kernel picks the very same for this end.
fn to_another(stream: TcpStream) -> io::Result<TcpStream> {
    if stream.local_addr()? == stream.peer_addr()? {
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    Ok(stream)
}

/// Gets `path` from `address`, and looks at the answer's status.
pub(crate) async fn http(address: SocketAddr, path: &str, within: Duration) -> Answer {
    match tokio::time::timeout(within, get(address, path)).await {
        Err(_late) => late(within),
        Ok(answer) => answer,
    }
}

async fn get(address: SocketAddr, path: &str) -> Answer {
    let mut stream = match connect(address).await {
        Ok(stream) => stream,
        Err(answer) => return answer,
    };
    let port = address.port();
    if let Err(error) = stream.write_all(http::request(address, path).as_bytes()).await {
        return Answer::Failed(format!("port {port}: cannot send: {error}"));
    }
    let mut head = Vec::new();
    let mut part = [0; 512];
    loop {
        match http::status(&head) {
            http::Status::Unfinished if head.len() >= OUTPUT_MAX => break,
            http::Status::Unfinished => {}
            http::Status::Line { code: 200..=399, .. } => return Answer::Passed,
            http::Status::Line { text, .. } => {
                return Answer::Failed(format!("GET {path} on port {port}: {text}"));
            }
            http::Status::Nonsense => break,
        }
        match stream.read(&mut part).await {
            Ok(0) => break,
            Ok(length) => head.extend_from_slice(&part[..length]),
            Err(error) => {
                return Answer::Failed(format!("port {port}: no answer: {error}"));
            }
        }
    }
    Answer::Failed(format!("port {port} does not answer in HTTP"))
}

fn refused(address: SocketAddr, error: &io::Error) -> Answer {
    let port = address.port();
    match error.kind() {
        io::ErrorKind::ConnectionRefused => {
            Answer::Failed(format!("port {port}: connection refused"))
        }
        io::ErrorKind::ConnectionReset
        | io::ErrorKind::TimedOut
        | io::ErrorKind::HostUnreachable
        | io::ErrorKind::NetworkUnreachable => Answer::Failed(format!("port {port}: {error}")),
        // No file handles, no free local port: the node's trouble, not the task's.
        _ => Answer::Unknown(format!("port {port}: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;
    use tokio::net::TcpListener;

    const SOON: Duration = Duration::from_secs(10);

    /// A server that answers each connection with these bytes, and the address of it.
    async fn server(says: &'static [u8]) -> (SocketAddr, impl Future<Output = ()>) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let serve = async move {
            loop {
                let (mut stream, _) = listener.accept().await.expect("accepted");
                let mut asked = [0; 1024];
                let length = stream.read(&mut asked).await.expect("asked");
                let asked = String::from_utf8_lossy(&asked[..length]).into_owned();
                assert!(asked.starts_with("GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:"), "{asked}");
                assert!(asked.ends_with("\r\n\r\n"), "{asked}");
                stream.write_all(says).await.expect("said");
            }
        };
        (address, serve)
    }

    async fn asked(says: &'static [u8]) -> Answer {
        let (address, serve) = server(says).await;
        tokio::select! {
            answer = http(address, "/healthz", SOON) => answer,
            () = serve => unreachable!("it serves for ever"),
        }
    }

    #[tokio::test]
    async fn only_a_status_from_200_to_399_is_well() {
        let failed = |answer: Answer, word: &str| match answer {
            Answer::Failed(why) => assert!(why.contains(word), "{why}"),
            other => unreachable!("{word}: {other:?}"),
        };
        assert_eq!(asked(b"HTTP/1.1 200 OK\r\n\r\nfine").await, Answer::Passed);
        assert_eq!(asked(b"HTTP/1.0 204\r\n\r\n").await, Answer::Passed);
        assert_eq!(asked(b"HTTP/1.1 399 Odd\r\n").await, Answer::Passed);
        failed(asked(b"HTTP/1.1 503 Service Unavailable\r\n\r\n").await, "503 Service Unavailable");
        failed(asked(b"HTTP/1.1 400 Bad\r\n\r\n").await, "GET /healthz on port ");
        failed(asked(b"HTTP/1.1 199 Early\r\n\r\n").await, "199 Early");
        failed(asked(b"SSH-2.0-OpenSSH\r\n").await, "does not answer in HTTP");
        failed(asked(&[b'H'; 2 * OUTPUT_MAX]).await, "does not answer in HTTP");
        failed(asked(b"").await, "does not answer in HTTP");
    }

    #[tokio::test]
    async fn who_does_not_listen_or_never_answers_is_not_well() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let address = listener.local_addr().expect("bound");
        assert_eq!(tcp(address, SOON).await, Answer::Passed);
        let short = Duration::from_millis(50);
        // The kernel takes the connection; nobody ever reads it.
        assert_eq!(http(address, "/", short).await, Answer::Failed("no answer within 50ms".into()));
        drop(listener);
        let refused = format!("port {}: connection refused", address.port());
        assert_eq!(tcp(address, SOON).await, Answer::Failed(refused.clone()));
        assert_eq!(http(address, "/", SOON).await, Answer::Failed(refused));
    }

    #[tokio::test]
    async fn a_connection_to_itself_is_none() {
        let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
        socket.bind((Ipv4Addr::LOCALHOST, 0).into()).expect("a port");
        let address = socket.local_addr().expect("bound");
        let itself = socket.connect(address).await.expect("the kernel lets it");
        let error = to_another(itself).expect_err("nobody listens");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }

    #[test]
    fn spans_read_well() {
        let text = |millis| Span(Duration::from_millis(millis)).to_string();
        assert_eq!([text(50), text(5000), text(1500)], ["50ms", "5s", "1.500s"]);
    }
}
