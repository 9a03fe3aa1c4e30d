//! `bench [NAMES…] [--runs N] [--markdown]`: measures the binary and prints the figures with targets.

use std::io::{self, Write as _};

use anyhow::{Context as _, Result, bail};
use swarm_chaos::bench::{self, NAMES, Report};

/// Runs of each measurement, unless told otherwise.
const RUNS: usize = 5;

struct Options {
    names: Vec<String>,
    runs: usize,
    markdown: bool,
}

fn options() -> Result<Options> {
    let mut options = Options { names: Vec::new(), runs: RUNS, markdown: false };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--runs" => {
                options.runs = arguments.next().context("--runs needs a number")?.parse()?;
            }
            "--markdown" => options.markdown = true,
            name if NAMES.contains(&name) => options.names.push(argument),
            other => bail!("\"{other}\": choose of {}, --runs N, --markdown", NAMES.join(", ")),
        }
    }
    if options.names.is_empty() {
        options.names = NAMES.iter().map(|name| (*name).to_owned()).collect();
    }
    Ok(options)
}

#[tokio::main]
async fn main() -> Result<()> {
    let options = options()?;
    let mut report = Report::new();
    let mut failed = Vec::new();
    for name in &options.names {
        report.note(&format!("— {name}"));
        if let Err(error) = bench::run(name, options.runs.max(1), &mut report).await {
            report.note(&format!("{name} failed: {error:#}"));
            failed.push(name.as_str());
        }
    }
    let mut out = io::stdout().lock();
    report.write(&mut out, options.markdown)?;
    out.flush()?;
    if !failed.is_empty() {
        bail!("failed: {}", failed.join(", "));
    }
    Ok(())
}
