//! `swarm cp`: which way, and the carrying between both ends.

mod here;
mod pipes;
mod said;

use std::io::{self, BufWriter};

use clap::Args;
use swarm_node::archive::{LeftOut, Naming, Transfer, pack_as, unpack};
use swarm_node::chunk::{Chunk, DATA_MAX, Ended};
use tokio::sync::mpsc;

use self::here::{Source, Target};
use self::pipes::{Arriving, Leaving, from_stdin};
use self::said::Said;

use crate::client::{Client, Session, encode};
use crate::exit::{Exit, Failure};
use crate::output;

/// Parts of an archive between its two ends here.
const PARTS: usize = 8;

/// Copy files out of or into a running task
///
/// The task's working directory is all that can be reached: TASK:/a/b and TASK:a/b are the same, below it.
/// Files are read and written as the task's user. SRC/. copies what is in SRC. `-` is a tar archive on
/// stdin, to be unpacked in a directory, or on stdout.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    swarm cp web.1:log/today.log .\n  \
    swarm cp ./site/. web.1:public\n  \
    swarm cp web.1:data - | gzip > data.tar.gz")]
pub(crate) struct Cp {
    /// TASK:PATH, a path here, or - for an archive on stdin
    #[arg(value_name = "SRC")]
    source: String,
    /// TASK:PATH, a path here, or - for an archive on stdout
    #[arg(value_name = "DST")]
    target: String,
}

/// One side of a copy.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    Task { task: String, path: String },
    Here(String),
    Pipe,
}

impl Place {
    /// What stands before the first colon is a task, unless it has a slash or is empty.
    fn parse(text: &str) -> Self {
        match text.split_once(':') {
            _ if text == "-" => Self::Pipe,
            Some((task, path)) if !task.is_empty() && !task.contains('/') => {
                Self::Task { task: task.to_owned(), path: path.to_owned() }
            }
            Some(_) | None => Self::Here(text.to_owned()),
        }
    }
}

impl Cp {
    /// Copies.
    ///
    /// # Errors
    /// What could not be copied: nothing after it was.
    pub(crate) async fn run(self, client: &Client) -> Result<(), Failure> {
        match (Place::parse(&self.source), Place::parse(&self.target)) {
            (Place::Task { task, path }, to @ (Place::Here(_) | Place::Pipe)) => {
                let session = open(client, &task, Transfer::Pack { path }).await?;
                fetch(session, to).await
            }
            (from @ (Place::Here(_) | Place::Pipe), Place::Task { task, path }) => {
                let naming = if from == Place::Pipe { Naming::Kept } else { Naming::Copied };
                // Found out before anything is begun.
                let source = match &from {
                    Place::Here(path) => Some(Source::find(path)?),
                    Place::Pipe | Place::Task { .. } => None,
                };
                let session = open(client, &task, Transfer::Unpack { path, naming }).await?;
                bring(session, source).await
            }
            (Place::Task { .. }, Place::Task { .. }) => {
                let hint = "swarm cp A:x - | swarm cp - B:y";
                Err(Failure::usage(format!("both are tasks: write `{hint}`")))
            }
            (Place::Here(_) | Place::Pipe, Place::Here(_) | Place::Pipe) => Err(Failure::usage(
                "neither is in a task: write TASK:PATH for one of them, as in web.1:log",
            )),
        }
    }
}

async fn open(client: &Client, task: &str, transfer: Transfer) -> Result<Session, Failure> {
    client.converse(&format!("/v1/tasks/{}/files", encode(task)), &[], &transfer).await
}

/// From the task to here.
async fn fetch(session: Session, to: Place) -> Result<(), Failure> {
    // The writer is kept: without it the task's end would hang up.
    let Session { mut reader, writer: _open } = session;
    let (parts, arriving) = mpsc::channel(PARTS);
    let unpacking = match to {
        Place::Here(path) => {
            let Target { dir, name } = Target::find(&path)?;
            let input = Arriving::from(arriving);
            Some(tokio::task::spawn_blocking(move || unpack(dir, &name, Naming::Copied, input)))
        }
        Place::Pipe | Place::Task { .. } => None,
    };
    let mut said = Said::default();
    let ended = loop {
        match reader.next().await {
            Ok(Some(Chunk::Output(data))) if unpacking.is_none() => output::raw(&data)?,
            // Who unpacks says below why it takes no more.
            Ok(Some(Chunk::Output(data))) => {
                if parts.send(data).await.is_err()
                    && unpacking.as_ref().is_some_and(|it| it.is_finished())
                {
                    break Ended::default();
                }
            }
            Ok(Some(Chunk::Errors(text))) => said.hear(&text),
            Ok(Some(Chunk::Ended(ended))) => break ended,
            Ok(Some(_)) => {}
            Ok(None) => return Err(lost("it ended early")),
            Err(error) => return Err(lost(&error.to_string())),
        }
    };
    drop(parts);
    let unpacked = match unpacking {
        Some(unpacking) => unpacking.await.map_err(|error| Failure::failed(error.to_string()))?,
        None => Ok(()),
    };
    // What went wrong at the source is why the archive ends early.
    said.verdict(&ended)?;
    unpacked.map_err(|error| Failure::failed(error.to_string()))
}

/// From here to the task.
async fn bring(session: Session, source: Option<Source>) -> Result<(), Failure> {
    let Session { mut reader, writer } = session;
    let (parts, mut leaving) = mpsc::channel(PARTS);
    let packing = source.map(|Source { dir, path, name }| {
        tokio::task::spawn_blocking(move || {
            let out = BufWriter::with_capacity(DATA_MAX, Leaving::from(parts));
            pack_as(dir, &path, &name, out)
        })
    });
    let is_packed = packing.is_some();
    let send = async {
        let mut writer = writer;
        if !is_packed {
            from_stdin(&mut writer).await?;
            return Ok(writer);
        }
        while let Some(part) = leaving.recv().await {
            writer.send(&Chunk::Input(part)).await?;
        }
        // Without the end of the archive nothing more is written there.
        let packed = match packing {
            Some(packing) => packing.await.map_err(io::Error::other)?,
            None => Ok(LeftOut::default()),
        };
        packed.map_err(io::Error::other)?.sentences().for_each(|it| output::warning(&it));
        writer.send(&Chunk::InputEnd).await?;
        Ok::<_, io::Error>(writer)
    };
    let hear = async {
        let mut said = Said::default();
        loop {
            match reader.next().await {
                Ok(Some(Chunk::Errors(text))) => said.hear(&text),
                Ok(Some(Chunk::Ended(ended))) => return Ok((ended, said)),
                Ok(Some(_)) => {}
                Ok(None) => return Err(lost("it ended early")),
                Err(error) => return Err(lost(&error.to_string())),
            }
        }
    };
    tokio::pin!(hear);
    let (ended, said) = tokio::select! {
        ended = &mut hear => ended?,
        // The connection stays open until the other end is done.
        sent = send => match sent {
            Ok(_writer) => hear.await?,
            // The other end hung up: it has said why.
            Err(error) if is_hung_up(&error) => hear.await?,
            Err(error) => return Err(Failure::failed(error.to_string())),
        },
    };
    said.verdict(&ended)
}

fn is_hung_up(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
}

fn lost(why: &str) -> Failure {
    Failure::new(Exit::Unreachable, format!("the connection to the node was lost: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_in_a_task_or_here() {
        let task = |task: &str, path: &str| Place::Task { task: task.into(), path: path.into() };
        for (text, want) in [
            ("web.1:log", task("web.1", "log")),
            ("web.1:", task("web.1", "")),
            ("web.1:/a:b", task("web.1", "/a:b")),
            ("./a:b", Place::Here("./a:b".into())),
            ("/a:b", Place::Here("/a:b".into())),
            (":a", Place::Here(":a".into())),
            ("a", Place::Here("a".into())),
            ("-", Place::Pipe),
        ] {
            assert_eq!(Place::parse(text), want, "{text}");
        }
    }
}
