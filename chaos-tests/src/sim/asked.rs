//! L, D: the whole history of a run, once it is over, held against what one copy of the state would
//! have answered: by revision, and blindly.

use anyhow::anyhow;
use swarm_node::api::backend::Backend;

use super::cluster::Cluster;
use super::final_log::FinalLog;
use super::ledger::{Ledger, shown};
use crate::history::{History, Record, blind, revisions};

/// Reads every register once more, at the first node that is up, and checks all that was ever
/// answered, and what became of writes that nobody answered. The cluster must have converged.
///
/// # Errors
/// The first answer that no single copy of the state would have given.
pub(super) fn check(cluster: &Cluster, ledger: &Ledger) -> anyhow::Result<()> {
    let (world, registers) = (&cluster.world, ledger.page().names());
    if let Some((number, up)) = world.up().first() {
        let (view, now) = (up.node.view(), world.clock.micros());
        for name in &registers {
            let read = Record { node: Some(*number), ..Record::read(now, u32::MAX, name) };
            world.history.note(read.clone());
            let value = shown(name, &view).number();
            world.history.note(read.answered(now, value, view.revision.0));
        }
    }
    let history = History::new(&world.history.records()).map_err(|wrong| anyhow!(wrong))?;
    let log = FinalLog::read(cluster, &registers.into_iter().collect())?;
    world.count_many("check: writes of the final log", log.len());
    let ordered = revisions::check(&history, log.evidence())
        .map_err(|wrong| anyhow!("L: by revision: {wrong}"))?;
    world.count_many("check: answers in the order of revisions", ordered.placed);
    world.count_many("check: unanswered writes found in the log", ordered.resolved);
    world.count_many("check: unanswered writes that never were", ordered.refuted);
    let blind = blind::check(&history).map_err(|wrong| anyhow!("L: {wrong}"))?;
    world.count_many("check: operations linearizable", blind.operations);
    world.count_many("check: registers too tangled to judge", blind.given_up);
    Ok(())
}
