//! Forecasts: told by example, and compared with what then happens.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use swarm_model::command::{Actor, Command, Op};
use swarm_model::event::Event;
use swarm_model::id::{NodeId, ServiceId, TaskId};
use swarm_model::meta::{Revision, Term};
use swarm_model::node::{Availability, NodeSpec, Reachability};
use swarm_model::outcome::{Outcome, Rejection};
use swarm_model::schedule::{CatchUp, Overlap, ScheduleSpec};
use swarm_model::service::{Priority, ServiceMode, ServiceSpec};
use swarm_model::task::{Slot, Task};
use swarm_model::task_state::{DesiredState, ObservedState};
use swarm_model::units::Timestamp;
use swarm_model::update::UpdateState;
use swarm_model::view::View;
use swarm_state::machine::Machine;

use super::property::{Shape, policy, shape};
use crate::Scope;
use crate::forecast::{Forecast, Step, StepKind, World, forecast};
use crate::testing::{Cluster, OFFERED_MEMORY, job, spec, template, times};

/// A copy of a cluster's state, as a node makes one.
struct Copy(Machine);

impl World for Copy {
    fn view(&self) -> &View {
        self.0.view()
    }

    fn apply(&mut self, at: Timestamp, op: Op) -> (Outcome, Vec<Event>) {
        let next = Revision(self.0.view().revision.0 + 1);
        let actor = Actor::default();
        let command = Command { request: None, at, actor, op, if_revision: None };
        self.0.apply(next, Term::default(), &command)
    }
}

/// What would become of `ops`, and the world in which it did.
fn foretell(cluster: &Cluster, ops: Vec<Op>) -> Result<(Forecast, View), Rejection> {
    let mut world = Copy(Machine::trial(cluster.view().clone()));
    let told = forecast(&mut world, ops, cluster.now, &mut cluster.ids.clone())?;
    Ok((told, world.view().clone()))
}

fn told(cluster: &Cluster, op: Op) -> Forecast {
    let (told, _) = foretell(cluster, vec![op]).expect("can be applied");
    assert!(told.finished, "{told:#?}");
    assert_eq!(told.revision, cluster.view().revision);
    told
}

fn change(cluster: &Cluster, id: ServiceId, change: impl FnOnce(&mut ServiceSpec)) -> Op {
    let mut spec = ServiceSpec::clone(&cluster.view().services[&id].spec);
    change(&mut spec);
    Op::UpdateService { id, version: None, spec: Box::new(spec), steered: true }
}

fn create(cluster: &Cluster, spec: ServiceSpec) -> Op {
    let id = ServiceId::draw(&mut cluster.ids.clone());
    Op::CreateService { id, spec: Box::new(spec) }
}

fn drain(cluster: &Cluster, id: NodeId) -> Op {
    let spec =
        NodeSpec { availability: Availability::Drain, ..cluster.view().nodes[&id].spec.clone() };
    Op::UpdateNode { id, version: None, spec, drain_deadline: None }
}

fn kinds(told: &Forecast) -> Vec<(StepKind, &str)> {
    told.steps.iter().map(|step| (step.kind, step.name.as_str())).collect()
}

fn node(step: &Step) -> (Option<NodeId>, Option<NodeId>) {
    (step.from.as_ref().map(|place| place.id), step.to.as_ref().map(|place| place.id))
}

#[test]
fn a_new_service_is_told_slot_by_slot_with_who_finds_no_place() {
    let mut cluster = Cluster::new(2);
    let mut heavy = template("ok");
    heavy.resources.reservations.memory = OFFERED_MEMORY;
    let told = told(&cluster, create(&cluster, spec("web", Some(3), heavy.clone())));
    let expect =
        [(StepKind::Start, "web.1"), (StepKind::Start, "web.2"), (StepKind::Wait, "web.3")];
    assert_eq!(kinds(&told), expect);
    assert!(told.steps[2].reason.contains("insufficient memory"), "{told:#?}");
    assert!(!told.is_well() && told.services[0].waiting == 1);
    assert!(cluster.view().services.is_empty(), "nothing was changed");
    let web = cluster.create(spec("web", Some(3), heavy));
    cluster.settle();
    let runs: Vec<_> = cluster.running(web).iter().map(|task| task.node).collect();
    let foretold: Vec<_> = told.steps[..2].iter().map(|step| node(step).1).collect();
    assert_eq!(runs, foretold);
}

#[test]
fn tasks_of_others_that_wait_in_vain_are_not_told() {
    let mut cluster = Cluster::new(1);
    let other = cluster.create(spec("other", Some(1), template("ok")));
    let web = cluster.create(spec("web", Some(1), template("ok")));
    cluster.settle();
    cluster.update(other, |spec| {
        spec.task_template.resources.reservations.memory.0 = OFFERED_MEMORY.0 * 2;
    });
    let told = told(&cluster, change(&cluster, web, |spec| spec.task_template.force_update = 1));
    assert_eq!(kinds(&told), [(StepKind::Replace, "web.1")]);
    assert_eq!(told.services.iter().map(|it| it.name.as_str()).collect::<Vec<_>>(), ["web"]);
}

#[test]
fn a_forecast_that_was_cut_off_is_not_well() {
    let cluster = Cluster::new(1);
    let told = told(&cluster, create(&cluster, spec("web", Some(1), template("ok"))));
    assert!(told.is_well());
    assert!(!Forecast { finished: false, ..told }.is_well());
}

#[test]
fn an_update_is_told_in_its_batches_with_their_times() {
    let mut cluster = Cluster::new(3);
    let mut slow = spec("web", Some(5), template("ok"));
    (slow.update.parallelism, slow.update.monitor_ms, slow.update.delay_ms) = (2, 5000, 1000);
    let web = cluster.create(slow);
    cluster.settle();
    let told = told(&cluster, change(&cluster, web, |spec| spec.task_template.force_update = 1));
    let batches: Vec<_> = told.steps.iter().map(|step| (step.batch, step.after_ms)).collect();
    assert_eq!(batches, [(1, 0), (1, 0), (2, 6000), (2, 6000), (3, 12_000)]);
    assert!(told.steps.iter().all(|step| step.kind == StepKind::Replace && step.task.is_some()));
    assert_eq!((told.services[0].update.as_str(), told.is_well()), ("completed", true));
    assert_eq!(told.lasts_ms, 12_000);
}

#[test]
fn an_update_that_fits_nowhere_is_told_to_turn_back() {
    let mut cluster = Cluster::new(2);
    let mut web = spec("web", Some(2), template("ok"));
    web.update.start_timeout_ms = 60_000;
    let web = cluster.create(web);
    cluster.settle();
    let told = told(
        &cluster,
        change(&cluster, web, |spec| {
            spec.task_template.resources.reservations.memory.0 = OFFERED_MEMORY.0 + 1;
        }),
    );
    assert_eq!(kinds(&told), [(StepKind::Wait, "web.1")]);
    let service = &told.services[0];
    assert_eq!((service.update.as_str(), service.unchanged), ("rollback_completed", 2));
    assert!(service.reason.contains("not running in time"), "{service:?}");
    assert!(!told.is_well(), "the new version does not come to run");
}

#[test]
fn a_drain_is_told_with_what_moves_where_and_what_stays() {
    let mut cluster = Cluster::new(3);
    let web = cluster.create(spec("web", Some(3), template("ok")));
    let all = cluster.create(spec("all", None, template("ok")));
    cluster.settle();
    let gone = cluster.nodes[0];
    let told = told(&cluster, drain(&cluster, gone));
    let of = |id: ServiceId| told.steps.iter().find(|step| step.service == id).expect("is told");
    let (moved, stopped) = (of(web), of(all));
    assert_eq!((moved.kind, stopped.kind, told.steps.len()), (StepKind::Move, StepKind::Stop, 2));
    let (from, to) = node(moved);
    assert_eq!((from, node(stopped)), (Some(gone), (Some(gone), None)));
    cluster.drain(gone);
    cluster.settle();
    assert_eq!(cluster.running_on(web, to.expect("somewhere")), 2);
    assert!(told.is_well() && told.services.iter().all(|service| service.unchanged == 2));
}

#[test]
fn who_is_displaced_is_told_and_for_whom() {
    let mut cluster = Cluster::new(1);
    let mut heavy = template("ok");
    heavy.resources.reservations.memory = OFFERED_MEMORY;
    let low = cluster.create(spec("low", Some(1), heavy.clone()));
    cluster.settle();
    let mut vital = spec("vital", Some(1), heavy);
    vital.priority = Priority(90);
    let told = told(&cluster, create(&cluster, vital));
    let expect =
        [(StepKind::Preempt, "low.1"), (StepKind::Start, "vital.1"), (StepKind::Wait, "low.1")];
    let mut kinds = kinds(&told);
    kinds.sort();
    assert_eq!(kinds, expect);
    let preempt = told.steps.iter().find(|step| step.kind == StepKind::Preempt).expect("is told");
    assert_eq!(preempt.reason, "makes room for vital.1");
    assert_eq!(preempt.task, cluster.running(low).first().map(|task| task.id));
    assert!(!told.is_well(), "somebody waits for ever");
}

#[test]
fn what_is_scaled_down_or_removed_stops_and_the_rest_stays() {
    let mut cluster = Cluster::new(2);
    let web = cluster.create(spec("web", Some(4), template("ok")));
    cluster.settle();
    let fewer = change(&cluster, web, |spec| spec.mode = ServiceMode::Replicated { replicas: 1 });
    let fewer = told(&cluster, fewer);
    assert_eq!((fewer.services[0].unchanged, fewer.steps.len()), (1, 3));
    assert!(fewer.steps.iter().all(|step| step.kind == StepKind::Stop));
    let none = told(&cluster, Op::RemoveService { id: web });
    assert_eq!((none.services[0].unchanged, none.steps.len()), (0, 4));
}

#[test]
fn a_job_is_told_with_its_run_and_those_that_go_on_go_on() {
    let mut cluster = Cluster::new(2);
    let mut endless = job("endless", 9, 2, "ok");
    endless.job.deadline_ms = Some(60_000);
    let endless = cluster.create(endless);
    cluster.settle_now();
    let new = told(&cluster, create(&cluster, job("batch", 5, 2, "once")));
    let expect: Vec<_> = (1..=5).map(|index| format!("batch.run1.{index}")).collect();
    let expect: Vec<_> = expect.iter().map(|name| (StepKind::Start, name.as_str())).collect();
    assert_eq!(kinds(&new), expect);
    let run = |told: &Forecast| {
        let run = told.services[0].run.as_ref().expect("one begins");
        (run.number, run.state.clone(), run.succeeded, run.completions)
    };
    assert_eq!(run(&new), (1, "complete".to_owned(), 5, 5));
    assert!(new.is_well() && new.services.len() == 1, "{new:#?}");
    let forced = change(&cluster, endless, |spec| spec.task_template.force_update = 1);
    let forced = told(&cluster, forced);
    let steps = BTreeMap::from([(StepKind::Stop, 2), (StepKind::Start, 9)]);
    assert_eq!(forced.services[0].steps, steps);
    assert_eq!(run(&forced), (2, "complete".to_owned(), 9, 9));
}

#[test]
fn a_job_that_finds_no_place_is_told_to_be_left_over() {
    let cluster = Cluster::new(1);
    let mut heavy = job("batch", 1, 0, "once");
    heavy.task_template.resources.reservations.memory.0 = OFFERED_MEMORY.0 + 1;
    let told = told(&cluster, create(&cluster, heavy));
    assert_eq!(kinds(&told), [(StepKind::Wait, "batch.run1.1")]);
    let run = told.services[0].run.as_ref().expect("one begins");
    assert_eq!((run.state.as_str(), run.succeeded), ("active", 0));
    assert!(!told.is_well());
}

#[test]
fn a_scheduled_job_is_told_when_it_is_due_and_no_schedule_runs_meanwhile() {
    let mut cluster = Cluster::new(1);
    let mut nightly = job("nightly", 1, 0, "once");
    nightly.schedule = Some(ScheduleSpec {
        cron: "* * * * *".parse().expect("is a schedule"),
        time_zone: "UTC".to_owned(),
        overlap: Overlap::Skip,
        catch_up: CatchUp::Last,
    });
    let new = told(&cluster, create(&cluster, nightly.clone()));
    let service = &new.services[0];
    assert_eq!((new.steps.len(), &service.run, new.is_well()), (0, &None, true));
    assert_eq!(service.next_run_at, Some(Timestamp::from_millis(1_020_000)));
    cluster.create(nightly);
    cluster.settle_now();
    let web = told(&cluster, create(&cluster, spec("web", Some(1), template("ok"))));
    assert_eq!(kinds(&web), [(StepKind::Start, "web.1")]);
}

#[test]
fn what_cannot_be_applied_is_refused_as_it_would_be() {
    let mut cluster = Cluster::new(1);
    cluster.create(spec("web", Some(1), template("ok")));
    let again = create(&cluster, spec("web", Some(1), template("ok")));
    let refused = foretell(&cluster, vec![again]).expect_err("the name is taken");
    assert!(matches!(refused, Rejection::NameTaken { .. }), "{refused}");
}

#[test]
fn a_forecast_that_takes_too_long_ends_and_says_so() {
    struct Impatient(Copy, std::cell::Cell<u32>);
    impl World for Impatient {
        fn view(&self) -> &View {
            self.0.view()
        }
        fn apply(&mut self, now: Timestamp, op: Op) -> (Outcome, Vec<Event>) {
            self.0.apply(now, op)
        }
        fn enough(&self) -> bool {
            self.1.set(self.1.get() + 1);
            self.1.get() > 4
        }
    }
    let mut cluster = Cluster::new(1);
    let web = cluster.create(spec("web", Some(9), template("ok")));
    cluster.settle();
    let op = change(&cluster, web, |spec| spec.task_template.force_update = 1);
    let mut world = Impatient(Copy(Machine::trial(cluster.view().clone())), Default::default());
    let told = forecast(&mut world, vec![op], cluster.now, &mut cluster.ids).expect("is valid");
    assert!(!told.finished && told.steps.len() < 9, "{told:#?}");
    assert_eq!(told.services[0].update, "updating");
}

/// Something that people do.
#[derive(Debug, Clone)]
enum Act {
    Create(Option<u32>, Shape, u8),
    Update(usize, Shape),
    Scale(usize, u32),
    Rollback(usize),
    Remove(usize),
    Node(usize, Availability),
    Zone(usize, bool),
}

fn act() -> impl Strategy<Value = Act> {
    let replicas = prop_oneof![4 => (0u32..6).prop_map(Some), 1 => Just(None)];
    let word =
        prop::sample::select(vec![Availability::Active, Availability::Pause, Availability::Drain]);
    prop_oneof![
        3 => (replicas, shape(), 40u8..60).prop_map(|(r, s, p)| Act::Create(r, s, p)),
        3 => (any::<usize>(), shape()).prop_map(|(at, shape)| Act::Update(at, shape)),
        2 => (any::<usize>(), 0u32..8).prop_map(|(at, count)| Act::Scale(at, count)),
        1 => any::<usize>().prop_map(Act::Rollback),
        1 => any::<usize>().prop_map(Act::Remove),
        2 => (any::<usize>(), word).prop_map(|(at, word)| Act::Node(at, word)),
        1 => (any::<usize>(), any::<bool>()).prop_map(|(at, zone)| Act::Zone(at, zone)),
    ]
}

impl Act {
    /// As a command; `None` when there is nothing that it could be about.
    fn op(self, cluster: &Cluster, id: ServiceId) -> Option<Op> {
        let view = cluster.view();
        let service = |at: usize| {
            let there = view.services.values().filter(|service| !service.removing);
            let there: Vec<_> = there.map(|service| service.id).collect();
            (!there.is_empty()).then(|| there[at % there.len()])
        };
        let node = |at: usize| view.nodes.values().nth(at % view.nodes.len());
        Some(match self {
            Self::Create(replicas, shape, priority) => {
                let mut spec =
                    spec(&format!("s{}", id.short()), replicas, shape.that_runs().template());
                spec.priority = Priority(priority);
                spec.update.monitor_ms = 1000;
                Op::CreateService { id, spec: Box::new(spec) }
            }
            Self::Update(at, shape) => change(cluster, service(at)?, |spec| {
                spec.task_template = shape.that_runs().template();
            }),
            Self::Scale(at, count) => change(cluster, service(at)?, |spec| {
                if let ServiceMode::Replicated { replicas } = &mut spec.mode {
                    *replicas = count;
                }
            }),
            Self::Rollback(at) => Op::RollbackService { id: service(at)?, version: None, to: None },
            Self::Remove(at) => Op::RemoveService { id: service(at)? },
            Self::Node(at, availability) => {
                let node = node(at)?;
                let spec = NodeSpec { availability, ..node.spec.clone() };
                Op::UpdateNode { id: node.id, version: None, spec, drain_deadline: None }
            }
            Self::Zone(at, zone) => {
                let node = node(at)?;
                let mut spec = node.spec.clone();
                spec.labels.insert("zone".to_owned(), format!("z{}", u8::from(zone)));
                Op::UpdateNode { id: node.id, version: None, spec, drain_deadline: None }
            }
        })
    }
}

/// What is left of a view when times, revisions and what has ended are taken away.
fn rest(view: &View) -> Rest {
    let line = |task: &Task| {
        let Task { service, slot, node, desired, .. } = task;
        let says = task.node.is_none().then(|| task.status.error.clone());
        (*service, *slot, *node, *desired, task.status.state, says)
    };
    let tasks = view.tasks.values().filter(|task| task.is_active());
    let state = |update: &UpdateState| (update.word(), update.reason.clone());
    let services = view.services.values();
    Rest {
        tasks: tasks.map(|task| (task.id, line(task))).collect(),
        updates: services.map(|service| (service.id, service.update.as_ref().map(state))).collect(),
    }
}

type Line = (ServiceId, Slot, Option<NodeId>, DesiredState, ObservedState, Option<String>);

#[derive(Debug, PartialEq)]
struct Rest {
    tasks: BTreeMap<TaskId, Line>,
    updates: BTreeMap<ServiceId, Option<(&'static str, String)>>,
}

/// Every task that came to a place is told, with the node and the time.
fn check_steps(told: &Forecast, cluster: &Cluster, before: &View, began: Timestamp) {
    let mut steps: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for step in &told.steps {
        let comes = matches!(step.kind, StepKind::Start | StepKind::Replace | StepKind::Move);
        if comes {
            steps.entry((step.service, step.slot)).or_default().push(step);
        }
    }
    for task in cluster.view().tasks.values() {
        if before.tasks.contains_key(&task.id) || !task.is_active() || task.node.is_none() {
            continue;
        }
        let own = steps.get(&(task.service, task.slot)).and_then(|steps| steps.last());
        let own = own.unwrap_or_else(|| panic!("{task:#?} is not told: {told:#?}"));
        assert_eq!(node(own).1, task.node, "{own:#?}");
        let made = task.meta.created_at.since(began);
        assert!(Duration::from_millis(own.after_ms) >= made, "{own:#?} {task:#?}");
    }
    for step in told.steps.iter().filter(|step| step.kind == StepKind::Stop) {
        let active = |task: &Task| task.is_active() && task.node == node(step).0;
        let stays = step.task.and_then(|id| cluster.view().tasks.get(&id));
        assert!(!stays.is_some_and(|task| active(task)), "{step:#?} {stays:#?}");
    }
}

proptest! {
    #![proptest_config(times(1))]

    #[test]
    fn what_is_foretold_is_what_happens_when_nothing_else_does(
        nodes in 1usize..6,
        past in vec((act(), 0usize..6), 0..8),
        rules in policy(),
        last in vec(act(), 1..3),
        quiet in any::<bool>(),
    ) {
        let mut cluster = Cluster::new(nodes);
        for (act, rounds) in past {
            let id = ServiceId::draw(&mut cluster.ids);
            let Some(op) = act.op(&cluster, id) else { continue };
            let _refused = cluster.apply(op);
            for _ in 0..rounds {
                cluster.round();
                cluster.agents();
            }
        }
        for id in cluster.view().services.keys().copied().collect::<Vec<_>>() {
            cluster.update(id, |spec| (spec.update, spec.update.start_timeout_ms) = (rules, 30_000));
        }
        if quiet {
            cluster.settle();
        }
        if nodes > 3 {
            cluster.reach(cluster.nodes[nodes - 1], Reachability::Down);
        }
        let mut ops = Vec::new();
        for act in last {
            let id = ServiceId::draw(&mut cluster.ids);
            ops.extend(act.op(&cluster, id));
        }
        let (before, began) = (cluster.view().clone(), cluster.now);
        let foretold = foretell(&cluster, ops.clone());
        let mut outcome = Ok(());
        for op in ops {
            outcome = outcome.and_then(|()| cluster.apply(op).map(drop));
        }
        let (told, end) = match (foretold, outcome) {
            (Ok(foretold), Ok(())) => foretold,
            (Err(told), Err(refused)) => {
                prop_assert_eq!(told, refused);
                return Ok(());
            }
            (foretold, outcome) => panic!("{foretold:#?} but {outcome:?}"),
        };
        // As by a leader that looks at everything once.
        cluster.scope = Scope::everything();
        cluster.settle();
        prop_assert!(told.finished);
        prop_assert_eq!(rest(&end), rest(cluster.view()));
        check_steps(&told, &cluster, &before, began);
    }
}
