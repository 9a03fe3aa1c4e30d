//! The handle to consensus on this node: starting it, watching it, and what other members send to it.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use openraft::async_runtime::watch::WatchReceiver;
use swarm_model::id::NodeId;
use swarm_model::view::View;
use swarm_net::rpc::{Method, Refusal};
use swarm_net::transport::{MessageStream, Peer, Transport};
use swarm_state::machine::Machine;
use swarm_state::store::Position;
use tokio::sync::{Notify, broadcast, watch};
use tokio_util::sync::CancellationToken;

use crate::coherence::Held;
use crate::contact::Contact;
use crate::error::Error;
use crate::gate::Gate;
use crate::log_store::LogStore;
use crate::machine::StateMachine;
use crate::network::Peers;
use crate::news::{self, News, Published};
use crate::options::Options;
use crate::pace::Pace;
use crate::pacemaker::{Pacemaker, Random};
use crate::propose::stopped;
use crate::service::{Raft, Service};
use crate::snapshot::Snapshots;
use crate::status::Status;
use crate::steward;
use crate::timing::Timing;
use crate::types::Id;
use crate::work::{Work, users};

/// Consensus on this node. Clones are handles to the same one.
#[derive(Clone)]
pub struct Consensus {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) node_id: NodeId,
    pub(crate) raft: Raft,
    pub(crate) timing: Timing,
    pub(crate) transport: Arc<dyn Transport>,
    published: Published,
    status: watch::Receiver<Status>,
    service: Service,
    contact: Contact,
    gate: Gate,
    /// Cancelled when everything is written and nobody uses the tables any more.
    store_closed: CancellationToken,
    pub(crate) hint: Arc<Notify>,
}

impl fmt::Debug for Consensus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consensus").field("node_id", &self.inner.node_id).finish_non_exhaustive()
    }
}

impl Consensus {
    /// Restores the state from disk and takes part in the group, if this node is in one.
    ///
    /// Returns when everything that is known to be committed is in the view.
    ///
    /// # Errors
    /// [`Error::Start`] when the store does not hold together; [`store::Error::find`] finds in it
    /// which part is lost.
    ///
    /// [`store::Error::find`]: swarm_state::store::Error::find
    pub async fn start(options: Options) -> Result<Self, Error> {
        let config = options.config().validate().map_err(start_error)?;
        let work = if options.inline_io { Work::Inline } else { Work::Threads };
        let tables = options.tables;
        let (user, store_closed) = users();
        let held = Held::look(&tables.log, &tables.vote, &tables.snapshots);
        let log = LogStore::open(tables.log, tables.vote, tables.meta, work, user.clone());
        let log = log.map_err(Error::Start)?;
        let (publisher, published) = news::channel();
        let pace = Pace::new(options.snapshot_interval.max(1));
        let snapshots = Snapshots::new(tables.snapshots, work, user);
        let newest = snapshots.newest().await.map_err(Error::Start)?;
        let coherent = held.check(log.vote(), newest.as_ref().map(|newest| &newest.meta));
        coherent.map_err(|error| Error::Start(error.into()))?;
        drop(newest);
        let machine = StateMachine::new(publisher, snapshots, pace.clone());
        let peers = Peers::new(options.transport.clone());
        let id = Id(options.node_id);
        let raft = Raft::new(id, Arc::new(config), peers, log, machine).await;
        let raft = raft.map_err(start_error)?;
        // Until its first turn it would tell of an empty group; a fault shows in the status.
        drop(raft.with_raft_state(|_state| ()).await);

        let (status, status_reader) =
            watch::channel(Status::read(&raft.metrics().borrow_watched()));
        let cancel = options.tasks.token();
        options.tasks.spawn("raft steward", steward::run(raft.clone(), status, cancel.clone()));
        let taking = steward::take_snapshots(raft.clone(), pace, cancel.clone());
        options.tasks.spawn("raft snapshots", taking);
        let contact = Contact::new();
        let hint = Arc::new(Notify::new());
        let pacemaker = Pacemaker {
            raft: raft.clone(),
            timing: options.timing,
            contact: contact.clone(),
            hint: hint.clone(),
            gate: options.gate.clone(),
            random: Random::new(options.seed),
            cancel,
        };
        options.tasks.spawn("raft pacemaker", pacemaker.run());
        let inner = Inner {
            node_id: options.node_id,
            timing: options.timing,
            transport: options.transport,
            published,
            status: status_reader,
            service: Service::new(raft.clone(), contact.clone(), options.gate.clone(), work),
            contact,
            gate: options.gate,
            store_closed,
            raft,
            hint,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// This node.
    pub fn node_id(&self) -> NodeId {
        self.inner.node_id
    }

    /// The newest applied state here. May be older than the leader's.
    pub fn view(&self) -> Arc<View> {
        self.inner.published.view()
    }

    /// The newest applied state, as it changes: once per batch of records.
    pub fn views(&self) -> watch::Receiver<Arc<View>> {
        self.inner.published.views()
    }

    /// What is applied from now on. A listener that lags too far behind must start from a view.
    pub fn news(&self) -> broadcast::Receiver<Arc<News>> {
        self.inner.published.news()
    }

    /// What this node knows of the group. Published anew when parts, leader, term or members change;
    /// the numbers in it are of that moment: see [`Consensus::status_now`].
    pub fn status(&self) -> watch::Receiver<Status> {
        self.inner.status.clone()
    }

    /// What this node knows of the group right now.
    pub fn status_now(&self) -> Status {
        Status::read(&self.inner.raft.metrics().borrow_watched())
    }

    /// For how long nothing was heard from a leader. Of no meaning on the leader itself.
    pub fn leader_silent(&self) -> Option<Duration> {
        Some(self.inner.contact.last().elapsed())
    }

    /// Whether this node's replica takes part in the group.
    pub fn gate(&self) -> &Gate {
        &self.inner.gate
    }

    /// The whole applied state, and where in the log it stands.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub async fn export(&self) -> Result<(Machine, Position), Error> {
        let exported = self.inner.raft.with_state_machine(|machine: &mut StateMachine| {
            let exported = machine.export();
            Box::pin(async move { exported })
        });
        let (machine, last) = exported.await.map_err(|fatal| stopped(&fatal))?;
        let (index, term) = last.map_or((0, 0), |last| (last.index, last.leader_id.term));
        Ok((machine, Position { index, term }))
    }

    /// Answers a member's call: a heartbeat, a vote, a pre-vote, a hand-over.
    pub fn handle_call(
        &self,
        from: Peer,
        method: Method,
        body: Bytes,
    ) -> BoxFuture<'static, Result<Bytes, Refusal>> {
        Box::pin(self.inner.service.clone().call(from, method, body))
    }

    /// Serves a member's stream: records or a snapshot.
    pub fn handle_stream(
        &self,
        from: Peer,
        method: Method,
        hello: Bytes,
        stream: MessageStream,
    ) -> BoxFuture<'static, ()> {
        Box::pin(self.inner.service.clone().stream(from, method, hello, stream))
    }

    /// Stops taking part, after handing the lead over if this node has it and others vote.
    ///
    /// Everything acknowledged is durable with or without this.
    pub async fn shutdown(&self) {
        let status = self.status_now();
        if status.is_leader()
            && status.voters.len() > 1
            && let Err(error) = self.transfer_leadership(None).await
        {
            tracing::info!(%error, "stopping without a successor");
        }
        self.halt().await;
    }

    /// Stops taking part at once, as a crash would: nobody is told.
    pub async fn halt(&self) {
        let stop = async {
            if let Err(error) = self.inner.raft.shutdown().await {
                tracing::warn!(%error, "consensus did not stop cleanly");
            }
            self.inner.store_closed.cancelled().await;
        };
        if tokio::time::timeout(STOP_DEADLINE, stop).await.is_err() {
            tracing::warn!("consensus did not stop in time");
        }
    }
}

/// How long stopping may take.
const STOP_DEADLINE: Duration = Duration::from_secs(5);

fn start_error(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::Start(io::Error::other(error))
}
