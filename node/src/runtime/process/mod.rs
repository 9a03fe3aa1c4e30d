//! Tasks as programs of the host: each in its own session and cgroup, under a supervisor that
//! outlives the daemon.
//!
//! The daemon keeps nothing in memory that the run directories do not tell; so a restarted daemon
//! goes on as if it had started the tasks itself. See docs/design/runtime.md.

mod account;
mod census;
mod config;
mod control;
mod copy;
mod descriptors;
mod exec;
mod files;
pub(crate) mod fuzz;
mod isolate;
mod keeper;
mod launcher;
mod listening;
mod prepare;
mod probe;
mod prober;
mod processes;
mod pump;
mod record;
mod relay;
mod report;
mod resolve;
mod spawn;
pub mod supervisor;
mod terminal;
mod usage;
mod watch;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Child;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt};
use swarm_model::id::TaskId;
use swarm_model::probe::Check;
use swarm_model::runtime::Signal;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use self::record::RunDir;
use super::cgroup::Cgroups;
use super::{
    Adopted, Answer, ExecRequest, ExecSession, Exit, Failure, Launch, Samples, Started, TaskRuntime,
};
pub use config::ProcessConfig;

/// Starts that go on at once: more only queue in the kernel, on a thread each.
const CONCURRENT_STARTS: usize = 8;

/// Runs tasks as processes.
#[derive(Debug)]
pub struct ProcessRuntime {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    config: ProcessConfig,
    cgroups: OnceLock<Cgroups>,
    starts: Semaphore,
    /// Looks at the machine's processes: one at a time, however many ask.
    looks: Semaphore,
    /// Supervisors that are children of this process, to be reaped.
    children: Mutex<BTreeMap<TaskId, Child>>,
}

impl ProcessRuntime {
    /// With these settings. Touches nothing yet.
    pub fn new(config: ProcessConfig) -> Self {
        let (cgroups, children) = Default::default();
        let (starts, looks) = (Semaphore::new(CONCURRENT_STARTS), Semaphore::new(1));
        Self { inner: Arc::new(Inner { config, cgroups, starts, looks, children }) }
    }

    fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> Result<T, Failure> + Send + 'static,
    ) -> BoxFuture<'static, Result<T, Failure>> {
        let inner = Arc::clone(&self.inner);
        blocking(move || work(&inner)).boxed()
    }
}

impl Inner {
    fn run_dir(&self, task: TaskId) -> RunDir {
        RunDir::new(self.config.root.join(task.to_string()))
    }

    fn files_dir(&self, task: TaskId) -> PathBuf {
        self.config.files.join(format!("{task}.configs"))
    }

    fn cgroups(&self) -> &Cgroups {
        self.cgroups.get_or_init(|| Cgroups::probe(&self.config.cgroup))
    }

    fn keep(&self, task: TaskId, child: Child) {
        self.children.lock().unwrap_or_else(PoisonError::into_inner).insert(task, child);
    }

    /// Collects the supervisor's end, if it is a child of this process. It ends within moments.
    fn reap(&self, task: TaskId) {
        let child = self.children.lock().unwrap_or_else(PoisonError::into_inner).remove(&task);
        if let Some(mut child) = child {
            child.wait().ok();
        }
    }

    fn lost(&self) -> Exit {
        Exit { code: None, signal: None, oom_killed: false, at: self.config.clock.now() }
    }
}

impl TaskRuntime for ProcessRuntime {
    fn name(&self) -> &'static str {
        "process"
    }

    fn prepare(&self, launch: Arc<Launch>) -> BoxFuture<'static, Result<(), Failure>> {
        self.run(move |inner| prepare::prepare(inner, &launch))
    }

    fn start(&self, launch: Arc<Launch>) -> BoxFuture<'static, Result<Started, Failure>> {
        let inner = Arc::clone(&self.inner);
        async move {
            let starting = Arc::clone(&inner);
            // Never closed; without a permit it would only be less gentle.
            let _permit = inner.starts.acquire().await.ok();
            blocking(move || launcher::start(&starting, launch.task)).await
        }
        .boxed()
    }

    fn wait(&self, task: TaskId) -> BoxFuture<'static, Exit> {
        watch::wait(Arc::clone(&self.inner), task).boxed()
    }

    fn signal(&self, task: TaskId, signal: Signal) -> BoxFuture<'static, Result<(), Failure>> {
        self.run(move |inner| control::signal(inner, task, signal))
    }

    fn probe(
        &self,
        task: TaskId,
        check: Arc<Check>,
        within: Duration,
    ) -> BoxFuture<'static, Answer> {
        probe::probe(Arc::clone(&self.inner), task, check, within).boxed()
    }

    fn stop(
        &self,
        task: TaskId,
        signal: Signal,
        grace: Duration,
    ) -> BoxFuture<'static, Result<(), Failure>> {
        control::stop(Arc::clone(&self.inner), task, signal, grace).boxed()
    }

    fn remove(&self, task: TaskId) -> BoxFuture<'static, Result<(), Failure>> {
        self.run(move |inner| control::remove(inner, task))
    }

    fn adopt(&self) -> BoxFuture<'static, Result<Vec<Adopted>, Failure>> {
        self.run(control::adopt)
    }

    fn processes(&self, tasks: Vec<TaskId>) -> BoxFuture<'static, Samples> {
        let inner = Arc::clone(&self.inner);
        async move {
            let looking = Arc::clone(&inner);
            // Never closed; without a permit it would only be less gentle.
            let _permit = inner.looks.acquire().await.ok();
            let sampled = blocking(move || Ok(usage::sample(&looking, &tasks))).await;
            // Nothing is known when the daemon ends meanwhile.
            sampled.unwrap_or_default()
        }
        .boxed()
    }

    fn connect(&self, task: TaskId, port: u16) -> BoxFuture<'static, Result<TcpStream, Failure>> {
        listening::connect(Arc::clone(&self.inner), task, port).boxed()
    }

    fn exec(
        &self,
        task: TaskId,
        request: ExecRequest,
    ) -> BoxFuture<'static, Result<ExecSession, Failure>> {
        exec::exec(Arc::clone(&self.inner), task, request).boxed()
    }
}

/// Runs blocking work on the runtime's threads for it.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => {
            let source = std::io::Error::other(error);
            Err(Failure::io("finish before the daemon's end".to_owned(), source))
        }
    }
}
