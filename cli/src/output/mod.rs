//! Everything a command shows: the one place that writes to stdout and stderr.

pub(crate) mod format;
pub(crate) mod inspect;
pub(crate) mod list;
pub(crate) mod progress;
pub(crate) mod table;
pub(crate) mod template;
pub(crate) mod terminal;

use std::io::{self, IsTerminal as _, Write as _};

use crate::exit::Failure;

/// Writes one line to stdout.
///
/// # Errors
/// When nobody reads, or the disk behind a redirection is full.
pub(crate) fn line(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.write_all(b"\n")?;
    Ok(out.flush()?)
}

/// Writes to stdout as it is.
///
/// # Errors
/// When nobody reads, or the disk behind a redirection is full.
pub(crate) fn raw(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(bytes)?;
    Ok(out.flush()?)
}

/// Writes to stderr as it is; a closed stderr is nobody's problem.
pub(crate) fn raw_error(bytes: &[u8]) {
    let _closed = io::stderr().lock().write_all(bytes);
}

/// Writes one line to stderr; a closed stderr is nobody's problem.
pub(crate) fn note(text: &str) {
    let _closed = writeln!(io::stderr().lock(), "{text}");
}

/// Shows why a command failed; nothing that a task or a node says in it moves the cursor.
pub(crate) fn error(failure: &Failure) {
    if !failure.message.is_empty() {
        note(&format!("{} {}", coloured("error:", "1;31"), harmless(&failure.message)));
    }
}

/// Shows something that did not stop the command.
pub(crate) fn warning(text: &str) {
    note(&format!("{} {}", coloured("warning:", "1;33"), harmless(text)));
}

/// Lines of text without other control characters.
fn harmless(text: &str) -> String {
    let harmless = |c: char| !c.is_control() || c == '\n' || c == '\t';
    text.chars().map(|c| if harmless(c) { c } else { '?' }).collect()
}

/// Whether a person watches stderr live.
pub(crate) fn is_watched() -> bool {
    io::stderr().is_terminal()
}

/// `text` in a colour for stderr, where there is a terminal that wants colours.
fn coloured(text: &str, code: &str) -> String {
    let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
        || std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    if plain || !is_watched() { text.to_owned() } else { format!("\u{1b}[{code}m{text}\u{1b}[0m") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_say_does_not_command_the_terminal() {
        assert_eq!(harmless("a\u{1b}[2Jb\u{9b}c\rd\n\tgrößer"), "a?[2Jb?c?d\n\tgrößer");
    }
}
