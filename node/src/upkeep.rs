//! What a node does to stay a good member: peers' addresses, manager keys, its certificate, old logs.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use swarm_model::id::NodeId;
use swarm_model::node::Role;
use swarm_model::units::Timestamp;
use swarm_model::view::View;
use swarm_net::ca::Identity;
use swarm_net::frame;
use swarm_net::rpc::{Method, Refusal, RefusalCode};
use swarm_net::transport::{CallError, Peer};

use crate::config::{self, Peers};
use crate::core::Core;
use crate::keys::ManagerKeys;

/// How often certificate, keys and logs are looked at.
const INTERVAL: Duration = Duration::from_secs(60);
/// How soon a look that failed is repeated.
const RETRY: Duration = Duration::from_secs(1);
/// The share of its life after which a certificate is renewed, in percent.
const RENEW_AT: u64 = 60;
/// One call to the leader.
const DEADLINE: Duration = Duration::from_secs(5);
/// Logs of tasks that the cluster has forgotten are kept for this many looks, in case the replica is
/// behind.
const LOOKS_BEFORE_PURGE: u32 = 3;

/// Runs until cancelled.
pub(crate) async fn run(core: Arc<Core>) {
    let cancel = core.tasks.token();
    tokio::select! {
        () = cancel.cancelled() => {}
        () = follow_members(&core) => {}
        () = keep_credentials(&core) => {}
        () = purge_logs(&core) => {}
    }
}

/// Tells the mesh and gossip who the others are, and keeps their addresses for the next start.
async fn follow_members(core: &Core) {
    let mut views = core.consensus.views();
    let mut known = View::default();
    let mut kept = Peers::new();
    loop {
        let changed = views.wait_for(|view| {
            !view.nodes.ptr_eq(&known.nodes) || !view.removed_nodes.ptr_eq(&known.removed_nodes)
        });
        let Ok(view) = changed.await.map(|view| view.clone()) else { return };
        for node in view.removed_nodes.iter().filter(|id| !known.removed_nodes.contains(*id)) {
            core.gossip.forget(*node);
            core.transport.disconnect(*node);
        }
        if view.removed_nodes.contains(&core.id) {
            tracing::warn!("this node was removed from the cluster");
            core.dismissed.cancel();
            return;
        }
        let peers = peers_of(core.id, &view);
        for (node, addr) in &peers {
            if kept.get(node) != Some(addr) {
                core.transport.set_address(*node, *addr);
            }
        }
        if peers != kept {
            core.gossip.seed_peers(peers.clone().into_iter().collect());
            keep_peers(core, peers.clone()).await;
            kept = peers;
        }
        known = View::clone(&view);
    }
}

fn peers_of(me: NodeId, view: &View) -> Peers {
    view.nodes
        .values()
        .filter(|node| node.id != me)
        .filter_map(|node| node.status.addr.parse().ok().map(|addr| (node.id, addr)))
        .collect()
}

async fn keep_peers(core: &Core, peers: Peers) {
    let dir = core.data_dir.clone();
    if let Err(error) = core.work.run(move || config::save_peers(&dir, &peers)).await {
        tracing::warn!(%error, "cannot keep the other nodes' addresses");
    }
}

/// Keeps certificate and keys in step with role and time.
async fn keep_credentials(core: &Core) {
    let mut views = core.consensus.views();
    loop {
        let role = views.borrow_and_update().nodes.get(&core.id).map(|node| node.spec.role);
        let pause = match role {
            Some(role) => match adjust(core, role).await {
                Ok(()) => INTERVAL,
                Err(error) => {
                    tracing::debug!(%error, "credentials not brought up to date yet");
                    RETRY
                }
            },
            None => INTERVAL,
        };
        let promoted =
            views.wait_for(|view| view.nodes.get(&core.id).map(|node| node.spec.role) != role);
        // Both ways on: the role changed, or it is time to look again.
        drop(tokio::time::timeout(pause, promoted).await);
    }
}

async fn adjust(core: &Core, role: Role) -> Result<(), String> {
    match (role, core.keys.keys().is_some()) {
        (Role::Manager, false) => fetch_keys(core).await?,
        (Role::Worker, true) => {
            let ring = core.keys.clone();
            core.work.run(move || ring.discard()).await;
        }
        (Role::Manager, true) | (Role::Worker, false) => {}
    }
    let now = core.clock.now();
    if needs_renewal(&core.identity.borrow(), role, now) { renew(core).await } else { Ok(()) }
}

fn needs_renewal(identity: &Identity, role: Role, now: Timestamp) -> bool {
    let life = identity.expires_at().since(identity.issued_at()).as_millis();
    let age = now.since(identity.issued_at()).as_millis();
    identity.role() != role || age * 100 >= life * u128::from(RENEW_AT)
}

fn leader_of(core: &Core) -> Result<NodeId, String> {
    core.leader().ok_or_else(|| "no leader".to_owned())
}

async fn ask_leader(core: &Core, method: Method, body: Bytes) -> Result<Bytes, String> {
    let leader = leader_of(core)?;
    let text = |error: CallError| error.to_string();
    core.transport.call(leader, method, body, DEADLINE).await.map_err(text)
}

async fn fetch_keys(core: &Core) -> Result<(), String> {
    let answer = ask_leader(core, Method::ManagerKeys, Bytes::new()).await?;
    let keys = ManagerKeys::decode(&answer)?;
    let ring = core.keys.clone();
    let stored = core.work.run(move || ring.store(keys)).await;
    stored.map_err(|error| error.to_string())?;
    tracing::info!("this node holds the manager keys now");
    Ok(())
}

async fn renew(core: &Core) -> Result<(), String> {
    let identity = core.identity.borrow().clone();
    let request = identity.key().request().map_err(|error| error.to_string())?;
    let certificate = match leader_of(core)? {
        leader if leader == core.id => sign(core, core.id, &request)?,
        _ => ask_leader(core, Method::RenewCertificate, request.into()).await?.to_vec(),
    };
    let renewed = identity.renewed(certificate).map_err(|error| error.to_string())?;
    let (kept, dir) = (renewed.clone(), core.data_dir.clone());
    let saved = core.work.run(move || kept.save(&dir)).await;
    saved.map_err(|error| error.to_string())?;
    core.identity.send_replace(renewed);
    tracing::info!("certificate renewed");
    Ok(())
}

fn sign(core: &Core, node: NodeId, request: &[u8]) -> Result<Vec<u8>, String> {
    let keys = core.keys.keys().ok_or("this node holds no CA key")?;
    let view = core.consensus.view();
    let member = view.nodes.get(&node).ok_or("not a member")?;
    let cluster = view.cluster.as_ref().ok_or("no cluster yet")?;
    let validity = Duration::from_millis(cluster.spec.cert_expiry_ms);
    keys.root
        .issue(request, node, member.spec.role, core.clock.now(), validity)
        .map_err(|error| error.to_string())
}

/// Answers [`Method::ManagerKeys`]; the method's rule lets managers only get here.
///
/// # Errors
/// When this node holds none.
pub(crate) fn serve_keys(core: &Core) -> Result<Bytes, Refusal> {
    let none = || Refusal::new(RefusalCode::Unavailable, "this node holds no manager keys");
    core.keys.keys().map(|keys| keys.encode()).ok_or_else(none)
}

/// Answers [`Method::RenewCertificate`]: a certificate for the caller itself, with the role that the
/// member list gives it.
///
/// # Errors
/// When this node cannot sign.
pub(crate) fn serve_renewal(core: &Core, from: Peer, request: &[u8]) -> Result<Bytes, Refusal> {
    // A deposed leader may not have heard yet of a role that was taken away.
    if !core.consensus.status_now().is_leader() {
        return Err(Refusal::new(RefusalCode::NotLeader, "this node does not lead"));
    }
    sign(core, from.node_id, request)
        .map(Bytes::from)
        .map_err(|reason| Refusal::new(RefusalCode::Unavailable, reason))
}

/// Answers [`Method::NodeStatus`]: how many records each other member is behind, as the leader knows.
///
/// # Errors
/// When this node does not lead.
pub(crate) fn serve_status(core: &Core) -> Result<Bytes, Refusal> {
    let status = core.consensus.status_now();
    if !status.is_leader() {
        return Err(Refusal::new(RefusalCode::NotLeader, "this node does not lead"));
    }
    Ok(frame::encode(&status.lag))
}

/// Drops the output of tasks that the cluster has forgotten.
async fn purge_logs(core: &Core) {
    let mut missing = std::collections::BTreeMap::new();
    loop {
        tokio::time::sleep(INTERVAL).await;
        let Ok(kept) = core.logs.usage().await else { continue };
        let view = core.consensus.view();
        // An empty replica has not forgotten them: it does not know them yet.
        if view.cluster.is_none() || core.quarantine.borrow().is_some() {
            continue;
        }
        missing.retain(|task, _| kept.contains_key(task) && !view.tasks.contains_key(task));
        for task in kept.into_keys().filter(|task| !view.tasks.contains_key(task)) {
            let looks = missing.entry(task).or_insert(0u32);
            *looks += 1;
            if *looks >= LOOKS_BEFORE_PURGE
                && let Err(error) = core.logs.remove(task).await
            {
                tracing::debug!(task_id = %task, %error, "old output not removed");
            }
        }
    }
}
