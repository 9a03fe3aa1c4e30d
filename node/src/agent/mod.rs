//! The agent: makes this node run what it was assigned, whether or not a leader can be reached.
//!
//! It keeps its assignments on disk before it acts on them, and decides nothing about other nodes.

pub mod board;
mod devices;
mod intake;
mod launch;
mod probe;
mod record;
pub mod resources;
pub mod session;
mod task;
#[cfg(test)]
mod tests;

pub(crate) use self::record::RECORD;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use swarm_model::assignment::{Assignment, AssignmentMessage};
use swarm_model::clock::Clock;
use swarm_model::id::{NodeId, TaskId};
use swarm_model::runtime::RuntimeSpec;
use swarm_model::task::TaskStatus;
use swarm_model::task_state::{DesiredState, ObservedState};
use swarm_model::view::View;
use swarm_net::task::TaskGroup;
use swarm_state::store::{AgentTable, AgentWrite};
use tokio::sync::{Semaphore, mpsc, watch};

use self::board::Board;
use self::record::Record;
use self::task::{Beginning, TaskActor};
use crate::offers::Devices;
use crate::runtime::{AdoptedState, Exit, Failure, Registry, Started, TaskRuntime};
use crate::work::Work;

/// Messages of the leader that may wait for the agent.
const INPUTS_MAX: usize = 64;
/// Ended tasks that may wait for the agent.
const ENDED_MAX: usize = 256;
/// How soon writes that failed are made up for.
const REWRITE: Duration = Duration::from_secs(5);
/// Ended tasks that are cleared away at the same time.
const CLEARED_AT_ONCE: usize = 8;
/// After a reboot: how long the leader may take to say what changed before the last assignments are
/// started as they were.
const LEADER_PATIENCE: Duration = Duration::from_secs(3);

/// What an agent is made from.
#[derive(Debug)]
pub struct Options {
    /// This node.
    pub node: NodeId,
    /// Its host name, for templates.
    pub hostname: String,
    /// Where assignments are kept.
    pub table: AgentTable,
    /// The devices that it hands out.
    pub devices: Devices,
    /// How tasks are run.
    pub runtimes: Registry,
    /// Where statuses go.
    pub board: Arc<Board>,
    /// The replica, for the contents of configs.
    pub views: watch::Receiver<Arc<View>>,
    /// For time stamps.
    pub clock: Arc<dyn Clock>,
    /// The owner of the actors.
    pub tasks: TaskGroup,
    /// Where the table is read and written.
    pub work: Work,
}

/// How an agent fails to start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its table does not read back.
    #[error("cannot read this node's assignments")]
    Table(#[from] swarm_state::store::Error),
    /// A record does not read back.
    #[error("the record of task {task} on this node is damaged")]
    Record {
        /// Whose.
        task: TaskId,
        /// What is wrong with it.
        #[source]
        source: swarm_net::frame::FrameError,
    },
    /// What runs already cannot be found out.
    #[error("cannot find out which tasks run already")]
    Adopt(#[source] Failure),
}

/// One task of this node.
#[derive(Debug)]
struct Entry {
    record: Record,
    life: Life,
    /// The leader has forgotten it: clean up when it has ended.
    forgotten: bool,
}

/// Where one task stands.
#[derive(Debug)]
enum Life {
    /// An actor lives; this tells it what is wanted.
    Live(watch::Sender<DesiredState>),
    /// After a restart: waits for the leader's word, or for the end of patience.
    Held(Beginning),
    /// It has ended.
    Ended,
}

/// Both ends of a channel.
type Pipe<T> = (mpsc::Sender<T>, mpsc::Receiver<T>);

/// The agent, before it runs.
#[derive(Debug)]
pub struct Agent {
    options: Options,
    entries: BTreeMap<TaskId, Entry>,
    /// Tasks whose record on the disk is not what is known of them, since a write failed.
    unwritten: BTreeSet<TaskId>,
    /// What runs beside an empty table, which may have been lost: the leader says whose it is.
    unclaimed: BTreeMap<TaskId, (Arc<dyn TaskRuntime>, AdoptedState)>,
    /// One permit for each task that is being cleared away.
    clearing: Arc<Semaphore>,
    ended: Pipe<(TaskId, TaskStatus)>,
    inputs: Pipe<AssignmentMessage>,
}

impl Agent {
    /// Takes up where the last life of the daemon stopped: running tasks are adopted at once.
    ///
    /// # Errors
    /// When the table or the runtimes cannot be read. Nothing was started or stopped then.
    pub async fn start(options: Options) -> Result<Self, Error> {
        let mut agent = Self {
            options,
            entries: BTreeMap::new(),
            unwritten: BTreeSet::new(),
            unclaimed: BTreeMap::new(),
            clearing: Arc::new(Semaphore::new(CLEARED_AT_ONCE)),
            ended: mpsc::channel(ENDED_MAX),
            inputs: mpsc::channel(INPUTS_MAX),
        };
        let records = agent.records().await?;
        let mut found = BTreeMap::new();
        for runtime in agent.options.runtimes.iter() {
            for adopted in runtime.adopt().await.map_err(Error::Adopt)? {
                found.insert(adopted.task, (runtime.clone(), adopted.state));
            }
        }
        if records.is_empty() {
            agent.unclaimed = found;
            return Ok(agent);
        }
        for (task, record) in records {
            let state = found.remove(&task).map(|(_, state)| state);
            agent.resume(task, record, state);
        }
        for (task, (runtime, _)) in found {
            agent.clear_stray(task, runtime).await;
        }
        Ok(agent)
    }

    /// Where the leader's messages go.
    pub fn inputs(&self) -> mpsc::Sender<AssignmentMessage> {
        self.inputs.0.clone()
    }

    async fn records(&self) -> Result<Vec<(TaskId, Record)>, Error> {
        let table = self.options.table.clone();
        let scanned = self.options.work.run(move || table.scan()).await?;
        let decode = |(task, bytes): (TaskId, Vec<u8>)| match Record::decode(&bytes) {
            Ok(record) => Ok((task, record)),
            Err(source) => Err(Error::Record { task, source }),
        };
        scanned.into_iter().map(decode).collect()
    }

    /// Goes on with one task of the last life.
    fn resume(&mut self, task: TaskId, record: Record, state: Option<AdoptedState>) {
        if let Some(end) = record.ended.clone() {
            self.options.board.post(task, end);
            self.entries.insert(task, Entry { record, life: Life::Ended, forgotten: false });
            return;
        }
        let beginning = self.beginning(state);
        let held = matches!(beginning, Beginning::Fresh | Beginning::Rebooted);
        self.entries.insert(task, Entry { record, life: Life::Held(beginning), forgotten: false });
        if !held {
            self.begin(task);
        }
    }

    /// What to do first with a task in the state in which its runtime found it.
    fn beginning(&self, state: Option<AdoptedState>) -> Beginning {
        match state {
            Some(AdoptedState::Running { pid, started_at }) => {
                Beginning::Running(Started { pid, at: started_at })
            }
            Some(AdoptedState::Exited(exit)) => Beginning::Ended(exit),
            Some(AdoptedState::Lost { rebooted: true }) => Beginning::Rebooted,
            Some(AdoptedState::Lost { rebooted: false }) => {
                let at = self.options.clock.now();
                Beginning::Ended(Exit { code: None, signal: None, oom_killed: false, at })
            }
            None => Beginning::Fresh,
        }
    }

    /// Ends what runs here without anybody having asked for it.
    async fn clear_stray(&self, task: TaskId, runtime: Arc<dyn TaskRuntime>) {
        tracing::warn!(task_id = %task, "ending a task that is not assigned to this node");
        let signal = swarm_model::runtime::Signal::KILL;
        let stopped = runtime.stop(task, signal, Duration::ZERO).await;
        if let Err(error) = stopped.and(runtime.remove(task).await) {
            tracing::warn!(task_id = %task, %error, "cannot clear the task away");
        }
    }

    /// Starts the actor of a held task.
    fn begin(&mut self, task: TaskId) {
        let Some(entry) = self.entries.get_mut(&task) else { return };
        let assignment = &entry.record.assignment;
        let (sender, desired) = watch::channel(assignment.desired);
        let Life::Held(beginning) = std::mem::replace(&mut entry.life, Life::Live(sender)) else {
            return;
        };
        let board = self.options.board.clone();
        let actor = self.options.actor(&entry.record, desired);
        let ended = self.ended.0.clone();
        let clock = self.options.clock.clone();
        let cancel = self.options.tasks.token();
        let life = async move {
            let end = match actor {
                Ok(actor) => actor.run(beginning).await,
                Err(reason) => {
                    let status = TaskStatus::new(ObservedState::Rejected, clock.now(), "rejected");
                    let status = TaskStatus { error: reason, ..status };
                    board.post(task, status.clone());
                    status
                }
            };
            // The agent is gone only when the daemon ends.
            drop(ended.send((task, end)).await);
        };
        // The daemon's end is not the task's: the next life adopts it.
        self.options.tasks.spawn("task actor", async move {
            cancel.run_until_cancelled(life).await.unwrap_or_default();
        });
    }

    /// Keeps how tasks ended, then clears away those that nobody asks for any more.
    async fn note_ended(&mut self, batch: Vec<(TaskId, TaskStatus)>) {
        let mut writes = Vec::new();
        let mut forgotten = Vec::new();
        for (task, end) in batch {
            let Some(entry) = self.entries.get_mut(&task) else { continue };
            entry.life = Life::Ended;
            entry.record.ended = Some(end);
            if entry.forgotten {
                forgotten.push(task);
            } else {
                writes.push(AgentWrite::Put(task, entry.record.encode()));
            }
        }
        self.write(writes).await;
        self.clear(forgotten).await;
    }

    /// Removes everything of ended tasks but their logs, while the agent goes on: a slow disk must
    /// not keep other tasks from being stopped.
    async fn clear(&mut self, tasks: Vec<TaskId>) {
        // First the record: a task that has ended must not start again after a restart.
        self.write(tasks.iter().copied().map(AgentWrite::Remove).collect()).await;
        for task in tasks {
            let Some(entry) = self.entries.remove(&task) else { continue };
            let Some(runtime) = self.options.runtime_of(&entry.record.assignment) else {
                self.options.board.forget(task);
                continue;
            };
            let (board, clearing) = (self.options.board.clone(), self.clearing.clone());
            let cancel = self.options.tasks.token();
            self.options.tasks.spawn("clearing", async move {
                // What a daemon that ends leaves, the next one finds: nobody is assigned it.
                let clear = async {
                    let _permit = clearing.acquire().await;
                    if let Err(error) = runtime.remove(task).await {
                        tracing::warn!(task_id = %task, %error, "cannot clear the ended task away");
                    }
                    board.forget(task);
                };
                cancel.run_until_cancelled(clear).await.unwrap_or_default();
            });
        }
    }

    /// Writes to the table. A full or broken disk must not stop what runs: it is said, and made up
    /// for by [`Agent::rewrite`].
    async fn write(&mut self, writes: Vec<AgentWrite>) -> bool {
        if writes.is_empty() {
            return true;
        }
        let tasks: Vec<TaskId> = writes.iter().map(task_of).collect();
        let table = self.options.table.clone();
        let written = self.options.work.run(move || table.apply(&writes)).await;
        for task in tasks {
            match &written {
                Ok(()) => self.unwritten.remove(&task),
                Err(_) => self.unwritten.insert(task),
            };
        }
        if let Err(error) = &written {
            tracing::error!(%error, "cannot keep assignments on disk");
        }
        written.is_ok()
    }

    /// Writes again what could not be written, as it is known now.
    async fn rewrite(&mut self) {
        let writes = self.unwritten.iter().map(|task| match self.entries.get(task) {
            Some(entry) => AgentWrite::Put(*task, entry.record.encode()),
            None => AgentWrite::Remove(*task),
        });
        let writes: Vec<_> = writes.collect();
        let count = writes.len();
        if self.write(writes).await {
            tracing::info!(count, "assignments are kept on disk again");
        }
    }
}

/// Whose record it changes.
fn task_of(write: &AgentWrite) -> TaskId {
    match write {
        AgentWrite::Put(task, _) | AgentWrite::Remove(task) => *task,
    }
}

impl Options {
    fn runtime_of(&self, assignment: &Assignment) -> Option<Arc<dyn TaskRuntime>> {
        self.runtimes.find(assignment.template.runtime.runtime())
    }

    fn actor(
        &self,
        record: &Record,
        desired: watch::Receiver<DesiredState>,
    ) -> Result<TaskActor, String> {
        let assignment = &record.assignment;
        let RuntimeSpec::Process(process) = &assignment.template.runtime;
        for config in &process.configs {
            if !record.configs.contains_key(&config.config) {
                return Err(format!("config {} has not reached this node", config.name));
            }
        }
        let name = assignment.template.runtime.runtime();
        let runtime =
            self.runtimes.find(name).ok_or_else(|| format!("this node cannot run {name} tasks"))?;
        let launch =
            launch::launch(record, self.node, &self.hostname).map_err(|error| error.to_string())?;
        let probes = launch::probes(assignment, self.node, &self.hostname)
            .map_err(|error| error.to_string())?;
        Ok(TaskActor {
            launch: Arc::new(launch),
            probes,
            drain_delay: Duration::from_millis(assignment.template.drain_delay_ms),
            grace: Duration::from_millis(assignment.template.stop_grace_ms),
            runtime,
            board: self.board.clone(),
            clock: self.clock.clone(),
            desired,
        })
    }
}
