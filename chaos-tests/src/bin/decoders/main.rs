//! `decoders`: hostile bytes for every decoder, by seed; prints what they cost and keeps what they broke.
#![expect(clippy::print_stdout, reason = "its output is what it is for")]

use std::num::NonZeroU64;
use std::panic;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use swarm_chaos::decoders::meter::{Meter, measure};
use swarm_chaos::decoders::{Report, corpus, run, targets};
use swarm_model::fuzz::Target;

#[global_allocator]
static METER: Meter = Meter;

const HELP: &str = "\
usage: decoders [--cases N] [--seed S] [--target NAME]
       decoders --list

N cases (100000) over all targets, or of one; the same for the same seed (1). What breaks something is
added to chaos-tests/corpus/found/, which a test feeds again. A stack that overflows ends the program and
names the target.";

/// Cases, unless asked for others.
const CASES: NonZeroU64 = NonZeroU64::new(100_000).expect("it is not zero");

#[derive(Debug)]
struct Args {
    cases: NonZeroU64,
    seed: u64,
    target: Option<String>,
    list: bool,
}

fn main() -> ExitCode {
    match parse(std::env::args().skip(1)).and_then(|args| all(&args)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            println!("{error:#}\n\n{HELP}");
            ExitCode::from(2)
        }
    }
}

fn parse(mut words: impl Iterator<Item = String>) -> anyhow::Result<Args> {
    let mut args = Args { cases: CASES, seed: 1, target: None, list: false };
    while let Some(word) = words.next() {
        let mut value = || words.next().with_context(|| format!("{word} needs a value"));
        match word.as_str() {
            "--cases" => args.cases = value()?.parse().context("--cases")?,
            "--seed" => args.seed = value()?.parse()?,
            "--target" => args.target = Some(value()?),
            "--list" => args.list = true,
            _ => bail!("{word} is no option"),
        }
    }
    Ok(args)
}

fn all(args: &Args) -> anyhow::Result<bool> {
    let mut chosen = targets();
    if let Some(name) = &args.target {
        chosen.retain(|target| target.name == name);
        if chosen.is_empty() {
            bail!("there is no target {name}: see --list");
        }
    }
    if args.list {
        chosen.iter().for_each(|target| println!("{}", target.name));
        return Ok(true);
    }
    anyhow::ensure!(measure(|| vec![1u8; 9]).1 >= 9, "the allocator does not count");
    panic::set_hook(Box::new(|_told_by_the_report| {}));
    let each = args.cases.get().div_ceil(chosen.len() as u64);
    println!("target                      cases/s    taken  memory  of input  per byte   slowest");
    let (mut cases, mut took, mut found) = (0, Duration::ZERO, 0);
    for target in &chosen {
        let report = run(target, each, args.seed);
        print(target, &report);
        (cases, took, found) =
            (cases + report.cases, took + report.took, found + report.findings.len());
        for finding in &report.findings {
            let path = corpus::save(finding)?;
            let file = path.file_name().unwrap_or_default().to_string_lossy();
            println!("  FOUND {}\n  kept in corpus/found/{file}", finding.what);
        }
    }
    let rate = cases as f64 / took.as_secs_f64().max(0.001);
    println!(
        "{cases} cases of {} targets, seed {}: {rate:.0} cases/s, {found} findings",
        chosen.len(),
        args.seed
    );
    Ok(found == 0)
}

fn print(target: &Target, report: &Report) {
    let rate = report.cases as f64 / report.took.as_secs_f64().max(0.001);
    let taken = 100.0 * report.taken as f64 / report.cases.max(1) as f64;
    let (held, input) = report.memory;
    println!(
        "{:26} {rate:9.0} {taken:7.1}% {:6}K {input:8}B {:9} {:9.1?}",
        target.name,
        held >> 10,
        report.ratio,
        report.slowest
    );
}
