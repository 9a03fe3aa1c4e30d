//! Tasks with private namespaces.

use std::fs;
use std::sync::Arc;

use conformance::{begin, within};
use swarm_model::id::TaskId;
use swarm_model::runtime::{Namespace, Signal};
use swarm_node::logs::LogStream;
use swarm_node::runtime::{Failure, Launch, TaskRuntime};

use super::{GRACE, ProcessBench, conformance, is_alive, is_root, kill, shell, wait_until};

pub(super) fn apart(namespaces: impl IntoIterator<Item = Namespace>, script: &str) -> Launch {
    Launch { namespaces: namespaces.into_iter().collect(), ..shell(script) }
}

fn own(kind: &str) -> String {
    fs::read_link(format!("/proc/self/ns/{kind}")).unwrap().display().to_string()
}

/// Tells the namespaces that a program is in, one a line.
pub(super) const KINDS: &str = "for kind in mnt pid net ipc; do readlink /proc/self/ns/$kind; done";

/// A task that has all of them for itself and stays; and which these are. Its file `ns` tells the same.
pub(super) async fn alone(bench: &ProcessBench) -> (TaskId, String) {
    let script = format!("({KINDS}) > ns; exec sleep 1000");
    let launch = apart(Namespace::ALL, &script);
    let task = launch.task;
    begin(&*bench.runtime, launch).await;
    let file = bench.work(task).join("ns");
    let own = || fs::read_to_string(&file).unwrap_or_default();
    wait_until("it told its own", || own().lines().count() == 4).await;
    (task, own())
}

#[tokio::test]
async fn a_task_shares_what_it_does_not_ask_for_and_nothing_else() {
    if !is_root() {
        return;
    }
    let bench = ProcessBench::new();
    let shared = ["mnt", "pid", "net", "ipc"].map(own);
    assert_eq!(bench.script(shell(KINDS)).await, shared);
    let all = bench.script(apart(Namespace::ALL, KINDS)).await;
    assert!(all.iter().zip(&shared).all(|(seen, shared)| seen != shared), "{all:?}");
    let net = bench.script(apart([Namespace::Net], KINDS)).await;
    assert_eq!((&net[..2], &net[3], net[2] != shared[2]), (&shared[..2], &shared[3], true));
}

#[tokio::test]
async fn a_private_network_is_a_loopback_that_is_up() {
    if !is_root() {
        return;
    }
    let bench = ProcessBench::new();
    let script =
        "grep -c : /proc/self/net/dev; grep -q 127.0.0.1 /proc/self/net/fib_trie && echo up";
    assert_eq!(bench.script(apart([Namespace::Net], script)).await, ["1", "up"]);
}

#[tokio::test]
async fn what_is_mounted_in_a_task_is_not_mounted_on_the_machine() {
    if !is_root() {
        return;
    }
    let bench = ProcessBench::new();
    // Never on the machine, should it be shared after all.
    let script = format!(
        "[ $(readlink /proc/self/ns/mnt) != {} ] && mount -t tmpfs mine . && \
         grep -c ^mine /proc/self/mounts; grep -c ^mine /proc/$PPID/mounts",
        own("mnt")
    );
    let launch = apart([Namespace::Mount], &script);
    let task = launch.task;
    bench.run(launch).await;
    assert_eq!(bench.output(task, LogStream::Stdout).await, ["1", "0"]);
}

#[tokio::test]
async fn a_task_with_its_own_processes_sees_no_others_and_hears_signals() {
    if !is_root() {
        return;
    }
    let bench = ProcessBench::new();
    let few = "ls /proc | grep -c '^[0-9]'; cat /proc/1/comm; kill -0 $$ && echo self";
    let lines = bench.script(apart([Namespace::Pid], few)).await;
    assert!(lines[0].parse::<u32>().unwrap() < 8, "{lines:?}");
    assert_eq!(lines[1..], ["task-init", "self"]);
    // No handler: the first process of a namespace would not hear it.
    let launch = apart([Namespace::Pid], "echo up; exec sleep 1000");
    let task = launch.task;
    begin(&*bench.runtime, launch).await;
    bench.first_line(task).await;
    within(bench.runtime.stop(task, Signal::TERM, GRACE)).await.unwrap();
    assert_eq!(within(bench.runtime.wait(task)).await.signal, Some(Signal::TERM.number()));
}

/// A pid of the machine of what runs `sleep` with this argument.
fn asleep(argument: &str) -> Option<String> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let mut pids = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let command = format!("sleep\0{argument}\0");
    pids.find(|pid| {
        fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line == command.as_bytes())
    })
}

#[tokio::test]
async fn all_processes_of_a_private_namespace_end_with_its_program_or_its_supervisor() {
    if !is_root() {
        return;
    }
    for (number, bench) in
        [ProcessBench::new(), ProcessBench::without_cgroup()].into_iter().enumerate()
    {
        // Its name is forgotten and its environment empty: only the namespace holds it.
        let (left, killed) =
            (format!("{}.{number}1", base(&bench)), format!("{}.{number}2", base(&bench)));
        let hide = |name: &str| format!("env -i setsid sleep {name} >/dev/null 2>&1 & sleep 0.1");
        assert_eq!(bench.run(apart([Namespace::Pid], &hide(&left))).await.code, Some(0));
        assert_eq!(asleep(&left), None);
        let script = format!("{}; echo up; sleep 1000", hide(&killed));
        let launch = apart([Namespace::Pid], &script);
        let task = launch.task;
        begin(&*bench.runtime, launch).await;
        bench.first_line(task).await;
        let hidden = asleep(&killed).expect("it sleeps");
        kill(&supervisor_of(&bench, task), Signal::KILL);
        wait_until("it ended without any daemon", || !is_alive(&hidden)).await;
        assert!(within(bench.runtime.wait(task)).await.is_lost());
    }
}

/// Sleeps of one test are told from those of others.
fn base(bench: &ProcessBench) -> String {
    format!("{}", 1_000_000 + bench.base % 1_000_000)
}

fn supervisor_of(bench: &ProcessBench, task: TaskId) -> String {
    let start = bench.home.path().join("tasks").join(task.to_string()).join("start");
    let text = fs::read_to_string(start).unwrap();
    let (_, after) = text.split_once("\"supervisor\":{\"pid\":").unwrap();
    after.chars().take_while(char::is_ascii_digit).collect()
}

#[tokio::test]
async fn without_root_a_pid_namespace_is_refused_and_says_so() {
    if is_root() {
        return;
    }
    let bench = ProcessBench::new();
    let launch = Arc::new(apart([Namespace::Pid], "true"));
    let failure = within(bench.runtime.prepare(launch)).await.unwrap_err();
    assert!(matches!(failure, Failure::NotIsolated { .. }) && failure.is_permanent(), "{failure}");
}
