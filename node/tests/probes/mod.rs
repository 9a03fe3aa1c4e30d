//! Commands that ask a process task how it is: they run as a part of it, and leave nothing behind.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use swarm_model::id::TaskId;
use swarm_model::probe::{Check, PROBE_TEXT_MAX};
use swarm_model::runtime::{Namespace, Signal};
use swarm_node::runtime::{Answer, Launch, TaskRuntime};
use tokio::time::Instant;

use super::conformance::{DEADLINE, begin, within};
use super::{GRACE, ProcessBench, draw, is_root, isolation, shell, wait_until};

/// A task that stays, and its id.
pub(super) async fn stays(bench: &ProcessBench, namespaces: &[Namespace]) -> TaskId {
    started(bench, isolation::apart(namespaces.iter().copied(), "exec sleep 1000")).await
}

pub(super) async fn started(bench: &ProcessBench, launch: Launch) -> TaskId {
    let task = launch.task;
    begin(&*bench.runtime, launch).await;
    task
}

fn script(text: &str) -> Arc<Check> {
    Arc::new(Check::Command(vec!["/bin/sh".to_owned(), "-c".to_owned(), text.to_owned()]))
}

async fn asked(bench: &ProcessBench, task: TaskId, text: &str) -> Answer {
    within(bench.runtime.probe(task, script(text), DEADLINE)).await
}

fn failed(answer: Answer) -> String {
    match answer {
        Answer::Failed(why) => why,
        other => unreachable!("not failed: {other:?}"),
    }
}

pub(super) async fn ends(bench: &ProcessBench, task: TaskId) {
    within(bench.runtime.stop(task, Signal::KILL, GRACE)).await.unwrap();
    within(bench.runtime.wait(task)).await;
    within(bench.runtime.remove(task)).await.unwrap();
}

/// A number of seconds that nobody else sleeps for.
pub(super) fn long_sleep() -> String {
    (1_000_000_000 + draw().raw() % 1_000_000_000).to_string()
}

/// How many processes sleep for so long.
pub(super) fn sleepers(seconds: &str) -> usize {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let command = |entry: fs::DirEntry| fs::read(entry.path().join("cmdline")).unwrap_or_default();
    let expect = format!("sleep\0{seconds}\0");
    processes
        .filter(|entry| entry.file_name().to_string_lossy().parse::<u32>().is_ok())
        .map(command)
        .filter(|line| line.ends_with(expect.as_bytes()))
        .count()
}

/// Starts what a command would leave behind: children, grandchildren, one in a session of its own.
fn hanging(seconds: &str) -> String {
    format!(
        "(sleep {seconds} & sleep {seconds}) & setsid sleep {seconds} & \
         trap '' TERM; echo stuck; sleep {seconds}; true"
    )
}

#[tokio::test]
async fn a_command_tells_by_its_exit_code_and_the_first_of_its_output() {
    let bench = ProcessBench::new();
    let task = stays(&bench, &[]).await;
    assert_eq!(asked(&bench, task, "echo fine").await, Answer::Passed);
    let why = failed(asked(&bench, task, "echo cannot; echo connect >&2; exit 7").await);
    assert_eq!(why, "exit code 7: cannot connect");
    assert_eq!(failed(asked(&bench, task, "kill -9 $$").await), "ended by SIGKILL");
    let flood = "head -c 10000000 /dev/zero | tr '\\0' x; exit 1";
    let why = failed(asked(&bench, task, flood).await);
    assert!(why.len() <= PROBE_TEXT_MAX && why.starts_with("exit code 1: xxx"), "{why}");
    let closed = "exec >&- 2>&-; sleep 0.2; exit 4";
    assert_eq!(failed(asked(&bench, task, closed).await), "exit code 4");
    let missing = Arc::new(Check::Command(vec!["no-such-probe-here".to_owned()]));
    let why = failed(within(bench.runtime.probe(task, missing, DEADLINE)).await);
    assert!(why.contains("no-such-probe-here not found"), "{why}");
    ends(&bench, task).await;
}

#[tokio::test]
async fn a_command_runs_as_a_part_of_its_task() {
    let bench = ProcessBench::new();
    let mut launch = shell("touch here; exec sleep 1000");
    launch.env = vec![("COLOUR".to_owned(), "blue".to_owned())];
    if is_root() {
        launch.user = Some("1234:1234".to_owned());
    }
    let task = started(&bench, launch).await;
    let here = bench.work(task).join("here");
    wait_until("it touched its file", || here.exists()).await;
    assert_eq!(asked(&bench, task, "test -e here && test $COLOUR = blue").await, Answer::Passed);
    if is_root() {
        assert_eq!(asked(&bench, task, "test $(id -u) = 1234").await, Answer::Passed);
        let group = format!("grep -q {task} /proc/self/cgroup");
        assert_eq!(asked(&bench, task, &group).await, Answer::Passed);
    }
    ends(&bench, task).await;
}

async fn leaves_nothing(bench: ProcessBench, namespaces: &[Namespace]) {
    let task = stays(&bench, namespaces).await;
    let seconds = long_sleep();
    let short = Duration::from_millis(300);
    let began = Instant::now();
    let answer = within(bench.runtime.probe(task, script(&hanging(&seconds)), short)).await;
    assert_eq!(failed(answer), "no answer within 300ms: stuck");
    assert!(began.elapsed() >= short);
    assert_eq!(sleepers(&seconds), 0, "what it started runs on");
    // Nothing but the probe was killed.
    assert_eq!(asked(&bench, task, "exit 0").await, Answer::Passed);
    // What it leaves though it is well is no part of the task either.
    let leaves = format!("setsid sleep {seconds} >/dev/null 2>&1 & exit 0");
    assert_eq!(asked(&bench, task, &leaves).await, Answer::Passed);
    assert_eq!(sleepers(&seconds), 0, "what it left runs on");
    ends(&bench, task).await;
}

#[tokio::test]
async fn a_command_that_hangs_is_killed_with_all_that_it_started() {
    leaves_nothing(ProcessBench::new(), &[]).await;
}

#[tokio::test]
async fn so_it_is_where_there_are_no_groups() {
    leaves_nothing(ProcessBench::without_cgroup(), &[]).await;
}

#[tokio::test]
async fn so_it_is_where_the_task_has_its_own_processes() {
    if is_root() {
        leaves_nothing(ProcessBench::new(), &[Namespace::Pid]).await;
    }
}

#[tokio::test]
async fn a_command_joins_the_namespaces_of_its_task() {
    if !is_root() {
        return;
    }
    let bench = ProcessBench::new();
    let (task, _own) = isolation::alone(&bench).await;
    let same = format!("[ \"$({})\" = \"$(cat ns)\" ]", isolation::KINDS);
    assert_eq!(asked(&bench, task, &same).await, Answer::Passed);
    ends(&bench, task).await;
}

#[tokio::test]
async fn a_probe_that_nobody_waits_for_ends_and_does_not_hold_up_the_task_s_end() {
    for bench in [ProcessBench::new(), ProcessBench::without_cgroup()] {
        let task = stays(&bench, &[]).await;
        let seconds = long_sleep();
        let probe = bench.runtime.probe(task, script(&hanging(&seconds)), DEADLINE);
        tokio::select! {
            answer = probe => unreachable!("it hangs: {answer:?}"),
            () = wait_until("it hangs", || sleepers(&seconds) == 4) => {}
        }
        ends(&bench, task).await;
        wait_until("it was ended", || sleepers(&seconds) == 0).await;
    }
}

#[tokio::test]
async fn the_task_s_end_is_that_of_its_probe() {
    let bench = ProcessBench::new();
    let task = stays(&bench, &[]).await;
    let seconds = long_sleep();
    let probe = bench.runtime.probe(task, script(&hanging(&seconds)), DEADLINE);
    let stop = async {
        wait_until("it hangs", || sleepers(&seconds) == 4).await;
        within(bench.runtime.stop(task, Signal::KILL, GRACE)).await.unwrap();
    };
    let (answer, ()) = within(futures::future::join(probe, stop)).await;
    if is_root() {
        assert_eq!(failed(answer), "ended by SIGKILL: stuck");
    }
    wait_until("it was ended", || sleepers(&seconds) == 0).await;
    within(bench.runtime.wait(task)).await;
    within(bench.runtime.remove(task)).await.unwrap();
    let answer = asked(&bench, task, "true").await;
    assert!(matches!(answer, Answer::Unknown(_)), "{answer:?}");
}
