//! One more program in a process task: what it shares with the task's own, and that nothing of it stays.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use swarm_model::id::TaskId;
use swarm_model::runtime::Namespace;
use swarm_node::chunk::{Chunk, Ended};
use swarm_node::runtime::{ExecRequest, ExecSession, TaskRuntime};

use bytes::Bytes;
use swarm_node::archive::{Naming, Transfer, pack};

use super::conformance::within;
use super::probes::{ends, long_sleep, sleepers, stays};
use super::{ProcessBench, draw, is_root, isolation, wait_until};

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
    let (task, own) = isolation::alone(&bench).await;
    assert_eq!(told(&bench, task, isolation::KINDS).await, (well(), own));
    ends(&bench, task).await;
}

/// What is said when a task's directory gets these bytes as an archive.
async fn copied(bench: &ProcessBench, task: TaskId, archive: &[u8]) -> (Ended, String) {
    let transfer = Transfer::Unpack { path: "/".to_owned(), naming: Naming::Kept };
    let session = within(bench.runtime.exec(task, ExecRequest::copy(transfer))).await.unwrap();
    let ExecSession { mut input, mut output } = session;
    for part in archive.chunks(4096) {
        input.send(&Chunk::Input(Bytes::copy_from_slice(part))).await.unwrap();
    }
    input.send(&Chunk::InputEnd).await.unwrap();
    let mut said = Vec::new();
    let ended = async {
        loop {
            match output.next().await.unwrap().expect("the last one is the end") {
                Chunk::Ended(ended) => return ended,
                Chunk::Errors(text) => said.extend_from_slice(&text),
                _ => {}
            }
        }
    };
    let ended = within(ended).await;
    (ended, String::from_utf8(said).unwrap())
}

#[tokio::test]
async fn an_archive_that_ends_early_is_said_and_waited_for_no_longer() {
    let bench = ProcessBench::new();
    let task = stays(&bench, &[]).await;
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join("file"), vec![7; 9000]).unwrap();
    let mut archive = Vec::new();
    pack(fs::File::open(home.path()).unwrap(), "file", &mut archive).unwrap();
    for cut in [0, 2000] {
        let (ended, said) = copied(&bench, task, &archive[..cut]).await;
        assert_eq!(ended.code, 1, "{said}");
        assert!(said.contains("the archive cannot be read"), "{cut}: {said}");
    }
    assert_eq!(copied(&bench, task, &archive).await, (well(), String::new()));
    assert_eq!(fs::read(bench.work(task).join("file")).unwrap().len(), 9000);
    ends(&bench, task).await;
}

/// What one of a task's processes does, as soon as there is one.
async fn process(bench: &ProcessBench, task: TaskId, command: &str) -> u32 {
    within(async {
        loop {
            let mut all = bench.runtime.processes(vec![task]).await;
            let all = all.remove(&task).expect("it is known").expect("it runs");
            if let Some(found) = all.iter().find(|it| it.command.contains(command)) {
                return found.pid;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
}

#[tokio::test]
async fn what_runs_beside_the_task_s_program_is_one_of_its_processes() {
    for bench in [ProcessBench::new(), ProcessBench::without_cgroup()] {
        let task = stays(&bench, &[]).await;
        let seconds = long_sleep();
        let asked = ExecRequest::run(["sleep", &seconds]);
        let session = within(bench.runtime.exec(task, asked)).await.unwrap();
        process(&bench, task, &format!("sleep {seconds}")).await;
        drop(session);
        let known = within(bench.runtime.processes(vec![draw(), task])).await;
        assert_eq!(known.into_keys().collect::<Vec<_>>(), [task], "one is no task of it");
        ends(&bench, task).await;
    }
}

#[tokio::test]
async fn who_copies_has_nothing_open_of_who_keeps_it() {
    let bench = ProcessBench::new();
    let task = stays(&bench, &[]).await;
    let transfer = Transfer::Unpack { path: "/".to_owned(), naming: Naming::Kept };
    let session = within(bench.runtime.exec(task, ExecRequest::copy(transfer))).await.unwrap();
    let fds = format!("/proc/{}/fd", process(&bench, task, "task-exec").await);
    let work = bench.work(task);
    let open = || {
        let entries = fs::read_dir(&fds).into_iter().flatten().flatten();
        entries.flat_map(|entry| fs::read_link(entry.path())).collect::<BTreeSet<_>>()
    };
    wait_until("it has three pipes and the directory", || {
        let open = open();
        let pipes = open.iter().filter(|it| it.to_string_lossy().starts_with("pipe:"));
        pipes.count() == 3 && open.len() == 4 && open.contains(&work)
    })
    .await;
    drop(session);
    ends(&bench, task).await;
}
