//! Updates while machines are lost and slots are added: neither is a failure of the new version, and
//! neither lets more slots try it than have a seat.

use std::collections::BTreeSet;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use swarm_model::id::ServiceId;
use swarm_model::node::Reachability;
use swarm_model::runtime::RuntimeSpec;
use swarm_model::service::ServiceMode;
use swarm_model::task::Slot;
use swarm_model::task_state::ObservedState;
use swarm_model::update::{UpdateKind, UpdatePhase, UpdatePolicy, UpdateState};

use super::property::policy;
use crate::testing::{Cluster, program, spec, template, times};

const NODES: usize = 5;

/// What happens beside the update.
#[derive(Debug, Clone, Copy)]
enum Fault {
    Nothing,
    Lose(usize),
    Return(usize),
    Drain(usize),
    Grow,
    Elapse(u64),
}

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        3 => Just(Fault::Nothing),
        3 => (0..NODES).prop_map(Fault::Lose),
        2 => (0..NODES).prop_map(Fault::Return),
        1 => (0..NODES).prop_map(Fault::Drain),
        1 => Just(Fault::Grow),
        2 => (1u64..4000).prop_map(Fault::Elapse),
    ]
}

struct World {
    cluster: Cluster,
    web: ServiceId,
    policy: UpdatePolicy,
    program: &'static str,
    /// Slots where the new version ran for its monitor time.
    proven: BTreeSet<Slot>,
}

impl World {
    fn new(replicas: u32, policy: UpdatePolicy, program: &'static str) -> Self {
        let mut cluster = Cluster::new(NODES);
        let mut spec = spec("web", Some(replicas), template("ok"));
        spec.update = policy;
        let web = cluster.create(spec);
        cluster.settle();
        cluster.update(web, |spec| {
            let RuntimeSpec::Process(process) = &mut spec.task_template.runtime;
            process.command = vec![program.to_owned()];
        });
        Self { cluster, web, policy, program, proven: BTreeSet::new() }
    }

    fn state(&self) -> UpdateState {
        self.cluster.view().services[&self.web].update.clone().expect("there is an update")
    }

    fn take(&mut self, fault: Fault) {
        let node = |at: usize| self.cluster.nodes[at];
        match fault {
            Fault::Nothing => {}
            // Somewhere tasks have to go.
            Fault::Lose(at) if at > 1 => self.cluster.reach(node(at), Reachability::Down),
            Fault::Drain(at) if at > 1 => self.cluster.drain(node(at)),
            Fault::Lose(_) | Fault::Drain(_) => {}
            Fault::Return(at) => self.cluster.reach(node(at), Reachability::Ready),
            Fault::Grow => self.cluster.update(self.web, |spec| {
                if let ServiceMode::Replicated { replicas } = &mut spec.mode {
                    *replicas += 1;
                }
            }),
            Fault::Elapse(millis) => {
                self.cluster.now = self.cluster.now.after(Duration::from_millis(millis));
            }
        }
    }

    fn run(&mut self, faults: &[Fault]) {
        for fault in faults {
            self.take(*fault);
            self.cluster.round();
            self.check();
            self.cluster.agents();
        }
        (0..NODES).for_each(|at| self.take(Fault::Return(at)));
        for _ in 0..500 {
            let planned = !self.cluster.round().changes.is_empty();
            self.check();
            if self.cluster.agents() || planned {
                continue;
            }
            if self.state().phase != UpdatePhase::Rolling {
                return;
            }
            let wake = self.cluster.wake_at.expect("an update that waits for nothing");
            self.cluster.now = wake.max(self.cluster.now.after(Duration::from_millis(1)));
        }
        panic!("does not end: {:#?}", self.state());
    }

    /// No more slots have the new version, without having proven it there, than there are seats.
    fn check(&mut self) {
        if self.state().phase != UpdatePhase::Rolling {
            return;
        }
        let monitor = Duration::from_millis(self.policy.monitor_ms);
        let now = self.cluster.now;
        let tasks = self.cluster.view().tasks_of(self.web);
        let tried: Vec<_> = tasks.filter(|task| program(task) == self.program).collect();
        let runs = tried.iter().filter(|task| task.status.state == ObservedState::Running);
        let proven = runs.filter(|task| task.ran_at.is_some_and(|at| now.since(at) >= monitor));
        self.proven.extend(proven.map(|task| task.slot));
        let slots: BTreeSet<_> = tried.iter().map(|task| task.slot).collect();
        let unproven: Vec<_> = slots.difference(&self.proven).collect();
        let seats = match self.policy.parallelism {
            0 => usize::MAX,
            seats => seats as usize,
        };
        assert!(unproven.len() <= seats, "{unproven:?} try it at once: {:#?}", self.policy);
    }
}

proptest! {
    #![proptest_config(times(2))]

    #[test]
    fn lost_machines_and_added_slots_neither_fail_an_update_nor_take_its_seats(
        replicas in 1u32..8, mut policy in policy(), program in select(vec!["new", "fail"]),
        faults in vec(fault(), 0..40),
    ) {
        policy.monitor_ms = policy.monitor_ms.max(1);
        (policy.failure_action, policy.max_failure_permille) = (None, 0);
        // Time passes here as it likes.
        policy.start_timeout_ms = 3_600_000;
        let mut world = World::new(replicas, policy, program);
        world.run(&faults);
        let state = world.state();
        prop_assert_eq!(state.phase, UpdatePhase::Completed, "{:?}", state);
        let (kind, stays) = match program {
            "new" => (UpdateKind::Update, "new"),
            _fails => (UpdateKind::Rollback, "ok"),
        };
        prop_assert_eq!(state.kind, kind, "{:?}", state);
        world.cluster.settle();
        let running = world.cluster.running(world.web);
        prop_assert!(running.iter().all(|task| self::program(task) == stays), "{:#?}", running);
        prop_assert_eq!(running.len(), world.cluster.active(world.web).len());
    }
}
