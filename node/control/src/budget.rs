//! `--min-available`: how many tasks of a service run at least, whatever is done to it on purpose.
//!
//! Says whether one more may be stopped; who would be is chosen elsewhere. What happens by itself
//! (crashes, lost nodes), what a person asks for in so many words (scaling down, removing) and
//! rules (constraints) are bounded by nothing.

use std::collections::{BTreeMap, BTreeSet};

use swarm_model::id::ServiceId;
use swarm_model::node::Availability;
use swarm_model::service::{Service, ServiceMode};
use swarm_model::task::{Slot, Task};
use swarm_model::task_state::ObservedState;
use swarm_model::units::Timestamp;
use swarm_model::update::Order;
use swarm_model::view::View;

use crate::enforcer::{Stance, meets_constraints, stance};
use crate::facts::{Facts, Host};
use crate::orchestrator::update;

/// What a service may lose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Budget {
    /// Slots that have to be served.
    pub(crate) least: usize,
    /// Slots that are.
    pub(crate) available: usize,
}

/// The budget of `service`, of whose tasks those end for which `ends` says so; `None` when it has none.
pub(crate) fn of(
    facts: Facts<'_>,
    service: &Service,
    ends: &dyn Fn(&Task) -> bool,
) -> Option<Budget> {
    let share = service.spec.min_available?;
    let tasks = facts.view.tasks_of(service.id).map(AsRef::as_ref);
    let served: BTreeSet<Slot> =
        tasks.filter(|task| serves(facts, task) && !ends(task)).map(|task| task.slot).collect();
    let wanted = match service.spec.mode {
        ServiceMode::Replicated { replicas } => usize::try_from(replicas).unwrap_or(usize::MAX),
        ServiceMode::Global {} => nodes_of(facts, service),
        // Nothing of a job is stopped to be replaced.
        ServiceMode::ReplicatedJob { .. } | ServiceMode::GlobalJob {} => return None,
    };
    Some(Budget { least: share.of(wanted), available: served.len() })
}

/// The nodes that a global service has to do with: open ones, and as long as a drained one still has
/// to give up its task, all drained ones that had one. Else a share of them would shrink with each
/// task that ends; and once all drains are through, updates must go by what is left.
fn nodes_of(facts: Facts<'_>, service: &Service) -> usize {
    let (mut open, mut drained, mut drains) = (0, 0, false);
    for node in facts.view.nodes.values().filter(|node| meets_constraints(service, node)) {
        if node.spec.availability != Availability::Drain {
            open += 1;
            continue;
        }
        let mut tasks = facts.view.tasks_in(service.id, Slot::Node(node.id)).peekable();
        drained += usize::from(tasks.peek().is_some());
        drains |= tasks.any(|task| serves(facts, task));
    }
    if drains { open + drained } else { open }
}

/// Whether `task` may be stopped though nothing is wrong with it, beside those that end already.
pub(crate) fn allows(
    facts: Facts<'_>,
    service: &Service,
    task: &Task,
    ends: &dyn Fn(&Task) -> bool,
) -> bool {
    costs_nothing(facts, service, task, ends)
        || of(facts, service, ends).is_none_or(|budget| budget.available > budget.least)
}

/// Whether as many slots are served without `task`, or nobody counts them.
fn costs_nothing(
    facts: Facts<'_>,
    service: &Service,
    task: &Task,
    ends: &dyn Fn(&Task) -> bool,
) -> bool {
    let mut others = facts.view.tasks_in(task.service, task.slot);
    service.spec.min_available.is_none()
        || !serves(facts, task)
        || others.any(|other| other.id != task.id && serves(facts, other) && !ends(other))
}

/// The budgets of services while tasks to end are looked for: each is counted once, however many
/// tasks are looked at.
#[derive(Debug, Default)]
pub(crate) struct Budgets(BTreeMap<ServiceId, Option<Budget>>);

/// What a choice of tasks that is being made takes of them.
#[derive(Debug, Default)]
pub(crate) struct Spent(BTreeMap<ServiceId, usize>);

impl Budgets {
    /// Whether `task` may end beside those that are `chosen` and those for which `ends` says so, always
    /// the same ones; it is `spent` then.
    pub(crate) fn allow(
        &mut self,
        facts: Facts<'_>,
        task: &Task,
        chosen: &[&Task],
        spent: &mut Spent,
        ends: &dyn Fn(&Task) -> bool,
    ) -> bool {
        let Some(service) = facts.view.services.get(&task.service) else { return true };
        let gone = |other: &Task| ends(other) || chosen.iter().any(|task| task.id == other.id);
        if costs_nothing(facts, service, task, &gone) {
            return true;
        }
        let budget = self.0.entry(service.id).or_insert_with(|| of(facts, service, ends));
        let Some(Budget { least, available }) = *budget else { return true };
        let spent = spent.0.entry(service.id).or_default();
        let allowed = available > least.saturating_add(*spent);
        *spent += usize::from(allowed);
        allowed
    }
}

/// Why `task`, which should go, serves on: the budget of its service has nothing left. Silent where an
/// update has no order of its own: whether a task would have to end first is not known without a look
/// at all nodes. There the new task, which waits beside it, says what it lacks.
pub fn held_back(view: &View, task: &Task, now: Timestamp) -> Option<String> {
    let former = BTreeMap::new();
    let facts = Facts { view, now, led_since: Timestamp::default(), still: false, former: &former };
    let service = view.services.get(&task.service).filter(|service| !service.removing)?;
    let share = service.spec.min_available.filter(|_| serves(facts, task))?;
    let goes = match stance(facts, service, task) {
        Stance::Drained { deadline } => {
            matches!(task.slot, Slot::Node(_)) || deadline.is_some_and(|at| at <= now)
        }
        Stance::Outdated => {
            update::is_rolling(service) && update::order(service) == Some(Order::StopFirst)
        }
        Stance::Good | Stance::Forbidden | Stance::Evicted { .. } | Stance::Lost | Stance::Held => {
            false
        }
    };
    if !goes || allows(facts, service, task, &|_| false) {
        return None;
    }
    let Budget { least, available } = of(facts, service, &|_| false)?;
    Some(format!("held back by --min-available {share}: {available} run, {least} have to"))
}

/// Whether `task` counts: it runs, on a node that is heard from, and is wanted.
fn serves(facts: Facts<'_>, task: &Task) -> bool {
    let runs = task.is_active() && task.status.state == ObservedState::Running;
    runs && matches!(facts.host(task.node), Host::Alive(_))
}
