//! The connections that other nodes opened, by node: to cut one off, and to bound them.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use quinn::Connection;
use swarm_model::id::NodeId;

use super::{codes, limits};

#[derive(Default)]
pub(crate) struct Inbound {
    by_node: Mutex<HashMap<NodeId, Vec<Connection>>>,
}

impl Inbound {
    /// Adds a connection; the node's oldest is closed when there are too many.
    pub(crate) fn add(&self, node: NodeId, connection: Connection) {
        let mut by_node = self.by_node.lock().unwrap_or_else(PoisonError::into_inner);
        let connections = by_node.entry(node).or_default();
        if connections.len() >= limits::CONNECTIONS_PER_MEMBER {
            connections.remove(0).close(codes::TOO_MANY, b"too many connections");
        }
        connections.push(connection);
    }

    /// Forgets a connection that has closed.
    pub(crate) fn remove(&self, node: NodeId, connection: &Connection) {
        let mut by_node = self.by_node.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(connections) = by_node.get_mut(&node) {
            connections.retain(|known| known.stable_id() != connection.stable_id());
            if connections.is_empty() {
                by_node.remove(&node);
            }
        }
    }

    /// Closes all connections of a node that was removed from the cluster.
    pub(crate) fn cut(&self, node: NodeId) {
        let mut by_node = self.by_node.lock().unwrap_or_else(PoisonError::into_inner);
        for connection in by_node.remove(&node).unwrap_or_default() {
            connection.close(codes::REMOVED, b"removed from the cluster");
        }
    }
}
