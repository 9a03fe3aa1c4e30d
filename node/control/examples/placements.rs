//! Prints what placing costs: `cargo run --release -p swarm-control --example placements`.
//!
//! Optional arguments: nodes (1000), tasks (10000), runs (5). A fourth one, nodes of a full cluster,
//! measures single changes there instead.

use std::time::{Duration, Instant};

use swarm_control::bench;

#[expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
#[expect(clippy::print_stdout, reason = "this is what an example is for")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut numbers = std::env::args().skip(1).map(|text| text.parse::<u32>());
    let nodes = numbers.next().transpose()?.unwrap_or(1000);
    let tasks = numbers.next().transpose()?.unwrap_or(10_000);
    let runs = numbers.next().transpose()?.unwrap_or(5);
    let start = Instant::now();
    if let Some(nodes) = numbers.next().transpose()? {
        let single = bench::single(nodes, runs, &mut || start.elapsed())?;
        let print = |what: &str, times: &[Duration]| {
            let mut times = times.to_vec();
            times.sort_unstable();
            let at = |part: usize| times.get(times.len() * part / 100).copied().unwrap_or_default();
            println!("{what}: median {:?}, 90th {:?}, best {:?}", at(50), at(90), at(0));
        };
        print("one more task, fits on one node", &single.fits);
        print("one more task, fits nowhere", &single.waits);
        print("a task runs", &single.runs);
        print("a task failed and is replaced", &single.fails);
        return Ok(());
    }
    for _ in 0..runs {
        let result = bench::placements(nodes, tasks, &mut || start.elapsed())?;
        println!(
            "{} of {tasks} tasks on {nodes} nodes in {:?}, {} rounds: {:.0} placements/s",
            result.placed,
            result.elapsed,
            result.rounds,
            result.per_second(),
        );
    }
    Ok(())
}
