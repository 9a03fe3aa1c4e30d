//! `swarm completion`: a script that completes commands and options in a shell.

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use crate::args::Cli;
use crate::exit::Failure;
use crate::output;

/// Write a completion script for a shell
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    swarm completion bash > /etc/bash_completion.d/swarm\n  \
    swarm completion zsh > ~/.zfunc/_swarm\n  \
    swarm completion fish > ~/.config/fish/completions/swarm.fish")]
pub(crate) struct Completion {
    /// The shell
    shell: Shell,
}

impl Completion {
    /// Writes the script to stdout.
    ///
    /// # Errors
    /// When nobody reads.
    pub(crate) fn run(self) -> Result<(), Failure> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "swarm", &mut script);
        output::raw(&script)
    }
}
