//! The connections that this node opens: one link per peer and lane, made when first needed.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use quinn::Connection;
use swarm_model::id::NodeId;

use super::link::Link;
use crate::rpc::Lane;

#[derive(Default)]
pub(crate) struct Pool {
    links: RwLock<HashMap<(NodeId, Lane), Arc<Link>>>,
}

impl Pool {
    /// The link to `node` on `lane`, new or known.
    pub(crate) fn link(&self, node: NodeId, lane: Lane) -> Arc<Link> {
        if let Some(link) = self.known(node, lane) {
            return link;
        }
        let mut links = self.links.write().unwrap_or_else(PoisonError::into_inner);
        links.entry((node, lane)).or_insert_with(|| Arc::new(Link::new(node, lane))).clone()
    }

    pub(crate) fn known(&self, node: NodeId, lane: Lane) -> Option<Arc<Link>> {
        self.links.read().unwrap_or_else(PoisonError::into_inner).get(&(node, lane)).cloned()
    }

    fn of(&self, node: NodeId) -> impl Iterator<Item = Arc<Link>> {
        Lane::ALL.into_iter().filter_map(move |lane| self.known(node, lane))
    }

    /// The node was heard of: dials that wait need not.
    pub(crate) fn seen(&self, node: NodeId) {
        self.of(node).for_each(|link| link.seen());
    }

    /// The node is to be dialed at another address.
    pub(crate) fn moved(&self, node: NodeId) {
        self.of(node).for_each(|link| link.moved());
    }

    /// Every live connection.
    pub(crate) fn all(&self) -> Vec<Connection> {
        let links = self.links.read().unwrap_or_else(PoisonError::into_inner);
        links.values().filter_map(|link| link.live()).collect()
    }

    /// The own certificate is a new one.
    pub(crate) fn renew(&self) {
        let links = self.links.read().unwrap_or_else(PoisonError::into_inner);
        links.values().for_each(|link| link.renew());
    }

    /// Closes and forgets the links to a node that was removed from the cluster.
    pub(crate) fn cut(&self, node: NodeId, words: &[u8]) {
        for link in self.of(node) {
            link.cut(words);
        }
        let mut links = self.links.write().unwrap_or_else(PoisonError::into_inner);
        links.retain(|(known, _lane), _link| *known != node);
    }
}
