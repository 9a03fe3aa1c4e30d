//! The connections that other nodes opened, by node: to cut one off, and to bound them and what they send.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use quinn::Connection;
use swarm_model::id::NodeId;

use super::budget::Budget;
use super::{codes, limits};
use crate::rpc::Lane;

#[derive(Default)]
pub(crate) struct Inbound {
    by_node: Mutex<HashMap<NodeId, Guest>>,
}

/// One node's connections; its budgets live as long as it has one.
#[derive(Default)]
struct Guest {
    connections: Vec<Connection>,
    budgets: BTreeMap<Lane, Budget>,
}

impl Inbound {
    fn lock(&self) -> MutexGuard<'_, HashMap<NodeId, Guest>> {
        self.by_node.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a connection; the node's oldest is closed when there are too many. Gives what the node may have
    /// under way on `lane`, over all its connections.
    pub(crate) fn add(&self, node: NodeId, lane: Lane, connection: Connection) -> Budget {
        let mut by_node = self.lock();
        let Guest { connections, budgets } = by_node.entry(node).or_default();
        if connections.len() >= limits::CONNECTIONS_PER_MEMBER {
            connections.remove(0).close(codes::TOO_MANY, b"too many connections");
        }
        connections.push(connection);
        budgets.entry(lane).or_insert_with(|| Budget::new(limits::MEMBER_BYTES)).clone()
    }

    /// Forgets a connection that has closed.
    pub(crate) fn remove(&self, node: NodeId, connection: &Connection) {
        let mut by_node = self.lock();
        if let Some(guest) = by_node.get_mut(&node) {
            guest.connections.retain(|known| known.stable_id() != connection.stable_id());
            if guest.connections.is_empty() {
                by_node.remove(&node);
            }
        }
    }

    /// Every connection.
    pub(crate) fn all(&self) -> Vec<Connection> {
        self.lock().values().flat_map(|guest| guest.connections.iter().cloned()).collect()
    }

    /// Closes all connections of a node that was removed from the cluster.
    pub(crate) fn cut(&self, node: NodeId, words: &[u8]) {
        for connection in self.lock().remove(&node).unwrap_or_default().connections {
            connection.close(codes::REMOVED, words);
        }
    }
}
