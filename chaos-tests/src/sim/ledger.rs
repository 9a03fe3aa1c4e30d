//! D: the register of everything that was acknowledged. What it says must be found in every state
//! that is at least as new.
//!
//! Each object has one writer, which waits for an answer before it writes again, so there is one
//! right value at a time; while an answer is outstanding, or was given up on, nothing is asserted.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use swarm_model::meta::Revision;
use swarm_model::service::ServiceMode;
use swarm_model::view::View;

/// The label that carries an object's value.
pub const VALUE: &str = "v";

/// What an acknowledged write made of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value {
    /// A config with this value.
    Config(u64),
    /// A service with this value and so many replicas.
    Service(u64, u32),
    /// It was removed.
    Absent,
}

#[derive(Debug, Clone)]
struct Entry {
    value: Value,
    /// A write is under way, or nobody will ever know.
    unsure: bool,
    writes: u64,
}

/// The register. Clones are handles to the same one.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    entries: BTreeMap<String, Entry>,
    acknowledged: u64,
    newest: Revision,
}

/// What was acknowledged at one moment.
#[derive(Debug, Clone)]
pub struct Page {
    entries: BTreeMap<String, Entry>,
    newest: Revision,
}

impl Value {
    /// The number that was written last; none when it was removed.
    pub fn number(self) -> Option<u64> {
        match self {
            Self::Config(number) | Self::Service(number, _) => Some(number),
            Self::Absent => None,
        }
    }
}

impl Page {
    /// Everything that anybody has tried to write.
    pub fn names(&self) -> Vec<String> {
        self.entries.keys().cloned().collect()
    }
}

impl Ledger {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A write to `name` is under way.
    pub fn begin(&self, name: &str) {
        let mut inner = self.lock();
        let fresh = Entry { value: Value::Absent, unsure: true, writes: 0 };
        let entry = inner.entries.entry(name.to_owned()).or_insert(fresh);
        entry.unsure = true;
        entry.writes += 1;
    }

    /// The write was acknowledged.
    pub fn acknowledge(&self, name: &str, value: Value, at: Revision) {
        let mut inner = self.lock();
        inner.acknowledged += 1;
        inner.newest = inner.newest.max(at);
        if let Some(entry) = inner.entries.get_mut(name) {
            (entry.value, entry.unsure) = (value, false);
        }
    }

    /// How many writes were acknowledged.
    pub fn acknowledged(&self) -> u64 {
        self.lock().acknowledged
    }

    /// What is acknowledged now.
    pub fn page(&self) -> Page {
        let inner = self.lock();
        Page { entries: inner.entries.clone(), newest: inner.newest }
    }

    /// Whether `view`, which is not older than `page`, shows what was acknowledged then and was not
    /// written since. Gives how many objects were looked at.
    ///
    /// # Errors
    /// The first object that does not.
    pub fn verify(&self, page: &Page, view: &View) -> Result<u64, String> {
        if view.revision < page.newest {
            return Err(format!(
                "D: revision {} was acknowledged, a later read shows {}",
                page.newest, view.revision
            ));
        }
        let now = self.lock().entries.clone();
        let mut looked_at = 0;
        for (name, then) in &page.entries {
            if then.unsure || now.get(name).is_none_or(|entry| entry.writes != then.writes) {
                continue;
            }
            let shown = shown(name, view);
            if shown != then.value {
                return Err(format!(
                    "D: {name} was acknowledged as {:?}, a read at revision {} shows {shown:?}",
                    then.value, view.revision
                ));
            }
            looked_at += 1;
        }
        Ok(looked_at)
    }
}

/// What `view` shows of the object of this name.
pub(super) fn shown(name: &str, view: &View) -> Value {
    let Ok(parsed) = name.parse() else { return Value::Absent };
    let value = |labels: &BTreeMap<String, String>| {
        labels.get(VALUE).and_then(|text| text.parse().ok()).unwrap_or_default()
    };
    if let Some(config) = view.config_named(&parsed) {
        return Value::Config(value(&config.spec.labels));
    }
    match view.service_named(&parsed) {
        Some(service) => {
            let replicas = match service.spec.mode {
                ServiceMode::Replicated { replicas } => replicas,
                ServiceMode::ReplicatedJob { .. }
                | ServiceMode::Global {}
                | ServiceMode::GlobalJob {} => 0,
            };
            Value::Service(value(&service.spec.labels), replicas)
        }
        None => Value::Absent,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_write_is_found_and_one_under_way_is_not_asserted() {
        let ledger = Ledger::default();
        ledger.begin("a");
        let empty = View { revision: Revision(9), ..View::default() };
        assert_eq!(ledger.verify(&ledger.page(), &empty), Ok(0));
        ledger.acknowledge("a", Value::Config(1), Revision(5));
        let page = ledger.page();
        assert!(ledger.verify(&page, &empty).is_err(), "the write is lost");
        ledger.begin("a");
        assert_eq!(ledger.verify(&page, &empty), Ok(0), "it is being written again");
        ledger.acknowledge("a", Value::Absent, Revision(10));
        assert!(ledger.verify(&ledger.page(), &empty).is_err(), "the read is stale");
    }
}
