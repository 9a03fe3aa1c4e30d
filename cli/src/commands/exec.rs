//! `swarm exec`.

use std::future::pending;
use std::io;

use bytes::Bytes;
use clap::Args;
use swarm_node::api::ExecSpec;
use swarm_node::chunk::{Chunk, ChunkWriter, DATA_MAX, Ended};
use swarm_node::work::Work;
use tokio::io::{AsyncReadExt as _, AsyncWrite};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::client::{Client, Session, encode};
use crate::exit::{Exit, Failure};
use crate::output;
use crate::output::terminal::{self, RawTerminal};
use crate::parse::key_value;

/// Run one more program in a running task
///
/// It runs on the task's node, with the task's limits, user, directory, environment and host name, and ends
/// with the task, or with this command. Its exit code is this command's: 126 when the program cannot be
/// executed, 127 when it is not there, 128 and the signal's number when a signal ended it.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    swarm exec web.1 ps aux\n  \
    swarm exec -it web.1 bash\n  \
    swarm exec -i -e PGUSER=admin db.1 psql < dump.sql")]
pub(crate) struct Exec {
    /// Pass this command's stdin on
    #[arg(short, long)]
    interactive: bool,
    /// Give the program a terminal
    #[arg(short, long)]
    tty: bool,
    /// Run as this user instead of the task's
    #[arg(short, long, value_name = "USER[:GROUP]")]
    user: Option<String>,
    /// Start in this directory of the node instead of the task's
    #[arg(short, long, value_name = "DIR")]
    workdir: Option<String>,
    /// Set a variable; KEY alone passes on your own; may be repeated
    #[arg(short, long, value_name = "KEY[=VALUE]")]
    env: Vec<String>,
    /// Name (web.1) or id of the task
    task: String,
    /// Program and arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    #[arg(value_name = "CMD")]
    command: Vec<String>,
}

impl Exec {
    /// Runs it to its end.
    ///
    /// # Errors
    /// Its exit code unless that is 0; what the API refused; unreachable when no node answers.
    pub(crate) async fn run(self, client: &Client) -> Result<(), Failure> {
        if self.tty && self.interactive && !terminal::is_input() {
            let hint = "leave out -t, or run it on a terminal";
            return Err(Failure::usage(format!("-t with -i: stdin is no terminal; {hint}")));
        }
        let path = format!("/v1/tasks/{}/exec", encode(&self.task));
        let session = client.converse(&path, &[], &self.spec()?).await?;
        let failed = |error: io::Error| Failure::failed(format!("the terminal: {error}"));
        let mut quit = Quit::new().map_err(failed)?;
        // Given back before anything else is said.
        let raw = match self.tty && self.interactive {
            true => RawTerminal::take().map_err(failed)?,
            false => None,
        };
        let ended = tokio::select! {
            ended = talk(session, self.interactive, self.tty) => ended,
            signal = quit.asked() => Err(Failure::new(Exit::Program(128 + signal), "")),
        };
        drop(raw);
        match ended? {
            Ended { code: 0, message } if message.is_empty() => Ok(()),
            Ended { code, message } => Err(Failure::new(Exit::Program(code), message)),
        }
    }

    fn spec(&self) -> Result<ExecSpec, Failure> {
        // What the person's terminal understands.
        let term = self.tty.then_some("TERM");
        let given = term.into_iter().chain(self.env.iter().map(String::as_str));
        let mut env = Vec::new();
        for text in given {
            let pair = key_value::env(text, |name| std::env::var(name).ok())
                .map_err(|reason| Failure::usage(format!("--env: {reason}")))?;
            env.extend(pair.map(|(name, value)| format!("{name}={value}")));
        }
        Ok(ExecSpec {
            command: self.command.clone(),
            env,
            user: self.user.clone(),
            work_dir: self.workdir.clone(),
            terminal: self.tty.then(|| terminal::size().unwrap_or_default()),
            input: self.interactive,
        })
    }
}

/// The signals that end the command; a raw terminal is given back first.
struct Quit(Vec<(u8, Signal)>);

impl Quit {
    fn new() -> io::Result<Self> {
        // Ctrl-C of a raw terminal is a key of the program; these come from others.
        let watch =
            |number: u8| signal(SignalKind::from_raw(number.into())).map(|signal| (number, signal));
        [1, 2, 3, 15].into_iter().map(watch).collect::<io::Result<_>>().map(Self)
    }

    /// The number of the signal that came.
    async fn asked(&mut self) -> u8 {
        let waits = self.0.iter_mut().map(|(number, signal)| {
            Box::pin(async move {
                signal.recv().await;
                *number
            })
        });
        futures::future::select_all(waits).await.0
    }
}

/// Carries what is said until the program has ended.
async fn talk(session: Session, input: bool, tty: bool) -> Result<Ended, Failure> {
    let Session { mut reader, writer } = session;
    let speak = speak(writer, input, tty);
    let hear = async {
        loop {
            match reader.next().await {
                // Who does not read holds up a thread, not the signals.
                Ok(Some(Chunk::Output(data))) => {
                    Work::Threads.run(move || output::raw(&data)).await?;
                }
                Ok(Some(Chunk::Errors(data))) => {
                    Work::Threads.run(move || output::raw_error(&data)).await;
                }
                Ok(Some(Chunk::Ended(ended))) => return Ok(ended),
                Ok(Some(_)) => {}
                Ok(None) => return Err(lost("it ended early")),
                Err(error) => return Err(lost(&error.to_string())),
            }
        }
    };
    tokio::select! {
        ended = hear => ended,
        never = speak => match never {},
    }
}

fn lost(why: &str) -> Failure {
    let message = format!("the connection to the node was lost: {why}");
    Failure::new(Exit::Unreachable, message)
}

/// Carries stdin and the terminal's size; what cannot be sent any more is of no interest.
async fn speak<W: AsyncWrite + Unpin>(
    mut to: ChunkWriter<W>,
    input: bool,
    tty: bool,
) -> std::convert::Infallible {
    let mut stdin = tokio::io::stdin();
    let mut resized = signal(SignalKind::window_change()).ok().filter(|_signal| tty);
    let mut open = input;
    let mut part = vec![0; DATA_MAX];
    loop {
        let chunk = tokio::select! {
            read = stdin.read(&mut part), if open => match read {
                Ok(count) if count > 0 => Chunk::Input(Bytes::copy_from_slice(&part[..count])),
                Ok(_) | Err(_) => {
                    open = false;
                    Chunk::InputEnd
                }
            },
            true = next(&mut resized) => match terminal::size() {
                Some(size) => Chunk::Resize(size),
                None => continue,
            },
            else => pending().await,
        };
        if to.send(&chunk).await.is_err() {
            return pending().await;
        }
    }
}

/// Waits for a signal; for ever without one.
async fn next(signal: &mut Option<Signal>) -> bool {
    match signal {
        Some(signal) => signal.recv().await.is_some(),
        None => pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        exec: Exec,
    }

    #[test]
    fn options_behind_the_task_are_the_programs() {
        let line = ["exec", "-it", "-eA=1", "web.1", "ls", "-t", "--user", "x"];
        let exec = Line::try_parse_from(line).expect("is valid").exec;
        assert!(exec.interactive && exec.tty && exec.user.is_none());
        assert_eq!(exec.command, ["ls", "-t", "--user", "x"]);
        let spec = exec.spec().expect("is valid");
        assert!(spec.env.contains(&"A=1".to_owned()) && spec.input && spec.terminal.is_some());
        assert!(Line::try_parse_from(["exec", "web.1"]).is_err(), "nothing to run");
        let nameless =
            Line::try_parse_from(["exec", "-e", "=1", "web.1", "ls"]).expect("is a line");
        let refused = nameless.exec.spec().expect_err("a value without a name");
        assert_eq!(refused.exit, Exit::Usage);
    }
}
