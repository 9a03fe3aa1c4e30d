//! The API as its clients see it: real HTTP over a real Unix socket, in front of the real state machine
//! without peers.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests end at the first surprise")]

mod client;
mod events;
mod fake;
mod input;
mod logs;
mod nodes;
mod plan;
mod quorum;
mod rebalance;
mod runs;
mod services;
mod updates;
mod writes;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use swarm_net::task::TaskGroup;
use swarm_node::api::{SOCKET_NAME, Server};

use client::Client;
use fake::Fake;

/// Nothing here takes longer, however busy the machine is.
const DEADLINE: Duration = Duration::from_secs(20);

/// A node's API on a socket of its own.
struct Fixture {
    backend: Arc<Fake>,
    client: Client,
    socket: PathBuf,
    tasks: TaskGroup,
    _home: tempfile::TempDir,
}

impl Fixture {
    /// In front of `nodes` managers called n1, n2, …; n1 answers and leads.
    fn new(nodes: u128) -> Self {
        let home = tempfile::tempdir().unwrap();
        let socket = home.path().join(SOCKET_NAME);
        let (backend, tasks) = (Arc::new(Fake::new(nodes)), TaskGroup::new());
        let server = Server::bind(&socket).unwrap();
        tasks.spawn("api", server.run(backend.clone(), tasks.clone()));
        let client = Client::new(socket.clone(), tasks.clone());
        Self { backend, client, socket, tasks, _home: home }
    }
}
