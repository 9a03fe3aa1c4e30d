//! Strangers that flood, and tasks that take all they can get.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use anyhow::{Context as _, Result};
use swarm_model::task_state::ObservedState;
use swarm_model::units::{Bytes, MilliCpu};
use swarm_node::api::types::{TaskEntry, Written};
use tokio::time::{Instant, sleep};

use super::stage::PATIENCE;
use super::verdict::invalid;
use super::{Ask, Run, Scenario, Sheet, Stage};
use crate::invariants::{programs, removed_services_are_gone};
use crate::real::{Cluster, disk_usage, encode, processes, spec};
use crate::sim::chance::Chance;

const MANAGERS: usize = 5;
const WORKERS: usize = 2;

pub(super) const ALL: [Scenario; 3] = [
    Scenario {
        number: 59,
        name: "quic-flood",
        injects: "10,000 QUIC Initials a second at the leader, from nobody, 30 s",
        figure: "0 elections, ≤ 64 MiB more",
        needs: &[],
        run: Run::Real(|ask| Box::pin(quic_flood(ask))),
    },
    Scenario {
        number: 63,
        name: "many-tasks",
        injects: "10,000 tasks created and deleted, 200 at a time",
        figure: "all run, all gone; no leader change",
        needs: &[],
        run: Run::Real(|ask| Box::pin(many_tasks(ask))),
    },
    Scenario {
        number: 64,
        name: "greedy-tasks",
        injects: "limited tasks that eat CPU, memory, pids, disk by their output; 60 s",
        figure: "no leader change, nobody called down, no limit passed",
        needs: &[super::Need::CpuGroups],
        run: Run::Real(|ask| Box::pin(greedy_tasks(ask))),
    },
];

/// Initials in one burst; a hundred bursts a second.
const BURST: usize = 100;

/// An Initial of version 1 with drawn connection ids, as long as a first datagram must be; what it
/// protects is noise, so it costs the receiver its keys and leads nowhere.
fn initial(chance: &mut Chance) -> Vec<u8> {
    let mut packet = vec![0xc3, 0, 0, 0, 1, 8];
    packet.extend(chance.word().to_be_bytes());
    packet.push(8);
    packet.extend(chance.word().to_be_bytes());
    // No token; a length of two bytes that covers the rest.
    let rest = 1200 - packet.len() - 3;
    packet.push(0);
    let length = u16::try_from(rest).unwrap_or_default() | 0x4000;
    packet.extend(length.to_be_bytes());
    while packet.len() < 1200 {
        packet.extend(chance.word().to_be_bytes());
    }
    packet.truncate(1200);
    packet
}

/// Sends as many as the machine can, at most 10,000 a second; gives how many.
async fn flood(to: SocketAddr, time: Duration, mut chance: Chance) -> Result<u64> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.set_nonblocking(true)?;
    let end = Instant::now() + time;
    let mut sent = 0;
    while Instant::now() < end {
        let next = Instant::now() + Duration::from_millis(10);
        for _ in 0..BURST {
            // A full queue drops it, as a network would.
            sent += u64::from(socket.send_to(&initial(&mut chance), to).is_ok());
        }
        tokio::time::sleep_until(next).await;
    }
    Ok(sent)
}

async fn quic_flood(ask: Ask) -> Result<Sheet> {
    let mut stage = Stage::start(&ask, MANAGERS, WORKERS).await?;
    stage.floor = 15.0;
    let leader = stage.cluster.leader().await?;
    let pid = stage.cluster.nodes()[leader].pid().context("no daemon")?;
    let (before, began) = (processes::usage(pid)?.rss, stage.watch.now());
    let from = stage.load.journal().now_us();
    let time = ask.seconds(30, 10);
    let chance = Chance::new(ask.seed, "quic-flood");
    let sent = flood(stage.addr(leader), time, chance).await?;
    let after = processes::usage(pid)?.rss;
    stage.sheet.injected("QUIC Initial", sent);
    let rate = sent / time.as_secs();
    stage.sheet.fact("Initials a second", rate.to_string());
    if rate < 3_000 {
        return Err(invalid(format!("only {rate} Initials a second were sent")));
    }
    let changes = stage.watch.leaders_since(began).len();
    stage.sheet.no_more("elections", u64::try_from(changes)?, 0);
    let more = after.saturating_sub(before) / (1024 * 1024);
    stage.sheet.no_more("more memory of the leader, MiB", more, 64);
    stage.slots(from, 95.0);
    stage.heals().await?;
    stage.finish().await
}

async fn many_tasks(ask: Ask) -> Result<Sheet> {
    let mut stage = Stage::start(&ask, MANAGERS, WORKERS).await?;
    stage.floor = 10.0;
    let began = stage.watch.now();
    for round in 0..ask.rounds(50, 2) {
        let name = format!("many-{round}");
        let mut client = stage.cluster.client(round % (MANAGERS + WORKERS));
        let many = spec::service(&name, 200, &spec::STAYS)?;
        client.post::<Written>("/v1/services/create", &many).await?;
        stage.cluster.converged(0, &name, 2 * PATIENCE).await?;
        client.delete(&format!("/v1/services/{name}")).await?;
        removed_services_are_gone(&stage.cluster, &name).await.context("Z")?;
        stage.sheet.injected("task created and deleted", 200);
    }
    let changes = stage.watch.leaders_since(began).len();
    stage.sheet.no_more("leader changes", u64::try_from(changes)?, 0);
    stage.finish().await
}

/// What a greedy task may have.
const MEMORY_MIB: u64 = 64;
const PIDS: u64 = 50;
/// What is kept of its output: three files of 10 MiB.
const LOG_MIB: u64 = 30;
/// What an eater of disk writes at least.
const LEAST_LOG_KIB: u64 = 256;
/// In hundredths of a second: what an eater of CPU takes at least.
const LEAST_TICKS: u64 = 50;

/// What the programs of a service have taken.
#[derive(Debug, Clone, Copy, Default)]
struct Taken {
    ticks: u64,
    most_mib: u64,
    most_children: u64,
    /// What a task's output takes on the disk.
    most_log_kib: u64,
    /// Tasks that their limits ended.
    ended: usize,
}

async fn taken(cluster: &Cluster, service: &str) -> Result<Taken> {
    let mut taken = Taken::default();
    for program in programs(cluster, service)? {
        let node = &cluster.nodes()[program.node];
        let log = disk_usage(&node.dir.join("logs").join(&program.task)).unwrap_or_default();
        taken.most_log_kib = taken.most_log_kib.max(log / 1024);
        let all = node.task_processes()?;
        let children = all.iter().filter(|it| it.parent == program.pid).count();
        taken.most_children = taken.most_children.max(u64::try_from(children)?);
        // One that has ended meanwhile counts as a task below.
        if let Ok(usage) = processes::usage(program.pid) {
            taken.ticks += usage.ticks;
            taken.most_mib = taken.most_mib.max(usage.rss / (1024 * 1024));
        }
    }
    let filters = encode(&format!(r#"{{"service":["{service}"]}}"#));
    let tasks: Vec<TaskEntry> =
        cluster.client(0).get(&format!("/v1/tasks?filters={filters}")).await?;
    let ended = |it: &&TaskEntry| it.task.status.state == ObservedState::Failed;
    taken.ended = tasks.iter().filter(ended).count();
    Ok(taken)
}

async fn greedy_tasks(ask: Ask) -> Result<Sheet> {
    let mut stage = Stage::start(&ask, MANAGERS, WORKERS).await?;
    stage.floor = 10.0;
    // Children that the shell cannot fork are tried again; memory that it doubles is refused.
    let greedy = [
        ("cpu", "while :; do :; done"),
        ("memory", "x=xxxxxxxxxxxxxxxx; while :; do x=$x$x; done"),
        ("pids", "while :; do sleep 60 & done"),
        ("disk", "while :; do echo xxxxxxxxxxxxxxxx; done"),
    ];
    stage.watch.forget_downs();
    let began = stage.watch.now();
    for (what, script) in greedy {
        let mut service = spec::service(&format!("greedy-{what}"), 2, &["/bin/sh", "-c", script])?;
        let limits = &mut service.task_template.resources.limits;
        limits.cpu = Some(MilliCpu(200));
        limits.memory = Some(Bytes(MEMORY_MIB * 1024 * 1024));
        limits.pids = Some(PIDS);
        stage.cluster.client(0).post::<Written>("/v1/services/create", &service).await?;
        stage.sheet.injected(&format!("tasks that eat {what}"), 2);
    }
    sleep(ask.seconds(60, 15)).await;
    let changes = stage.watch.leaders_since(began).len();
    stage.sheet.no_more("leader changes", u64::try_from(changes)?, 0);
    stage.sheet.no_more("nodes called down", u64::try_from(stage.watch.downs().len())?, 0);
    for (what, _script) in greedy {
        let name = format!("greedy-{what}");
        let taken = taken(&stage.cluster, &name).await?;
        stage.sheet.fact(&name, format!("{taken:?}"));
        let Taken { ticks, most_mib, most_children, most_log_kib, ended } = taken;
        if ticks < LEAST_TICKS && most_mib < 16 && most_children < 10 && ended == 0 {
            return Err(invalid(format!("{name} took next to nothing")));
        }
        if what == "disk" && most_log_kib < LEAST_LOG_KIB {
            return Err(invalid(format!("{name} wrote only {most_log_kib} KiB")));
        }
        stage.sheet.no_more(&format!("output of {name}, KiB"), most_log_kib, LOG_MIB * 1024);
        stage.sheet.no_more(&format!("memory of {name}, MiB"), most_mib, MEMORY_MIB);
        stage.sheet.no_more(&format!("processes of {name}"), most_children + 1, PIDS);
        stage.cluster.client(0).delete(&format!("/v1/services/{name}")).await?;
        removed_services_are_gone(&stage.cluster, &name).await.context("Z")?;
    }
    stage.finish().await
}
