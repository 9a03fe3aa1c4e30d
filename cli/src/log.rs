//! Traces on stderr: a daemon's log, and what a command does when SWARM_LOG asks for it.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

/// What is logged, like `info` (a daemon's default, less openraft) or `swarm_raft=debug,info`.
const VARIABLE: &str = "SWARM_LOG";

/// Starts writing traces; commands are silent unless SWARM_LOG is set.
pub(crate) fn start(is_daemon: bool) {
    let wish = std::env::var(VARIABLE).ok().filter(|wish| !wish.is_empty());
    let wish = match wish {
        Some(wish) => wish,
        None if is_daemon => "info,openraft=error".to_owned(),
        None => return,
    };
    let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let ansi = std::io::stderr().is_terminal() && !no_colour;
    // Fails only when a log was started before.
    let _started = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(wish))
        .with_writer(std::io::stderr)
        .with_ansi(ansi)
        .try_init();
}
