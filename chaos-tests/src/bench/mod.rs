//! Benchmarks of the real binary, one file each, every figure beside a limit measured in the same run.

mod crash;
mod create;
mod etcd;
mod failover;
mod idle;
mod load;
mod lost;
mod raw;
mod report;
mod rolling;
mod samples;
mod scheduler;
mod size;
mod start;
mod view;
mod writes;

pub use report::{Report, Row};
pub use samples::Samples;

use anyhow::{Result, bail};

/// Every benchmark, in the order in which they run.
pub const NAMES: [&str; 12] = [
    "size",
    "view",
    "scheduler",
    "start",
    "create",
    "crash",
    "writes",
    "writes-spread",
    "failover",
    "lost",
    "rolling",
    "idle",
];

/// Runs one benchmark, `runs` times where it repeats, and adds its rows.
///
/// # Errors
/// When it cannot be run; or the name is unknown.
pub async fn run(name: &str, runs: usize, report: &mut Report) -> Result<()> {
    // Each on the heap: together their futures would be large.
    match name {
        "size" => size::run(report),
        "view" => view::run(report),
        "scheduler" => scheduler::run(runs, report),
        "start" => Box::pin(start::run(runs, report)).await,
        "create" => Box::pin(create::run(runs, report)).await,
        "crash" => Box::pin(crash::run(runs, report)).await,
        "writes" => Box::pin(writes::run(writes::Aim::Leader, runs, report)).await,
        "writes-spread" => Box::pin(writes::run(writes::Aim::Spread, runs, report)).await,
        "failover" => Box::pin(failover::run(runs, report)).await,
        "lost" => Box::pin(lost::run(runs, report)).await,
        "rolling" => Box::pin(rolling::run(runs, report)).await,
        "idle" => Box::pin(idle::run(report)).await,
        _ => bail!("no benchmark is called {name}: choose of {}", NAMES.join(", ")),
    }
}
