//! Prints how many tasks a second `reconcile` places: `cargo run --release --example placements`.
//!
//! Optional arguments: nodes (1000), tasks (10000).

use std::time::Instant;

use swarm_control::bench;

#[expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
#[expect(clippy::print_stdout, reason = "this is what an example is for")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut numbers = std::env::args().skip(1).map(|text| text.parse::<u32>());
    let nodes = numbers.next().transpose()?.unwrap_or(1000);
    let tasks = numbers.next().transpose()?.unwrap_or(10_000);
    let start = Instant::now();
    for _ in 0..5 {
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
