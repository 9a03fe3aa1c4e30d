//! The `swarm` binary: commands and their output. What a cluster does is in the other crates.

mod args;
mod client;
mod clock;
mod commands;
mod exit;
mod hosting;
mod log;
mod output;
mod parse;

use std::process::ExitCode;

use clap::Parser as _;
use swarm_node::runtime::process::supervisor;

fn main() -> ExitCode {
    // A task's supervisor stays tiny: it must not get as far as threads and option parsing.
    if let Some(code) = supervisor::run_if_asked(std::env::args_os()) {
        return code;
    }
    let cli = args::Cli::parse();
    let result = commands::run(cli);
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output::error(&failure);
            ExitCode::from(failure.exit.code())
        }
    }
}
