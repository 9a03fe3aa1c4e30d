//! The person's terminal while a program elsewhere has it: every key goes through, and the terminal is as
//! before when this value is gone.

use std::io;

use rustix::termios::{OptionalActions, Termios, isatty, tcgetattr, tcgetwinsize, tcsetattr};
use swarm_node::chunk::Size;

/// A terminal in raw mode.
#[derive(Debug)]
pub(crate) struct RawTerminal {
    before: Termios,
}

impl RawTerminal {
    /// Lets every key through. `None` when stdin is no terminal.
    ///
    /// # Errors
    /// When the terminal does not allow it.
    pub(crate) fn take() -> io::Result<Option<Self>> {
        let stdin = rustix::stdio::stdin();
        if !isatty(stdin) {
            return Ok(None);
        }
        let before = tcgetattr(stdin)?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(stdin, OptionalActions::Now, &raw)?;
        Ok(Some(Self { before }))
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        // A terminal that is gone has no mode.
        tcsetattr(rustix::stdio::stdin(), OptionalActions::Drain, &self.before).ok();
    }
}

/// Whether stdin is a terminal.
pub(crate) fn is_input() -> bool {
    isatty(rustix::stdio::stdin())
}

/// The size of the person's terminal, if there is one.
pub(crate) fn size() -> Option<Size> {
    let known = [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()];
    let size = known.into_iter().find_map(|terminal| tcgetwinsize(terminal).ok())?;
    (size.ws_row > 0 && size.ws_col > 0).then_some(Size { rows: size.ws_row, columns: size.ws_col })
}
