//! `fuzz`: simulated clusters under random faults, one process a seed so that each replays exactly.
#![expect(clippy::print_stdout, reason = "its output is what it is for")]

mod entropy;
mod many;

use std::num::NonZeroU64;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use many::Runs;
use swarm_chaos::history;
use swarm_chaos::sim::{self, Report, scenarios};
use swarm_state::mistake::Mistake;

/// Lines of the trace that a failure prints.
const TAIL: usize = 40;

const HELP: &str = "\
usage: fuzz --seed N [--scenario NAME] [--trace FILE]   one run, exactly as it was;
            [--history FILE]                     what clients asked and were answered
       fuzz --seeds N [--from M] [--scenario NAME]      N runs, from seed M on;
            [--twice]                            each twice, which must go one way
       fuzz --list                                      the scenarios
       fuzz --mistakes                                  the mistakes that a test build can plant

SWARM_SIM_LOG=swarm=debug shows the product's own log of a run.";

/// What was asked for.
#[derive(Debug, Default)]
struct Args {
    seed: Option<u64>,
    seeds: Option<NonZeroU64>,
    from: u64,
    scenario: Option<String>,
    trace: Option<String>,
    history: Option<String>,
    twice: bool,
    list: bool,
    mistakes: bool,
}

fn main() -> ExitCode {
    match parse(std::env::args().skip(1)).and_then(run) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            println!("{error:#}\n\n{HELP}");
            ExitCode::from(2)
        }
    }
}

fn parse(mut words: impl Iterator<Item = String>) -> anyhow::Result<Args> {
    let mut args = Args { from: 1, ..Args::default() };
    while let Some(word) = words.next() {
        let mut value = || words.next().with_context(|| format!("{word} needs a value"));
        match word.as_str() {
            "--seed" => args.seed = Some(value()?.parse()?),
            "--seeds" => args.seeds = Some(value()?.parse().context("--seeds")?),
            "--from" => args.from = value()?.parse()?,
            "--scenario" => args.scenario = Some(value()?),
            "--trace" => args.trace = Some(value()?),
            "--history" => args.history = Some(value()?),
            "--twice" => args.twice = true,
            "--list" => args.list = true,
            "--mistakes" => args.mistakes = true,
            _ => bail!("{word} is no option"),
        }
    }
    Ok(args)
}

/// Whether everything held.
fn run(args: Args) -> anyhow::Result<bool> {
    if args.list {
        for scenario in scenarios::ALL {
            println!("{}", scenario.name);
        }
        return Ok(true);
    }
    if args.mistakes {
        for (name, _) in Mistake::ALL {
            println!("{name}");
        }
        return Ok(true);
    }
    match (args.seed, args.seeds) {
        (Some(seed), None) => one(seed, &args),
        (None, Some(seeds)) => {
            let (from, twice, seeds) = (args.from, args.twice, seeds.get());
            many::run(&Runs { from, seeds, scenario: args.scenario.as_deref(), twice })
        }
        _ => bail!("one of --seed, --seeds and --list is needed"),
    }
}

fn one(seed: u64, args: &Args) -> anyhow::Result<bool> {
    log()?;
    let report = match &args.scenario {
        None => sim::random(seed),
        Some(name) => sim::scenario(name, seed)
            .with_context(|| format!("there is no scenario {name}: see --list"))?,
    };
    if let Some(path) = &args.trace {
        std::fs::write(path, report.lines.join("\n")).with_context(|| format!("write {path}"))?;
    }
    if let Some(path) = &args.history {
        history::write(Path::new(path), &report.history)?;
    }
    show(&report);
    Ok(report.failure.is_none())
}

fn show(report: &Report) {
    let Report { name, seed, hash, simulated, .. } = report;
    if let Some(failure) = &report.failure {
        for line in report.lines.iter().skip(report.lines.len().saturating_sub(TAIL)) {
            println!("{line}");
        }
        println!("{name} seed {seed} FAILED: {failure}");
        println!(
            "replay: cargo run -p swarm-chaos --bin fuzz -- --seed {seed}{}",
            match name.as_str() {
                "random" => String::new(),
                scenario => format!(" --scenario {scenario}"),
            }
        );
    }
    for (what, count) in &report.counts {
        println!("{count:>8} {what}");
    }
    println!("{name} seed={seed} trace={hash:016x} simulated_ms={}", simulated.as_millis());
}

/// The product's own log, at simulated time.
fn log() -> anyhow::Result<()> {
    let Ok(filter) = std::env::var("SWARM_SIM_LOG") else { return Ok(()) };
    let show = move || {
        let builder = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false);
        builder.with_timer(Simulated).with_target(false).init();
    };
    entropy::apart(show).context("show the log")
}

/// Shows tokio's clock.
struct Simulated;

impl tracing_subscriber::fmt::time::FormatTime for Simulated {
    fn format_time(
        &self,
        to: &mut tracing_subscriber::fmt::format::Writer<'_>,
    ) -> std::fmt::Result {
        static ORIGIN: std::sync::OnceLock<tokio::time::Instant> = std::sync::OnceLock::new();
        let origin = ORIGIN.get_or_init(tokio::time::Instant::now);
        write!(to, "{:>7}", origin.elapsed().as_millis())
    }
}
