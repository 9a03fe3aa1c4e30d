//! Updates under any rules, of any kind of program, under leaders that come, go and err: bounds hold in
//! every view, a version that fails ends as its rules say, and leaders leave no trace.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use swarm_model::command::Op;
use swarm_model::id::ServiceId;
use swarm_model::runtime::RuntimeSpec;
use swarm_model::service::ServiceSpec;
use swarm_model::task::{Slot, Task};
use swarm_model::task_state::{DesiredState, ObservedState};
use swarm_model::update::{
    Canary, Cause, FailureAction, Order, UpdateKind, UpdatePhase, UpdatePolicy, UpdateState,
};
use swarm_model::view::View;

use super::property::{policy, policy_with_canary};
use crate::testing::{Cluster, program, spec, template, times};

/// What goes wrong with the leader in one round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// Nothing.
    None,
    /// It dies with its plan.
    Lost,
    /// Its plan is given up too early and proposed again.
    Twice,
    /// It decides on a view that is so many rounds old.
    Behind(usize),
    /// No agent is heard in this round.
    Deaf,
}

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        4 => Just(Fault::None),
        1 => Just(Fault::Lost),
        1 => Just(Fault::Twice),
        2 => (1usize..4).prop_map(Fault::Behind),
        1 => Just(Fault::Deaf),
    ]
}

/// One update: of how many slots, by which rules, to what.
#[derive(Debug, Clone, Copy)]
struct Case {
    replicas: u32,
    update: UpdatePolicy,
    rollback: UpdatePolicy,
    program: &'static str,
}

fn case() -> impl Strategy<Value = Case> {
    let program = select(vec!["new", "fail", "reject", "flaky", "slow"]);
    (1u32..7, policy_with_canary(), policy(), program).prop_map(
        |(replicas, mut update, mut rollback, program)| {
            // What lives shorter than nothing does not exist.
            update.monitor_ms = update.monitor_ms.max(1);
            if rollback.failure_action == Some(FailureAction::Rollback) {
                rollback.failure_action = None;
            }
            Case { replicas, update, rollback, program }
        },
    )
}

impl Case {
    /// How it has to end.
    fn end(self) -> (UpdateKind, UpdatePhase) {
        if self.program == "new" || self.update.max_failure_permille == 1000 {
            return (UpdateKind::Update, UpdatePhase::Completed);
        }
        match self.update.failure_action {
            Some(FailureAction::Continue) => (UpdateKind::Update, UpdatePhase::Completed),
            Some(FailureAction::Pause) => (UpdateKind::Update, UpdatePhase::Paused),
            Some(FailureAction::Rollback) | None => (UpdateKind::Rollback, UpdatePhase::Completed),
        }
    }

    /// The most slots in change at a time.
    fn seats(self) -> usize {
        let most = |policy: UpdatePolicy| match policy.parallelism {
            0 => self.replicas as usize,
            seats => seats as usize,
        };
        most(self.update).max(most(self.rollback))
    }
}

/// What is left when all is over.
#[derive(Debug, PartialEq, Eq)]
struct End {
    kind: UpdateKind,
    phase: UpdatePhase,
    spec: ServiceSpec,
    history: Vec<(ServiceSpec, bool, bool)>,
    /// What runs in each slot; left out where tasks go on failing.
    runs: Option<BTreeMap<Slot, String>>,
}

struct World {
    case: Case,
    cluster: Cluster,
    web: ServiceId,
}

impl World {
    fn new(case: Case) -> Self {
        let mut cluster = Cluster::new(3);
        let mut spec = spec("web", Some(case.replicas), template("ok"));
        (spec.update, spec.rollback) = (case.update, case.rollback);
        let web = cluster.create(spec);
        cluster.settle();
        cluster.update(web, |spec| {
            let RuntimeSpec::Process(process) = &mut spec.task_template.runtime;
            process.command = vec![case.program.to_owned()];
        });
        Self { case, cluster, web }
    }

    fn state(&self) -> UpdateState {
        self.cluster.view().services[&self.web].update.clone().expect("there is an update")
    }

    /// Rounds until the update is over and, where that can be, everything at rest.
    fn run(&mut self, faults: &[Fault]) {
        let mut past: Vec<View> = Vec::new();
        for round in 0..2000 {
            let fault = faults.get(round).copied().unwrap_or(Fault::None);
            past.push(self.cluster.view().clone());
            let plan = match fault {
                Fault::Behind(rounds) => {
                    let view = past[past.len().saturating_sub(rounds + 1)].clone();
                    self.round_on(&view, 1)
                }
                Fault::Lost => self.round_on(&self.cluster.view().clone(), 0),
                Fault::Twice => self.round_on(&self.cluster.view().clone(), 2),
                Fault::None | Fault::Deaf => self.round_on(&self.cluster.view().clone(), 1),
            };
            let heard = fault != Fault::Deaf && self.cluster.agents();
            self.check(self.cluster.view());
            if fault != Fault::None || plan.0 || heard {
                continue;
            }
            let state = self.state();
            if state.phase != UpdatePhase::Rolling {
                return;
            }
            if state.awaits_promotion() {
                let clean = !self.case.update.auto_promote || self.case.program != "new";
                assert!(clean, "nobody had to be asked: {:#?}", self.case);
                let id = self.web;
                self.cluster.apply(Op::PromoteUpdate { id }).expect("a canary waits");
                continue;
            }
            let wake = plan.1.expect("an update that waits for nothing");
            self.cluster.now = wake.max(self.cluster.now.after(Duration::from_millis(1)));
        }
        panic!("does not end: {:#?} {:#?}", self.state(), self.cluster.active(self.web));
    }

    /// A leader decides on `view` and proposes that so many `times`: whether it had anything to do, and
    /// when it wants to look again.
    fn round_on(
        &mut self,
        view: &View,
        times: usize,
    ) -> (bool, Option<swarm_model::units::Timestamp>) {
        let scope = crate::Scope::everything();
        let plan = crate::reconcile(view, &scope, self.cluster.now, &mut self.cluster.ids);
        for _ in 0..times {
            for view in self.cluster.prefixes(&plan, view.revision) {
                self.check(&view);
            }
            self.cluster.hand_in(&plan, view.revision);
        }
        (!plan.changes.is_empty(), plan.wake_at())
    }

    /// The bounds: slots in change, and slots where nothing runs though nothing failed there.
    fn check(&self, view: &View) {
        let mut slots: BTreeMap<Slot, Vec<&Task>> = BTreeMap::new();
        for task in view.tasks_of(self.web) {
            slots.entry(task.slot).or_default().push(task);
        }
        let timeout = Duration::from_millis(self.case.update.start_timeout_ms);
        let has_failed = |tasks: &[&Task]| {
            tasks.iter().any(|task| {
                let ended =
                    matches!(task.status.state, ObservedState::Failed | ObservedState::Rejected);
                let late = program(task) == "slow"
                    && task.meta.created_at.after(timeout) <= self.cluster.now;
                ended || late || task.restart.failed_update.is_some()
            })
        };
        let sound = || slots.values().filter(|tasks| !has_failed(tasks));
        let two = sound().filter(|tasks| tasks.iter().filter(|task| task.is_active()).count() > 1);
        let (two, seats) = (two.count(), self.case.seats());
        assert!(two <= seats, "{two} slots are in change: {:#?}", self.case);
        self.check_canary(view, &slots);
        let serves = |task: &&&Task| {
            task.desired <= DesiredState::Running && task.status.state == ObservedState::Running
        };
        let stops = [self.case.update, self.case.rollback]
            .iter()
            .any(|policy| policy.order == Some(Order::StopFirst));
        let idle = |tasks: &&Vec<&Task>| tasks.iter().find(serves).is_none();
        // Start-first never takes a slot from a task that runs, whatever the new one does.
        let (down, most) = if stops {
            (sound().filter(idle).count(), seats)
        } else {
            (slots.values().filter(idle).count(), 0)
        };
        assert!(down <= most, "{down} do not run: {:#?} {slots:#?}", self.case);
        assert!(slots.len() <= self.case.replicas as usize, "{} slots", slots.len());
        for tasks in slots.values() {
            let active: Vec<_> = tasks.iter().filter(|task| task.is_active()).collect();
            let alike =
                active.iter().filter(|it| it.template_version == active[0].template_version);
            assert!(active.len() <= 2 && alike.count() <= 1, "{active:#?}");
        }
    }

    /// Before it is promoted, no more slots than the canary's have the new version.
    fn check_canary(&self, view: &View, slots: &BTreeMap<Slot, Vec<&Task>>) {
        let canary = view.services[&self.web].update.as_ref().and_then(|update| update.canary);
        let Some(Canary::Trying | Canary::Waiting) = canary else { return };
        let Some(share) = self.case.update.canary else { return };
        let new = |tasks: &&Vec<&Task>| tasks.iter().any(|task| program(task) == self.case.program);
        let (new, most) =
            (slots.values().filter(new).count(), share.of(self.case.replicas as usize));
        assert!(new <= most.max(1), "{new} slots are new: {:#?}", self.case);
    }

    fn end(&self) -> End {
        let view = self.cluster.view();
        let service = &view.services[&self.web];
        let state = self.state();
        let history = view.histories[&self.web].records().iter().map(|record| {
            let back = matches!(record.cause, Cause::RolledBack { .. });
            (ServiceSpec::clone(&record.spec), record.stood, back)
        });
        let running = self.cluster.running(self.web);
        let runs = running.iter().map(|task| (task.slot, program(task).to_owned())).collect();
        let RuntimeSpec::Process(process) = &service.spec.task_template.runtime;
        let stable = matches!(process.command[0].as_str(), "ok" | "new");
        End {
            kind: state.kind,
            phase: state.phase,
            spec: ServiceSpec::clone(&service.spec),
            history: history.collect(),
            runs: stable.then_some(runs),
        }
    }
}

proptest! {
    #![proptest_config(times(2))]

    #[test]
    fn any_update_ends_as_its_rules_say_within_its_bounds_whatever_leaders_do(
        case in case(), faults in vec(fault(), 0..40),
    ) {
        let mut quiet = World::new(case);
        quiet.run(&[]);
        let end = quiet.end();
        prop_assert_eq!((end.kind, end.phase), case.end(), "{:?}", quiet.state());
        if let Some(runs) = &end.runs {
            let programs: BTreeSet<_> = runs.values().map(String::as_str).collect();
            let expect = if case.program == "new" { "new" } else { "ok" };
            prop_assert_eq!(programs.into_iter().collect::<Vec<_>>(), [expect]);
            prop_assert_eq!(runs.len(), case.replicas as usize);
        }
        let mut troubled = World::new(case);
        troubled.run(&faults);
        prop_assert_eq!(end, troubled.end());
    }
}
