//! Tasks that would be better off elsewhere by now: after nodes came, came back, or were left uneven.
//!
//! Only says which; nobody asks for it but people. Every move makes something that weighs more more even
//! than before and nothing that weighs more less so, so to ask again and again comes to an end.

use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use serde::{Deserialize, Serialize};
use swarm_model::id::{NodeId, ServiceId, TaskId};
use swarm_model::meta::Version;
use swarm_model::service::{Service, ServiceMode};
use swarm_model::task::Task;
use swarm_model::task_state::ObservedState;
use swarm_model::units::Timestamp;
use swarm_model::update::UpdateState;
use swarm_model::view::View;

use crate::enforcer::{Stance, stance};
use crate::facts::Facts;
use crate::forecast::Place;
use crate::scheduler::{Balance, Gain, Pair};

/// A task that would be better off elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Move {
    /// The task.
    #[serde(rename = "TaskID")]
    pub task: TaskId,
    /// Its version.
    pub version: Version,
    /// Service and slot.
    pub name: String,
    /// Where it is.
    pub from: Place,
    /// Where its replacement goes.
    pub to: Place,
    /// The difference that gets smaller.
    pub gain: u64,
    /// Of what.
    pub reason: String,
}

/// The up to `most` moves that help most. Services that are not at rest are left alone, and so are those
/// that are packed on few nodes, global ones, and jobs, whose tasks run to their end where they are.
pub fn rebalance(view: &View, most: usize, now: Timestamp) -> Vec<Move> {
    // Those in an update are not looked at.
    let former = BTreeMap::new();
    let facts = Facts { view, now, led_since: Timestamp::default(), still: false, former: &former };
    let services = view.services.values().map(AsRef::as_ref);
    let services: BTreeMap<ServiceId, &Service> =
        services.filter(|it| is_at_rest(facts, it)).map(|service| (service.id, service)).collect();
    let mut round = Round { facts, balance: Balance::new(facts), moves: Vec::new() };
    // A move can make another one worth while of a service that was looked at before.
    while round.pass(&services, most) {}
    round.moves
}

/// Whether all tasks of `service` run where they may, and none is on its way.
fn is_at_rest(facts: Facts<'_>, service: &Service) -> bool {
    let moves = match service.spec.mode {
        ServiceMode::Replicated { .. } => true,
        ServiceMode::Global {} | ServiceMode::ReplicatedJob { .. } | ServiceMode::GlobalJob {} => {
            false
        }
    };
    let updated = service.update.as_ref().is_some_and(UpdateState::is_open);
    let settled = |task: &Task| {
        let ended = task.status.state.is_terminal();
        let runs = task.status.state == ObservedState::Running && task.is_active();
        ended || runs && stance(facts, service, task) == Stance::Good
    };
    moves
        && !updated
        && !service.removing
        && facts.view.tasks_of(service.id).all(|task| settled(task))
}

struct Round<'a> {
    facts: Facts<'a>,
    balance: Balance<'a>,
    /// The best first.
    moves: Vec<Move>,
}

impl<'a> Round<'a> {
    /// Makes moves, the best first, until none is left; whether it made any.
    fn pass(&mut self, services: &BTreeMap<ServiceId, &'a Service>, most: usize) -> bool {
        let mut heap: BinaryHeap<(Gain, ServiceId)> = BinaryHeap::new();
        for service in services.values() {
            heap.extend(self.balance.best(service).map(|pair| (pair.gain, service.id)));
        }
        let mut moved = false;
        while self.moves.len() < most
            && let Some((known, id)) = heap.pop()
        {
            let service = services[&id];
            // Other moves may have changed it.
            let Some(pair) = self.balance.best(service) else { continue };
            if pair.gain < known && heap.peek().is_some_and(|(next, _)| *next > pair.gain) {
                heap.push((pair.gain, id));
                continue;
            }
            if !self.make(service, &pair) {
                continue;
            }
            moved = true;
            heap.extend(self.balance.best(service).map(|pair| (pair.gain, id)));
        }
        moved && self.moves.len() < most
    }

    /// Moves one task as `pair` says; whether there is one.
    fn make(&mut self, service: &'a Service, pair: &Pair) -> bool {
        let (from, to) = (self.balance.node(pair.from), self.balance.node(pair.to));
        let moved: BTreeSet<TaskId> = self.moves.iter().map(|it| it.task).collect();
        let view = self.facts.view;
        let tasks = || view.tasks_of(service.id).filter(|task| task.is_active());
        let here =
            |task: &&std::sync::Arc<Task>| task.node == Some(from) && !moved.contains(&task.id);
        let Some(task) = tasks().filter(here).max_by_key(|task| (task.slot, task.id)) else {
            // One that just came goes on instead.
            let own: BTreeSet<TaskId> = tasks().map(|task| task.id).collect();
            let mut last = self.moves.iter_mut().filter(|it| own.contains(&it.task));
            let Some(last) = last.find(|it| it.to.id == from) else { return false };
            if last.from.id == to {
                return false;
            }
            last.to = place(self.facts.view, to);
            pair.reason.clone_into(&mut last.reason);
            self.balance.carry(service, pair);
            return true;
        };
        self.balance.carry(service, pair);
        let told = Move {
            task: task.id,
            version: task.meta.version,
            name: format!("{}.{}", service.spec.name, task.slot),
            from: place(self.facts.view, from),
            to: place(self.facts.view, to),
            gain: pair.gain.gap,
            reason: pair.reason.clone(),
        };
        self.moves.push(told);
        true
    }
}

fn place(view: &View, id: NodeId) -> Place {
    let hostname = view.nodes.get(&id).map(|node| node.description.hostname.clone());
    Place { id, hostname: hostname.unwrap_or_default() }
}
