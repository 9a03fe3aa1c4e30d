//! The seeded schedule of faults: what breaks, when, and what is mended meanwhile.

use std::collections::BTreeMap;
use std::time::Duration;

use swarm_model::command::Op;
use swarm_model::node::Availability;
use swarm_net::sim::Link;
use swarm_node::api::backend::Backend;
use swarm_state::store::disk::{Fault, FaultKind};
use tokio::time::{Instant, sleep};

use super::chance::Chance;
use super::cluster::{Cluster, Kill};
use super::workload;

/// The longest that a machine stays down.
const DOWN_MAX_MS: u32 = 12_000;
/// How soon a daemon ends itself after its disk has failed.
const LAST_FAILURE: Duration = Duration::from_millis(100);

/// The faults of one run.
#[derive(Debug)]
pub struct Faults {
    chance: Chance,
    /// When machines come back.
    back: BTreeMap<u32, Instant>,
    heals_at: Option<Instant>,
}

impl Faults {
    /// The schedule of `seed`.
    pub fn new(seed: u64) -> Self {
        Self { chance: Chance::new(seed, "faults"), back: BTreeMap::new(), heals_at: None }
    }

    /// Breaks things for `span`, a few at a time.
    ///
    /// # Errors
    /// The first violation, or a node that does not start again.
    pub async fn run(&mut self, cluster: &mut Cluster, span: Duration) -> anyhow::Result<()> {
        let end = Instant::now() + span;
        while Instant::now() < end {
            sleep(self.chance.millis(100, 3000)).await;
            cluster.world.check()?;
            self.mend(cluster).await?;
            self.break_something(cluster).await?;
        }
        Ok(())
    }

    /// What is due to come back does.
    async fn mend(&mut self, cluster: &mut Cluster) -> anyhow::Result<()> {
        let now = Instant::now();
        if self.heals_at.is_some_and(|at| at <= now) {
            self.heals_at = None;
            cluster.heal();
        }
        let due: Vec<u32> =
            self.back.iter().filter(|(_, at)| **at <= now).map(|(number, _)| *number).collect();
        for number in due {
            self.back.remove(&number);
            cluster.boot(number).await?;
        }
        cluster.bear_again().await?;
        self.bury_stopped(cluster).await
    }

    /// A daemon whose disk failed has ended itself: it is started again.
    async fn bury_stopped(&mut self, cluster: &mut Cluster) -> anyhow::Result<()> {
        for (number, up) in cluster.world.up() {
            let core = up.node.core();
            let ended = core.broken_disk.is_cancelled();
            if ended || core.consensus.status_now().fault.is_some() {
                cluster.world.count("fault: daemon ended by its disk");
                self.kill(cluster, number, Kill::Power).await?;
            }
        }
        Ok(())
    }

    async fn kill(&mut self, cluster: &mut Cluster, number: u32, how: Kill) -> anyhow::Result<()> {
        cluster.kill(number, how).await?;
        self.back.insert(number, Instant::now() + self.chance.millis(50, DOWN_MAX_MS));
        Ok(())
    }

    async fn break_something(&mut self, cluster: &mut Cluster) -> anyhow::Result<()> {
        let world = cluster.world.clone();
        match self.chance.between(0, 99) {
            0..12 => {
                let Some(number) = self.somebody(cluster) else { return Ok(()) };
                world.count("fault: daemon killed");
                self.kill(cluster, number, Kill::Process).await
            }
            12..24 => {
                let Some(number) = self.somebody(cluster) else { return Ok(()) };
                world.count("fault: power cut");
                self.kill(cluster, number, Kill::Power).await
            }
            24..30 => {
                let Some(number) = leader(cluster) else { return Ok(()) };
                world.count("fault: leader killed");
                self.kill(cluster, number, Kill::Process).await
            }
            30..33 => {
                world.count("fault: all killed");
                let mut dying = Vec::new();
                for (number, _) in world.up() {
                    let how = if self.chance.percent(50) { Kill::Power } else { Kill::Process };
                    dying.push((number, how));
                    self.back.insert(number, Instant::now() + self.chance.millis(50, DOWN_MAX_MS));
                }
                cluster.kill_together(&dying).await?;
                Ok(())
            }
            33..48 => self.split(cluster),
            48..56 => self.cut_one_way(cluster),
            56..66 => {
                self.spoil_links(cluster);
                Ok(())
            }
            66..80 => {
                self.crash_tasks(cluster);
                Ok(())
            }
            80..88 => {
                self.drain_or_not(cluster);
                Ok(())
            }
            88..94 => self.spoil_disk(cluster),
            _ => {
                self.move_leader(cluster);
                Ok(())
            }
        }
    }

    fn somebody(&mut self, cluster: &Cluster) -> Option<u32> {
        let up: Vec<u32> =
            cluster.numbers().into_iter().filter(|number| cluster.is_up(*number)).collect();
        self.chance.pick(&up).copied()
    }

    fn split(&mut self, cluster: &Cluster) -> anyhow::Result<()> {
        cluster.world.count("fault: partition");
        let mut numbers = cluster.numbers();
        self.chance.shuffle(&mut numbers);
        let most = u32::try_from(numbers.len()).unwrap_or(2).saturating_sub(1).max(1);
        let size = usize::try_from(self.chance.between(1, most)).unwrap_or(1);
        let (one, other) = numbers.split_at(size.min(numbers.len()));
        cluster.partition(one, other)?;
        self.heals_at = Some(Instant::now() + self.chance.millis(500, 15_000));
        Ok(())
    }

    fn cut_one_way(&mut self, cluster: &Cluster) -> anyhow::Result<()> {
        let mut numbers = cluster.numbers();
        self.chance.shuffle(&mut numbers);
        let [from, to, ..] = numbers[..] else { return Ok(()) };
        cluster.world.count("fault: one-way cut");
        cluster.world.note(&format!("cut n{from} -> n{to}"));
        cluster.cut(from, to)?;
        self.heals_at = Some(Instant::now() + self.chance.millis(500, 15_000));
        Ok(())
    }

    fn spoil_links(&mut self, cluster: &Cluster) {
        let link = match self.chance.between(0, 3) {
            0 => Link::LAN,
            1 => Link { loss: 0.05, ..Link::LAN },
            2 => Link { loss: 0.2, ..Link::LAN },
            _ => Link {
                delay: Duration::from_millis(20),
                jitter: Duration::from_millis(30),
                loss: 0.01,
                replay: 0.2,
            },
        };
        cluster.world.count("fault: links changed");
        cluster.world.note(&format!("links {link:?}"));
        cluster.network.set_default_link(link);
    }

    fn crash_tasks(&mut self, cluster: &Cluster) {
        for seat in cluster.world.seats().values() {
            for task in seat.runtime.running() {
                if self.chance.percent(20) {
                    cluster.world.count("fault: task crashed");
                    seat.runtime.crash(task, 1);
                }
            }
        }
    }

    /// Drains a node, or makes it take tasks again, without waiting for the answer.
    fn drain_or_not(&mut self, cluster: &Cluster) {
        let Some(number) = self.somebody(cluster) else { return };
        let Ok(node) = cluster.node(number) else { return };
        let view = node.view();
        let Some(member) =
            self.chance.pick(&view.nodes.values().cloned().collect::<Vec<_>>()).cloned()
        else {
            return;
        };
        let mut spec = member.spec.clone();
        spec.availability = match spec.availability {
            Availability::Active => Availability::Drain,
            Availability::Pause | Availability::Drain => Availability::Active,
        };
        let op = Op::UpdateNode { id: member.id, version: None, spec, drain_deadline: None };
        set_availability(cluster, op, self.chance.word());
    }

    fn spoil_disk(&mut self, cluster: &Cluster) -> anyhow::Result<()> {
        let Some(number) = self.somebody(cluster) else { return Ok(()) };
        let kind = if self.chance.percent(50) { FaultKind::Sync } else { FaultKind::Write };
        let fault = Fault { kind, after: self.chance.between(0, 20) };
        cluster.world.count("fault: disk error");
        cluster.world.note(&format!("n{number}: {fault:?}"));
        cluster.disk(number)?.inject(fault);
        Ok(())
    }

    fn move_leader(&mut self, cluster: &Cluster) {
        let Some(number) = leader(cluster) else { return };
        let Ok(node) = cluster.node(number) else { return };
        cluster.world.count("fault: leadership moved");
        cluster.world.note(&format!("n{number} hands over"));
        let core = node.core().clone();
        node.core().tasks.spawn("sim hand-over", async move {
            // Whether it works is seen by who leads.
            drop(core.consensus.transfer_leadership(None).await);
        });
    }

    /// Ends all faults: links are sound, everybody is up and takes tasks.
    ///
    /// # Errors
    /// When a node does not start again.
    pub async fn end(&mut self, cluster: &mut Cluster) -> anyhow::Result<()> {
        cluster.heal();
        cluster.network.set_default_link(Link::LAN);
        for number in cluster.numbers() {
            let disk = cluster.disk(number)?;
            disk.forgive();
        }
        // What was under way when a disk failed shows a moment later.
        sleep(LAST_FAILURE).await;
        self.bury_stopped(cluster).await?;
        self.back.clear();
        for number in cluster.numbers() {
            if !cluster.is_up(number) {
                cluster.boot(number).await?;
            }
        }
        Ok(())
    }
}

/// Has an availability agreed on, in the background.
fn set_availability(cluster: &Cluster, op: Op, seed: u64) {
    let world = cluster.world.clone();
    world.count("fault: drained or made active");
    world.note(&format!("{op:?}"));
    let mut chance = Chance::new(seed, "availability");
    let managers = world.up();
    // Owned by a node that may die: then nobody asks again, as when an operator's machine dies.
    if let Some((_, up)) = managers.first() {
        let keeper = up.node.core().tasks.clone();
        keeper.spawn("sim availability", async move {
            drop(workload::propose(&world, &mut chance, op).await);
        });
    }
}

/// The machine that leads, as far as it knows itself.
pub fn leader(cluster: &Cluster) -> Option<u32> {
    let up = cluster.world.up();
    let leading = up.iter().filter_map(|(number, up)| {
        let status = up.node.core().consensus.status_now();
        status.is_leader().then_some((status.term, *number))
    });
    leading.max().map(|(_, number)| number)
}
