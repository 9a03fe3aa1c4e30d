//! One task's life on this node: prepare, start, watch, stop. One actor a task.
//!
//! What happened is posted on the board; what is wanted comes through a watch. Whether a replacement
//! follows is the leader's decision, never the actor's.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use swarm_model::clock::Clock;
use swarm_model::task::{ExitStatus, TaskStatus};
use swarm_model::task_state::{DesiredState, ObservedState};
use tokio::sync::watch;

use super::board::Board;
use super::probe::{Origin, Probes, Watcher};
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
    /// What it is asked while it runs.
    pub(super) probes: Probes,
    /// How long it is sent no more work before its stop signal.
    pub(super) drain_delay: Duration,
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
            Beginning::Running(started) => return self.supervise(started, Origin::Adopted).await,
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
            Ok(started) => self.supervise(started, Origin::Started).await,
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
    async fn supervise(&mut self, started: Started, origin: Origin) -> TaskStatus {
        let (task, runtime) = (self.launch.task, self.runtime.clone());
        let watcher = Watcher::begin(
            (task, runtime.clone()),
            (self.board.clone(), self.clock.clone()),
            self.probes.clone(),
            (started, origin),
        );
        let mut end = runtime.wait(task);
        let unhealthy = tokio::select! {
            // An end that was not asked for counts as such, even if a stop comes at the same time.
            biased;
            exit = &mut end => return self.ended(exit, None),
            () = self.wait_for(DesiredState::Shutdown) => None,
            why = watcher.watch() => Some(why),
        };
        let Some(why) = unhealthy else {
            if let Some(exit) = self.drain(&watcher, &mut end).await {
                return self.ended(exit, None);
            }
            let stopped = self.stop().await;
            return self.ended(end.await, Some(stopped));
        };
        tracing::warn!(task_id = %task, error = why, "stopping the task: it is unhealthy");
        let stopped = self.stop().await;
        TaskStatus {
            state: ObservedState::Failed,
            message: "stopped because it was unhealthy".to_owned(),
            error: format!("unhealthy: {why}"),
            health: watcher.said(),
            ..self.ended(end.await, Some(stopped))
        }
    }

    /// Lets a task that is sent work finish what it has: says that it is to be sent no more, and waits
    /// as long as its service asks for. Gives its end if that comes first.
    async fn drain(&self, watcher: &Watcher, end: &mut BoxFuture<'_, Exit>) -> Option<Exit> {
        if self.drain_delay.is_zero() || !watcher.drain() {
            return None;
        }
        tokio::time::timeout(self.drain_delay, end).await.ok()
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
            health: None,
        }
    }
}
