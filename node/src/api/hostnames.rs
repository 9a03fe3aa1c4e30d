//! Host names that several nodes have: whoever shows one of those has to show the id, too.

use std::collections::BTreeSet;

use swarm_model::view::View;

/// The shared host names of one view.
#[derive(Debug)]
pub(super) struct Shared<'a>(BTreeSet<&'a str>);

impl<'a> Shared<'a> {
    pub(super) fn of(view: &'a View) -> Self {
        let mut seen = BTreeSet::new();
        let names = view.nodes.values().map(|node| node.description.hostname.as_str());
        Self(names.filter(|name| !seen.insert(*name)).collect())
    }

    /// Whether several nodes are called so.
    pub(super) fn contains(&self, hostname: &str) -> bool {
        self.0.contains(hostname)
    }
}
