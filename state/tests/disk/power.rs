//! The power goes, or the process is killed, at each write, sync, creation, renaming and removal of
//! a script: nothing that was answered is lost, and the store opens.

use std::path::Path;
use std::sync::Arc;

use swarm_state::store::disk::MemDisk;

use crate::ledger::Ledger;
use crate::{open, seeds};

const DIR: &str = "/data";
/// Calls of a script; it makes about 300 changes.
const CALLS: usize = 100;
/// The most cut points of one script.
const POINTS: u64 = 300;

/// A first life: until the script ends, or the disk.
fn live(disk: &MemDisk, ledger: &mut Ledger) {
    if let Ok(mut store) = open(Arc::new(disk.clone()), Path::new(DIR)) {
        let _ended = ledger.go(&mut store, CALLS);
    }
}

fn end(disk: &MemDisk, of_machine: bool) {
    if of_machine { disk.crash() } else { disk.kill() }
}

/// Cuts at change `at`, starts again with another cut early in that start, and goes on.
fn check(seed: u64, at: u64) {
    let when = format!("seed {seed}, cut at change {at}");
    let disk = MemDisk::new(seed << 32 | at);
    let mut ledger = Ledger::new(seed);
    disk.cut_power_at(at);
    live(&disk, &mut ledger);
    end(&disk, !at.is_multiple_of(3));
    disk.cut_power_at(at % 17);
    drop(open(Arc::new(disk.clone()), Path::new(DIR)));
    end(&disk, !at.is_multiple_of(2));
    for _ in 0..2 {
        let mut store = open(Arc::new(disk.clone()), Path::new(DIR))
            .unwrap_or_else(|error| panic!("{when}: {error}"));
        ledger.judge(&store, &when);
        if let Err(failed) = ledger.go(&mut store, 8) {
            panic!("{when}, then {:?}: {}", failed.0, failed.1);
        }
        drop(store);
        disk.crash();
    }
}

#[test]
fn power_cut_at_any_change_loses_nothing_that_was_answered() {
    for seed in seeds(2) {
        let whole = MemDisk::new(seed);
        live(&whole, &mut Ledger::new(seed));
        assert!(whole.changes() > 150, "only {} changes", whole.changes());
        for at in 0..whole.changes().min(POINTS) {
            check(seed, at);
        }
    }
}
