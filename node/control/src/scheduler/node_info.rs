//! What each node offers, and what is taken of it.
//!
//! Counts only: a task takes its reservation from the moment it has the node until it has ended.

use swarm_model::id::NodeId;
use swarm_model::node::Node;
use swarm_model::resources::Resources;
use swarm_model::task::Task;
use swarm_model::view::View;

/// One node and what is taken of it.
#[derive(Debug, Clone)]
pub(crate) struct NodeInfo<'a> {
    /// The node.
    pub(crate) node: &'a Node,
    /// Reserved by the tasks that hold it.
    pub(crate) used: Resources,
    /// Tasks that hold it, of all services.
    pub(crate) tasks: u32,
}

impl NodeInfo<'_> {
    /// What can still be reserved.
    pub(crate) fn free(&self) -> Resources {
        self.node.description.resources.clone().minus(&self.used)
    }

    /// What could be reserved if `task`, which holds it, were gone.
    pub(crate) fn free_without(&self, task: &Task) -> Resources {
        let used = self.used.clone().minus(&task.template.resources.reservations);
        self.node.description.resources.clone().minus(&used)
    }
}

/// All nodes, by id.
#[derive(Debug)]
pub(crate) struct NodeSet<'a> {
    /// The ids apart, close together for the search.
    ids: Vec<NodeId>,
    infos: Vec<NodeInfo<'a>>,
}

impl<'a> NodeSet<'a> {
    /// All nodes of `view`, empty.
    pub(crate) fn new(view: &'a View) -> Self {
        let info = |node: &'a Node| NodeInfo { node, used: Resources::default(), tasks: 0 };
        Self {
            ids: view.nodes.keys().copied().collect(),
            infos: view.nodes.values().map(|node| info(node)).collect(),
        }
    }

    /// All nodes of `view` with all its tasks.
    pub(crate) fn filled(view: &'a View) -> Self {
        let mut nodes = Self::new(view);
        for task in view.tasks.values() {
            nodes.count(task);
        }
        nodes
    }

    /// Counts `task` where it is; the node, if it is a member.
    pub(crate) fn count(&mut self, task: &Task) -> Option<&'a Node> {
        let at = self.position(task.node?)?;
        if !task.status.state.is_terminal() {
            self.take(at, &task.template.resources.reservations);
        }
        Some(self.infos[at].node)
    }

    /// Takes `reservation` of the node at `at`.
    pub(crate) fn take(&mut self, at: usize, reservation: &Resources) {
        let info = &mut self.infos[at];
        info.used.add(reservation);
        info.tasks += 1;
    }

    /// Where `node` is in the order of ids.
    pub(crate) fn position(&self, node: NodeId) -> Option<usize> {
        self.ids.binary_search(&node).ok()
    }

    /// The node at `at`, which is a position of this set.
    pub(crate) fn at(&self, at: usize) -> &NodeInfo<'a> {
        &self.infos[at]
    }

    /// All of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &NodeInfo<'a>> {
        self.infos.iter()
    }

    /// How many.
    pub(crate) fn len(&self) -> usize {
        self.infos.len()
    }
}
