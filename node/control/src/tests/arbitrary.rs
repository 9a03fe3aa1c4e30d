//! Views that no history leads to: whatever they hold, a round ends with a bounded plan.

use std::collections::BTreeSet;
use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use swarm_model::id::{NodeId, ServiceId, TaskId};
use swarm_model::meta::{Meta, Revision, Version};
use swarm_model::node::{
    Availability, Drain, Node, NodeDescription, NodeSpec, NodeStatus, Reachability, Role,
};
use swarm_model::plan::Change;
use swarm_model::restart::RestartRecord;
use swarm_model::service::Service;
use swarm_model::task::{Eviction, Slot, Task, TaskStatus};
use swarm_model::task_state::{DesiredState, ObservedState};
use swarm_model::units::Timestamp;
use swarm_model::update::{UpdateKind, UpdatePhase, UpdateState};
use swarm_model::view::View;

use crate::testing::{Ids, offer, spec, template, times};
use crate::{CHANGES_MAX, Scope, explain, reconcile};

const PHASES: [UpdatePhase; 3] = [UpdatePhase::Rolling, UpdatePhase::Rolling, UpdatePhase::Paused];
const DESIRED: [DesiredState; 4] =
    [DesiredState::Ready, DesiredState::Running, DesiredState::Shutdown, DesiredState::Remove];
const OBSERVED: [ObservedState; 13] = [
    ObservedState::New,
    ObservedState::Pending,
    ObservedState::Assigned,
    ObservedState::Accepted,
    ObservedState::Preparing,
    ObservedState::Ready,
    ObservedState::Starting,
    ObservedState::Running,
    ObservedState::Complete,
    ObservedState::Shutdown,
    ObservedState::Failed,
    ObservedState::Rejected,
    ObservedState::Orphaned,
];

fn time() -> impl Strategy<Value = Timestamp> {
    prop_oneof![Just(0), 0u64..100_000, Just(u64::MAX)].prop_map(Timestamp::from_millis)
}

fn slot() -> impl Strategy<Value = Slot> {
    prop_oneof![
        (0u32..5).prop_map(Slot::Replica),
        Just(Slot::Replica(u32::MAX)),
        (0u128..6).prop_map(|raw| Slot::Node(NodeId::from_raw(raw))),
    ]
}

fn task() -> impl Strategy<Value = Task> {
    let place = (0u128..4, slot(), prop::option::of(0u128..6), 0u64..3);
    let state = (select(&DESIRED[..]), select(&OBSERVED[..]), any::<u32>(), any::<u32>());
    let times = (time(), time(), time(), prop::option::of(time()));
    (any::<u128>(), place, state, times, 0u64..2000).prop_map(
        |(id, (service, slot, node, template_version), state, times, memory)| {
            let (desired, observed, streak, attempts) = state;
            let (created_at, updated_at, since, not_before) = times;
            let mut template = template("ok");
            template.resources.reservations.memory.0 = memory;
            Task {
                id: TaskId::from_raw(id),
                meta: Meta { version: Version(1), created_at, updated_at },
                service: ServiceId::from_raw(service),
                slot,
                node: node.map(NodeId::from_raw),
                template_version: Version(template_version),
                template: Arc::new(template),
                desired,
                status: TaskStatus::new(observed, since, ""),
                not_before,
                eviction: (streak % 3 == 0)
                    .then(|| Eviction::Preempted { by: TaskId::from_raw(u128::from(attempts)) }),
                restart: RestartRecord {
                    streak,
                    attempts,
                    window_start: not_before,
                    displaced: streak % 2 == 0,
                    failed_update: (attempts % 3 == 0).then_some(Revision(1)),
                },
                update: (attempts % 2 == 0).then_some(Revision(1)),
                ran_at: not_before,
            }
        },
    )
}

fn node(raw: u128) -> impl Strategy<Value = Node> {
    let availability = select(vec![Availability::Active, Availability::Pause, Availability::Drain]);
    let reach = select(vec![Reachability::Unknown, Reachability::Ready, Reachability::Down]);
    (availability, reach, prop::option::of(time()), time()).prop_map(
        move |(availability, reachability, deadline, since)| Node {
            id: NodeId::from_raw(raw),
            meta: Meta::default(),
            spec: NodeSpec { role: Role::Worker, availability, labels: [].into() },
            description: NodeDescription { resources: offer(), ..NodeDescription::default() },
            status: NodeStatus { reachability, since, ..NodeStatus::default() },
            drain: Some(Drain { since, deadline }),
        },
    )
}

fn service(raw: u128) -> impl Strategy<Value = Service> {
    let replicas =
        prop_oneof![40 => (0u32..6).prop_map(Some), 1 => Just(Some(100_000)), 20 => Just(None)];
    (replicas, any::<bool>(), 0u64..2000).prop_map(move |(replicas, removing, memory)| {
        let mut template = template("ok");
        template.resources.reservations.memory.0 = memory;
        let spec = spec(&format!("s{raw}"), replicas, template.clone());
        Service {
            id: ServiceId::from_raw(raw),
            meta: Meta::default(),
            spec: Arc::new(spec),
            previous_spec: None,
            template_version: Version(1),
            template: Arc::new(template),
            removing,
            update: (memory % 2 == 0).then(|| UpdateState {
                id: Revision(1),
                kind: [UpdateKind::Update, UpdateKind::Rollback][usize::from(memory % 3 == 0)],
                phase: PHASES[usize::try_from(memory % 5).expect("small") % 3],
                from: Version(0),
                to: Version(1),
                started_at: Timestamp::from_millis(memory),
                ended_at: None,
                canary: None,
                reason: String::new(),
            }),
            schedule: None,
        }
    })
}

fn view() -> impl Strategy<Value = View> {
    let nodes = (node(1), node(2), node(3), node(4));
    let services = (service(1), service(2), service(3));
    (nodes, services, vec(task(), 0..40)).prop_map(|((a, b, c, d), (x, y, z), tasks)| {
        let mut view = View { revision: Revision(2), ..View::default() };
        for node in [a, b, c, d] {
            view.nodes.insert(node.id, Arc::new(node));
        }
        for service in [x, y, z] {
            view.put_service(service);
        }
        for task in tasks {
            view.put_task(task);
        }
        view
    })
}

proptest! {
    #![proptest_config(times(8))]

    #[test]
    fn any_view_gives_a_bounded_plan_that_changes_each_task_once(view in view(), now in time()) {
        let plan = reconcile(&view, &Scope::everything(), now, &mut Ids::default());
        prop_assert!(plan.changes.len() <= CHANGES_MAX);
        let mut touched = BTreeSet::new();
        for change in &plan.changes {
            let (task, node) = match change {
                Change::CreateTask(new) => (new.id, new.node),
                Change::Assign { task, node, .. } => (*task, Some(*node)),
                Change::Explain { task, .. }
                | Change::SetDesired { task, .. }
                | Change::Orphan { task, .. }
                | Change::Preempt { task, .. }
                | Change::Yield { task, .. }
                | Change::RemoveTask { task, .. } => (*task, None),
                Change::DeleteService { .. } | Change::Update { .. } | Change::EndRun { .. }
                | Change::Fire { .. } => continue,
            };
            prop_assert!(touched.insert(task), "{change:?} comes second");
            prop_assert!(node.is_none_or(|node| view.nodes[&node].takes_tasks()), "{change:?}");
        }
        for service in view.services.keys() {
            prop_assert!(explain(&view, *service, now).is_some());
        }
        let again = reconcile(&view, &Scope::everything(), now, &mut Ids::default());
        prop_assert_eq!(plan, again, "the same arguments give the same plan");
    }
}
