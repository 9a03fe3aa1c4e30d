//! The command line as a whole: global options and the tree of commands.
//!
//! The options of one command are in its own file under `commands/`.

use std::path::{Path, PathBuf};

use clap::{Parser, Subcommand};

use crate::client::{Client, Endpoint};
use crate::commands;
use crate::exit::Failure;

/// Where a node of the superuser keeps its data.
const SYSTEM_DATA_DIR: &str = "/var/lib/swarm";

/// Run services on a cluster of machines.
///
/// One program is everything: the node's daemon, its scheduler and this command line. Any node answers
/// any command.
#[derive(Debug, Parser)]
#[command(
    name = "swarm",
    version,
    after_help = "Examples:\n  \
        swarm init                                  # start a cluster on this machine\n  \
        swarm join --token SWMTKN-1-... 10.0.0.1    # join it from another\n  \
        swarm service create --name web --replicas 3 --runtime process -- /usr/bin/web\n  \
        swarm service ps web\n  \
        swarm dev                                   # try a whole cluster on this machine\n\n\
        Exit codes: 0 done, 1 failed, 2 wrong usage, 3 not found, 4 conflict, 5 no quorum or\n\
        unreachable, 124 time-out."
)]
pub(crate) struct Cli {
    /// Options of every command.
    #[command(flatten)]
    pub(crate) global: Global,
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options of every command.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Global {
    /// The node's data directory [default: /var/lib/swarm for root, else ~/.local/share/swarm]
    #[arg(long, env = "SWARM_DATA_DIR", hide_env_values = true, global = true, value_name = "DIR")]
    #[arg(help_heading = "Global options")]
    data_dir: Option<PathBuf>,
    /// The node to talk to, unix:///PATH/swarm.sock [default: the one in the data directory]
    #[arg(long, env = "SWARM_HOST", hide_env_values = true, global = true, value_name = "HOST")]
    #[arg(help_heading = "Global options")]
    host: Option<String>,
}

impl Global {
    /// The data directory, absolute.
    ///
    /// # Errors
    /// When there is no home directory to have one in.
    pub(crate) fn data_dir(&self) -> Result<PathBuf, Failure> {
        let dir = match &self.data_dir {
            Some(dir) if dir.as_os_str().is_empty() => {
                return Err(Failure::usage("--data-dir is empty: name a directory"));
            }
            Some(dir) => dir.clone(),
            None if rustix::process::geteuid().is_root() => PathBuf::from(SYSTEM_DATA_DIR),
            None => own_data_dir(
                std::env::var_os("XDG_DATA_HOME").map(PathBuf::from),
                std::env::var_os("HOME").map(PathBuf::from),
            )
            .ok_or_else(|| Failure::usage("HOME is not set: name a directory with --data-dir"))?,
        };
        if dir.exists() && !dir.is_dir() {
            let message = format!("--data-dir {} is no directory: name one", dir.display());
            return Err(Failure::usage(message));
        }
        std::path::absolute(&dir)
            .map_err(|error| Failure::usage(format!("--data-dir {}: {error}", dir.display())))
    }

    /// The node to talk to.
    ///
    /// # Errors
    /// When `--host` is not understood.
    pub(crate) fn client(&self) -> Result<Client, Failure> {
        let endpoint = match self.host.as_deref() {
            Some(host) if !host.is_empty() => Endpoint::parse(host)?,
            _ => Endpoint::of_data_dir(&self.data_dir()?),
        };
        Ok(Client::new(endpoint))
    }

    /// Whether the node to talk to was named otherwise than by its directory.
    pub(crate) fn names_host(&self) -> bool {
        self.host.as_deref().is_some_and(|host| !host.is_empty())
    }

    /// `swarm` with the options that lead to the same node, for hints.
    pub(crate) fn invocation(&self) -> String {
        let quoted = |path: &Path| format!("swarm --data-dir {}", path.display());
        self.data_dir.as_deref().map_or_else(|| "swarm".to_owned(), quoted)
    }
}

/// Where a node of an ordinary user keeps its data.
fn own_data_dir(xdg: Option<PathBuf>, home: Option<PathBuf>) -> Option<PathBuf> {
    let set = |path: &PathBuf| path.is_absolute();
    xdg.filter(set)
        .or_else(|| home.filter(set).map(|home| home.join(".local/share")))
        .map(|base| base.join("swarm"))
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Init(Box<commands::init::Init>),
    Join(Box<commands::join::Join>),
    JoinToken(commands::join_token::JoinToken),
    Leave(commands::leave::Leave),
    Recover(commands::recover::Recover),
    #[command(subcommand)]
    Backup(commands::backup::Backup),
    #[command(subcommand)]
    Node(commands::node::Node),
    #[command(subcommand)]
    Service(commands::service::Service),
    #[command(subcommand)]
    Plan(commands::plan::Plan),
    Rebalance(commands::rebalance::Rebalance),
    #[command(subcommand)]
    Config(commands::config::Config),
    Exec(commands::exec::Exec),
    Cp(commands::cp::Cp),
    Forward(commands::forward::Forward),
    Top(commands::top::Top),
    Events(commands::events::Events),
    Status(commands::status::Status),
    Info(commands::info::Info),
    Doctor(commands::doctor::Doctor),
    Version(commands::version::Version),
    Daemon(commands::daemon::Daemon),
    Dev(commands::dev::Dev),
    Completion(commands::completion::Completion),
    #[command(hide = true)]
    Man(commands::man::Man),
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_has_a_description_and_an_example() {
        fn check(command: &clap::Command, path: &str) {
            let path = format!("{path} {}", command.get_name());
            let about = command.get_about().map(ToString::to_string).unwrap_or_default();
            assert!(!about.is_empty() && !about.starts_with("Options of"), "{path}: {about:?}");
            let example = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(example.contains("swarm"), "{path} shows no example");
            for inner in command.get_subcommands().filter(|inner| !inner.is_hide_set()) {
                check(inner, &path);
            }
        }
        check(&Cli::command(), "");
    }

    #[test]
    fn help_names_nothing_that_is_not_built() {
        fn texts(command: &mut clap::Command, all: &mut String) {
            all.push_str(&command.render_long_help().to_string());
            for inner in command.get_subcommands_mut() {
                texts(inner, all);
            }
        }
        let mut all = String::new();
        texts(&mut Cli::command(), &mut all);
        for word in ["--secret", "autolock", "--network", "--publish"] {
            assert!(!all.contains(word), "--help speaks of {word}");
        }
    }

    #[test]
    fn the_reference_names_every_command_and_option() {
        fn check(command: &clap::Command, path: &str, reference: &str) {
            for option in command.get_arguments().filter(|option| !option.is_hide_set()) {
                let Some(long) = option.get_long() else { continue };
                let named = reference.contains(&format!("--{long}"));
                assert!(named || long == "help" || long == "version", "{path} --{long}");
            }
            for inner in command.get_subcommands().filter(|inner| !inner.is_hide_set()) {
                let path = format!("{path} {}", inner.get_name());
                let is_noun = inner.has_subcommands();
                assert!(is_noun || reference.contains(&path), "{path} is not in docs/cli.md");
                check(inner, &path, reference);
            }
        }
        check(&Cli::command(), "swarm", include_str!("../../docs/cli.md"));
    }

    #[test]
    fn help_is_a_command_too() {
        for line in [&["swarm", "help"][..], &["swarm", "help", "service", "create"]] {
            let error = Cli::try_parse_from(line).expect_err("shows help");
            assert_eq!(error.kind(), clap::error::ErrorKind::DisplayHelp, "{line:?}: {error}");
        }
    }

    #[test]
    fn a_data_directory_is_no_file() {
        let file = tempfile::NamedTempFile::new().expect("is made");
        let global = Global { data_dir: Some(file.path().to_owned()), host: None };
        let failure = global.data_dir().expect_err("is a file");
        assert!(failure.message.contains("is no directory"), "{failure}");
    }

    #[test]
    fn ordinary_users_have_a_data_directory_at_home() {
        let path = |text: &str| Some(PathBuf::from(text));
        assert_eq!(own_data_dir(path("/x"), path("/h")), path("/x/swarm"));
        assert_eq!(own_data_dir(None, path("/h")), path("/h/.local/share/swarm"));
        assert_eq!(own_data_dir(path("relative"), path("/h")), path("/h/.local/share/swarm"));
        assert_eq!(own_data_dir(None, None), None);
    }
}
