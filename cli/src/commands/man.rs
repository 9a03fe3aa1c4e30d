//! `swarm man`: the manual pages, made from the same text as `--help`.
//!
//! Hidden: for packagers, and for those who think of it.

use std::path::PathBuf;

use clap::{Args, CommandFactory as _};

use crate::args::Cli;
use crate::exit::Failure;
use crate::output;

/// Write manual pages
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    swarm man | man -l -\n  \
    swarm man service create | man -l -\n  \
    swarm man --out-dir /usr/local/share/man/man1       # a page for each command")]
pub(crate) struct Man {
    /// The command whose page to write to stdout; swarm itself when absent
    #[arg(value_name = "COMMAND")]
    words: Vec<String>,
    /// Write the pages of all commands into this directory instead
    #[arg(long, value_name = "DIR", conflicts_with = "words", hide = true)]
    out_dir: Option<PathBuf>,
}

impl Man {
    /// Writes the page, or all of them.
    ///
    /// # Errors
    /// When there is no such command, or the pages cannot be written.
    pub(crate) fn run(self) -> Result<(), Failure> {
        if let Some(dir) = &self.out_dir {
            return clap_mangen::generate_to(Cli::command(), dir).map_err(|error| {
                Failure::failed(format!("cannot write pages to {}: {error}", dir.display()))
            });
        }
        output::raw(&page(&self.words)?)
    }
}

fn page(words: &[String]) -> Result<Vec<u8>, Failure> {
    let mut all = Cli::command();
    all.build();
    let mut command = &all;
    for word in words {
        command = command.find_subcommand(word).ok_or_else(|| {
            let message = format!("there is no command {}: see `swarm help`", words.join(" "));
            Failure::usage(message)
        })?;
    }
    let mut page = Vec::new();
    clap_mangen::Man::new(command.clone()).render(&mut page)?;
    Ok(page)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page() {
        let words = ["service", "create"].map(str::to_owned);
        let text = String::from_utf8(page(&words).expect("is a command")).expect("is text");
        assert!(text.contains("swarm\\-service\\-create"), "{text}");
        assert!(text.contains("replicas\\-max\\-per\\-node"), "{text}");
        let failure = page(&["serve".to_owned()]).expect_err("is none");
        assert_eq!(failure.exit, crate::exit::Exit::Usage);
        let home = tempfile::tempdir().expect("is made");
        let man = Man { words: Vec::new(), out_dir: Some(home.path().to_owned()) };
        man.run().expect("is writable");
        for name in ["swarm.1", "swarm-service-create.1", "swarm-node-ls.1"] {
            assert!(home.path().join(name).exists(), "{name}");
        }
    }
}
