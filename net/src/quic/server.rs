//! Accepting: handshakes within bounds, admission, then a task per stream.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use quinn::{Connection, Incoming, VarInt};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::admit::{Guest, Hello, Rejection, admit};
use super::budget::Budget;
use super::framed::FrameReader;
use super::serve::{current_peer, serve_stream};
use super::shared::Shared;
use super::{codes, epochs, limits};
use crate::frame;
use crate::rpc::Lane;

/// Accepts connections until the mesh closes.
pub(crate) async fn run(shared: Arc<Shared>) {
    let handshakes = Arc::new(AtomicUsize::new(0));
    let strangers = Arc::new(Semaphore::new(limits::STRANGERS));
    loop {
        let incoming = tokio::select! {
            () = shared.closing.cancelled() => return,
            incoming = shared.endpoint.accept() => incoming,
        };
        let Some(incoming) = incoming else { return };
        let Some(incoming) = screen(incoming, handshakes.load(Ordering::Relaxed)) else { continue };
        let pending = Pending::new(handshakes.clone());
        let (shared_too, strangers) = (shared.clone(), strangers.clone());
        shared.tasks.spawn("connection", async move {
            greet(shared_too, strangers, incoming, pending).await;
        });
    }
}

/// Lets a first packet pass, asks its sender for proof of its address, or refuses it.
fn screen(incoming: Incoming, handshakes: usize) -> Option<Incoming> {
    if handshakes >= limits::HANDSHAKES {
        incoming.refuse();
        return None;
    }
    if handshakes >= limits::HANDSHAKES_UNPROVEN && !incoming.remote_address_validated() {
        // It may retry, since its address is not validated; an error would drop it all the same.
        drop(incoming.retry());
        return None;
    }
    Some(incoming)
}

/// Counts a handshake for as long as it lasts.
struct Pending(Arc<AtomicUsize>);

impl Pending {
    fn new(count: Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn greet(
    shared: Arc<Shared>,
    strangers: Arc<Semaphore>,
    incoming: Incoming,
    pending: Pending,
) {
    let connection = match timeout(limits::HANDSHAKE_DEADLINE, incoming).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => return tracing::debug!(%error, "incoming handshake failed"),
        Err(_elapsed) => return tracing::debug!("incoming handshake took too long"),
    };
    let (lane, guest) = match admit(&shared, &connection) {
        Ok(admitted) => admitted,
        Err(Rejection { code, reason, farewell }) => {
            let peer = connection.remote_address();
            tracing::info!(%peer, reason, "connection not admitted");
            let words = farewell.as_deref().unwrap_or(reason.as_bytes());
            return connection.close(code, words);
        }
    };
    drop(pending);
    match guest {
        Guest::Stranger => {
            let Ok(_permit) = strangers.try_acquire() else {
                return connection.close(codes::TOO_MANY, b"too many nodes join: try again");
            };
            let budget = Budget::new(limits::STRANGER_BYTES);
            let serving = serve(&shared, &connection, lane, guest, budget);
            if timeout(limits::STRANGER_LIFETIME, serving).await.is_err() {
                connection.close(codes::DONE, b"");
            }
        }
        Guest::Node(node, role, _expires_at) => {
            let budget = shared.inbound.add(node, lane, connection.clone());
            shared.seen(node, connection.remote_address());
            serve(&shared, &connection, lane, guest, budget).await;
            shared.inbound.remove(node, &connection);
            if let Some(error) = connection.close_reason() {
                epochs::heed(&shared, node, role, &error);
            }
        }
    }
}

/// Says hello, then serves streams and datagrams until the connection or the mesh closes.
async fn serve(
    shared: &Arc<Shared>,
    connection: &Connection,
    lane: Lane,
    guest: Guest,
    budget: Budget,
) {
    if guest != Guest::Stranger {
        connection.set_receive_window(VarInt::from_u32(limits::CONNECTION_WINDOW));
        connection.set_max_concurrent_bi_streams(VarInt::from_u32(limits::streams(lane)));
    }
    let epoch = shared.members.epoch();
    let hello = frame::encode(&Hello { observed: connection.remote_address(), epoch });
    let Ok(mut greeting) = connection.open_uni().await else { return };
    if greeting.write_chunk(hello).await.is_err() {
        return;
    }
    drop(greeting);
    loop {
        tokio::select! {
            () = shared.closing.cancelled() => return,
            stream = connection.accept_bi() => {
                let Ok((to, from)) = stream else { return };
                let reader = FrameReader::within(from, budget.clone());
                let caller = (connection.clone(), lane, guest);
                let serving = serve_stream(shared.clone(), caller, to, reader);
                shared.tasks.spawn("stream", serving);
            }
            datagram = connection.read_datagram(), if lane == Lane::Gossip => {
                let Ok(payload) = datagram else { return };
                match current_peer(shared, connection, guest) {
                    Ok(Some(peer)) => shared.handler.datagram(peer, payload),
                    Ok(None) | Err(_) => return,
                }
            }
        }
    }
}
