//! The member list as the mesh asks for it, read from the newest view of the replica, and the epoch that
//! this node belongs to. What other epochs mean for it is decided in [`crate::epoch`].

use std::sync::{Arc, OnceLock};

use swarm_model::epoch::Epoch;
use swarm_model::id::NodeId;
use swarm_model::view::View;
use swarm_net::transport::{Foreign, Members, Membership};
use tokio::sync::watch;

/// Members by the replica, once there is one: the mesh is bound before the replica is read.
#[derive(Debug, Default)]
pub struct ReplicaMembers {
    views: OnceLock<watch::Receiver<Arc<View>>>,
    /// What the data directory says, for as long as the replica is empty.
    noted: OnceLock<Epoch>,
    met: watch::Sender<Option<Foreign>>,
}

impl ReplicaMembers {
    /// Gives the replica; only the first one counts.
    pub fn follow(&self, views: watch::Receiver<Arc<View>>) {
        drop(self.views.set(views));
    }

    /// Gives the epoch that counts while the replica tells none; only the first one counts.
    pub fn note_epoch(&self, epoch: Epoch) {
        let _first_counts = self.noted.set(epoch);
    }

    /// The newest node of another epoch that showed itself.
    pub fn meetings(&self) -> watch::Receiver<Option<Foreign>> {
        self.met.subscribe()
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

    fn epoch(&self) -> Option<Epoch> {
        let replicated =
            self.views.get().and_then(|views| Some(views.borrow().cluster.as_ref()?.epoch));
        replicated.or_else(|| self.noted.get().copied())
    }

    fn met(&self, other: Foreign) {
        self.met.send_replace(Some(other));
    }
}
