//! Nodes of different epochs do not talk: each connection begins with a comparison, before anything is
//! asked on it, and the one that is behind is told.
//!
//! What a node does that hears of a newer epoch is not decided here.

use std::net::SocketAddr;

use quinn::{Connection, ConnectionError};
use swarm_model::epoch::{Encounter, Epoch};
use swarm_model::id::NodeId;
use swarm_model::node::Role;
use tokio::time::timeout;

use super::admit::Hello;
use super::shared::Shared;
use super::{codes, expiry, limits};
use crate::ca::server_name;
use crate::frame;
use crate::rpc::Lane;
use crate::transport::{Foreign, Membership, other_epoch};

/// How the last words on a connection begin when they tell of an epoch.
const MARK: &[u8] = b"epoch:";

/// The last words to a node of another epoch, or to one that was removed from ours.
pub(super) fn farewell(ours: Epoch, left_out: bool) -> Vec<u8> {
    [MARK, &ours.to_bytes(), &[u8::from(left_out)]].concat()
}

/// The last words to a node that was removed: without the epoch it would not know from what.
pub(super) fn removal(shared: &Shared) -> Vec<u8> {
    let ours = shared.members.epoch();
    ours.map_or_else(|| b"removed from the cluster".to_vec(), |ours| farewell(ours, true))
}

pub(crate) fn read_farewell(words: &[u8]) -> Option<(Epoch, bool)> {
    let (epoch, left_out) = words.strip_prefix(MARK)?.split_first_chunk::<16>()?;
    let left_out = match left_out {
        [0] => false,
        [1] => true,
        _ => return None,
    };
    Some((Epoch::from_bytes(*epoch), left_out))
}

/// Compares epochs with the node that was dialed. Another epoch ends the connection.
///
/// # Errors
/// Says whose epoch is which.
pub(super) fn compare(
    shared: &Shared,
    node: NodeId,
    connection: &Connection,
    theirs: Option<Epoch>,
) -> Result<(), String> {
    let (Some(ours), Some(theirs)) = (shared.members.epoch(), theirs) else { return Ok(()) };
    let newer = match ours.meet(theirs) {
        Encounter::Same => return Ok(()),
        Encounter::Older => false,
        Encounter::Newer | Encounter::Rival => true,
    };
    let removed = shared.members.membership(node) == Membership::Removed;
    connection.close(codes::OTHER_EPOCH, &farewell(ours, removed));
    if newer && let Some(role) = role_of(connection) {
        shared.members.met(Foreign { node, role, epoch: theirs, left_out: false });
    }
    Err(other_epoch(ours, theirs))
}

/// Hears what was said when a dialed node closed the connection.
pub(super) fn heed_dialed(
    shared: &Shared,
    node: NodeId,
    connection: &Connection,
    error: &ConnectionError,
) {
    if let Some(role) = role_of(connection) {
        heed(shared, node, role, error);
    }
}

/// Hears what `node`, certified as `role`, said when it closed a connection.
pub(super) fn heed(shared: &Shared, node: NodeId, role: Role, error: &ConnectionError) {
    let ConnectionError::ApplicationClosed(close) = error else { return };
    if close.error_code != codes::OTHER_EPOCH && close.error_code != codes::REMOVED {
        return;
    }
    let Some((epoch, left_out)) = read_farewell(&close.reason) else { return };
    let matters = match shared.members.epoch().map(|ours| ours.meet(epoch)) {
        Some(Encounter::Newer | Encounter::Rival) => true,
        // A node that forgot its replica may not know that it does not belong here.
        Some(Encounter::Same) | None => left_out,
        Some(Encounter::Older) => false,
    };
    if matters {
        shared.members.met(Foreign { node, role, epoch, left_out });
    }
}

/// Calls at `addr` to let `node` hear of our epoch.
pub(super) async fn knock(shared: &Shared, node: NodeId, addr: SocketAddr) {
    let knocking = async {
        let config = shared.dial_config(Lane::Rpc);
        let dialed = shared.endpoint.connect_with(config, addr, &server_name(node));
        let connection = dialed.map_err(|error| error.to_string())?.await;
        let connection = connection.map_err(|error| error.to_string())?;
        // One that left us out in its turn does not let us in: it is a rival, or ahead of us.
        let turned_away = |error: &ConnectionError| {
            heed_dialed(shared, node, &connection, error);
            error.to_string()
        };
        let mut greeting = connection.accept_uni().await.map_err(|error| turned_away(&error))?;
        let hello = greeting.read_to_end(limits::HELLO_SIZE).await.map_err(|error| {
            connection.close_reason().map_or_else(|| error.to_string(), |why| turned_away(&why))
        })?;
        let hello: Hello = frame::decode(&hello).map_err(|error| error.to_string())?;
        let compared = compare(shared, node, &connection, hello.epoch);
        connection.close(codes::DONE, b"");
        compared
    };
    match timeout(limits::DIAL_DEADLINE, knocking).await {
        Ok(Ok(())) => tracing::debug!(peer = %node, "knocked"),
        Ok(Err(reason)) => tracing::debug!(peer = %node, reason, "knocked"),
        Err(_elapsed) => tracing::debug!(peer = %node, "nobody answers a knock"),
    }
}

/// The role in the other end's certificate.
fn role_of(connection: &Connection) -> Option<Role> {
    expiry::certificate(connection).map(|certificate| certificate.role)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_bytes_of_the_last_words() {
        let words = farewell(Epoch { number: 2, mark: 3 }, true);
        let golden = b"epoch:\x02\0\0\0\0\0\0\0\x03\0\0\0\0\0\0\0\x01";
        assert_eq!(words, golden);
        assert_eq!(read_farewell(golden), Some((Epoch { number: 2, mark: 3 }, true)));
    }

    #[test]
    fn other_words_tell_of_no_epoch() {
        let words = farewell(Epoch::FIRST, false);
        let cut = &words[..words.len() - 1];
        for other in [b"removed from the cluster".as_slice(), b"", cut, b"epoch:"] {
            assert_eq!(read_farewell(other), None);
        }
    }
}
