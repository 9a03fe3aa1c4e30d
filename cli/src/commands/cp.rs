//! `swarm cp`.

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::Path;

use bytes::{Buf as _, Bytes};
use clap::Args;
use swarm_node::archive::{ArchiveError, Naming, Transfer, pack, unpack};
use swarm_node::chunk::{Chunk, ChunkWriter, DATA_MAX, Ended};
use tokio::io::{AsyncReadExt as _, AsyncWrite};
use tokio::sync::mpsc;

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
                    Place::Here(path) => Some(source(path)?),
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

/// The directory that has a file here, and the file's name there.
fn source(path: &str) -> Result<(File, String), Failure> {
    let failed = |error: io::Error| Failure::failed(format!("{path}: {error}"));
    let whole = std::fs::canonicalize(path).map_err(failed)?;
    let contents = path.ends_with("/.") || [".", ".."].contains(&path);
    let (Some(parent), Some(name), false) = (whole.parent(), whole.file_name(), contents) else {
        return Ok((File::open(&whole).map_err(failed)?, ".".to_owned()));
    };
    let name = name.to_str().ok_or_else(|| Failure::usage(format!("{path}: not UTF-8")))?;
    Ok((File::open(parent).map_err(failed)?, name.to_owned()))
}

/// The directory that gets a file here, and the file's new name there.
fn target(path: &str) -> Result<(File, String), Failure> {
    let failed = |error: io::Error| Failure::failed(format!("{path}: {error}"));
    let whole = Path::new(path);
    if whole.is_dir() {
        return Ok((File::open(whole).map_err(failed)?, ".".to_owned()));
    }
    if path.ends_with('/') {
        return Err(Failure::failed(format!("{path}: no such directory")));
    }
    let name = whole.file_name().and_then(|name| name.to_str());
    let name = name.ok_or_else(|| Failure::usage(format!("{path} is no name for a file")))?;
    let parent = whole.parent().filter(|parent| *parent != Path::new(""));
    let parent = parent.unwrap_or(Path::new("."));
    let opened = File::open(parent);
    let opened = opened.map_err(|e| Failure::failed(format!("{}: {e}", parent.display())))?;
    Ok((opened, name.to_owned()))
}

/// From the task to here.
async fn fetch(session: Session, to: Place) -> Result<(), Failure> {
    // The writer is kept: without it the task's end would hang up.
    let Session { mut reader, writer: _open } = session;
    let (parts, arriving) = mpsc::channel(PARTS);
    let unpacking = match to {
        Place::Here(path) => {
            let (dir, name) = target(&path)?;
            let input = Arriving { parts: arriving, part: Bytes::new() };
            Some(tokio::task::spawn_blocking(move || unpack(dir, &name, Naming::Copied, input)))
        }
        Place::Pipe | Place::Task { .. } => None,
    };
    let mut said = String::new();
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
            Ok(Some(Chunk::Errors(text))) => said.push_str(&String::from_utf8_lossy(&text)),
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
    verdict(&ended, &said)?;
    unpacked.map_err(failed)
}

/// From here to the task.
async fn bring(session: Session, source: Option<(File, String)>) -> Result<(), Failure> {
    let Session { mut reader, writer } = session;
    let (parts, mut leaving) = mpsc::channel(PARTS);
    let packing = source.map(|(dir, name)| {
        tokio::task::spawn_blocking(move || {
            pack(dir, &name, BufWriter::with_capacity(DATA_MAX, Leaving(parts)))
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
            None => Ok(Vec::new()),
        };
        for socket in packed.map_err(io::Error::other)? {
            output::warning(&format!("{} is a socket and was left out", socket.display()));
        }
        writer.send(&Chunk::InputEnd).await?;
        Ok::<_, io::Error>(writer)
    };
    let hear = async {
        let mut said = String::new();
        loop {
            match reader.next().await {
                Ok(Some(Chunk::Errors(text))) => said.push_str(&String::from_utf8_lossy(&text)),
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
    verdict(&ended, &said)
}

fn is_hung_up(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
}

async fn from_stdin<W: AsyncWrite + Unpin>(writer: &mut ChunkWriter<W>) -> io::Result<()> {
    let mut stdin = tokio::io::stdin();
    let mut part = vec![0; DATA_MAX];
    loop {
        let count = stdin.read(&mut part).await?;
        if count == 0 {
            return writer.send(&Chunk::InputEnd).await;
        }
        writer.send(&Chunk::Input(Bytes::copy_from_slice(&part[..count]))).await?;
    }
}

/// What the other end says of it.
fn verdict(ended: &Ended, said: &str) -> Result<(), Failure> {
    let said = said.trim_end();
    if ended.code == 0 {
        said.lines().for_each(output::warning);
        return Ok(());
    }
    let message = if said.is_empty() { ended.message.as_str() } else { said };
    Err(Failure::failed(message))
}

fn failed(error: ArchiveError) -> Failure {
    Failure::failed(error.to_string())
}

fn lost(why: &str) -> Failure {
    Failure::new(Exit::Unreachable, format!("the connection to the node was lost: {why}"))
}

/// An archive that comes, for a thread that reads it.
struct Arriving {
    parts: mpsc::Receiver<Bytes>,
    part: Bytes,
}

impl Read for Arriving {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.part.is_empty() {
            match self.parts.blocking_recv() {
                Some(part) => self.part = part,
                None => return Ok(0),
            }
        }
        let count = buffer.len().min(self.part.len());
        self.part.copy_to_slice(&mut buffer[..count]);
        Ok(count)
    }
}

/// An archive that goes, from a thread that writes it.
struct Leaving(mpsc::Sender<Bytes>);

impl Write for Leaving {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let count = buffer.len().min(DATA_MAX);
        let part = Bytes::copy_from_slice(&buffer[..count]);
        let gone = |_closed| io::Error::from(io::ErrorKind::BrokenPipe);
        self.0.blocking_send(part).map_err(gone)?;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

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

    #[test]
    fn files_here_are_named_by_the_directory_that_has_them() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("a");
        std::fs::write(&file, "x").expect("is written");
        let text = |path: PathBuf| path.to_string_lossy().into_owned();
        assert_eq!(source(&text(file.clone())).expect("is there").1, "a");
        assert_eq!(source(&text(dir.path().join("."))).expect("is there").1, ".");
        assert!(source(&text(dir.path().join("b"))).is_err());
        assert_eq!(target(&text(dir.path().to_owned())).expect("is there").1, ".");
        assert_eq!(target(&text(dir.path().join("new"))).expect("may be made").1, "new");
        assert!(target(&text(dir.path().join("new/"))).is_err());
        assert!(target(&text(dir.path().join("no/new"))).is_err());
    }
}
