//! One more program in a process task: what it shares with the task's own, and that nothing of it stays.

use std::fs;

use swarm_model::id::TaskId;
use swarm_model::runtime::Namespace;
use swarm_node::chunk::{Chunk, Ended};
use swarm_node::runtime::{ExecRequest, ExecSession, TaskRuntime};

use super::conformance::within;
use super::probes::{ends, long_sleep, sleepers, started, stays};
use super::{ProcessBench, is_root, isolation, wait_until};

/// How a script in the task ended, and the first of its output.
async fn told(bench: &ProcessBench, task: TaskId, script: &str) -> (Ended, String) {
    let asked = ExecRequest::run(["/bin/sh", "-c", script]);
    let session = within(bench.runtime.exec(task, asked)).await.unwrap();
    let ExecSession { input: _held, mut output } = session;
    let mut said = Vec::new();
    let ended = async {
        loop {
            match output.next().await.unwrap().expect("the last one is the end") {
                Chunk::Ended(ended) => return ended,
                Chunk::Output(data) if said.len() < 4096 => said.extend_from_slice(&data),
                _ => {}
            }
        }
    };
    let ended = within(ended).await;
    (ended, String::from_utf8(said).unwrap())
}

fn well() -> Ended {
    Ended { code: 0, message: String::new() }
}

/// The groups of its own that a task has for parts of it.
fn parts(task: TaskId) -> Vec<String> {
    let groups = fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten();
    let of_task = groups.map(|group| group.path().join("swarm-test").join(task.to_string()));
    let within = of_task.flat_map(fs::read_dir).flatten().flatten();
    let names = within.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| name.starts_with("exec-") || name.starts_with("probe-")).collect()
}

async fn leaves_nothing(bench: ProcessBench, namespaces: &[Namespace]) {
    let task = stays(&bench, namespaces).await;
    let seconds = long_sleep();
    let leaves = format!("(sleep {seconds} &); setsid sleep {seconds} >/dev/null 2>&1 & exit 0");
    assert_eq!(told(&bench, task, &leaves).await.0, well());
    assert_eq!(sleepers(&seconds), 0, "what it left runs on");
    // What goes on writing does not hold up the end.
    assert_eq!(told(&bench, task, "(yes &); exit 0").await.0, well());
    assert_eq!(parts(task), [""; 0]);
    // Nothing but that was killed.
    assert_eq!(told(&bench, task, "echo on").await, (well(), "on\n".to_owned()));
    ends(&bench, task).await;
}

#[tokio::test]
async fn what_a_program_leaves_ends_with_it() {
    leaves_nothing(ProcessBench::new(), &[]).await;
    leaves_nothing(ProcessBench::without_cgroup(), &[]).await;
}

#[tokio::test]
async fn so_it_does_where_the_task_has_its_own_processes() {
    if is_root() {
        leaves_nothing(ProcessBench::new(), &[Namespace::Pid]).await;
    }
}

#[tokio::test]
async fn what_nothing_can_be_found_by_does_not_hold_up_the_end() {
    if !is_root() {
        return;
    }
    let bench = ProcessBench::without_cgroup();
    let task = stays(&bench, &[Namespace::Pid]).await;
    assert_eq!(told(&bench, task, "(setsid yes &); exit 0").await.0, well());
    ends(&bench, task).await;
}

#[tokio::test]
async fn the_task_s_namespaces_are_the_program_s() {
    if !is_root() {
        return;
    }
    let bench = ProcessBench::new();
    let script = format!("({}) > ns; exec sleep 1000", isolation::KINDS);
    let task = started(&bench, isolation::apart(Namespace::ALL, &script)).await;
    let file = bench.home.path().join("tasks").join(task.to_string()).join("work/ns");
    let own = || fs::read_to_string(&file).unwrap_or_default();
    wait_until("it told its own", || own().lines().count() == 4).await;
    assert_eq!(told(&bench, task, isolation::KINDS).await, (well(), own()));
    ends(&bench, task).await;
}
