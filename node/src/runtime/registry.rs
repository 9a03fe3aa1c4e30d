//! The runtimes of this node by name.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::TaskRuntime;

/// Name → runtime.
#[derive(Debug, Clone, Default)]
pub struct Registry {
    by_name: BTreeMap<&'static str, Arc<dyn TaskRuntime>>,
}

impl Registry {
    /// Exactly these runtimes; of two with one name the last counts.
    pub fn new(runtimes: impl IntoIterator<Item = Arc<dyn TaskRuntime>>) -> Self {
        Self { by_name: runtimes.into_iter().map(|runtime| (runtime.name(), runtime)).collect() }
    }

    /// The runtime of this name.
    pub fn find(&self, name: &str) -> Option<Arc<dyn TaskRuntime>> {
        self.by_name.get(name).cloned()
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<dyn TaskRuntime>> {
        self.by_name.values()
    }

    /// Their names, sorted.
    pub fn names(&self) -> Vec<&'static str> {
        self.by_name.keys().copied().collect()
    }
}
