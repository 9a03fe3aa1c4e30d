//! Which register comes next: few at a time, so that clients meet; each for so many operations only.

use std::sync::atomic::{AtomicU64, Ordering};

/// Registers in use at a time.
const WIDTH: u64 = 8;
/// Operations on one register: what a blind check of its history can still search.
const OPERATIONS: u64 = 500;

/// Deals out registers and values.
#[derive(Debug)]
pub(super) struct Keys {
    prefix: String,
    tickets: AtomicU64,
    values: AtomicU64,
}

impl Keys {
    pub(super) fn new(prefix: &str) -> Self {
        Self { prefix: prefix.to_owned(), tickets: AtomicU64::new(0), values: AtomicU64::new(1) }
    }

    /// The register of the next operation.
    pub(super) fn next(&self) -> String {
        let ticket = self.tickets.fetch_add(1, Ordering::Relaxed);
        let (slot, age) = (ticket % WIDTH, ticket / (WIDTH * OPERATIONS));
        format!("{}-{slot}-{age}", self.prefix)
    }

    /// A value that nobody wrote before.
    pub(super) fn value(&self) -> u64 {
        self.values.fetch_add(1, Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn no_register_has_more_operations_than_can_be_checked() {
        let keys = Keys::new("r");
        let mut counts = BTreeMap::new();
        for _ in 0..20_000 {
            *counts.entry(keys.next()).or_insert(0_u64) += 1;
        }
        assert!(counts.values().all(|count| *count <= OPERATIONS));
        assert_eq!(counts.len(), 40);
        assert_ne!(keys.value(), keys.value());
    }
}
