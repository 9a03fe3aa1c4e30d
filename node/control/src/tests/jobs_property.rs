//! Jobs under leaders that come, go and err: exactly as many successes as were asked for, each slot once,
//! and never more tasks than seats.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use swarm_model::id::ServiceId;
use swarm_model::job::RunPhase;
use swarm_model::node::Reachability;
use swarm_model::task::Slot;
use swarm_model::task_state::ObservedState;
use swarm_model::view::View;

use crate::testing::{Cluster, job, times};
use crate::{Scope, reconcile};

/// What goes wrong in one round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    /// The leader dies with its plan.
    Lost,
    /// Its plan is given up too early and proposed again.
    Twice,
    /// It decides on a view that is so many rounds old.
    Behind(usize),
    /// Only tasks whose ids have this last bit are heard.
    Half(u128),
    /// A worker falls silent, or is heard again.
    Node(usize),
}

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        4 => Just(Fault::None),
        2 => Just(Fault::Lost),
        2 => Just(Fault::Twice),
        4 => (1usize..6).prop_map(Fault::Behind),
        3 => (0u128..2).prop_map(Fault::Half),
        1 => (1usize..3).prop_map(Fault::Node),
    ]
}

struct World {
    cluster: Cluster,
    job: ServiceId,
    seats: usize,
    /// The slots that a success was seen of.
    succeeded: BTreeSet<Slot>,
}

impl World {
    fn new(completions: u32, max_concurrent: u32, program: &str) -> Self {
        let mut cluster = Cluster::new(3);
        let job = cluster.create(job("batch", completions, max_concurrent, program));
        let seats = if max_concurrent == 0 { usize::MAX } else { max_concurrent as usize };
        Self { cluster, job, seats, succeeded: BTreeSet::new() }
    }

    fn run(&mut self, faults: &[Fault]) {
        let mut past: Vec<View> = Vec::new();
        for round in 0..4000 {
            let fault = faults.get(round).copied().unwrap_or(Fault::None);
            if round == faults.len() {
                for node in self.cluster.nodes.clone() {
                    self.cluster.reach(node, Reachability::Ready);
                }
            }
            past.push(self.cluster.view().clone());
            let now = self.cluster.view().clone();
            let (view, times) = match fault {
                Fault::Behind(rounds) => (past[past.len().saturating_sub(rounds + 1)].clone(), 1),
                Fault::Lost => (now, 0),
                Fault::Twice => (now, 2),
                Fault::None | Fault::Half(_) => (now, 1),
                Fault::Node(at) => {
                    let node = self.cluster.nodes[at];
                    let reach = self.cluster.view().nodes[&node].status.reachability;
                    let other = match reach {
                        Reachability::Down => Reachability::Ready,
                        Reachability::Ready | Reachability::Unknown => Reachability::Down,
                    };
                    self.cluster.reach(node, other);
                    (self.cluster.view().clone(), 1)
                }
            };
            let plan =
                reconcile(&view, &Scope::everything(), self.cluster.now, &mut self.cluster.ids);
            for _ in 0..times {
                self.cluster.hand_in(&plan, view.revision);
                self.check();
            }
            let heard = self.cluster.agents_where(&|task| match fault {
                Fault::Half(bit) => task.id.raw() % 2 == bit,
                _all => true,
            });
            self.check();
            if round < faults.len() || !plan.changes.is_empty() || heard {
                continue;
            }
            if !self.cluster.run(self.job).is_active() {
                return;
            }
            let wake = plan.wake_at().expect("a run that waits for nothing");
            self.cluster.now = wake.max(self.cluster.now.after(Duration::from_millis(1)));
        }
        panic!("does not end: {:#?}", self.cluster.run(self.job));
    }

    fn check(&mut self) {
        let view = self.cluster.view();
        let run = self.cluster.run(self.job);
        let mut taken: BTreeMap<Slot, usize> = BTreeMap::new();
        for task in view.tasks_of(self.job) {
            if task.status.state == ObservedState::Complete {
                self.succeeded.insert(task.slot);
            }
            let open = run.index_of(task.slot).is_some_and(|it| !run.succeeded.contains(it));
            if open && task.takes_slot() {
                *taken.entry(task.slot).or_default() += usize::from(task.is_active());
            }
        }
        assert!(taken.len() <= self.seats, "{} slots are taken: {taken:?}", taken.len());
        assert!(taken.values().all(|active| *active <= 1), "{taken:?}");
        let counted: BTreeSet<Slot> = (1..=run.completions)
            .filter(|index| run.succeeded.contains(*index))
            .map(|index| run.slot(index))
            .collect();
        assert_eq!(counted, self.succeeded, "each slot that succeeded counts, and no other");
    }
}

proptest! {
    #![proptest_config(times(2))]

    #[test]
    fn a_job_has_exactly_its_number_of_successes_whatever_leaders_do(
        completions in 1u32..21,
        max_concurrent in 0u32..6,
        program in select(vec!["once", "stubborn"]),
        faults in vec(fault(), 0..60),
    ) {
        let mut world = World::new(completions, max_concurrent, program);
        world.run(&faults);
        let run = world.cluster.run(world.job);
        prop_assert_eq!(&run.phase, &RunPhase::Complete);
        prop_assert_eq!(run.succeeded.count(), completions);
        world.cluster.scope = Scope::everything();
        world.cluster.settle();
        prop_assert_eq!(world.cluster.active(world.job).len(), 0);
    }
}
