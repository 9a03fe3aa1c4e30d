//! What may be done inside of a running task besides its own program, and the way to talk with it.

use std::fmt;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::archive::Transfer;
use crate::chunk::{ChunkReader, ChunkWriter, Size};

/// One more thing to do in a running task: with its limits, its user, its directory, its environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecRequest {
    /// What.
    pub errand: Errand,
    /// Variables on top of those of the task.
    pub env: Vec<(String, String)>,
    /// Instead of the task's: `user`, `uid`, `user:group` or `uid:gid`.
    pub user: Option<String>,
    /// Instead of the task's; absolute.
    pub workdir: Option<String>,
    /// The size of its terminal, if it gets one.
    pub terminal: Option<Size>,
    /// Whether it gets input.
    pub input: bool,
}

/// What is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Errand {
    /// A program with its arguments.
    Run(Vec<String>),
    /// Files of its working directory, out or in.
    Copy(Transfer),
}

impl ExecRequest {
    /// Files of the task's working directory, as the task's user.
    pub fn copy(transfer: Transfer) -> Self {
        let input = matches!(transfer, Transfer::Unpack { .. });
        Self { errand: Errand::Copy(transfer), input, ..Self::run([""; 0]) }
    }

    /// A program with its arguments, and nothing else asked for.
    pub fn run(command: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self {
            errand: Errand::Run(command.into_iter().map(Into::into).collect()),
            env: Vec::new(),
            user: None,
            workdir: None,
            terminal: None,
            input: false,
        }
    }
}

/// Where it reads its chunks.
pub type ExecInput = ChunkWriter<Box<dyn AsyncWrite + Send + Unpin>>;
/// Where its chunks come from.
pub type ExecOutput = ChunkReader<Box<dyn AsyncRead + Send + Unpin>>;

/// A conversation with what was started. The last chunk is `Ended`, unless who carries it was killed: then
/// the chunks just stop. Dropping the input ends all that was started, at once.
pub struct ExecSession {
    /// Takes `Input`, `InputEnd` and `Resize`.
    pub input: ExecInput,
    /// Gives `Output`, `Errors` and, at last, `Ended`.
    pub output: ExecOutput,
}

impl fmt::Debug for ExecSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExecSession").finish_non_exhaustive()
    }
}
