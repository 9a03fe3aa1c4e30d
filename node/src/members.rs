//! The member list as the mesh asks for it: read from the newest view of the replica.

use std::sync::{Arc, OnceLock};

use swarm_model::id::NodeId;
use swarm_model::view::View;
use swarm_net::transport::{Members, Membership};
use tokio::sync::watch;

/// Members by the replica, once there is one: the mesh is bound before the replica is read.
#[derive(Debug, Default)]
pub struct ReplicaMembers {
    views: OnceLock<watch::Receiver<Arc<View>>>,
}

impl ReplicaMembers {
    /// Gives the replica; only the first one counts.
    pub fn follow(&self, views: watch::Receiver<Arc<View>>) {
        drop(self.views.set(views));
    }
}

impl Members for ReplicaMembers {
    fn membership(&self, node: NodeId) -> Membership {
        let Some(views) = self.views.get() else { return Membership::Unknown };
        let view = views.borrow();
        if view.removed_nodes.contains(&node) {
            return Membership::Removed;
        }
        match view.nodes.get(&node) {
            Some(node) => Membership::Member(node.spec.role),
            None => Membership::Unknown,
        }
    }
}
