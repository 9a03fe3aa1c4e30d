//! One connection to one peer on one lane: dialed when needed, shared, dialed again when lost.
//!
//! At most one dial runs at a time, on its own: callers wait for it with their own deadlines, and a
//! caller that gives up does not stop it. Failed dials are spaced by a growing back-off.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use quinn::{Connection, ConnectionError, SendDatagramError, VarInt};
use swarm_model::id::NodeId;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until, timeout};

use super::admit::Hello;
use super::shared::Shared;
use super::{codes, epochs, limits};
use crate::ca::server_name;
use crate::frame;
use crate::rpc::Lane;
use crate::transport::{CallError, Membership};

pub(crate) struct Link {
    node: NodeId,
    lane: Lane,
    state: watch::Sender<State>,
    /// Makes a running dial start over.
    again: Notify,
    /// Datagrams for the connection that is being dialed.
    waiting: Mutex<VecDeque<Bytes>>,
}

struct State {
    phase: Phase,
    /// Counts dials, so that a waiting caller knows whether the one it waited for has failed.
    attempt: u64,
    failures: u32,
}

enum Phase {
    /// No connection; not to be dialed before the time given. The fault is the last dial's.
    Down {
        retry_at: Instant,
        fault: Option<CallError>,
    },
    Dialing {
        since: Instant,
    },
    Live(Connection),
}

/// What a caller does next.
enum Step {
    Take(Connection),
    Fail(CallError),
    Dial,
    WaitUntil(Instant),
    Wait,
}

impl Link {
    pub(crate) fn new(node: NodeId, lane: Lane) -> Self {
        let phase = Phase::Down { retry_at: Instant::now(), fault: None };
        let (state, _) = watch::channel(State { phase, attempt: 0, failures: 0 });
        Self { node, lane, state, again: Notify::new(), waiting: Mutex::default() }
    }

    /// The connection, when there is one now.
    pub(crate) fn live(&self) -> Option<Connection> {
        match &self.state.borrow().phase {
            Phase::Live(connection) => Some(connection.clone()),
            Phase::Down { .. } | Phase::Dialing { .. } => None,
        }
    }

    /// The connection, dialed if need be. Fails when the dial it joined does; waits out a back-off.
    pub(crate) async fn connection(
        self: &Arc<Self>,
        shared: &Arc<Shared>,
    ) -> Result<Connection, CallError> {
        let mut changes = self.state.subscribe();
        let mut joined = None;
        loop {
            match self.step(&mut changes, &mut joined) {
                Step::Take(connection) => return Ok(connection),
                Step::Fail(fault) => return Err(fault),
                Step::Dial => self.start(shared)?,
                Step::WaitUntil(at) => tokio::select! {
                    () = sleep_until(at) => {}
                    changed = changes.changed() => changed.map_err(|_gone| CallError::Closed)?,
                },
                Step::Wait => changes.changed().await.map_err(|_gone| CallError::Closed)?,
            }
        }
    }

    fn step(&self, changes: &mut watch::Receiver<State>, joined: &mut Option<u64>) -> Step {
        let state = changes.borrow_and_update();
        match &state.phase {
            Phase::Live(connection) => Step::Take(connection.clone()),
            Phase::Dialing { .. } => {
                *joined = Some(state.attempt);
                Step::Wait
            }
            Phase::Down { fault: Some(fault), .. } if *joined == Some(state.attempt) => {
                Step::Fail(fault.clone())
            }
            Phase::Down { retry_at, .. } if *retry_at > Instant::now() => {
                Step::WaitUntil(*retry_at)
            }
            Phase::Down { .. } => Step::Dial,
        }
    }

    /// Starts the dial, unless one runs or there is a connection.
    ///
    /// # Errors
    /// When it is no use: no address, removed, closing.
    fn start(self: &Arc<Self>, shared: &Arc<Shared>) -> Result<(), CallError> {
        if shared.closing.is_cancelled() {
            return Err(CallError::Closed);
        }
        if self.removed(shared) {
            return Err(CallError::PeerRemoved { node: self.node });
        }
        if shared.address(self.node).is_none() {
            return Err(CallError::UnknownAddress { node: self.node });
        }
        let started = self.state.send_if_modified(|state| {
            let due = matches!(&state.phase,
                Phase::Down { retry_at, .. } if *retry_at <= Instant::now());
            if due {
                state.phase = Phase::Dialing { since: Instant::now() };
                state.attempt += 1;
            }
            due
        });
        if started {
            let (link, shared_too) = (self.clone(), shared.clone());
            shared.tasks.spawn("dial", async move { link.run(shared_too).await });
        }
        Ok(())
    }

    /// Dials, then watches over the connection until it is lost or replaced.
    async fn run(self: Arc<Self>, shared: Arc<Shared>) {
        let dialed = loop {
            tokio::select! {
                biased;
                () = shared.closing.cancelled() => return self.down(CallError::Closed),
                () = self.again.notified() => {
                    self.state.send_modify(|state| {
                        state.phase = Phase::Dialing { since: Instant::now() };
                    });
                }
                dialed = timeout(limits::DIAL_DEADLINE, self.dial(&shared)) => break dialed,
            }
        };
        let connection = match dialed {
            Ok(Ok(connection)) if self.removed(&shared) => {
                connection.close(codes::REMOVED, &epochs::removal(&shared));
                return self.down(CallError::PeerRemoved { node: self.node });
            }
            Ok(Ok(connection)) => connection,
            Ok(Err(fault)) => return self.down(fault),
            Err(_elapsed) => return self.down(self.unreachable("no answer to the handshake")),
        };
        self.state.send_modify(|state| {
            state.phase = Phase::Live(connection.clone());
            state.failures = 0;
        });
        let waiting = std::mem::take(&mut *self.queue());
        for payload in waiting {
            if let Err(error) = connection.send_datagram(payload) {
                tracing::debug!(peer = %self.node, %error, "waiting datagram dropped");
            }
        }
        let mut changes = self.state.subscribe();
        let replaced = changes.wait_for(|state| !state.holds(&connection));
        tokio::select! {
            error = connection.closed() => {
                tracing::debug!(peer = %self.node, lane = ?self.lane, %error, "connection lost");
                self.lost(&connection);
            }
            _ = replaced => {}
        }
    }

    async fn dial(&self, shared: &Shared) -> Result<Connection, CallError> {
        let addr =
            shared.address(self.node).ok_or(CallError::UnknownAddress { node: self.node })?;
        let connection = shared
            .endpoint
            .connect_with(shared.dial_config(self.lane), addr, &server_name(self.node))
            .map_err(|error| self.unreachable(&error.to_string()))?
            .await
            .map_err(|error| self.dial_fault(&error))?;
        let heed = |error: &ConnectionError| {
            epochs::heed_dialed(shared, self.node, &connection, error);
            self.dial_fault(error)
        };
        let mut greeting = connection.accept_uni().await.map_err(|error| heed(&error))?;
        let hello = greeting.read_to_end(limits::HELLO_SIZE).await.map_err(|error| {
            let lost = connection.close_reason();
            lost.map_or_else(|| self.unreachable(&error.to_string()), |why| heed(&why))
        })?;
        let Hello { observed, epoch } = frame::decode(&hello)?;
        epochs::compare(shared, self.node, &connection, epoch)
            .map_err(|reason| self.unreachable(&reason))?;
        tracing::debug!(peer = %self.node, lane = ?self.lane, %addr, %observed, "connected");
        Ok(connection)
    }

    fn removed(&self, shared: &Shared) -> bool {
        shared.members.membership(self.node) == Membership::Removed
    }

    fn unreachable(&self, reason: &str) -> CallError {
        CallError::Unreachable { node: self.node, reason: reason.to_owned() }
    }

    fn dial_fault(&self, error: &ConnectionError) -> CallError {
        match error {
            ConnectionError::ApplicationClosed(close) if close.error_code == codes::REMOVED => {
                codes::connection_fault(error)
            }
            other => self.unreachable(&other.to_string()),
        }
    }

    /// Ends a failed dial.
    fn down(&self, fault: CallError) {
        tracing::debug!(peer = %self.node, lane = ?self.lane, error = %fault, "dial failed");
        self.queue().clear();
        self.state.send_modify(|state| {
            let (first, longest) = limits::BACK_OFF;
            let wait = first.saturating_mul(1 << state.failures.min(10)).min(longest);
            state.failures = state.failures.saturating_add(1);
            state.phase = Phase::Down { retry_at: Instant::now() + wait, fault: Some(fault) };
        });
    }

    /// Lets go of a connection that is of no use any more; the next call dials.
    pub(crate) fn lost(&self, connection: &Connection) {
        self.state.send_if_modified(|state| {
            let held = state.holds(connection);
            if held {
                state.phase = Phase::Down { retry_at: Instant::now(), fault: None };
            }
            held
        });
    }

    /// The peer is alive: a back-off ends, and a dial that has waited long starts over.
    pub(crate) fn seen(&self) {
        self.hurry(limits::STALE_DIAL);
    }

    /// The peer is elsewhere: where it was nobody answers, and calls on their way there need not wait
    /// for it. The next call dials anew.
    pub(crate) fn moved(&self) {
        self.end(codes::DONE, b"moved");
        self.hurry(Duration::ZERO);
    }

    /// We have a new certificate: a live connection is left to its streams, the next call dials anew.
    pub(crate) fn renew(&self) {
        if let Some(connection) = self.live() {
            self.lost(&connection);
        }
    }

    fn hurry(&self, patience: Duration) {
        let mut again = false;
        self.state.send_if_modified(|state| match &mut state.phase {
            Phase::Down { retry_at, .. } => {
                *retry_at = Instant::now();
                state.failures = 0;
                true
            }
            Phase::Dialing { since } => {
                again = since.elapsed() >= patience;
                false
            }
            Phase::Live(_) => false,
        });
        if again {
            self.again.notify_waiters();
        }
    }

    /// Closes the connection: the peer was removed.
    pub(crate) fn cut(&self, words: &[u8]) {
        self.end(codes::REMOVED, words);
    }

    fn end(&self, code: VarInt, words: &[u8]) {
        if let Some(connection) = self.live() {
            connection.close(code, words);
            self.lost(&connection);
        }
    }

    /// Sends a datagram now, or when the dial that it starts has succeeded.
    pub(crate) fn datagram(
        self: &Arc<Self>,
        shared: &Arc<Shared>,
        payload: Bytes,
    ) -> Result<(), CallError> {
        let Some(connection) = self.live() else {
            self.start(shared)?;
            let mut queue = self.queue();
            if queue.len() >= limits::WAITING_DATAGRAMS {
                queue.pop_front();
            }
            queue.push_back(payload);
            return Ok(());
        };
        let size = payload.len();
        match connection.send_datagram(payload) {
            Ok(()) => Ok(()),
            Err(SendDatagramError::TooLarge) => {
                let limit = connection.max_datagram_size().unwrap_or(0);
                Err(CallError::TooLarge { size, limit })
            }
            Err(error) => Err(self.unreachable(&error.to_string())),
        }
    }

    fn queue(&self) -> MutexGuard<'_, VecDeque<Bytes>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn holds(&self, connection: &Connection) -> bool {
        matches!(&self.phase, Phase::Live(held) if held.stable_id() == connection.stable_id())
    }
}
