//! The store as a whole under what disks do to it: power cuts at every change, failing and full
//! disks, damaged files. `SWARM_DISK_SEEDS=N` runs N seeds of each instead of the usual few.
#![expect(clippy::panic, reason = "helpers of tests fail like tests")]

mod damage;
mod errors;
mod ledger;
mod power;

use std::path::Path;
use std::sync::Arc;

use swarm_state::store::disk::Disk;
use swarm_state::store::{Error, LogOptions, Store};

/// Small, so that a short script begins many segments.
const OPTIONS: LogOptions = LogOptions { segment_bytes: 4096, zero_step: 1024, cache_bytes: 2048 };

fn open(disk: Arc<dyn Disk>, dir: &Path) -> Result<Store, Error> {
    Store::open_on(disk, dir, OPTIONS)
}

/// The seeds of one test.
fn seeds(usual: u64) -> std::ops::Range<u64> {
    let asked = std::env::var("SWARM_DISK_SEEDS").ok().and_then(|text| text.parse().ok());
    0..asked.unwrap_or(usual)
}
