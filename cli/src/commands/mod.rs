//! The commands: one folder a noun, one file a verb.

pub(crate) mod backup;
pub(crate) mod completion;
pub(crate) mod config;
pub(crate) mod cp;
pub(crate) mod daemon;
pub(crate) mod dev;
pub(crate) mod doctor;
pub(crate) mod events;
pub(crate) mod exec;
#[cfg(test)]
mod fake_node;
pub(crate) mod forward;
pub(crate) mod guard;
pub(crate) mod info;
pub(crate) mod init;
pub(crate) mod join;
pub(crate) mod join_token;
pub(crate) mod label_changes;
pub(crate) mod leave;
pub(crate) mod man;
pub(crate) mod node;
pub(crate) mod node_options;
pub(crate) mod plan;
pub(crate) mod rebalance;
pub(crate) mod recover;
pub(crate) mod service;
pub(crate) mod status;
pub(crate) mod tasks;
pub(crate) mod top;
pub(crate) mod version;

use serde_json::Value;
use tokio::runtime::Builder;

use crate::args::{Cli, Command, Global};
use crate::client::Client;
use crate::exit::Failure;
use crate::log;
use crate::output::inspect::{self, InspectOptions};

/// Threads of a daemon: a node is small, and its disk work has threads of its own.
const DAEMON_THREADS: usize = 2;
/// Their stacks.
const DAEMON_STACK: usize = 1 << 20;

/// Does what the command line says.
///
/// # Errors
/// Why it could not, with the exit code.
pub(crate) fn run(cli: Cli) -> Result<(), Failure> {
    let Cli { global, command } = cli;
    let is_daemon = match &command {
        Command::Daemon(_) => true,
        Command::Init(command) => command.is_daemon(),
        Command::Join(command) => command.is_daemon(),
        Command::Backup(command) => command.is_daemon(),
        _ => false,
    };
    let mut builder = if is_daemon {
        let mut builder = Builder::new_multi_thread();
        builder.worker_threads(DAEMON_THREADS).thread_stack_size(DAEMON_STACK);
        builder
    } else {
        Builder::new_current_thread()
    };
    log::start(is_daemon);
    let runtime = builder
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("cannot start the event loop: {error}")))?;
    let result = runtime.block_on(Box::pin(dispatch(&global, command)));
    // What still blocks in a thread has nothing to say any more.
    runtime.shutdown_background();
    result
}

async fn dispatch(global: &Global, command: Command) -> Result<(), Failure> {
    match command {
        Command::Completion(command) => command.run(),
        Command::Man(command) => command.run(),
        Command::Init(command) => Box::pin(command.run(&global.data_dir()?)).await,
        Command::Join(command) => Box::pin(command.run(&global.data_dir()?)).await,
        Command::Daemon(command) => Box::pin(command.run(&global.data_dir()?)).await,
        Command::Dev(command) => Box::pin(command.run()).await,
        Command::JoinToken(command) => command.run(&global.client()?).await,
        Command::Recover(command) => Box::pin(command.run(global)).await,
        Command::Backup(command) => Box::pin(command.run(global)).await,
        Command::Leave(command) => command.run(&global.client()?).await,
        Command::Node(command) => Box::pin(command.run(&global.client()?)).await,
        Command::Service(command) => Box::pin(command.run(global)).await,
        Command::Plan(command) => Box::pin(command.run(&global.client()?)).await,
        Command::Rebalance(command) => command.run(&global.client()?).await,
        Command::Config(command) => Box::pin(command.run(&global.client()?)).await,
        Command::Exec(command) => Box::pin(command.run(&global.client()?)).await,
        Command::Forward(command) => Box::pin(command.run(&global.client()?)).await,
        Command::Cp(command) => Box::pin(command.run(&global.client()?)).await,
        Command::Top(command) => command.run(&global.client()?).await,
        Command::Events(command) => command.run(&global.client()?).await,
        Command::Status(command) => command.run(&global.client()?).await,
        Command::Info(command) => command.run(&global.client()?).await,
        Command::Doctor(command) => command.run(global).await,
        Command::Version(command) => command.run(&global.client()?).await,
    }
}

/// Query parameters of a list.
pub(crate) fn list_query(filters: Option<&str>, stale: bool) -> Vec<(&str, &str)> {
    let mut query = stale_query(stale).to_vec();
    query.extend(filters.map(|filters| ("filters", filters)));
    query
}

/// Query parameters of a read.
pub(crate) fn stale_query(stale: bool) -> &'static [(&'static str, &'static str)] {
    if stale { &[("stale", "true")] } else { &[] }
}

/// Shows the objects that exist, then fails as the first read that failed.
///
/// # Errors
/// When one of them could not be read.
pub(crate) async fn inspect_all(
    client: &Client,
    references: &[String],
    path: impl Fn(&str) -> String,
    options: &InspectOptions,
) -> Result<(), Failure> {
    let mut objects: Vec<Value> = Vec::new();
    let mut failed = None;
    for reference in references {
        match client.get(&path(reference), stale_query(options.stale)).await {
            Ok(object) => objects.push(object),
            Err(failure) => {
                failed.get_or_insert(failure);
            }
        }
    }
    if !objects.is_empty() || failed.is_none() {
        inspect::show(&objects, options)?;
    }
    failed.map_or(Ok(()), Err)
}
