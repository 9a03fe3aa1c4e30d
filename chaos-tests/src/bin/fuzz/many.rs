//! Many seeds: a process each, as many at a time as there are processors, and what they came to
//! together.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use anyhow::Context as _;
use swarm_model::clock::Clock;
use swarm_node::clock::SystemClock;

/// How much of the report of one run is printed when it fails.
const PRINTED: usize = 8000;
/// A folder name that makes all paths of a second run longer.
const LONGER: &str = "another-place-with-a-much-longer-name-than-the-first-one-had";

/// Which runs.
#[derive(Debug)]
pub(crate) struct Runs<'a> {
    /// The first seed.
    pub(crate) from: u64,
    /// How many.
    pub(crate) seeds: u64,
    /// Of a scenario, or random ones.
    pub(crate) scenario: Option<&'a str>,
    /// Each once more in other surroundings, which must make no difference.
    pub(crate) twice: bool,
}

/// What the runs came to.
#[derive(Debug, Default)]
struct Sum {
    counts: BTreeMap<String, u64>,
    failed: Vec<u64>,
    simulated_ms: u64,
}

/// Runs them all; whether everything held.
///
/// # Errors
/// When runs cannot be started.
pub(crate) fn run(runs: &Runs<'_>) -> anyhow::Result<bool> {
    let begun = SystemClock.now();
    let at_once = std::thread::available_parallelism().map_or(1, usize::from);
    let next = AtomicU64::new(runs.from);
    let end = runs.from.saturating_add(runs.seeds);
    let sum = Mutex::new(Sum::default());
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= end {
                return anyhow::Ok(());
            }
            one(seed, runs, &sum)?;
        }
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..at_once).map(|_| scope.spawn(work)).collect();
        let ended = workers.into_iter().map(|worker| worker.join().expect("workers do not panic"));
        ended.collect::<anyhow::Result<()>>()
    })?;
    let mut sum = sum.into_inner().unwrap_or_else(PoisonError::into_inner);
    sum.failed.sort_unstable();
    let took = SystemClock.now().since(begun);
    for (what, count) in &sum.counts {
        println!("{count:>8} {what}");
    }
    let rate = f64::from(u32::try_from(runs.seeds).unwrap_or(u32::MAX)) / took.as_secs_f64();
    println!(
        "{} seeds in {:.0} s ({rate:.2} seeds/s, {} simulated s), {} failed {:?}",
        runs.seeds,
        took.as_secs_f64(),
        sum.simulated_ms / 1000,
        sum.failed.len(),
        sum.failed
    );
    Ok(sum.failed.is_empty())
}

/// Runs one seed and adds it up.
fn one(seed: u64, runs: &Runs<'_>, sum: &Mutex<Sum>) -> anyhow::Result<()> {
    let output = command(seed, runs)?.output().context("start a run")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut held = output.status.success();
    if runs.twice {
        let again = elsewhere(seed, runs)?;
        let other = String::from_utf8_lossy(&again.stdout).into_owned();
        if text.lines().last() != other.lines().last() {
            held = false;
            println!(
                "seed {seed} went two ways:\n{}\n{}",
                text.lines().last().unwrap_or_default(),
                other.lines().last().unwrap_or_default()
            );
        }
    }
    let mut sum = sum.lock().unwrap_or_else(PoisonError::into_inner);
    if !held {
        sum.failed.push(seed);
        let skipped = text.chars().count().saturating_sub(PRINTED);
        let shown: String = text.chars().skip(skipped).collect();
        println!("{shown}\nseed {seed} ended with {}", output.status);
    }
    sum.add(&text);
    Ok(())
}

fn command(seed: u64, runs: &Runs<'_>) -> anyhow::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["--seed", &seed.to_string()]);
    if let Some(name) = runs.scenario {
        command.args(["--scenario", name]);
    }
    Ok(command)
}

/// The same run with longer paths, in another folder and environment.
fn elsewhere(seed: u64, runs: &Runs<'_>) -> anyhow::Result<Output> {
    let home = tempfile::TempDir::new().context("a folder for the second run")?;
    let place = home.path().join(LONGER);
    std::fs::create_dir(&place)?;
    let mut command = command(seed, runs)?;
    command.env("SWARM_SIM_HOME", &place).env("TMPDIR", &place).env("LANG", "C.UTF-8");
    command.env("SURROUNDINGS", LONGER.repeat(40)).current_dir(Path::new("/"));
    command.output().context("start a run once more")
}

impl Sum {
    fn add(&mut self, text: &str) {
        for line in text.lines() {
            if let Some((_, rest)) = line.split_once("simulated_ms=") {
                self.simulated_ms += rest.trim().parse::<u64>().unwrap_or(0);
            } else if let Some((count, what)) = line.trim_start().split_once(' ')
                && let Ok(count) = count.parse::<u64>()
                && ["fault: ", "load: ", "check: "].iter().any(|kind| what.starts_with(kind))
            {
                *self.counts.entry(what.to_owned()).or_default() += count;
            }
        }
    }
}
