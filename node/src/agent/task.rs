//! One task's life on this node: prepare, start, wait, stop. One actor a task.
//!
//! What happened is posted on the board; what is wanted comes through a watch. Whether a replacement
//! follows is the leader's decision, never the actor's.

use std::sync::Arc;
use std::time::Duration;

use swarm_model::clock::Clock;
use swarm_model::task::{ExitStatus, TaskStatus};
use swarm_model::task_state::{DesiredState, ObservedState};
use tokio::sync::watch;

use super::board::Board;
use crate::runtime::{Exit, Failure, Launch, Started, TaskRuntime};

/// How a stop that failed is tried again.
const STOP_RETRY: Duration = Duration::from_secs(5);

/// What the actor starts from.
#[derive(Debug)]
pub(super) enum Beginning {
    /// It was never started here.
    Fresh,
    /// An earlier life of the daemon started it and it still runs.
    Running(Started),
    /// An earlier life of the daemon started it and it ended meanwhile.
    Ended(Exit),
    /// It died with the machine: it is started again under the same id, for want of a leader that
    /// could replace it.
    Rebooted,
}

/// One task's actor.
#[derive(Debug)]
pub(super) struct TaskActor {
    /// What to run.
    pub(super) launch: Arc<Launch>,
    /// How long it has to end after its stop signal.
    pub(super) grace: Duration,
    /// How it is run.
    pub(super) runtime: Arc<dyn TaskRuntime>,
    /// Where its statuses go.
    pub(super) board: Arc<Board>,
    /// For time stamps.
    pub(super) clock: Arc<dyn Clock>,
    /// What is wanted of it.
    pub(super) desired: watch::Receiver<DesiredState>,
}

impl TaskActor {
    /// Runs until the task has ended; the end is on the board then.
    pub(super) async fn run(mut self, beginning: Beginning) -> TaskStatus {
        let end = self.live(beginning).await;
        self.board.post(self.launch.task, end.clone());
        end
    }

    fn status(&self, state: ObservedState, message: &str) -> TaskStatus {
        TaskStatus::new(state, self.clock.now(), message)
    }

    fn post(&self, state: ObservedState, message: &str) {
        self.board.post(self.launch.task, self.status(state, message));
    }

    fn ends_with(&self, state: ObservedState, failure: &Failure) -> TaskStatus {
        TaskStatus { error: failure.to_line(), ..self.status(state, "did not start") }
    }

    async fn live(&mut self, beginning: Beginning) -> TaskStatus {
        match beginning {
            Beginning::Fresh => {}
            Beginning::Running(started) => return self.supervise(started, "adopted").await,
            Beginning::Ended(exit) => return self.ended(exit, None),
            Beginning::Rebooted => {
                if let Err(failure) = self.runtime.remove(self.launch.task).await {
                    return self.ends_with(ObservedState::Failed, &failure);
                }
            }
        }
        if self.wanted() >= DesiredState::Shutdown {
            return self.status(ObservedState::Shutdown, "stopped before it started");
        }
        self.post(ObservedState::Preparing, "preparing");
        if let Err(failure) = self.runtime.prepare(self.launch.clone()).await {
            // Told when its turn has come: otherwise a restart delay would delay nothing.
            self.wait_for(DesiredState::Running).await;
            return self.ends_with(ObservedState::Rejected, &failure);
        }
        self.post(ObservedState::Ready, "prepared");
        self.wait_for(DesiredState::Running).await;
        if self.wanted() >= DesiredState::Shutdown {
            return self.status(ObservedState::Shutdown, "stopped before it started");
        }
        self.post(ObservedState::Starting, "starting");
        match self.runtime.start(self.launch.clone()).await {
            Ok(started) => self.supervise(started, "started").await,
            Err(failure) if failure.is_permanent() => {
                self.ends_with(ObservedState::Rejected, &failure)
            }
            Err(failure) => self.ends_with(ObservedState::Failed, &failure),
        }
    }

    fn wanted(&self) -> DesiredState {
        *self.desired.borrow()
    }

    /// Waits until at least `state` is wanted. Nobody left to want anything is a shutdown of the
    /// daemon: the actor is dropped then.
    async fn wait_for(&mut self, state: DesiredState) {
        if self.desired.wait_for(|wanted| *wanted >= state).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// From start to end.
    async fn supervise(&mut self, started: Started, message: &str) -> TaskStatus {
        let task = self.launch.task;
        let running = TaskStatus {
            pid: (started.pid != 0).then_some(started.pid),
            ..TaskStatus::new(ObservedState::Running, started.at, message)
        };
        self.board.post(task, running);
        let runtime = self.runtime.clone();
        tokio::select! {
            // An end that was not asked for counts as such, even if a stop comes at the same time.
            biased;
            exit = runtime.wait(task) => self.ended(exit, None),
            () = self.wait_for(DesiredState::Shutdown) => {
                let stopped = self.stop().await;
                let exit = runtime.wait(task).await;
                self.ended(exit, Some(stopped))
            }
        }
    }

    /// Stops it, however often that takes.
    async fn stop(&self) -> &'static str {
        let (task, signal) = (self.launch.task, self.launch.stop_signal);
        loop {
            match self.runtime.stop(task, signal, self.grace).await {
                Ok(()) => return "stopped",
                Err(failure) => {
                    tracing::warn!(task_id = %task, error = %failure, "cannot stop the task, retrying");
                    let ended = self.runtime.wait(task);
                    if tokio::time::timeout(STOP_RETRY, ended).await.is_ok() {
                        return "stopped";
                    }
                }
            }
        }
    }

    fn ended(&self, exit: Exit, stopped: Option<&'static str>) -> TaskStatus {
        let state = match stopped {
            Some(_) => ObservedState::Shutdown,
            None if exit.is_success() => ObservedState::Complete,
            None => ObservedState::Failed,
        };
        let error = match stopped {
            Some(_) => None,
            None => exit.describe(&self.launch.limits),
        };
        TaskStatus {
            state,
            since: exit.at,
            message: stopped.unwrap_or("ended by itself").to_owned(),
            error: error.unwrap_or_default(),
            pid: None,
            exit: Some(ExitStatus {
                code: exit.code,
                signal: exit.signal,
                oom_killed: exit.oom_killed,
            }),
        }
    }
}
