//! Real processes under real supervisors: the rules of all runtimes, and what is a process's own.
#![expect(clippy::unwrap_used, reason = "tests end at the first surprise")]

mod conformance;
mod execs;
#[path = "process_runtime/isolation.rs"]
mod isolation;
mod probes;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use conformance::{Bench, DEADLINE, begin, within};
use futures::StreamExt;
use swarm_model::clock::Clock;
use swarm_model::id::TaskId;
use swarm_model::resources::Limits;
use swarm_model::runtime::Signal;
use swarm_model::units::{Bytes, MilliCpu, Timestamp};
use swarm_node::logs::{LogQuery, LogStore, LogStream};
use swarm_node::runtime::{
    AdoptedState, ConfigFile, Exit, Failure, Launch, ProcessConfig, ProcessRuntime, TaskRuntime,
};

const GRACE: Duration = Duration::from_secs(10);

#[derive(Debug)]
struct Fixed;

impl Clock for Fixed {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(1)
    }
}

struct ProcessBench {
    home: tempfile::TempDir,
    /// Tests share the machine's cgroups, so ids are drawn.
    base: u128,
    logs: LogStore,
    runtime: Arc<ProcessRuntime>,
    cgroup: &'static str,
}

impl ProcessBench {
    fn new() -> Self {
        Self::with_cgroup("swarm-test")
    }

    /// As on a machine where no cgroup is writable.
    fn without_cgroup() -> Self {
        Self::with_cgroup("no/such/parent")
    }

    fn with_cgroup(cgroup: &'static str) -> Self {
        let home = tempfile::tempdir().unwrap();
        let logs = LogStore::open(home.path().join("logs")).unwrap();
        let runtime = Arc::new(ProcessRuntime::new(config(home.path(), &logs, cgroup)));
        Self { home, base: draw().raw() >> 1, logs, runtime, cgroup }
    }

    /// The directory that a task works in.
    fn work(&self, task: TaskId) -> PathBuf {
        self.home.path().join("tasks").join(task.to_string()).join("work")
    }

    async fn run(&self, launch: Launch) -> Exit {
        let task = launch.task;
        begin(&*self.runtime, launch).await;
        within(self.runtime.wait(task)).await
    }

    /// What the task has written to one stream.
    async fn output(&self, task: TaskId, stream: LogStream) -> Vec<String> {
        let lines = self.logs.query(task, LogQuery::default()).map(Result::unwrap);
        let lines: Vec<_> = within(lines.collect()).await;
        lines
            .iter()
            .filter(|line| line.stream == stream)
            .map(|line| String::from_utf8_lossy(&line.text).into_owned())
            .collect()
    }

    /// Runs a shell script to its end and gives what it wrote.
    async fn script(&self, launch: Launch) -> Vec<String> {
        let task = launch.task;
        let exit = self.run(launch).await;
        let errors = self.output(task, LogStream::Stderr).await;
        assert_eq!(exit.code, Some(0), "{errors:?}");
        self.output(task, LogStream::Stdout).await
    }

    /// The first line that a running task writes.
    async fn first_line(&self, task: TaskId) -> String {
        let query = LogQuery { follow: true, ..LogQuery::default() };
        let line = within(self.logs.query(task, query).next()).await.unwrap().unwrap();
        String::from_utf8(line.text.to_vec()).unwrap()
    }

    async fn refusal(&self, launch: Launch) -> Failure {
        let task = launch.task;
        let failure = within(self.runtime.prepare(Arc::new(launch))).await.unwrap_err();
        assert!(!self.home.path().join("tasks").join(task.to_string()).exists(), "nothing is left");
        failure
    }
}

impl Drop for ProcessBench {
    fn drop(&mut self) {
        // A test that failed must not leave programs behind.
        let tasks = fs::read_dir(self.home.path().join("tasks")).into_iter().flatten().flatten();
        for task in tasks {
            let start = fs::read_to_string(task.path().join("start")).unwrap_or_default();
            for pid in start.split("\"pid\":").skip(1) {
                let digits: String = pid.chars().take_while(char::is_ascii_digit).collect();
                kill(&digits, Signal::KILL);
            }
            let name = task.file_name();
            for group in fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten() {
                let group = group.path().join(self.cgroup).join(&name);
                // The killed need a moment to leave it.
                for _try in 0..10_000 {
                    if !group.exists() || fs::remove_dir(&group).is_ok() {
                        break;
                    }
                    std::thread::yield_now();
                }
            }
        }
    }
}

fn kill(pid: &str, signal: Signal) {
    std::process::Command::new("kill")
        .args([&format!("-{}", signal.number()), pid])
        .stderr(std::process::Stdio::null())
        .status()
        .unwrap();
}

fn supervisor() -> PathBuf {
    // target/debug/deps/<this test> → target/debug/examples/task_supervisor
    let own = std::env::current_exe().unwrap();
    let supervisor = own.ancestors().nth(2).unwrap().join("examples/task_supervisor");
    assert!(supervisor.exists(), "cargo builds examples with all tests: {}", supervisor.display());
    supervisor
}

fn config(home: &Path, logs: &LogStore, cgroup: &str) -> ProcessConfig {
    let supervisor = supervisor();
    let cgroup = cgroup.to_owned();
    let defaults = ProcessConfig::new(home, logs.clone(), Arc::new(Fixed));
    ProcessConfig { supervisor, cgroup, ..defaults }
}

fn draw() -> TaskId {
    use std::hash::{BuildHasher, RandomState};
    let half = || u128::from(RandomState::new().hash_one(0));
    TaskId::from_raw(half() << 64 | half())
}

fn shell(script: &str) -> Launch {
    Launch::new(draw(), ["/bin/sh", "-c", script])
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn is_alive(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    !stat.is_empty() && !stat.contains(") Z ")
}

async fn wait_until(what: &str, holds: impl Fn() -> bool) {
    let deadline = tokio::time::Instant::now() + DEADLINE;
    while !holds() {
        assert!(tokio::time::Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

impl Bench for ProcessBench {
    fn runtime(&self) -> Arc<dyn TaskRuntime> {
        self.runtime.clone()
    }
    fn restart(&mut self) {
        self.runtime =
            Arc::new(ProcessRuntime::new(config(self.home.path(), &self.logs, self.cgroup)));
    }
    fn task(&self, number: u128) -> TaskId {
        TaskId::from_raw(self.base + number)
    }
    fn runs(&self) -> Vec<String> {
        vec!["sleep".into(), "1000".into()]
    }
    fn exits(&self, code: i32) -> Vec<String> {
        vec!["sh".into(), "-c".into(), format!("exit {code}")]
    }
    fn stubborn(&self) -> Vec<String> {
        // The ignored signal is inherited by the program that is executed.
        vec!["sh".into(), "-c".into(), "trap '' TERM; echo deaf; exec sleep 1000".into()]
    }
    async fn until_stubborn(&self, task: TaskId) {
        assert_eq!(self.first_line(task).await, "deaf");
    }
    fn missing(&self) -> Vec<String> {
        vec!["no-such-program-here".into()]
    }
}

conformance!(ProcessBench::new());

#[tokio::test]
async fn output_is_kept_line_by_line_and_survives_removal() {
    let bench = ProcessBench::new();
    let launch = shell("echo out; echo err >&2; printf 'no end'");
    let task = launch.task;
    assert_eq!(bench.script(launch).await, ["out", "no end"]);
    within(bench.runtime.remove(task)).await.unwrap();
    assert_eq!(bench.output(task, LogStream::Stderr).await, ["err"]);
    assert_eq!(fs::read_dir(bench.home.path().join("tasks")).unwrap().count(), 0);
}

#[tokio::test]
async fn the_environment_is_the_launch_s_and_nothing_else() {
    let bench = ProcessBench::new();
    let mut launch = Launch::new(draw(), ["env"]);
    launch.env =
        vec![("GREETING".into(), "hello world".into()), ("PATH".into(), "/usr/bin:/bin".into())];
    launch.hostname = Some("box".into());
    let task = launch.task;
    let mut lines = bench.script(launch).await;
    lines.retain(|line| !line.starts_with("HOME="));
    lines.sort();
    let expect = [
        "GREETING=hello world",
        "HOSTNAME=box",
        "PATH=/usr/bin:/bin",
        &format!("SWARM_TASK_ID={task}"),
    ];
    assert_eq!(lines, expect);
}

#[tokio::test]
async fn a_task_starts_in_its_own_empty_directory_or_where_it_was_asked() {
    let bench = ProcessBench::new();
    let lines = bench.script(shell("pwd; ls -A | wc -l; echo x > f && cat f; umask")).await;
    assert!(lines[0].ends_with("/work"), "{lines:?}");
    assert_eq!(lines[1..], ["0", "x", "0022"]);
    let mut launch = shell("pwd");
    launch.workdir = Some("/usr".into());
    assert_eq!(bench.script(launch).await, ["/usr"]);
    let mut launch = shell("pwd");
    launch.workdir = Some("/no/such/place".into());
    let failure = bench.refusal(launch).await;
    assert!(matches!(failure, Failure::NoSuchWorkdir { .. }), "{failure}");
}

#[tokio::test]
async fn a_task_runs_as_its_user_with_its_groups() {
    if !is_root() {
        return;
    }
    let bench = ProcessBench::new();
    let mut launch = shell("id -u; id -g; id -G; cd . && touch mine && echo ok");
    launch.user = Some("65534:12345".into());
    launch.groups = vec!["23456".into()];
    assert_eq!(bench.script(launch).await, ["65534", "12345", "12345 23456", "ok"]);
    let mut launch = shell("true");
    launch.user = Some("no-such-user".into());
    let failure = bench.refusal(launch).await;
    assert!(matches!(failure, Failure::NoSuchUser { .. }) && failure.is_permanent(), "{failure}");
}

#[tokio::test]
async fn a_host_name_is_the_task_s_own() {
    if !is_root() {
        return;
    }
    let bench = ProcessBench::new();
    let before = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let mut launch = shell("cat /proc/sys/kernel/hostname");
    launch.hostname = Some("web-1".into());
    assert_eq!(bench.script(launch).await, ["web-1"]);
    assert_eq!(fs::read_to_string("/proc/sys/kernel/hostname").unwrap(), before);
}

#[tokio::test]
async fn configs_are_files_of_the_task_until_it_is_removed() {
    let bench = ProcessBench::new();
    let mut launch = shell(
        "cd $SWARM_CONFIGS_DIR && echo $SWARM_CONFIGS_DIR && cat app.conf sub/b && stat -c %a app.conf",
    );
    launch.user = is_root().then(|| "65534".into());
    let file = |path: &str, content: &'static str| ConfigFile {
        path: path.into(),
        content: content.as_bytes().into(),
        mode: 0o440,
        uid: None,
        gid: None,
    };
    launch.configs = vec![file("/app.conf", "a=1\n"), file("sub/b", "b\n")];
    let task = launch.task;
    let lines = bench.script(launch).await;
    assert_eq!(lines[1..], ["a=1", "b", "440"]);
    within(bench.runtime.remove(task)).await.unwrap();
    assert!(!Path::new(&lines[0]).exists());
    let mut launch = shell("true");
    launch.configs = vec![file("../../etc/passwd", "")];
    let failure = bench.refusal(launch).await;
    assert!(matches!(failure, Failure::BadConfigPath { .. }), "{failure}");
}

#[tokio::test]
async fn programs_that_cannot_be_executed_say_why() {
    let bench = ProcessBench::new();
    let script = |name: &str, text: &str, mode: u32| -> PathBuf {
        use std::os::unix::fs::PermissionsExt;
        let path = bench.home.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    };
    let launch = |path: &Path| Launch::new(draw(), [path.display().to_string()]);
    let plain = bench.refusal(launch(&script("plain", "", 0o644))).await;
    assert!(plain.to_line().contains("chmod +x"), "{plain}");
    let orphan = Arc::new(launch(&script("orphan", "#!/no/such/interpreter\n", 0o755)));
    within(bench.runtime.prepare(orphan.clone())).await.unwrap();
    let failure = within(bench.runtime.start(orphan.clone())).await.unwrap_err();
    assert!(failure.to_line().contains("interpreter") && failure.is_permanent(), "{failure}");
    within(bench.runtime.remove(orphan.task)).await.unwrap();
}

#[tokio::test]
async fn the_whole_tree_ends_however_far_it_spread() {
    for bench in [ProcessBench::new(), ProcessBench::without_cgroup()] {
        end_a_tree(&bench).await;
    }
}

async fn end_a_tree(bench: &ProcessBench) {
    // A child, one in a session of its own, one whose parent has ended, one that ignores signals.
    let launch = shell(
        "sleep 1000 & A=$!; setsid sleep 1000 & B=$!; C=$(sh -c 'setsid sleep 1000 >/dev/null & echo $!'); \
         sh -c 'trap \"\" TERM HUP INT; sleep 1000; sleep 1000' & D=$!; echo $A $B $C $D; wait",
    );
    let task = launch.task;
    begin(&*bench.runtime, launch).await;
    let line = bench.first_line(task).await;
    let pids: Vec<&str> = line.split(' ').collect();
    assert_eq!(pids.len(), 4);
    assert!(pids.iter().all(|pid| is_alive(pid)), "{pids:?}");
    within(bench.runtime.stop(task, Signal::TERM, GRACE)).await.unwrap();
    assert!(!pids.iter().any(|pid| is_alive(pid)), "{pids:?}");
}

#[tokio::test]
async fn what_a_program_leaves_ends_with_it() {
    let bench = ProcessBench::new();
    let launch = shell("setsid sleep 1000 >/dev/null 2>&1 & echo $!");
    let task = launch.task;
    assert_eq!(bench.run(launch).await.code, Some(0));
    let pid = bench.output(task, LogStream::Stdout).await.remove(0);
    assert!(!is_alive(&pid));
}

#[tokio::test]
async fn a_killed_supervisor_takes_its_tree_along_and_the_task_is_lost() {
    for bench in [ProcessBench::new(), ProcessBench::without_cgroup()] {
        lose_a_supervisor(bench).await;
    }
}

async fn lose_a_supervisor(mut bench: ProcessBench) {
    let launch = shell("setsid sleep 1000 & echo $! $PPID $$; wait");
    let task = launch.task;
    begin(&*bench.runtime, launch).await;
    let line = bench.first_line(task).await;
    let [child, supervisor, program] = line.split(' ').collect::<Vec<_>>()[..] else {
        unreachable!()
    };
    kill(supervisor, Signal::KILL);
    wait_until("the program dies without any daemon", || !is_alive(program)).await;
    let exit = within(bench.runtime.wait(task)).await;
    assert!(exit.is_lost(), "{exit:?}");
    wait_until("the child is dead", || !is_alive(child)).await;
    bench.restart();
    let adopted = within(bench.runtime.adopt()).await.unwrap();
    assert_eq!(adopted[0].state, AdoptedState::Lost { rebooted: false });
    within(bench.runtime.remove(task)).await.unwrap();
    let query = LogQuery { follow: true, ..LogQuery::default() };
    within(bench.logs.query(task, query).collect::<Vec<_>>()).await;
}

#[tokio::test]
async fn a_killed_daemon_disturbs_neither_task_nor_log_and_the_next_one_adopts_both() {
    let bench = ProcessBench::new();
    let task = draw();
    let script = "echo up; while :; do sleep 0.05; echo tick; done";
    let mut daemon = std::process::Command::new(supervisor())
        .args(["daemon", bench.home.path().to_str().unwrap(), &task.to_string()])
        .args(["/bin/sh", "-c", script])
        .spawn()
        .unwrap();
    assert_eq!(bench.first_line(task).await, "up");
    daemon.kill().unwrap();
    daemon.wait().unwrap();
    let seen = bench.output(task, LogStream::Stdout).await.len();
    let query = LogQuery { follow: true, ..LogQuery::default() };
    let more = bench.logs.query(task, query).take(seen + 3).collect::<Vec<_>>();
    assert_eq!(within(more).await.len(), seen + 3, "it goes on and its output is kept");
    let adopted = within(bench.runtime.adopt()).await.unwrap();
    assert!(matches!(adopted[0].state, AdoptedState::Running { .. }), "{adopted:?}");
    within(bench.runtime.stop(task, Signal::TERM, GRACE)).await.unwrap();
    assert_eq!(within(bench.runtime.wait(task)).await.signal, Some(Signal::TERM.number()));
}

#[tokio::test]
async fn limits_are_enforced_and_out_of_memory_is_told() {
    if !is_root() {
        return;
    }
    let bench = ProcessBench::new();
    let limits = Limits { memory: Some(Bytes(32 << 20)), pids: Some(20), cpu: Some(MilliCpu(500)) };
    let mut launch = shell("echo started; head -c 200m /dev/zero | tail");
    launch.limits = limits;
    let task = launch.task;
    let exit = bench.run(launch).await;
    assert!(exit.oom_killed, "{exit:?}");
    assert_eq!(exit.describe(&limits).as_deref(), Some("out of memory: limit 32MiB"));
    within(bench.runtime.remove(task)).await.unwrap();
    let mut launch = shell("for i in $(seq 50); do sleep 5 & done; wait");
    launch.limits = Limits { pids: Some(10), ..Limits::default() };
    let exit = bench.run(launch).await;
    assert_ne!(exit.code, Some(0), "a fork was refused: {exit:?}");
}

#[tokio::test]
async fn limits_that_this_node_cannot_enforce_are_refused() {
    let bench = ProcessBench::without_cgroup();
    let mut launch = shell("true");
    launch.limits.memory = Some(Bytes(32 << 20));
    let failure = bench.refusal(launch).await;
    assert!(matches!(failure, Failure::LimitUnsupported { limit: "memory", .. }), "{failure}");
}

#[tokio::test]
async fn a_flood_is_held_back_and_its_newest_lines_are_kept() {
    let bench = ProcessBench::new();
    let mut launch = shell("seq 1 200000; echo end >&2");
    launch.log.max_file = Bytes(1 << 20);
    let task = launch.task;
    assert_eq!(bench.run(launch).await.code, Some(0));
    let lines = bench.output(task, LogStream::Stdout).await;
    let first: u64 = lines[0].parse().unwrap();
    assert!(first > 1 && lines.len() > 10_000);
    let expect: Vec<String> = (first..=200_000).map(|number| number.to_string()).collect();
    assert!(lines == expect, "from {first} on all are there");
    assert_eq!(bench.output(task, LogStream::Stderr).await, ["end"]);
    let usage = bench.logs.usage().await.unwrap();
    assert!(usage[&task] < Bytes(3 << 20), "{usage:?}");
}

#[tokio::test]
async fn many_waiters_cost_the_program_nothing_and_hear_the_same() {
    let bench = ProcessBench::new();
    let launch = shell("read -r line < /dev/null; exit 5");
    let task = launch.task;
    begin(&*bench.runtime, launch).await;
    let waits = (0..20).map(|_| bench.runtime.wait(task));
    let exits = within(futures::future::join_all(waits)).await;
    assert!(exits.iter().all(|exit| exit.code == Some(5)), "{exits:?}");
}

#[tokio::test]
async fn a_hundred_tasks_start_and_stop() {
    let bench = ProcessBench::new();
    let begun = tokio::time::Instant::now();
    let tasks: Vec<_> = (0..100).map(|_| Launch::new(draw(), ["sleep", "1000"])).collect();
    let ids: Vec<_> = tasks.iter().map(|launch| launch.task).collect();
    futures::future::join_all(tasks.into_iter().map(|launch| begin(&*bench.runtime, launch))).await;
    println!("100 starts: {:?}", begun.elapsed());
    let begun = tokio::time::Instant::now();
    let stops = ids.iter().map(|task| bench.runtime.stop(*task, Signal::TERM, GRACE));
    for stopped in within(futures::future::join_all(stops)).await {
        stopped.unwrap();
    }
    println!("100 stops: {:?}", begun.elapsed());
    let begun = tokio::time::Instant::now();
    for task in &ids[..10] {
        within(bench.runtime.remove(*task)).await.unwrap();
        begin(&*bench.runtime, Launch::new(*task, ["sleep", "1000"])).await;
    }
    println!("10 removes and starts, one after another: {:?}", begun.elapsed());
}
