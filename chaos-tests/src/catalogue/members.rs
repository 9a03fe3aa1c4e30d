//! Members that come, go and change their roles while things break.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use swarm_model::id::NodeId;
use swarm_model::node::{Reachability, Role};
use swarm_node::api::types::{NodeEntry, Written};
use tokio::time::sleep;

use super::stage::{PATIENCE, STEADY};
use super::tasks::pids;
use super::verdict::invalid;
use super::{Ask, Need, Run, Scenario, Sheet, Stage};
use crate::invariants::programs;
use crate::real::{Cluster, Partition, Stopwatch, Swarm, spec, wait_until};
use crate::sim::chance::Chance;

const MANAGERS: usize = 5;
const WORKERS: usize = 2;

pub(super) const ALL: [Scenario; 7] = [
    Scenario {
        number: 14,
        name: "address-changes",
        injects: "a follower comes back with another address, ×3",
        figure: "ready ≤ 30 s, by itself, the same node with the same programs",
        needs: &[],
        run: Run::Real(|ask| Box::pin(address_changes(ask))),
    },
    Scenario {
        number: 41,
        name: "join-killed",
        injects: "a joining manager killed after 0..0.45 s, then it joins again, ×30",
        figure: "it is a ready member ≤ 30 s, no other is made",
        needs: &[],
        run: Run::Real(|ask| Box::pin(join_killed(ask))),
    },
    Scenario {
        number: 42,
        name: "two-removals",
        injects: "two managers removed in the same moment through two nodes",
        figure: "both gone, the rest whole",
        needs: &[],
        run: Run::Real(|ask| Box::pin(two_removals(ask))),
    },
    Scenario {
        number: 43,
        name: "promote-demote",
        injects: "a worker promoted and demoted under load, ×50",
        figure: "≥ 99 % of the seconds with an acknowledged write",
        needs: &[],
        run: Run::Real(|ask| Box::pin(promote_demote(ask))),
    },
    Scenario {
        number: 44,
        name: "removed-while-cut",
        injects: "a manager removed while it is cut off, then the network heals",
        figure: "it stays out and changes nothing: ≤ 1 leader change",
        needs: &[Need::Nft],
        run: Run::Real(|ask| Box::pin(removed_while_cut(ask))),
    },
    Scenario {
        number: 45,
        name: "one-seven-one",
        // At most five of the seven vote, as in any cluster that is not told otherwise.
        injects: "1 manager becomes 7 (5 voters; 7 in `fuzz --scenario one-seven-one`), and 1 again",
        figure: "the usual checks at each size",
        needs: &[],
        run: Run::Real(|ask| Box::pin(one_seven_one(ask))),
    },
    Scenario {
        number: 48,
        name: "snapshot-killed",
        injects: "a manager killed while it takes in a snapshot, ×10",
        figure: "the usual checks",
        needs: &[],
        run: Run::Real(|ask| Box::pin(snapshot_killed(ask))),
    },
];

async fn address_changes(ask: Ask) -> Result<Sheet> {
    let mut stage = Stage::start(&ask, MANAGERS, WORKERS).await?;
    let mut chance = Chance::new(ask.seed, "address-changes");
    let mut moved = 0;
    for round in 0..ask.rounds(3, 1) {
        let leader = stage.cluster.leader().await?;
        let number = (leader + 1 + chance.between(0, 3) as usize) % MANAGERS;
        let before = programs(&stage.cluster, STEADY)?;
        moved += before.iter().filter(|it| it.node == number).count();
        let id = stage.id(number).await?;
        stage.kill(number)?;
        let addr = stage.cluster.move_node(number, MANAGERS + WORKERS + round)?;
        stage.sheet.injected("address changed", 1);
        let watch = Stopwatch::start();
        stage.restart(number).await?;
        stage.heals().await.with_context(|| format!("node {number} moved to {addr}"))?;
        stage.sheet.at_most("ready at its new address", watch.elapsed(), Duration::from_secs(30));
        ensure!(stage.id(number).await? == id, "node {number} came back as another node");
        let after = programs(&stage.cluster, STEADY)?;
        ensure!(pids(&before) == pids(&after), "tasks touched: {before:?}, then {after:?}");
    }
    stage.sheet.fact("programs whose node moved", moved.to_string());
    if moved == 0 {
        return Err(invalid("no node that moved had a task"));
    }
    stage.finish().await
}

async fn nodes(cluster: &Cluster, number: usize) -> Result<Vec<NodeEntry>> {
    Ok(cluster.client(number).get("/v1/nodes").await?)
}

async fn join_killed(ask: Ask) -> Result<Sheet> {
    let mut stage = Stage::start(&ask, 3, 0).await?;
    let mut chance = Chance::new(ask.seed, "join-killed");
    let rounds = ask.rounds(30, 3);
    let (mut ghosts, mut amid) = (0, 0);
    for round in 0..rounds {
        let token = stage.cluster.token(Role::Manager).await?;
        let manager = stage.addr(0).to_string();
        let node = stage.cluster.add_place()?;
        let addr = node.addr.to_string();
        let join = ["join", "--foreground", "--token", &token, "--listen-addr", &addr, &manager];
        node.spawn(&join)?;
        let step = u32::try_from(450 * round / rounds)?;
        sleep(chance.millis(step, step + 15)).await;
        amid += usize::from(node.info().await.is_err());
        node.lose_machine()?;
        let watch = Stopwatch::start();
        let number = stage.cluster.len() - 1;
        stage.sheet.injected("join killed", 1);
        // As a person would: join again; what is a node by then is started.
        stage.cluster.node(number).spawn(&join)?;
        if stage.cluster.node(number).serving().await.is_err() {
            stage.cluster.node(number).kill()?;
            stage.restart(number).await.context("neither joins nor starts")?;
        }
        let own = stage.id(number).await?;
        wait_until("it is a ready member", PATIENCE, async || {
            let all = nodes(&stage.cluster, 0).await.ok()?;
            all.iter()
                .any(|it| it.node.id == own && it.node.status.reachability == Reachability::Ready)
                .then_some(())
        })
        .await?;
        stage.sheet.at_most("ready after the second try", watch.elapsed(), Duration::from_secs(30));
        // The first try may have made a node already: it never lived, and can be removed.
        let all = nodes(&stage.cluster, 0).await?;
        let known = stage.cluster.ids().await;
        for ghost in all.iter().filter(|it| !known.contains(&it.node.id)) {
            ghosts += 1;
            remove(&stage.cluster, 0, ghost.node.id).await?;
        }
        // Out again: the next one finds the cluster as this one did.
        remove(&stage.cluster, 0, own).await?;
        let mut gone = stage.cluster.take(number);
        gone.lose_machine()?;
        // The next one is another machine at this address: with an empty disk.
        std::fs::remove_dir_all(&gone.dir)?;
        stage.heals().await?;
    }
    stage.sheet.fact("nodes of first tries that had to be removed", ghosts.to_string());
    stage.sheet.fact("killed before it served", format!("{amid} of {rounds}"));
    if amid * 3 < rounds {
        return Err(invalid("most joins were over before the kill"));
    }
    stage.finish().await
}

async fn remove(cluster: &Cluster, through: usize, id: NodeId) -> Result<()> {
    let target = format!("/v1/nodes/{id}?force=true");
    let mut client = cluster.client(through);
    wait_until("the node is removed", PATIENCE, async || match client.delete(&target).await {
        Ok(()) => Some(()),
        Err(error) => (error.code() == "not_found").then_some(()),
    })
    .await
}

async fn two_removals(ask: Ask) -> Result<Sheet> {
    let mut stage = Stage::start(&ask, MANAGERS, WORKERS).await?;
    let (a, b) = (stage.id(3).await?, stage.id(4).await?);
    let cluster = &stage.cluster;
    tokio::try_join!(remove(cluster, 0, a), remove(cluster, 1, b))?;
    stage.sheet.injected("manager removed", 2);
    for _ in 0..2 {
        let mut gone = stage.cluster.take(3);
        gone.lose_machine()?;
    }
    let healed = stage.heals().await?;
    stage.sheet.at_most("the rest whole", healed, Duration::from_secs(30));
    stage.finish().await
}

async fn set_role(stage: &Stage, id: NodeId, role: Role) -> Result<()> {
    let target = format!("/v1/nodes/{id}/update");
    let body = json!({ "Role": role.to_string() });
    let mut client = stage.cluster.client(0);
    let mut last = String::new();
    let set = wait_until("the role is set", PATIENCE, async || {
        match client.post::<Written>(&target, &body).await {
            Ok(_written) => Some(()),
            Err(error) => {
                last = error.to_string();
                None
            }
        }
    });
    set.await.map_err(|error| error.context(last))
}

async fn promote_demote(ask: Ask) -> Result<Sheet> {
    let mut stage = Stage::start(&ask, 3, WORKERS).await?;
    let (a, b) = (stage.id(3).await?, stage.id(4).await?);
    let from = stage.load.journal().now_us();
    for _ in 0..ask.rounds(50, 5) {
        // Two at a time: three voters become five, and three again.
        for role in [Role::Manager, Role::Worker] {
            set_role(&stage, a, role).await?;
            set_role(&stage, b, role).await?;
            stage.sheet.injected(&format!("role set to {role}"), 2);
            stage.heals().await?;
        }
    }
    stage.slots(from, 99.0);
    stage.finish().await
}

async fn removed_while_cut(ask: Ask) -> Result<Sheet> {
    let mut stage = Stage::start(&ask, MANAGERS, WORKERS).await?;
    let leader = stage.cluster.leader().await?;
    // The last follower, so that the numbers of the others stay.
    let number = if leader == MANAGERS - 1 { MANAGERS - 2 } else { MANAGERS - 1 };
    let id = stage.id(number).await?;
    let (one, rest) = stage.sides(&[number]);
    let cut = Partition::between(&one, &rest)?;
    remove(&stage.cluster, leader, id).await?;
    let began = stage.watch.now();
    stage.during("manager cut off and removed", cut, Duration::from_secs(8)).await?;
    // It is back on the network, with a grudge.
    sleep(Duration::from_secs(15)).await;
    let all = nodes(&stage.cluster, leader).await?;
    ensure!(all.iter().all(|it| it.node.id != id), "it is a member again");
    let mut client = stage.cluster.client(number).with_patience(Duration::from_secs(12));
    let write = client.post::<Written>("/v1/configs/create", &spec::config("fenced", b"1")?).await;
    ensure!(write.is_err(), "the removed node still writes: {write:?}");
    let changes = stage.watch.leaders_since(began).len();
    stage.sheet.no_more("leader changes", u64::try_from(changes)?, 1);
    let mut gone = stage.cluster.take(number);
    stage.sheet.fact("its daemon goes on", gone.is_running().to_string());
    gone.lose_machine()?;
    stage.finish().await
}

async fn one_seven_one(ask: Ask) -> Result<Sheet> {
    let mut stage = Stage::start(&ask, 1, 0).await?;
    for _ in 1..7 {
        stage.cluster.join(Role::Manager).await?;
        stage.sheet.injected("manager joined", 1);
        stage.heals().await?;
    }
    for number in (1..7).rev() {
        let dir = stage.cluster.nodes()[number].dir.clone();
        Swarm::at(&dir, &["leave"]).run().await?.ok().context("leave")?;
        stage.sheet.injected("manager left", 1);
        let mut gone = stage.cluster.take(number);
        gone.lose_machine()?;
        let id = absent(&stage.cluster).await?;
        for id in id {
            remove(&stage.cluster, 0, id).await?;
        }
        stage.heals().await?;
    }
    stage.finish().await
}

/// Members of which no daemon runs.
async fn absent(cluster: &Cluster) -> Result<Vec<NodeId>> {
    let known = cluster.ids().await;
    let all = nodes(cluster, 0).await?;
    Ok(all.iter().map(|it| it.node.id).filter(|id| !known.contains(id)).collect())
}

/// Ballast: configs of this size, so that taking in a snapshot takes a while.
const BALLAST: usize = 12;
const BALLAST_BYTES: usize = 500 * 1024;
/// What the daemons log: also when a snapshot is sent, and when one was installed.
const LOGS: &str = "info,openraft=info";
const SENT: &str = "::stream_snapshot";
const INSTALLED: &str = "Done install complete snapshot";

async fn snapshot_killed(ask: Ask) -> Result<Sheet> {
    let mut cluster = Cluster::start_with(3, 0, &["--snapshot-interval", "100"]).await?;
    for number in 0..3 {
        let logs = vec![("SWARM_LOG".to_owned(), LOGS.to_owned())];
        cluster.node(number).set_environment(logs);
        cluster.node(number).kill()?;
        cluster.node(number).restart()?;
        cluster.node(number).serving().await?;
    }
    cluster.settled().await?;
    let mut stage = Stage::with(&ask, cluster).await?;
    let mut chance = Chance::new(ask.seed, "snapshot-killed");
    ballast(&stage, "create").await?;
    let (mut began, mut broken, mut installed) = (0, 0, 0);
    for _ in 0..ask.rounds(10, 3) {
        let leader = stage.cluster.leader().await?;
        let number = (leader + 1) % 3;
        stage.kill(number)?;
        // The next snapshot is due when the log has grown by as much as the last one took.
        for _ in 0..2 {
            ballast(&stage, "update").await?;
        }
        let goal = stage.load.acknowledged() + 400;
        wait_until("it falls behind", PATIENCE, async || {
            (stage.load.acknowledged() >= goal).then_some(())
        })
        .await?;
        let (sent, done) = snapshots(&stage, number)?;
        for life in 0..3 {
            stage.cluster.node(number).restart()?;
            if life == 0 {
                wait_until("a snapshot is sent to it", PATIENCE, async || {
                    snapshots(&stage, number).is_ok_and(|now| now.0 > sent).then_some(())
                })
                .await?;
            }
            sleep(chance.millis(0, if life == 0 { 100 } else { 700 })).await;
            stage.kill(number)?;
        }
        let (sent_killed, done_killed) = snapshots(&stage, number)?;
        began += sent_killed - sent;
        broken += (sent_killed - sent).saturating_sub(done_killed - done);
        stage.restart(number).await?;
        stage.heals().await?;
        installed += snapshots(&stage, number)?.1 - done_killed;
    }
    stage.sheet.injected("snapshot cut short by a kill", u64::try_from(broken)?);
    stage.sheet.fact("snapshots sent to lives that were killed", began.to_string());
    stage.sheet.fact("snapshots installed by the lives after them", installed.to_string());
    if broken == 0 || installed == 0 {
        return Err(invalid("no snapshot was cut short, or none installed afterwards"));
    }
    stage.finish().await
}

/// Creates or updates the ballast.
async fn ballast(stage: &Stage, how: &str) -> Result<()> {
    let mut client = stage.cluster.client(stage.cluster.leader().await?);
    for number in 0..BALLAST {
        let name = format!("ballast-{number}");
        let large = spec::config(&name, &[7; BALLAST_BYTES])?;
        let target = match how {
            "create" => "/v1/configs/create".to_owned(),
            _ => format!("/v1/configs/{name}/update"),
        };
        client.post::<Written>(&target, &large).await.context("write the ballast")?;
    }
    Ok(())
}

/// How many snapshots all nodes began to send, and how many the `number`-th installed.
fn snapshots(stage: &Stage, number: usize) -> Result<(usize, usize)> {
    let count = |number: usize, what: &str| {
        let log = std::fs::read_to_string(stage.cluster.nodes()[number].log_file())?;
        anyhow::Ok(log.lines().filter(|line| line.contains(what)).count())
    };
    let sent: Result<Vec<_>> = (0..3).map(|node| count(node, SENT)).collect();
    Ok((sent?.iter().sum(), count(number, INSTALLED)?))
}
