//! `swarm forward`.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use serde_json::Value;
use swarm_net::task::TaskGroup;
use swarm_node::chunk::{Chunk, DATA_MAX};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::sleep;

use crate::client::{Client, Session, encode};
use crate::exit::{Exit, Failure};
use crate::output;

/// Connections at a time; more wait to be accepted.
const CONNECTIONS_MAX: usize = 256;
/// Pause when the system has no more file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Reach a port of a service's tasks from here
///
/// Listens on 127.0.0.1:LOCAL until Ctrl-C. Each connection goes, through the mesh, to the port REMOTE of
/// a running task: of each task of a service in turn. No port of the task's node has to be open; only
/// what the task itself listens on is reached.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    swarm forward web 8080:80\n  \
    swarm forward db.1 0:5432       # a free port, which is shown")]
pub(crate) struct Forward {
    /// Name or id of a service, or of a task (web.3)
    #[arg(value_name = "SERVICE|TASK")]
    reference: String,
    /// A port here (0: any) and the port of the task
    #[arg(value_name = "LOCAL:REMOTE")]
    ports: Ports,
}

/// Both ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Ports {
    local: u16,
    remote: u16,
}

impl FromStr for Ports {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (local, remote) = text.split_once(':').unwrap_or((text, text));
        let port = |text: &str| text.parse::<u16>().ok();
        match (port(local), port(remote)) {
            (Some(local), Some(remote)) if remote > 0 => Ok(Self { local, remote }),
            _ => Err(format!("\"{text}\" is not LOCAL:REMOTE, two ports like 8080:80")),
        }
    }
}

impl Forward {
    /// Carries connections until the command is ended.
    ///
    /// # Errors
    /// When nothing is called so or runs there, or the port here is taken.
    pub(crate) async fn run(self, client: &Client) -> Result<(), Failure> {
        let path = Arc::new(self.find(client).await?);
        let at = SocketAddr::from((Ipv4Addr::LOCALHOST, self.ports.local));
        let listener = TcpListener::bind(at).await;
        let listener = listener.map_err(|error| {
            let exit = match error.kind() {
                std::io::ErrorKind::AddrInUse => Exit::Conflict,
                _ => Exit::Failed,
            };
            Failure::new(exit, format!("cannot listen on {at}: {error}"))
        })?;
        let at = listener.local_addr().map_or(at, |known| known);
        output::line(&format!("Forwarding {at} to {}:{}", self.reference, self.ports.remote))?;
        match accept(&listener, client, &path, self.ports.remote).await {}
    }

    /// The path of what is called so, if something runs there.
    async fn find(&self, client: &Client) -> Result<String, Failure> {
        let name = encode(&self.reference);
        let filters = serde_json::json!({ "service": [self.reference] }).to_string();
        let tasks = client.get::<Vec<Value>>("/v1/tasks", &[("filters", &filters)]).await;
        let failure = match tasks {
            Ok(tasks) if tasks.iter().any(|task| task["Status"]["State"] == "Running") => {
                return Ok(format!("/v1/services/{name}/forward"));
            }
            Ok(_) => {
                let hint = format!("`swarm service ps {}` says why", self.reference);
                let message = format!("service {} has no running task: {hint}", self.reference);
                return Err(Failure::new(Exit::Conflict, message));
            }
            Err(failure) if failure.is_not_found() => failure,
            Err(failure) => return Err(failure),
        };
        let task = client.get::<Value>(&format!("/v1/tasks/{name}"), &[]).await;
        // Both say "not found"; a person thinks of services first.
        task.map_err(|other| if other.is_not_found() { failure } else { other })?;
        Ok(format!("/v1/tasks/{name}/forward"))
    }
}

async fn accept(
    listener: &TcpListener,
    client: &Client,
    path: &Arc<String>,
    port: u16,
) -> Infallible {
    let (tasks, slots) = (TaskGroup::new(), Arc::new(Semaphore::new(CONNECTIONS_MAX)));
    loop {
        // Never closed; without a slot there would only be one connection more.
        let slot = slots.clone().acquire_owned().await.ok();
        match listener.accept().await {
            Ok((connection, _peer)) => {
                let (client, path) = (client.clone(), path.clone());
                tasks.spawn("connection", async move {
                    if let Err(failure) = carry(connection, &client, &path, port).await {
                        output::warning(&failure.message);
                    }
                    drop(slot);
                });
            }
            Err(error) => {
                output::warning(&format!("a connection was not accepted: {error}"));
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// One connection, to the end of both directions.
async fn carry(
    mut connection: TcpStream,
    client: &Client,
    path: &str,
    port: u16,
) -> Result<(), Failure> {
    let port = port.to_string();
    let Session { mut reader, mut writer } =
        client.converse(path, &[("port", &port)], &Value::Null).await?;
    let (mut reading, mut writing) = connection.split();
    let up = async {
        let mut part = vec![0; DATA_MAX];
        loop {
            let chunk = match reading.read(&mut part).await {
                Ok(0) => Chunk::InputEnd,
                Ok(count) => Chunk::Input(Bytes::copy_from_slice(&part[..count])),
                // The program here broke its connection: so is the other's.
                Err(_reset) => return,
            };
            if writer.send(&chunk).await.is_err() || chunk == Chunk::InputEnd {
                // How it ends is heard from the other side.
                std::future::pending::<()>().await;
            }
        }
    };
    let down = async {
        loop {
            match reader.next().await {
                Ok(Some(Chunk::Output(data))) => {
                    if writing.write_all(&data).await.is_err() {
                        return Ok(());
                    }
                }
                Ok(Some(Chunk::OutputEnd)) => drop(writing.shutdown().await),
                Ok(Some(Chunk::Ended(ended))) if ended.code == 0 => return Ok(()),
                Ok(Some(Chunk::Ended(ended))) => return Err(Failure::failed(ended.message)),
                Ok(Some(_)) => {}
                Ok(None) => return Err(Failure::failed("the connection to the node was lost")),
                Err(error) => return Err(Failure::failed(error.to_string())),
            }
        }
    };
    tokio::select! {
        () = up => Ok(()),
        ended = down => ended,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_two_numbers_or_the_same_twice() {
        assert_eq!("8080:80".parse(), Ok(Ports { local: 8080, remote: 80 }));
        assert_eq!("0:80".parse(), Ok(Ports { local: 0, remote: 80 }));
        assert_eq!("80".parse(), Ok(Ports { local: 80, remote: 80 }));
        for text in ["", ":", "a:b", "80:0", "70000:1", "1:2:3"] {
            assert!(text.parse::<Ports>().is_err(), "{text}");
        }
    }
}
