//! The smallest binary that can supervise tasks: what tests use in place of `swarm`.
//!
//! `task_supervisor daemon HOME TASK COMMAND…` is the smallest daemon: it starts one task and waits.
#![expect(clippy::unwrap_used, reason = "it serves tests only, which see it fail")]

use std::process::ExitCode;
use std::sync::Arc;

use swarm_model::clock::Clock;
use swarm_model::units::Timestamp;
use swarm_node::logs::LogStore;
use swarm_node::runtime::process::supervisor;
use swarm_node::runtime::{Launch, ProcessConfig, ProcessRuntime, TaskRuntime};

#[derive(Debug)]
struct Fixed;

impl Clock for Fixed {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(1)
    }
}

fn main() -> ExitCode {
    supervisor::run_if_asked(std::env::args_os()).unwrap_or_else(daemon)
}

fn daemon() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, _, home, task, command @ ..] = &arguments[..] else { return ExitCode::FAILURE };
    let launch = Arc::new(Launch::new(task.parse().unwrap(), command));
    let logs = LogStore::open(format!("{home}/logs")).unwrap();
    let defaults = ProcessConfig::new(home.as_ref(), logs, Arc::new(Fixed));
    let runtime = ProcessRuntime::new(ProcessConfig { cgroup: "swarm-test".into(), ..defaults });
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        runtime.prepare(Arc::clone(&launch)).await.unwrap();
        runtime.start(Arc::clone(&launch)).await.unwrap();
        runtime.wait(launch.task).await;
    });
    ExitCode::SUCCESS
}
