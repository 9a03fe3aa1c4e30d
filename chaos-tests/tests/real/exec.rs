//! One more program in a task: where it runs, how it ends, and that nothing of it stays.

use std::fs::File;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rustix::io::ioctl_fionread;
use rustix::pipe::fcntl_getpipe_size;
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};
use swarm_chaos::real::{Cluster, Output, Swarm, processes, spec, wait_until};
use swarm_model::task::Task;
use swarm_model::task_state::ObservedState;
use swarm_node::api::types::Written;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::Child;

use crate::support::{LONG, SOON, fails};

/// Within so long nothing is left of what nobody wants any more; with what a busy machine adds.
const GONE: Duration = Duration::from_secs(5);
/// How often a program is asked for a size that is on its way to it.
const ROUNDS: u32 = 1000;
/// What is left behind and taken along: two processes, one of them in a session of its own.
const MARK: &str = "sleep 43211";
const FAMILY: &str = "setsid sleep 43211 & echo begun; sleep 43211";

/// A cluster with a task on each node: `web.1`, `web.2`, …; and the directories of their nodes.
async fn running(managers: usize, workers: usize) -> Result<(Cluster, Vec<PathBuf>)> {
    let cluster = Cluster::start(managers, workers).await?;
    let count = managers + workers;
    let web = spec::service("web", u32::try_from(count)?, &spec::STAYS)?;
    cluster.client(0).post::<Written>("/v1/services/create", &web).await?;
    cluster.converged(0, "web", SOON).await?;
    let mut dirs = Vec::new();
    for slot in 1..=count {
        let node = task(&cluster, &format!("web.{slot}")).await?.node.context("it runs")?;
        dirs.push(cluster.nodes()[cluster.number_of(node).await?].dir.clone());
    }
    Ok((cluster, dirs))
}

async fn task(cluster: &Cluster, name: &str) -> Result<Task> {
    Ok(cluster.client(0).get(&format!("/v1/tasks/{name}")).await?)
}

fn exec(dir: &Path, options: &[&str], task: &str, command: &[&str]) -> Swarm {
    Swarm::at(dir, &[&["exec"], options, &[task], command].concat())
}

async fn shell(dir: &Path, task: &str, script: &str) -> Result<Output> {
    exec(dir, &[], task, &["sh", "-c", script]).run().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_runs_in_the_task_wherever_that_is() -> Result<()> {
    let (cluster, dirs) = running(2, 0).await?;
    let asked = cluster.nodes()[0].dir.clone();
    for (slot, dir) in [(1, &dirs[0]), (2, &dirs[1])] {
        let name = format!("web.{slot}");
        let id = task(&cluster, &name).await?.id;
        let script = "pwd; echo $SWARM_TASK_ID $SWARM_TASK_SLOT >&2; exit 7";
        let said = shell(&asked, &name, script).await?;
        let home = dir.join(format!("tasks/{id}/work"));
        assert_eq!(said.code, 7);
        assert_eq!(said.stdout.trim(), home.to_string_lossy());
        assert_eq!(said.stderr.trim(), format!("{id} {slot}"));
        let group = shell(&asked, &name, "cat /proc/self/cgroup").await?.ok()?;
        let own = task(&cluster, &name).await?.status.pid.context("it runs")?;
        let groups = std::fs::read_to_string(format!("/proc/{own}/cgroup"))?;
        // The task's own, or in that a part by which the program's processes are found.
        let same = groups.lines().zip(group.lines()).all(|(own, of_it)| of_it.starts_with(own));
        ensure!(same && group.lines().count() == groups.lines().count(), "{group}\n{groups}");
        // As much as no buffer on the way holds, both ways, and the end of the input.
        let much = "swarm of bees ".repeat(100_000);
        let back = exec(&asked, &["-i"], &name, &["cat"]).run_with(much.as_bytes()).await?.ok()?;
        ensure!(back == much, "{} bytes came back", back.len());
        let options = ["-w", "/usr", "-e", "COLOUR=red"];
        let said = exec(&asked, &options, &name, &["sh", "-c", "pwd; echo $COLOUR"]).run().await?;
        assert_eq!(said.ok()?, "/usr\nred\n");
        let killed = shell(&asked, &name, "kill -TERM $$").await?;
        assert_eq!((killed.code, killed.stderr.as_str()), (128 + 15, ""));
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_run_is_said_with_the_exit_code_of_a_shell() -> Result<()> {
    let (cluster, _dirs) = running(1, 1).await?;
    let (manager, worker) = (cluster.nodes()[0].dir.clone(), cluster.nodes()[1].dir.clone());
    for name in ["web.1", "web.2"] {
        let run = async |command: &[&str]| exec(&manager, &[], name, command).run().await;
        fails(&run(&["no-such-program"]).await?, 127, "program no-such-program not found in PATH")?;
        fails(&run(&["/etc/passwd"]).await?, 126, "it has no execute permission")?;
        let user = exec(&manager, &["-u", "nobody-here"], name, &["id"]).run().await?;
        fails(&user, 126, "no user nobody-here")?;
        let place = exec(&manager, &["-w", "/no/where"], name, &["id"]).run().await?;
        fails(&place, 126, "/no/where does not exist on this node")?;
    }
    fails(&shell(&manager, "web.3", "true").await?, 3, "web.3")?;
    let own = exec(&manager, &["-e", "SWARM_TASK_ID=1"], "web.1", &["id"]).run().await?;
    fails(&own, 2, "SWARM_TASK_ID")?;
    let once = spec::service("once", 1, &["/bin/sh", "-c", "exit 3"])?;
    let mut once = once;
    once.task_template.restart_policy.condition = swarm_model::restart::RestartCondition::None;
    cluster.client(0).post::<Written>("/v1/services/create", &once).await?;
    wait_until("the task has ended", SOON, async || {
        let task = task(&cluster, "once.1").await.ok()?;
        (task.status.state == ObservedState::Failed).then_some(())
    })
    .await?;
    let ended = shell(&manager, "once.1", "true").await?;
    fails(&ended, 4, "has ended")?;
    fails(&ended, 4, "exit code 3")?;
    // A worker reaches into its own tasks only.
    let mut refused = 0;
    for name in ["web.1", "web.2"] {
        let said = shell(&worker, name, "true").await?;
        if said.code != 0 {
            fails(&said, 1, "only managers reach into tasks of other nodes")?;
            refused += 1;
        }
    }
    assert_eq!(refused, 1);
    Ok(())
}

/// Starts a family of processes in a task; they run.
async fn family(asked: &Path, task: &str) -> Result<Child> {
    let mut child = exec(asked, &["-i"], task, &["sh", "-c", FAMILY]).start()?;
    let stdout = child.stdout.as_mut().context("it has a pipe")?;
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line).await?;
    ensure!(line == "begun\n", "it said {line:?}");
    Ok(child)
}

/// Members of the family on a node.
fn members(dir: &Path) -> usize {
    let all = processes::of_node(dir).unwrap_or_default();
    all.iter().filter(|process| process.command.contains(MARK)).count()
}

async fn gone(why: &str, dir: &Path) -> Result<()> {
    wait_until(why, GONE, async || (members(dir) == 0).then_some(())).await
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_outlives_who_asked_nor_the_task() -> Result<()> {
    let (mut cluster, dirs) = running(3, 0).await?;
    let number = |dir: &Path, cluster: &Cluster| {
        cluster.nodes().iter().position(|node| node.dir == dir).context("a node of it")
    };
    for (name, dir) in [("web.1", &dirs[0]), ("web.2", &dirs[1])] {
        let mut client = family(&cluster.nodes()[0].dir, name).await?;
        wait_until("both run", SOON, async || (members(dir) >= 2).then_some(())).await?;
        // More than what is on its way is not taken; even so its end is seen.
        let stdin = client.stdin.as_mut().context("it has a pipe")?;
        let flood = vec![b'x'; 8 << 20];
        drop(tokio::time::timeout(Duration::from_secs(1), stdin.write_all(&flood)).await);
        client.kill().await?;
        gone("the client was killed", dir).await?;
    }
    // The node that asked is killed.
    let asking = number(&dirs[2], &cluster)?;
    let mut client = family(&dirs[2], "web.1").await?;
    cluster.node(asking).kill()?;
    gone("the asking node was killed", &dirs[0]).await?;
    let code = client.wait().await?.code();
    ensure!(code == Some(5), "the client ended with {code:?}");
    cluster.node(asking).restart()?;
    cluster.node(asking).serving().await?;
    // The daemon of the task's node is killed: the task goes on, what was started in it does not.
    let home = number(&dirs[0], &cluster)?;
    let client = family(&dirs[0], "web.1").await?;
    let before = task(&cluster, "web.2").await?;
    cluster.node(home).kill()?;
    gone("the task's daemon was killed", &dirs[0]).await?;
    drop(client);
    cluster.node(home).restart()?;
    cluster.node(home).serving().await?;
    cluster.converged(0, "web", LONG).await?;
    shell(&dirs[0], "web.2", "true").await?.ok()?;
    assert_eq!(task(&cluster, "web.2").await?.id, before.id);
    // The task ends.
    let client = family(&dirs[0], "web.2").await?;
    cluster.client(home).delete("/v1/services/web").await?;
    let end = client.wait_with_output().await?;
    let said = String::from_utf8_lossy(&end.stderr).into_owned();
    ensure!(end.status.code() == Some(137), "it ended with {:?}: {said}", end.status);
    ensure!(said.contains("the task ended"), "it said {said}");
    gone("the task has ended", &dirs[1]).await
}

/// A terminal as a person sits at one: the person's end, and the command's.
fn terminal() -> Result<(OwnedFd, OwnedFd)> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let master = openpt(flags)?;
    grantpt(&master)?;
    unlockpt(&master)?;
    let slave = ioctl_tiocgptpeer(&master, flags)?;
    Ok((master, slave))
}

fn resize(terminal: &OwnedFd, rows: u16, columns: u16) -> Result<()> {
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    Ok(tcsetwinsize(terminal, size)?)
}

/// Reads until `word` was said.
async fn until(from: &mut (impl tokio::io::AsyncRead + Unpin), word: &str) -> Result<String> {
    let mut said = String::new();
    let mut part = [0; 1024];
    while !said.contains(word) {
        let read = tokio::time::timeout(SOON, from.read(&mut part)).await;
        let count = read.with_context(|| format!("no {word} in {said:?}"))??;
        ensure!(count > 0, "no {word} in {said:?}");
        said.push_str(&String::from_utf8_lossy(&part[..count]));
    }
    Ok(said)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_has_the_persons_size_and_is_given_back_as_it_was() -> Result<()> {
    let (cluster, _dirs) = running(2, 0).await?;
    let asked = cluster.nodes()[0].dir.clone();
    let none = exec(&asked, &["-it"], "web.1", &["tty"]).run().await?;
    fails(&none, 2, "stdin is no terminal")?;
    let alone =
        exec(&asked, &["-t"], "web.2", &["sh", "-c", "tty; stty size"]).run().await?.ok()?;
    ensure!(alone.starts_with("/dev/pts/") && alone.contains("24 80"), "it said {alone:?}");
    for (name, ending) in [("web.1", "exit 5"), ("web.2", "kill")] {
        let (master, slave) = terminal()?;
        resize(&master, 33, 101)?;
        let before = tcgetattr(&slave)?;
        let script = "stty size; while read x; do echo size $(stty size) $x-done; \
                      [ $x = end ] && exit 5; done";
        let swarm = swarm_chaos::real::swarm()?;
        let mut command = tokio::process::Command::new(swarm);
        command.args(["--data-dir".as_ref(), asked.as_os_str()]);
        command.args(["exec", "-it", name, "sh", "-c", script]).kill_on_drop(true);
        let own = || slave.try_clone().map(Stdio::from);
        let mut child = command.stdin(own()?).stdout(own()?).stderr(own()?).spawn()?;
        let person = File::from(master.as_fd().try_clone_to_owned()?);
        let mut person = tokio::fs::File::from_std(person);
        until(&mut person, "33 101").await?;
        let raw = tcgetattr(&slave)?.local_modes;
        ensure!(!raw.contains(LocalModes::ICANON), "the terminal is raw meanwhile");
        resize(&master, 40, 120)?;
        let pid = i32::try_from(child.id().context("it runs")?)?;
        // No session leads this terminal: what the kernel does then, done by hand.
        processes::signal(pid, rustix::process::Signal::WINCH)?;
        let mut said = String::new();
        for round in 0..ROUNDS {
            person.write_all(format!("{round}\r").as_bytes()).await?;
            person.flush().await?;
            said = until(&mut person, &format!(" {round}-done")).await?;
            if said.contains("size 40 120") {
                break;
            }
        }
        ensure!(said.contains("size 40 120"), "it said {said:?}");
        if ending == "kill" {
            processes::signal(pid, rustix::process::Signal::TERM)?;
        } else {
            person.write_all(b"end\r").await?;
            person.flush().await?;
        }
        let code = tokio::time::timeout(SOON, child.wait()).await??.code();
        assert_eq!(code, Some(if ending == "kill" { 143 } else { 5 }));
        let after = tcgetattr(&slave)?;
        assert_eq!(before.local_modes, after.local_modes);
        assert_eq!(before.input_modes, after.input_modes);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_read_does_not_hold_up_who_wants_an_end() -> Result<()> {
    let (_cluster, dirs) = running(1, 0).await?;
    let mut child = exec(&dirs[0], &[], "web.1", &["yes"]).start()?;
    let stdout = child.stdout.as_ref().context("it has a pipe")?.as_fd().try_clone_to_owned()?;
    let full = u64::try_from(fcntl_getpipe_size(&stdout)?)?;
    wait_until("the pipe is full", SOON, async || {
        (ioctl_fionread(&stdout).ok()? == full).then_some(())
    })
    .await?;
    let pid = i32::try_from(child.id().context("it runs")?)?;
    processes::signal(pid, rustix::process::Signal::TERM)?;
    let code = tokio::time::timeout(GONE, child.wait()).await.context("it goes on")??.code();
    assert_eq!(code, Some(128 + 15));
    Ok(())
}
