//! `chaos`: faults on real clusters of the `swarm` binary, and what must hold whatever happens.
#![expect(clippy::print_stdout, reason = "its output is what it is for")]

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use swarm_chaos::catalogue::{self, Ask, Run, Scenario, Verdict};
use swarm_chaos::real::network;
use tokio::signal::unix::{SignalKind, signal};

const HELP: &str = "\
usage: chaos list                          the scenarios
       chaos run NAME... [OPTIONS]         runs scenarios by name or number, or `all`
       chaos soak [--minutes N] [OPTIONS]  faults drawn by seed, checked every few minutes

options: --seed S     what is drawn is drawn from it (default 1)
         --short      a few rounds, as CI runs it
         --rounds N   so many rounds (where a scenario has a time: tens of seconds)
         --out DIR    where histories go (default target/chaos)

SWARM_BIN names the binary; else the one beside this program is taken, and built when cargo runs it.
SWARM_CHAOS_KEEP=1 keeps the nodes' directories and logs.

exit status: 0 passed, 1 violated, 2 wrong usage, 3 invalid (the faults did not happen or the load was
too low), 4 skipped (no such scenario, or not possible on this machine: it says what is missing); of
several runs the worst: 1 before 3 before 4. 130 when interrupted; everything it made is removed then, too.";

/// What was asked for.
#[derive(Debug)]
struct Args {
    words: Vec<String>,
    seed: u64,
    short: bool,
    rounds: Option<usize>,
    minutes: u32,
    out: PathBuf,
}

fn parse(mut given: impl Iterator<Item = String>) -> Result<Args> {
    let out = PathBuf::from("target/chaos");
    let mut args =
        Args { words: Vec::new(), seed: 1, short: false, rounds: None, minutes: 10, out };
    while let Some(word) = given.next() {
        let mut value = || given.next().with_context(|| format!("{word} needs a value"));
        match word.as_str() {
            "--seed" => args.seed = value()?.parse().context("--seed")?,
            "--rounds" => {
                let rounds: NonZeroUsize = value()?.parse().context("--rounds")?;
                args.rounds = Some(rounds.get());
            }
            "--minutes" => args.minutes = value()?.parse().context("--minutes")?,
            "--out" => args.out = value()?.into(),
            "--short" => args.short = true,
            "-h" | "--help" => args.words = vec!["help".to_owned()],
            option if option.starts_with('-') => bail!("{option} is no option"),
            _ => args.words.push(word),
        }
    }
    Ok(args)
}

fn main() -> ExitCode {
    let args = match parse(std::env::args().skip(1)) {
        Ok(args) => args,
        Err(error) => return wrong_usage(&error),
    };
    let words: Vec<&str> = args.words.iter().map(String::as_str).collect();
    match words.split_first() {
        Some((&"help", _)) => {
            println!("{HELP}");
            ExitCode::SUCCESS
        }
        Some((&"list", [])) => {
            list();
            ExitCode::SUCCESS
        }
        Some((&"run", names)) if !names.is_empty() => match chosen(names) {
            Ok(scenarios) => in_own_network(|| run(&scenarios, &args)),
            Err(error) => skipped(&error),
        },
        Some((&"soak", [])) => in_own_network(|| soak(&args)),
        _ => wrong_usage(&anyhow::anyhow!("one of list, run NAME and soak is needed")),
    }
}

fn in_own_network(work: impl FnOnce() -> ExitCode) -> ExitCode {
    match network::enter() {
        Ok(()) => work(),
        Err(error) => skipped(&error),
    }
}

/// Nothing was run.
fn skipped(error: &anyhow::Error) -> ExitCode {
    let verdict = Verdict::Skipped(format!("{error:#}"));
    println!("{verdict}");
    ExitCode::from(verdict.code())
}

fn wrong_usage(error: &anyhow::Error) -> ExitCode {
    println!("{error:#}\n\n{HELP}");
    ExitCode::from(2)
}

fn list() {
    for Scenario { number, name, injects, figure, run, .. } in catalogue::all() {
        println!("{number:>3} {name:<20} {injects}");
        println!("{:25}figure: {figure}", "");
        match run {
            Run::Real(_) => {}
            Run::Elsewhere(places) => {
                for place in places {
                    println!("{:25}not here: {place}", "");
                }
            }
        }
    }
    for (number, why) in catalogue::OPEN {
        println!("{number:>3} {:20} {why}", "not tested");
    }
}

fn chosen(names: &[&str]) -> Result<Vec<Scenario>> {
    if names == ["all"] {
        return Ok(catalogue::all());
    }
    names.iter().map(|name| catalogue::find(name)).collect()
}

/// Runs them one after the other; the worst verdict is the exit status.
fn run(scenarios: &[Scenario], args: &Args) -> ExitCode {
    let asks = scenarios.iter().map(|scenario| (*scenario, ask(scenario.name, args)));
    let asks: Vec<_> = asks.collect();
    until_interrupted(async move {
        let mut verdicts = Vec::new();
        for (scenario, ask) in asks {
            println!("== {} {}: {}", scenario.number, scenario.name, scenario.injects);
            let seed = ask.seed;
            let (verdict, sheet) = catalogue::run(&scenario, ask).await;
            if let Some(sheet) = sheet {
                println!("-- {} {} (seed {seed})", scenario.number, scenario.name);
                sheet.print();
            }
            println!("-- {} {}: {verdict}\n", scenario.number, scenario.name);
            verdicts.push(verdict);
        }
        worst(&verdicts)
    })
}

/// Hurts one cluster for as long as asked for.
fn soak(args: &Args) -> ExitCode {
    let (ask, minutes) = (ask("soak", args), args.minutes);
    until_interrupted(async move {
        let seed = ask.seed;
        println!("== soak of {minutes} min, seed {seed}");
        let result = catalogue::soak(ask, Duration::from_secs(60 * u64::from(minutes))).await;
        let verdict = Verdict::of(&result);
        if let Ok(sheet) = result {
            sheet.print();
        }
        println!("-- soak of {minutes} min, seed {seed}: {verdict}");
        verdict.code()
    })
}

fn ask(name: &str, args: &Args) -> Ask {
    let Args { seed, short, rounds, .. } = *args;
    Ask { name: name.to_owned(), seed, short, rounds, out: args.out.clone() }
}

/// The exit status of several runs.
fn worst(verdicts: &[Verdict]) -> u8 {
    let codes: Vec<u8> = verdicts.iter().map(Verdict::code).collect();
    [1, 3, 4].into_iter().find(|code| codes.contains(code)).unwrap_or(0)
}

/// Runs to the end or until Ctrl-C: what is dropped then takes along all that it made.
fn until_interrupted(work: impl Future<Output = u8>) -> ExitCode {
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return wrong_usage(&error.into()),
    };
    runtime.block_on(async {
        let (interrupt, terminate) =
            (signal(SignalKind::interrupt()), signal(SignalKind::terminate()));
        let (Ok(mut interrupt), Ok(mut terminate)) = (interrupt, terminate) else {
            println!("cannot listen to signals");
            return ExitCode::FAILURE;
        };
        tokio::select! {
            code = work => ExitCode::from(code),
            _ = interrupt.recv() => stopped(),
            _ = terminate.recv() => stopped(),
        }
    })
}

fn stopped() -> ExitCode {
    println!("interrupted: removing everything");
    ExitCode::from(130)
}
