//! The smallest binary that can supervise tasks: what tests use in place of `swarm`.

use std::process::ExitCode;

use swarm_node::runtime::process::supervisor;

fn main() -> ExitCode {
    supervisor::run_if_asked(std::env::args_os()).unwrap_or(ExitCode::FAILURE)
}
