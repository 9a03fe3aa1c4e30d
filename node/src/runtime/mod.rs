//! How tasks run: the [`TaskRuntime`] port and its adapters.
//!
//! Deciding what runs, when and how often is not done here; a runtime starts one program once and
//! tells how it ended.

pub(crate) mod cgroup;
mod exec;
mod failure;
mod launch;
mod mock;
mod outcome;
mod probe;
pub mod process;
mod registry;
mod sample;

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use swarm_model::id::TaskId;
use swarm_model::probe::Check;
use swarm_model::runtime::Signal;
use tokio::net::TcpStream;

pub use exec::{Errand, ExecInput, ExecOutput, ExecRequest, ExecSession};
pub use failure::Failure;
pub use launch::{ConfigFile, Launch};
pub use mock::{Behaviour, Condition, MockEvent, MockEventKind, MockRuntime};
pub use outcome::{Adopted, AdoptedState, Exit, Started};
pub use probe::Answer;
pub use process::{ProcessConfig, ProcessRuntime};
pub use registry::Registry;
pub use sample::{ProcessSample, Samples};

/// Runs tasks in one way (a process, a container, …). Calls for one task come one after another,
/// except that `wait` may overlap with `signal`, `probe` and `stop`, and probes with each other.
///
/// Order: `prepare`, `start`, `wait` (beside it `signal`, `stop`), `remove`. After a restart of the
/// daemon: `adopt` first, then go on from the state that it tells.
pub trait TaskRuntime: Send + Sync + Debug + 'static {
    /// What `--runtime` calls it.
    fn name(&self) -> &'static str;

    /// Checks that the task can run here and makes what it needs. Starts nothing.
    ///
    /// # Errors
    /// What is missing; nothing is left behind then.
    fn prepare(&self, launch: Arc<Launch>) -> BoxFuture<'static, Result<(), Failure>>;

    /// Starts the prepared task; done when the program itself runs (not when it is healthy).
    ///
    /// # Errors
    /// Nothing runs then. A second start of a task is [`Failure::AlreadyStarted`].
    ///
    /// # Cancel safety
    /// A dropped start may still happen: `wait` or `stop` the task afterwards.
    fn start(&self, launch: Arc<Launch>) -> BoxFuture<'static, Result<Started, Failure>>;

    /// Waits until the whole task has ended. May be called again, and by several at once; a task
    /// that is unknown or was never started counts as lost at once.
    ///
    /// # Cancel safety
    /// Safe.
    fn wait(&self, task: TaskId) -> BoxFuture<'static, Exit>;

    /// Sends `signal` to the task's program (not to its children). A task that has ended is fine.
    ///
    /// # Errors
    /// When the task is unknown or the system refuses.
    fn signal(&self, task: TaskId, signal: Signal) -> BoxFuture<'static, Result<(), Failure>>;

    /// Asks the running task whether it is well. Comes to an answer `within` that time, or soon after it.
    ///
    /// # Cancel safety
    /// Safe: what a dropped probe has started is killed. It is over when the task has ended, at the
    /// latest.
    fn probe(
        &self,
        task: TaskId,
        check: Arc<Check>,
        within: Duration,
    ) -> BoxFuture<'static, Answer>;

    /// Sends `signal`, waits up to `grace`, then kills everything that the task has started.
    /// Returns when the whole task has ended; one that has ended before is fine.
    ///
    /// # Errors
    /// When the task is unknown or cannot be killed.
    ///
    /// # Cancel safety
    /// A dropped stop may have sent the signal but will not kill: call it again.
    fn stop(
        &self,
        task: TaskId,
        signal: Signal,
        grace: Duration,
    ) -> BoxFuture<'static, Result<(), Failure>>;

    /// Removes what an ended (or never started) task leaves but its logs. Unknown tasks are fine.
    ///
    /// # Errors
    /// [`Failure::StillRunning`], or what could not be removed.
    fn remove(&self, task: TaskId) -> BoxFuture<'static, Result<(), Failure>>;

    /// Finds the tasks of earlier lives of the daemon; called once, before anything else.
    ///
    /// # Errors
    /// When the runtime's directory cannot be read.
    fn adopt(&self) -> BoxFuture<'static, Result<Vec<Adopted>, Failure>>;

    /// What the processes of running tasks use now, in one look for all of them. Tasks that it does not know
    /// are left out; [`Failure::Unsupported`] where tasks have no processes.
    fn processes(&self, tasks: Vec<TaskId>) -> BoxFuture<'static, Samples> {
        let runtime = self.name();
        let refused = move |task| (task, Err(Failure::Unsupported { what: "top", runtime }));
        Box::pin(async move { tasks.into_iter().map(refused).collect() })
    }

    /// A connection to `port` of a running task, in the task's own network; it comes within three seconds.
    ///
    /// # Errors
    /// [`Failure::NotListening`], or why it does not accept.
    fn connect(&self, task: TaskId, port: u16) -> BoxFuture<'static, Result<TcpStream, Failure>> {
        let (_inside, runtime) = ((task, port), self.name());
        Box::pin(async move { Err(Failure::Unsupported { what: "forward", runtime }) })
    }

    /// Does one more thing inside of a running task. It ends with the task, and with the session.
    ///
    /// # Errors
    /// Why it was not begun; [`Failure::Unsupported`] where tasks have no inside.
    fn exec(
        &self,
        task: TaskId,
        request: ExecRequest,
    ) -> BoxFuture<'static, Result<ExecSession, Failure>> {
        let _inside = (task, request);
        let runtime = self.name();
        Box::pin(async move { Err(Failure::Unsupported { what: "exec", runtime }) })
    }
}
