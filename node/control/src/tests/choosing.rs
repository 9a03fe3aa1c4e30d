//! Random clusters against a plain model of placing: each task goes to one of the best nodes, or
//! there is none that fits.
//!
//! The model knows no heaps, no groups and no order of ties: it looks at all nodes every time.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use swarm_model::id::{NodeId, ServiceId, TaskId};
use swarm_model::meta::{Meta, Revision, Version};
use swarm_model::node::{
    Availability, Node, NodeDescription, NodeSpec, NodeStatus, Reachability, Role,
};
use swarm_model::placement::{AffinityTarget, Preference};
use swarm_model::plan::Change;
use swarm_model::resources::Resources;
use swarm_model::service::{Priority, Service};
use swarm_model::task::{Slot, Task, TaskStatus, TaskTemplate};
use swarm_model::task_state::{DesiredState, ObservedState};
use swarm_model::units::{Bytes, MilliCpu, Timestamp};
use swarm_model::view::View;

use crate::testing::{Chance, Ids, spec, template, times};
use crate::{Scope, explain, reconcile};

const CONSTRAINTS: [&str; 6] = [
    "node.labels.zone!=z0",
    "node.labels.zone in z0,z1",
    "node.labels.size>1",
    "node.labels.size<=2",
    "node.labels.disk==ssd",
    "node.ip==10.0.0.0/30",
];
const PREFERENCES: [&str; 8] = [
    "spread=node.labels.zone",
    "spread=node.labels.disk",
    "spread=node.hostname",
    "binpack",
    "affinity=service:s0:30",
    "anti-affinity=service:s0:20",
    "affinity=node.labels.disk==ssd:25",
    "anti-affinity=node.labels.size>2:10",
];

fn reservation(chance: &mut Chance) -> Resources {
    let mut some = Resources::new(MilliCpu(chance.below(5) * 100), Bytes(chance.below(4) * 100));
    if chance.one_in(4) {
        some.generic.insert("device/camera".to_owned(), 1 + chance.below(2));
    }
    if chance.one_in(6) {
        some.generic.insert("licence".to_owned(), 1);
    }
    some
}

fn node(number: u64, chance: &mut Chance) -> Node {
    let mut labels = BTreeMap::new();
    if !chance.one_in(5) {
        labels.insert("zone".to_owned(), format!("z{}", chance.below(3)));
    }
    labels.insert("size".to_owned(), chance.below(4).to_string());
    if chance.one_in(2) {
        labels.insert("disk".to_owned(), "ssd".to_owned());
    }
    let mut resources =
        Resources::new(MilliCpu(300 + chance.below(12) * 100), Bytes(200 + chance.below(10) * 100));
    if chance.one_in(2) {
        resources.generic.insert("device/camera".to_owned(), 1 + chance.below(3));
    }
    if chance.one_in(2) {
        resources.generic.insert("licence".to_owned(), 1);
    }
    let closed = chance.one_in(8);
    let silent = chance.one_in(8);
    Node {
        id: NodeId::from_raw(u128::from(number + 1)),
        meta: Meta::default(),
        spec: NodeSpec {
            role: Role::Worker,
            availability: if closed { Availability::Pause } else { Availability::Active },
            labels,
        },
        description: NodeDescription {
            hostname: format!("n{number}"),
            resources,
            ..NodeDescription::default()
        },
        status: NodeStatus {
            reachability: if silent { Reachability::Unknown } else { Reachability::Ready },
            addr: format!("10.0.0.{number}:1"),
            ..NodeStatus::default()
        },
        drain: None,
    }
}

fn service(number: u64, chance: &mut Chance) -> Service {
    let mut template: TaskTemplate = template("ok");
    template.resources.reservations = reservation(chance);
    let placement = &mut template.placement;
    while chance.one_in(3) {
        placement.constraints.extend(chance.of(&CONSTRAINTS).parse().ok());
    }
    while chance.one_in(2) {
        // The first service is what affinities are about.
        let preference = chance.of(if number == 0 { &PREFERENCES[..4] } else { &PREFERENCES });
        placement.preferences.extend(preference.parse::<Preference>().ok());
    }
    if chance.one_in(4) {
        placement.max_replicas_per_node = 1 + u32::try_from(chance.below(2)).expect("small");
    }
    let mut spec = spec(&format!("s{number}"), Some(0), template.clone());
    spec.priority = Priority(u8::try_from(chance.below(3) * 50).expect("small"));
    Service {
        id: ServiceId::from_raw(u128::from(number + 1)),
        meta: Meta::default(),
        spec: Arc::new(spec),
        previous_spec: None,
        template_version: Version(1),
        template: Arc::new(template),
        removing: false,
        update: None,
        schedule: None,
    }
}

fn task(service: &Service, number: u32, node: NodeId) -> Task {
    Task {
        id: TaskId::from_raw(service.id.raw() << 32 | u128::from(number)),
        meta: Meta { version: Version(1), ..Meta::default() },
        service: service.id,
        slot: Slot::Replica(number),
        node: Some(node),
        template_version: Version(1),
        template: Arc::clone(&service.template),
        desired: DesiredState::Running,
        status: TaskStatus::new(ObservedState::Running, Timestamp::default(), ""),
        not_before: None,
        restart: Default::default(),
        eviction: None,
        update: None,
        ran_at: None,
    }
}

/// A few nodes, a few services of which some tasks run where they may, and others are missing.
fn cluster(chance: &mut Chance) -> View {
    let mut view = View { revision: Revision(2), ..View::default() };
    for number in 0..=chance.below(8) {
        let node = node(number, chance);
        view.nodes.insert(node.id, Arc::new(node));
    }
    for number in 0..=chance.below(3) {
        let mut service = service(number, chance);
        let running = u32::try_from(chance.below(5)).expect("small");
        let nodes: Vec<_> = view.nodes.values().cloned().collect();
        let rules = &service.template.placement.constraints;
        let open: Vec<_> = nodes
            .iter()
            .filter(|node| node.takes_tasks() && rules.iter().all(|rule| rule.allows(node)))
            .collect();
        let running = if open.is_empty() { 0 } else { running };
        for number in 1..=running {
            let node = open[usize::try_from(chance.below(open.len() as u64)).expect("small")];
            view.put_task(task(&service, number, node.id));
        }
        let missing = u32::try_from(chance.below(8)).expect("small");
        let mut spec = swarm_model::service::ServiceSpec::clone(&service.spec);
        spec.mode = swarm_model::service::ServiceMode::Replicated { replicas: running + missing };
        service.spec = Arc::new(spec);
        view.put_service(service);
    }
    view
}

/// The plain model: tasks by node, and nothing else.
struct Model<'a> {
    view: &'a View,
    tasks: Vec<(NodeId, ServiceId)>,
    /// Where tasks of a service were when it was first placed in this round: what affinities see.
    before: Vec<(NodeId, ServiceId)>,
}

impl<'a> Model<'a> {
    fn new(view: &'a View) -> Self {
        let place = |task: &Arc<Task>| Some((task.node?, task.service));
        let tasks: Vec<_> = view.tasks.values().filter_map(place).collect();
        Self { view, before: tasks.clone(), tasks }
    }

    fn count(&self, node: NodeId, service: ServiceId) -> usize {
        self.tasks.iter().filter(|task| **task == (node, service)).count()
    }

    fn used(&self, node: NodeId) -> Resources {
        let mut sum = Resources::default();
        for (_, service) in self.tasks.iter().filter(|(at, _)| *at == node) {
            sum.add(&self.view.services[service].template.resources.reservations);
        }
        sum
    }

    fn fits(&self, node: &Node, service: &Service) -> bool {
        let template = &service.template;
        let most = template.placement.max_replicas_per_node as usize;
        let needs = &template.resources.reservations;
        node.takes_tasks()
            && template.placement.constraints.iter().all(|rule| rule.allows(node))
            && (most == 0 || self.count(node.id, service.id) < most)
            // What is not asked for may be over-placed already.
            && node.description.resources.clone().minus(&self.used(node.id)).covers(needs)
    }

    /// The nodes that are best for one more task of `service`, by the rules as they are written.
    fn best(&self, service: &Service) -> Vec<NodeId> {
        let nodes: Vec<&Node> = self.view.nodes.values().map(AsRef::as_ref).collect();
        let mut left: Vec<&Node> =
            nodes.iter().copied().filter(|node| self.fits(node, service)).collect();
        let preferences = &service.template.placement.preferences;
        // All nodes that are alike so far, also those that do not fit: their tasks count.
        let mut alike = nodes;
        let mut at = 0;
        while at < preferences.len() {
            match &preferences[at] {
                Preference::Binpack => at += 1,
                Preference::Spread(attribute) => {
                    let tasks = |node: &&Node| {
                        let same =
                            alike.iter().filter(|other| attribute.of(other) == attribute.of(node));
                        same.map(|other| self.count(other.id, service.id)).sum::<usize>()
                    };
                    let least = left.iter().map(tasks).min();
                    left.retain(|node| Some(tasks(node)) == least);
                    // Which of several groups is a tie: each is followed by itself, see `is_best`.
                    at += 1;
                    if let [first, rest @ ..] = left.as_slice()
                        && rest.iter().all(|node| attribute.of(node) == attribute.of(first))
                    {
                        let value = attribute.of(first);
                        alike.retain(|node| attribute.of(node) == value);
                    } else if !left.is_empty() {
                        return self.best_of_groups(service, attribute, &left, &alike, at);
                    }
                }
                Preference::Affinity(_) => {
                    let next = preferences[at..]
                        .iter()
                        .position(|other| {
                            !matches!(other, Preference::Affinity(_) | Preference::Binpack)
                        })
                        .map_or(preferences.len(), |more| at + more);
                    let score = |node: &&Node| self.score(node, &preferences[at..next]);
                    let most = left.iter().map(score).max();
                    left.retain(|node| Some(score(node)) == most);
                    alike.retain(|node| Some(score(node)) == most);
                    at = next;
                }
            }
        }
        self.best_by_load(service, &left)
    }

    fn best_of_groups(
        &self,
        service: &Service,
        attribute: &swarm_model::placement::NodeAttribute,
        left: &[&Node],
        alike: &[&Node],
        at: usize,
    ) -> Vec<NodeId> {
        let mut values: Vec<_> = left.iter().map(|node| attribute.of(node)).collect();
        values.sort();
        values.dedup();
        let mut best = Vec::new();
        for value in values {
            let within = |node: &&&Node| attribute.of(node) == value;
            let mut inner =
                Self { view: self.view, tasks: self.tasks.clone(), before: self.before.clone() };
            // The same choice among the nodes of this group alone, from the next preference on.
            let hidden: Vec<NodeId> = self
                .view
                .nodes
                .keys()
                .copied()
                .filter(|id| !alike.iter().filter(within).any(|node| node.id == *id))
                .collect();
            let mut view = self.view.clone();
            for id in &hidden {
                view.nodes.remove(id);
            }
            inner.view = &view;
            let mut narrowed = service.clone();
            let template = Arc::make_mut(&mut narrowed.template);
            template.placement.preferences.drain(..at);
            if service.template.placement.preferences.contains(&Preference::Binpack)
                && !template.placement.preferences.contains(&Preference::Binpack)
            {
                template.placement.preferences.push(Preference::Binpack);
            }
            best.extend(inner.best(&narrowed));
        }
        best
    }

    fn score(&self, node: &Node, affinities: &[Preference]) -> i64 {
        let of = |preference: &Preference| match preference {
            Preference::Affinity(affinity) => {
                let met = match &affinity.to {
                    AffinityTarget::Node(rule) => rule.allows(node),
                    AffinityTarget::Service(name) => self
                        .view
                        .service_names
                        .get(name)
                        .is_some_and(|service| self.before.contains(&(node.id, *service))),
                };
                if met { i64::from(affinity.weight) } else { 0 }
            }
            Preference::Spread(_) | Preference::Binpack => 0,
        };
        affinities.iter().map(of).sum()
    }

    fn best_by_load(&self, service: &Service, left: &[&Node]) -> Vec<NodeId> {
        let packs = service.template.placement.preferences.contains(&Preference::Binpack);
        let all = |node: NodeId| self.tasks.iter().filter(|(at, _)| *at == node).count();
        let rank = |node: &Node| {
            if packs {
                let (offer, used) = (&node.description.resources, self.used(node.id));
                let full = used.cpu.0 * 1000 / offer.cpu.0 + used.memory.0 * 1000 / offer.memory.0;
                (u64::MAX - full, usize::MAX - all(node.id))
            } else {
                (self.count(node.id, service.id) as u64, all(node.id))
            }
        };
        let least = left.iter().map(|node| rank(node)).min();
        let best = left.iter().filter(|node| Some(rank(node)) == least);
        best.map(|node| node.id).collect()
    }
}

fn check(seed: u64) -> Result<(), TestCaseError> {
    let view = cluster(&mut Chance(seed));
    let now = Timestamp::default();
    let plan = reconcile(&view, &Scope::everything(), now, &mut Ids::default());
    let mut model = Model::new(&view);
    let mut first = true;
    for change in &plan.changes {
        let Change::CreateTask(new) = change else {
            prop_assert!(false, "nothing has to end: {:?}", change);
            continue;
        };
        let service = &view.services[&new.service];
        let best = model.best(service);
        match new.node {
            Some(node) => prop_assert!(best.contains(&node), "{change:?}, better: {best:?}"),
            None => prop_assert!(best.is_empty(), "{change:?} fits on {best:?}"),
        }
        if first && let Some(told) = explain(&view, new.service, now) {
            // What is told is what is done.
            let choice = told.nodes.iter().find(|node| node.refusals.is_empty());
            prop_assert_eq!(choice.map(|node| node.node), new.node, "{:?} {:#?}", new, told);
            prop_assert_eq!(&told.refusal, &new.pending);
        }
        first = false;
        model.tasks.extend(new.node.map(|node| (node, new.service)));
    }
    Ok(())
}

proptest! {
    #![proptest_config(times(20))]

    #[test]
    fn each_task_goes_to_one_of_the_best_nodes_or_there_is_none(seed: u64) {
        check(seed)?;
    }
}
