//! Many seeds: a process each, a few at a time, and what they came to together.

use std::collections::BTreeMap;
use std::process::{Child, Command, Stdio};

use anyhow::Context as _;
use swarm_model::clock::Clock;
use swarm_node::clock::SystemClock;

/// How much of the report of one run is printed when it fails.
const PRINTED: usize = 8000;

/// A seed under way.
struct Running {
    seed: u64,
    child: Child,
}

/// What the runs came to.
#[derive(Default)]
struct Sum {
    counts: BTreeMap<String, u64>,
    failed: Vec<u64>,
    simulated_ms: u64,
}

/// Runs `seeds` seeds from `from` on; whether everything held.
///
/// # Errors
/// When runs cannot be started.
pub(crate) fn run(from: u64, seeds: u64, scenario: Option<&str>) -> anyhow::Result<bool> {
    let begun = SystemClock.now();
    let at_once = std::thread::available_parallelism().map_or(1, usize::from);
    let mut waiting = from..from.saturating_add(seeds);
    let mut running = std::collections::VecDeque::new();
    let mut sum = Sum::default();
    loop {
        while running.len() < at_once
            && let Some(seed) = waiting.next()
        {
            running.push_back(Running { seed, child: start(seed, scenario)? });
        }
        let Some(next) = running.pop_front() else { break };
        finish(next, &mut sum)?;
    }
    let took = SystemClock.now().since(begun);
    for (what, count) in &sum.counts {
        println!("{count:>8} {what}");
    }
    let rate = f64::from(u32::try_from(seeds).unwrap_or(u32::MAX)) / took.as_secs_f64();
    println!(
        "{seeds} seeds in {:.0} s ({rate:.2} seeds/s, {} simulated s), {} failed {:?}",
        took.as_secs_f64(),
        sum.simulated_ms / 1000,
        sum.failed.len(),
        sum.failed
    );
    Ok(sum.failed.is_empty())
}

fn start(seed: u64, scenario: Option<&str>) -> anyhow::Result<Child> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["--seed", &seed.to_string()]).stdout(Stdio::piped());
    if let Some(name) = scenario {
        command.args(["--scenario", name]);
    }
    command.spawn().context("start a run")
}

fn finish(run: Running, sum: &mut Sum) -> anyhow::Result<()> {
    let output = run.child.wait_with_output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        sum.failed.push(run.seed);
        let skipped = text.len().saturating_sub(PRINTED);
        let shown: String = text.chars().skip(skipped).collect();
        println!("{shown}\nseed {} ended with {}", run.seed, output.status);
    }
    for line in text.lines() {
        if let Some((_, rest)) = line.split_once("simulated_ms=") {
            sum.simulated_ms += rest.trim().parse::<u64>().unwrap_or(0);
        } else if let Some((count, what)) = line.trim_start().split_once(' ')
            && let Ok(count) = count.parse::<u64>()
            && ["fault: ", "load: ", "check: "].iter().any(|kind| what.starts_with(kind))
        {
            *sum.counts.entry(what.to_owned()).or_default() += count;
        }
    }
    Ok(())
}
