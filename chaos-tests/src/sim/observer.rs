//! Looks at every node every few milliseconds and holds what it sees against the invariants.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use swarm_model::id::{NodeId, TaskId};
use swarm_model::meta::Term;
use swarm_model::view::View;
use swarm_node::api::backend::Backend;
use swarm_raft::Status;
use tokio_util::sync::CancellationToken;

use super::invariants::{
    Agreement, Leaders, Progress, Running, Seen, Slots, Tasks, runs_only_when_well,
};
use super::trace::Hash;
use super::world::{Up, World};

/// Between two looks.
const LOOK: Duration = Duration::from_millis(20);

/// The memory of all invariants.
#[derive(Debug, Default)]
struct Observer {
    leaders: Leaders,
    progress: Progress,
    agreement: Agreement,
    tasks: Tasks,
    slots: Slots,
    /// Every task ever seen: what it filled.
    filled: BTreeMap<TaskId, Running>,
    views: BTreeMap<u32, Arc<View>>,
}

/// Looks until `stop`.
pub async fn run(world: World, stop: CancellationToken) {
    let mut observer = Observer::default();
    while !stop.is_cancelled() {
        if let Err(what) = observer.look(&world) {
            world.violate(&what);
            return;
        }
        tokio::time::sleep(LOOK).await;
    }
}

impl Observer {
    fn look(&mut self, world: &World) -> Result<(), String> {
        for number in world.take_replaced() {
            self.progress.forget(number);
        }
        let mut leader: Option<(Term, u32, BTreeSet<NodeId>)> = None;
        for (number, up) in world.up() {
            let status = up.node.core().consensus.status_now();
            if status.is_leader() {
                if self.leaders.see(status.term.0, number)? {
                    world.note(&format!("n{number} leads in term {}", status.term.0));
                    world.count("check: leaders of terms");
                }
                leader = leader.max(Some((status.term, number, status.voters.clone())));
            }
            // Before its first turn consensus has nothing to say; with a broken disk it shows a term
            // that it could not keep and therefore told nobody.
            if !status.voters.is_empty() && status.fault.is_none() {
                self.progress.see(number, seen(&up, &status))?;
            }
            self.look_at_view(world, number, up.node.view())?;
        }
        world.count("check: looks");
        let leader = leader.filter(|(_, number, voters)| has_majority(world, *number, voters));
        self.look_at_tasks(world, leader.map(|(_, number, _)| number))
    }

    fn look_at_view(&mut self, world: &World, number: u32, view: Arc<View>) -> Result<(), String> {
        if self.views.get(&number).is_some_and(|known| Arc::ptr_eq(known, &view)) {
            return Ok(());
        }
        let compared = self.agreement.compared();
        self.agreement.see(number, &view)?;
        if self.agreement.compared() > compared {
            world.count("check: equal states");
        }
        if view.revision > self.tasks.newest().revision {
            for task in view.tasks.values() {
                let (service, slot) = (task.service, task.slot);
                let running = Running { service, slot, task: task.id, machine: 0 };
                self.filled.entry(task.id).or_insert(running);
            }
            world.note(&format!("n{number} at {} {:016x}", view.revision, digest(&view)));
        }
        runs_only_when_well(&view, |task| world.was_well(task))?;
        self.tasks.see(&view)?;
        self.views.insert(number, view);
        Ok(())
    }

    fn look_at_tasks(&mut self, world: &World, leader: Option<u32>) -> Result<(), String> {
        let mut running = BTreeSet::new();
        for (number, seat) in world.seats() {
            let reached =
                seat.up.is_some() && leader.is_some_and(|leader| world.connected(leader, number));
            if !reached {
                continue;
            }
            for task in seat.runtime.running() {
                if let Some(known) = self.filled.get(&task) {
                    running.insert(Running { machine: number, ..*known });
                }
            }
        }
        self.slots.see(world.clock.millis(), &running)
    }
}

/// Whether `leader` reaches enough voters to agree with them on what is to be stopped.
fn has_majority(world: &World, leader: u32, voters: &BTreeSet<NodeId>) -> bool {
    let up = world.up().into_iter();
    let reached = up.filter(|(number, up)| {
        voters.contains(&up.node.core().id) && world.connected(leader, *number)
    });
    reached.count() * 2 > voters.len()
}

fn seen(up: &Up, status: &Status) -> Seen {
    Seen {
        life: up.life,
        term: status.term.0,
        applied: status.applied.0,
        last_log: status.last_log.0,
    }
}

/// Stands for what a run may differ in: everything but keys, which are truly random.
fn digest(view: &View) -> u64 {
    let mut hash = Hash::default();
    let text = |hash: &mut Hash, item: &dyn std::fmt::Debug| {
        // Hashing never fails.
        write!(hash, "{item:?}").ok();
    };
    for node in view.nodes.values() {
        text(&mut hash, &(node.id, node.spec.availability, node.status.reachability));
    }
    for service in view.services.values() {
        text(&mut hash, &(service.id, service.meta, service.removing));
    }
    for task in view.tasks.values() {
        text(&mut hash, &(task.id, task.node, task.desired, task.status.state, task.meta.version));
    }
    for config in view.configs.values() {
        text(&mut hash, &(config.id, config.meta));
    }
    hash.value()
}
