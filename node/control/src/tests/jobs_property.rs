//! Jobs under leaders that come, go and err, while versions, nodes and the time go on: exactly as many
//! successes as were asked for, each slot once, never more tasks than seats, never two runs side by side.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::collection::vec;
use proptest::option::weighted;
use proptest::prelude::*;
use proptest::sample::select;
use swarm_model::command::Op;
use swarm_model::id::ServiceId;
use swarm_model::job::RunPhase;
use swarm_model::node::{Availability, Reachability};
use swarm_model::task::Slot;
use swarm_model::task_state::ObservedState;
use swarm_model::view::View;

use crate::testing::{Cluster, job, times};
use crate::{Scope, reconcile};

/// What goes wrong, or on, in one round.
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
    /// Nobody is heard.
    Deaf,
    /// A worker falls silent, or is heard again.
    Node(usize),
    /// A worker is drained, at once or for as long as it takes, or takes tasks again.
    Drain(usize, bool),
    /// There is a new version.
    Replace,
    /// Somebody starts a run, or stops all.
    Ask(bool),
    /// Time passes.
    Elapse(u64),
}

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        4 => Just(Fault::None),
        2 => Just(Fault::Lost),
        2 => Just(Fault::Twice),
        4 => (1usize..6).prop_map(Fault::Behind),
        3 => (0u128..2).prop_map(Fault::Half),
        2 => Just(Fault::Deaf),
        1 => (1usize..3).prop_map(Fault::Node),
        1 => (1usize..3, any::<bool>()).prop_map(|(at, now)| Fault::Drain(at, now)),
        2 => Just(Fault::Replace),
        1 => any::<bool>().prop_map(Fault::Ask),
        1 => (1u64..3000).prop_map(Fault::Elapse),
    ]
}

#[derive(Debug, Clone, Copy)]
struct Shape {
    completions: u32,
    max_concurrent: u32,
    program: &'static str,
    keep_runs: u32,
    deadline_ms: Option<u64>,
}

prop_compose! {
    fn shape()(
        completions in 1u32..21,
        max_concurrent in 0u32..6,
        program in select(vec!["once", "stubborn"]),
        keep_runs in 1u32..4,
        deadline_ms in weighted(0.3, 1000u64..20_000),
    ) -> Shape {
        Shape { completions, max_concurrent, program, keep_runs, deadline_ms }
    }
}

struct World {
    cluster: Cluster,
    job: ServiceId,
    shape: Shape,
    /// Whether a worker falls silent, so that what ran there runs elsewhere, too.
    silence: bool,
    /// The slots of which a success was seen while their runs went on.
    succeeded: BTreeSet<Slot>,
    /// What was there when that was looked at last.
    before: View,
}

impl World {
    fn new(shape: Shape, faults: &[Fault]) -> Self {
        let mut cluster = Cluster::new(3);
        let mut spec = job("batch", shape.completions, shape.max_concurrent, shape.program);
        spec.job.keep_runs = shape.keep_runs;
        spec.job.deadline_ms = shape.deadline_ms;
        let job = cluster.create(spec);
        let before = cluster.view().clone();
        let silence = faults.iter().any(|fault| matches!(fault, Fault::Node(_)));
        Self { cluster, job, shape, silence, succeeded: BTreeSet::new(), before }
    }

    /// What happens before a round.
    fn suffer(&mut self, fault: Fault) {
        let (cluster, id) = (&mut self.cluster, self.job);
        match fault {
            Fault::Node(at) => {
                let node = cluster.nodes[at];
                let other = match cluster.view().nodes[&node].status.reachability {
                    Reachability::Down => Reachability::Ready,
                    Reachability::Ready | Reachability::Unknown => Reachability::Down,
                };
                cluster.reach(node, other);
            }
            Fault::Drain(at, at_once) => {
                let node = cluster.nodes[at];
                let other = match cluster.view().nodes[&node].spec.availability {
                    Availability::Active | Availability::Pause => Availability::Drain,
                    Availability::Drain => Availability::Active,
                };
                let drains = other == Availability::Drain && at_once;
                let deadline = drains.then_some(cluster.now);
                cluster.drain_by(node, deadline, |spec| spec.availability = other);
            }
            Fault::Replace => cluster.update(id, |spec| spec.task_template.force_update += 1),
            // There may be one that goes on, or none.
            Fault::Ask(true) => drop(cluster.apply(Op::StartRun { id })),
            Fault::Ask(false) => drop(cluster.apply(Op::StopRun { id, run: None })),
            Fault::Elapse(millis) => cluster.now = cluster.now.after(Duration::from_millis(millis)),
            Fault::None
            | Fault::Lost
            | Fault::Twice
            | Fault::Behind(_)
            | Fault::Half(_)
            | Fault::Deaf => {}
        }
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
            self.suffer(fault);
            self.check();
            let view = match fault {
                Fault::Behind(rounds) => past[past.len().saturating_sub(rounds + 1)].clone(),
                _now => self.cluster.view().clone(),
            };
            let times = match fault {
                Fault::Lost => 0,
                Fault::Twice => 2,
                _once => 1,
            };
            let plan =
                reconcile(&view, &Scope::everything(), self.cluster.now, &mut self.cluster.ids);
            for _ in 0..times {
                self.cluster.hand_in(&plan, view.revision);
                self.check();
            }
            let heard = self.cluster.agents_where(&|task| match fault {
                Fault::Half(bit) => task.id.raw() % 2 == bit,
                Fault::Deaf => false,
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

    /// What holds after every step.
    fn check(&mut self) {
        self.note_successes();
        self.before = self.cluster.view().clone();
        let view = &self.before;
        let most = usize::try_from(self.shape.keep_runs).expect("small");
        let ended = view.runs_of(self.job).filter(|run| !run.is_active()).count();
        assert!(ended <= most, "{ended} runs that ended");
        let mut taken: BTreeMap<Slot, usize> = BTreeMap::new();
        let mut there: BTreeSet<Option<u64>> = BTreeSet::new();
        for task in view.tasks_of(self.job) {
            let run = task.slot.run().and_then(|run| view.runs.get(&(self.job, run)));
            let open = run.is_some_and(|run| {
                let index = run.index_of(task.slot);
                run.is_active() && index.is_some_and(|it| !run.succeeded.contains(it))
            });
            if open && task.takes_slot() {
                *taken.entry(task.slot).or_default() += usize::from(task.is_active());
            }
            if task.holds_node() {
                there.insert(task.slot.run());
            }
        }
        let seats = usize::try_from(self.shape.max_concurrent).expect("small");
        assert!(seats == 0 || taken.len() <= seats, "{} slots are taken: {taken:?}", taken.len());
        assert!(taken.values().all(|active| *active <= 1), "{taken:?}");
        assert!(self.silence || there.len() <= 1, "side by side: {there:?}");
    }

    /// Each slot that succeeded while its run went on counts for it, and no other.
    fn note_successes(&mut self) {
        let view = self.cluster.view();
        for task in view.tasks_of(self.job) {
            let was = self.before.tasks.get(&task.id).map(|task| task.status.state);
            let complete = |state| state == ObservedState::Complete;
            let news = complete(task.status.state) && !was.is_some_and(complete);
            let run = task.slot.run().and_then(|run| self.before.runs.get(&(self.job, run)));
            if news && run.is_some_and(|run| run.is_active()) {
                self.succeeded.insert(task.slot);
            }
        }
        for run in view.runs_of(self.job) {
            let slots = (1..=run.completions).map(|index| (index, run.slot(index)));
            for (index, slot) in slots {
                let seen = self.succeeded.contains(&slot);
                assert_eq!(run.succeeded.contains(index), seen, "{slot} of {run:?}");
            }
        }
    }
}

proptest! {
    #![proptest_config(times(2))]

    #[test]
    fn a_job_has_exactly_its_number_of_successes_whatever_leaders_do(
        shape in shape(),
        faults in vec(fault(), 0..60),
    ) {
        let mut world = World::new(shape, &faults);
        world.run(&faults);
        let run = world.cluster.run(world.job);
        match &run.phase {
            RunPhase::Complete => prop_assert_eq!(run.succeeded.count(), shape.completions),
            RunPhase::Failed { reason } => {
                prop_assert!(shape.deadline_ms.is_some() && reason.contains("deadline"), "{}", reason);
            }
            RunPhase::Stopped => prop_assert!(faults.contains(&Fault::Ask(false))),
            other => prop_assert!(false, "{:?}", other),
        }
        world.cluster.scope = Scope::everything();
        world.cluster.settle();
        prop_assert_eq!(world.cluster.active(world.job).len(), 0);
    }
}
