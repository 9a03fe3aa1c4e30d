//! The daemon's end of doing one more thing in a running task: checks what is asked for, and starts a
//! keeper for it.

use std::io;
use std::process::Stdio;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use swarm_model::id::TaskId;
use tokio::process::Command;

use super::processes::ProcessRef;
use super::record::{LaunchRecord, StartRecord};
use super::watch::State;
use super::{Inner, blocking, control, keeper, prepare, resolve};
use crate::archive::Transfer;
use crate::chunk::{Chunk, ChunkReader, ChunkWriter, Size};
use crate::runtime::{Errand, ExecRequest, ExecSession, Failure};

/// What a program on a terminal takes it for when nothing else is said.
const TERMINAL_KIND: &str = "xterm";

/// What a keeper is to start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ExecRecord {
    /// As the task's own program was started, but for what is asked for.
    pub(super) launch: LaunchRecord,
    /// The task's program: nothing goes on without it.
    pub(super) task: ProcessRef,
    /// The size of its terminal, if it gets one.
    pub(super) terminal: Option<Size>,
    /// Whether it gets input.
    pub(super) input: bool,
    /// Files to copy, instead of a program.
    pub(super) copy: Option<Transfer>,
}

/// Starts a keeper.
pub(super) async fn exec(
    inner: Arc<Inner>,
    task: TaskId,
    request: ExecRequest,
) -> Result<ExecSession, Failure> {
    let asked = Arc::clone(&inner);
    let record = blocking(move || record(&asked, task, request)).await?;
    let failed = |source: io::Error| Failure::io("start a keeper".to_owned(), source);
    let mut keeper = Command::new(&inner.config.supervisor)
        .arg0("swarm")
        .arg(keeper::ARGUMENT)
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(failed)?;
    let (Some(stdin), Some(stdout)) = (keeper.stdin.take(), keeper.stdout.take()) else {
        return Err(failed(io::ErrorKind::BrokenPipe.into()));
    };
    let mut session = ExecSession {
        input: ChunkWriter::new(Box::new(stdin)),
        output: ChunkReader::new(Box::new(stdout), &[]),
    };
    let record = serde_json::to_vec(&record).map_err(|error| failed(error.into()))?;
    session.input.send(&Chunk::Start(Bytes::from(record))).await.map_err(failed)?;
    Ok(session)
}

/// Checks what is asked for against this machine and the task.
fn record(inner: &Inner, task: TaskId, request: ExecRequest) -> Result<ExecRecord, Failure> {
    let dir = inner.run_dir(task);
    let start = running(task, control::settled(&dir)?)?;
    let own =
        dir.launch().map_err(|error| Failure::at("read launch record in", dir.path(), error))?;
    let mut env = own.env.clone();
    let mut set = |name: &str, value: String| {
        env.retain(|(known, _)| known != name);
        env.push((name.to_owned(), value));
    };
    let mut account = own.account.clone();
    if let Some(user) = &request.user {
        let (other, home) = prepare::whom(Some(user), &[])?;
        account = other;
        set("HOME", home.unwrap_or_else(|| "/".to_owned()));
    }
    if request.terminal.is_some() && !own.env.iter().any(|(name, _)| name == "TERM") {
        set("TERM", TERMINAL_KIND.to_owned());
    }
    for (name, value) in request.env {
        set(&name, value);
    }
    let workdir = request.workdir.as_deref().map(resolve::workdir).transpose()?;
    let own_workdir = own.own_workdir && workdir.is_none();
    let workdir = workdir.unwrap_or_else(|| own.workdir.clone());
    let (arguments, copy) = match request.errand {
        Errand::Run(arguments) => (arguments, None),
        Errand::Copy(transfer) => (vec![own.program.display().to_string()], Some(transfer)),
    };
    let path = env.iter().rfind(|(name, _)| name == "PATH").map_or("", |(_, path)| path);
    let name = arguments.first().ok_or(Failure::EmptyCommand)?;
    prepare::without_nul(&arguments, &env)?;
    let program = match copy {
        None => resolve::program(name, path, &workdir)?,
        Some(_) => own.program.clone(),
    };
    Ok(ExecRecord {
        launch: LaunchRecord { program, arguments, env, account, workdir, own_workdir, ..own },
        task: start.program,
        terminal: request.terminal,
        input: request.input,
        copy,
    })
}

/// How a task was started that runs now.
pub(super) fn running(task: TaskId, state: State) -> Result<StartRecord, Failure> {
    let state = match state {
        State::Running { start, .. } => return Ok(start),
        State::Unknown => return Err(Failure::UnknownTask { task }),
        State::Prepared => "does not run yet".to_owned(),
        State::Between => "starts or ends at this moment".to_owned(),
        State::Exited(exit) => {
            let how = exit.describe(&swarm_model::resources::Limits::default());
            let how = how.unwrap_or_else(|| "exit code 0".to_owned());
            format!("has ended at {}: {how}", exit.at)
        }
        State::Lost { .. } => "has ended together with its supervisor".to_owned(),
    };
    Err(Failure::NotRunning { task, state })
}
