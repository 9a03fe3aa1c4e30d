//! `swarm join`: this machine becomes a node of an existing cluster.

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::Path;

use clap::Args;
use swarm_net::ca::JoinToken;
use swarm_node::setup::{JoinOptions, Prepared};

use super::node_options::NodeOptions;
use crate::client::Client;
use crate::exit::Failure;
use crate::hosting::{addresses, backend, interfaces, serving};
use crate::output::line;
use crate::parse::address;

/// Join this machine to a cluster
///
/// The token pins the cluster's certificate authority: nothing secret goes to anyone who cannot prove
/// to belong to it. The node becomes what the token says, worker or manager.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    swarm join --token SWMTKN-1-... 10.0.0.1:2377\n  \
    swarm join --token SWMTKN-1-... 10.0.0.1 10.0.0.2 10.0.0.3\n  \
    swarm join --token SWMTKN-1-... --data-dir /tmp/b --listen-addr 127.0.0.2:2377 127.0.0.1")]
pub(crate) struct Join {
    /// A token of the cluster, from `swarm join-token`
    #[arg(long, value_name = "TOKEN", value_parser = backend::token)]
    token: JoinToken,
    /// Managers of the cluster; the first that answers will do; port 2377 when absent
    #[arg(required = true, value_name = "HOST:PORT", value_parser = address::remote)]
    managers: Vec<(String, u16)>,
    #[command(flatten)]
    node: NodeOptions,
}

impl Join {
    /// Whether the node runs in this process.
    pub(crate) fn is_daemon(&self) -> bool {
        self.node.foreground
    }

    /// Joins, starts the node, shows its id and role.
    ///
    /// # Errors
    /// Why not; nothing is left of the attempt on this machine.
    pub(crate) async fn run(self, data_dir: &Path) -> Result<(), Failure> {
        let managers = resolve(&self.managers)?;
        let machine = interfaces::list().unwrap_or_default();
        let source = managers.first().copied().and_then(addresses::source_towards);
        let (listen, advertise) =
            (self.node.listen_addr.as_ref(), self.node.advertise_addr.as_ref());
        let decided = addresses::decide(listen, advertise, source, &machine)?;
        let prepared = backend::join(&JoinOptions {
            data_dir: data_dir.to_owned(),
            listen: decided.listen,
            advertise: Some(decided.advertise),
            availability: self.node.availability,
            token: self.token,
            managers,
            offers: self.node.offers.offers(),
        })
        .await?;
        if self.node.foreground {
            let announce = async |_: &Client| line(&text(&prepared));
            return serving::in_foreground(data_dir, announce).await;
        }
        let (client, _daemon) = serving::in_background(data_dir, true)
            .await
            .map_err(|failure| member_left(failure, &prepared))?;
        serving::until_ready(&client).await;
        line(&text(&prepared))
    }
}

/// The cluster knows the node already; only a manager can make it forget.
fn member_left(failure: Failure, prepared: &Prepared) -> Failure {
    let hint = format!(
        "{failure}; the cluster lists it as a member: remove it there with `swarm node rm --force \
         {}`, then join again",
        prepared.node_id
    );
    Failure::new(failure.exit, hint)
}

fn text(prepared: &Prepared) -> String {
    format!("This node joined the cluster as a {}: {}", prepared.role, prepared.node_id)
}

/// All addresses of all managers.
fn resolve(managers: &[(String, u16)]) -> Result<Vec<SocketAddr>, Failure> {
    let mut found = Vec::new();
    let mut failed = Vec::new();
    for (host, port) in managers {
        match (host.as_str(), *port).to_socket_addrs() {
            Ok(addresses) => found.extend(addresses),
            Err(error) => failed.push(format!("{host}: {error}")),
        }
    }
    if found.is_empty() {
        let message = format!("no address of the cluster is known: {}", failed.join("; "));
        return Err(Failure::usage(message));
    }
    Ok(found)
}
