//! `--min-available`: what is done on purpose never takes a service below it.

use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use swarm_model::id::ServiceId;
use swarm_model::node::{Availability, Reachability};
use swarm_model::runtime::RuntimeSpec;
use swarm_model::service::{Priority, ServiceSpec};
use swarm_model::share::Share;
use swarm_model::update::Order;
use swarm_model::view::View;

use super::property::policy;
use crate::facts::Facts;
use crate::testing::{Cluster, OFFERED_MEMORY, program, spec, template, times};
use crate::{budget, held_back};

/// A settled service that keeps `share` of its tasks.
fn service(cluster: &mut Cluster, replicas: Option<u32>, share: &str) -> ServiceId {
    let web = cluster.create(bounded(replicas, share));
    cluster.settle();
    web
}

fn bounded(replicas: Option<u32>, share: &str) -> ServiceSpec {
    let mut spec = spec("web", replicas, template("ok"));
    spec.min_available = Some(share.parse().expect("is a share"));
    spec
}

fn set_program(cluster: &mut Cluster, service: ServiceId, name: &str) {
    cluster.update(service, |spec| {
        let RuntimeSpec::Process(process) = &mut spec.task_template.runtime;
        process.command = vec![name.to_owned()];
    });
}

/// The slots that are served, and how many have to be.
fn served(view: &View, service: ServiceId) -> (usize, usize) {
    let former = std::collections::BTreeMap::new();
    let (now, led_since) = Default::default();
    let facts = Facts { view, now, led_since, still: false, former: &former };
    let budget = budget::of(facts, &view.services[&service], &|_| false).expect("it has one");
    (budget.available, budget.least)
}

/// What the tasks of `service` are said to wait for.
fn said(cluster: &Cluster, service: ServiceId) -> Vec<String> {
    let tasks = cluster.active(service);
    tasks.into_iter().filter_map(|task| held_back(cluster.view(), task, cluster.now)).collect()
}

#[test]
fn an_update_that_stops_first_leaves_what_has_to_run() {
    let mut cluster = Cluster::new(3);
    let web = service(&mut cluster, Some(4), "3");
    cluster.update(web, |spec| {
        (spec.update.parallelism, spec.update.order) = (4, Some(Order::StopFirst));
    });
    set_program(&mut cluster, web, "new");
    for _ in 0..30 {
        cluster.round();
        assert!(served(cluster.view(), web).0 >= 3);
        cluster.agents();
    }
    assert!(cluster.running(web).iter().all(|task| program(task) == "new"));
    assert_eq!(cluster.running(web).len(), 4);
}

#[test]
fn an_update_that_may_stop_nothing_waits_and_says_so() {
    let mut cluster = Cluster::new(3);
    let web = service(&mut cluster, Some(3), "100%");
    cluster.update(web, |spec| spec.update.order = Some(Order::StopFirst));
    set_program(&mut cluster, web, "new");
    cluster.settle_now();
    assert_eq!(cluster.running(web).len(), 3);
    let said = said(&cluster, web);
    assert_eq!(said.len(), 3);
    assert_eq!(said[0], "held back by --min-available 100%: 3 run, 3 have to");
    cluster.update(web, |spec| spec.min_available = Some(Share::Percent(60)));
    cluster.settle();
    assert!(cluster.running(web).iter().all(|task| program(task) == "new"));
}

#[test]
fn a_drain_whose_deadline_is_over_waits_for_the_budget() {
    let mut cluster = Cluster::new(2);
    let mut heavy = bounded(Some(2), "2");
    heavy.task_template.resources.reservations.memory = OFFERED_MEMORY;
    let web = cluster.create(heavy);
    cluster.settle();
    let (away, deadline) = (cluster.nodes[1], cluster.now.after(Duration::from_secs(5)));
    cluster.drain_by(away, Some(deadline), |spec| spec.availability = Availability::Drain);
    cluster.settle_now();
    assert_eq!(said(&cluster, web), [""; 0], "its time is not over");
    cluster.now = deadline;
    cluster.settle_now();
    assert_eq!(cluster.running_on(web, away), 1);
    assert_eq!(said(&cluster, web), ["held back by --min-available 2: 2 run, 2 have to"]);
    cluster.add_node();
    cluster.settle();
    assert_eq!((cluster.running_on(web, away), cluster.running(web).len()), (0, 2));
}

#[test]
fn nodes_that_are_drained_at_once_lose_a_global_task_only_within_the_budget() {
    let mut cluster = Cluster::new(4);
    let agent = service(&mut cluster, None, "3");
    cluster.nodes.clone().into_iter().take(3).for_each(|node| cluster.drain(node));
    for _ in 0..5 {
        cluster.round();
        cluster.agents();
        assert_eq!(cluster.running(agent).len(), 3);
    }
    assert_eq!(said(&cluster, agent).len(), 2, "one of three could go");
    cluster.update(agent, |spec| spec.min_available = None);
    cluster.settle();
    assert_eq!(cluster.running(agent).len(), 1);
}

#[test]
fn a_share_of_nodes_does_not_shrink_with_each_of_them_that_is_drained() {
    for (share, least) in [("80%", 8), ("50%", 5), ("1%", 1)] {
        for at_once in [true, false] {
            let mut cluster = Cluster::new(10);
            let agent = service(&mut cluster, None, share);
            for node in cluster.nodes.clone() {
                cluster.drain(node);
                if !at_once {
                    cluster.settle_now();
                }
            }
            for _ in 0..12 {
                cluster.round();
                cluster.agents();
                assert!(cluster.running(agent).len() >= least, "{share}");
            }
            assert_eq!(cluster.running(agent).len(), least, "{share}");
            let said = said(&cluster, agent);
            let expect =
                format!("held back by --min-available {share}: {least} run, {least} have to");
            assert_eq!(said, vec![expect; least]);
        }
    }
}

#[test]
fn an_update_goes_by_the_nodes_that_are_left_once_all_drains_are_through() {
    let mut cluster = Cluster::new(10);
    let agent = service(&mut cluster, None, "50%");
    cluster.nodes.clone().into_iter().take(5).for_each(|node| cluster.drain(node));
    cluster.settle();
    assert_eq!(cluster.running(agent).len(), 5);
    cluster.update(agent, |spec| {
        spec.min_available = Some(Share::Percent(80));
        spec.update.order = Some(Order::StopFirst);
    });
    set_program(&mut cluster, agent, "new");
    for _ in 0..30 {
        cluster.round();
        assert!(cluster.running(agent).len() >= 4);
        cluster.agents();
    }
    assert_eq!(cluster.running(agent).len(), 5);
    assert!(cluster.running(agent).iter().all(|task| program(task) == "new"));
}

#[test]
fn room_is_made_only_as_far_as_the_budget_of_the_less_important_goes() {
    let mut cluster = Cluster::new(1);
    let mut low = bounded(Some(4), "3");
    low.priority = Priority(10);
    low.task_template.resources.reservations.memory.0 = OFFERED_MEMORY.0 / 4;
    let low = cluster.create(low);
    cluster.settle();
    let mut high = spec("high", Some(1), template("ok"));
    high.task_template.resources.reservations.memory.0 = OFFERED_MEMORY.0 / 2;
    let high = cluster.create(high);
    cluster.settle();
    assert_eq!((cluster.running(low).len(), cluster.running(high).len()), (4, 0));
    cluster.update(high, |spec| {
        spec.task_template.resources.reservations.memory.0 = OFFERED_MEMORY.0 / 4;
    });
    cluster.settle();
    assert_eq!((cluster.running(low).len(), cluster.running(high).len()), (3, 1));
}

#[test]
fn what_happens_by_itself_and_what_a_person_asks_for_is_not_held_back() {
    let mut cluster = Cluster::new(2);
    let web = service(&mut cluster, Some(4), "100%");
    cluster.scale(web, 1);
    cluster.settle();
    assert_eq!(cluster.running(web).len(), 1);
    let node = cluster.running(web)[0].node.expect("it runs somewhere");
    cluster.reach(node, Reachability::Down);
    cluster.settle_now();
    assert_eq!(cluster.running(web).len(), 1, "it is replaced at once");
}

#[test]
fn what_a_drain_stops_counts_before_an_update_asks_for_more() {
    let mut cluster = Cluster::new(4);
    let web = service(&mut cluster, Some(4), "3");
    cluster.update(web, |spec| {
        (spec.update.parallelism, spec.update.order) = (2, Some(Order::StopFirst));
        (spec.update.monitor_ms, spec.update.delay_ms) = (0, 0);
    });
    set_program(&mut cluster, web, "new");
    cluster.round();
    cluster.agents();
    cluster.round();
    cluster.reach(cluster.nodes[0], Reachability::Down);
    cluster.round();
    cluster.drain(cluster.nodes[2]);
    cluster.round();
    cluster.agents();
    // A slot is served twice now: by what is drained, and by what came for it.
    cluster.round();
    assert_eq!(served(cluster.view(), web), (3, 3));
}

/// What is done to the cluster.
#[derive(Debug, Clone, Copy)]
enum Step {
    Drain(usize, Option<u64>),
    Open(usize),
    Lose(usize),
    Return(usize),
    Update,
    Important,
    Elapse(u64),
    Agents,
}

fn step() -> impl Strategy<Value = Step> {
    let at = 0usize..4;
    prop_oneof![
        3 => (at.clone(), prop::option::of(0u64..4000)).prop_map(|(at, by)| Step::Drain(at, by)),
        2 => at.clone().prop_map(Step::Open),
        1 => at.clone().prop_map(Step::Lose),
        1 => at.prop_map(Step::Return),
        2 => Just(Step::Update),
        1 => Just(Step::Important),
        3 => (0u64..5000).prop_map(Step::Elapse),
        6 => Just(Step::Agents),
    ]
}

fn take(cluster: &mut Cluster, web: ServiceId, step: Step, number: usize) {
    match step {
        Step::Drain(at, by) => {
            let by = by.map(|millis| cluster.now.after(Duration::from_millis(millis)));
            let node = cluster.nodes[at];
            cluster.drain_by(node, by, |spec| spec.availability = Availability::Drain);
        }
        Step::Open(at) => {
            let node = cluster.nodes[at];
            cluster.update_node(node, |spec| spec.availability = Availability::Active);
        }
        Step::Lose(at) => cluster.reach(cluster.nodes[at], Reachability::Down),
        Step::Return(at) => cluster.reach(cluster.nodes[at], Reachability::Ready),
        Step::Update => set_program(cluster, web, &format!("new{number}")),
        Step::Important => {
            let mut high = spec(&format!("high{number}"), Some(2), template("ok"));
            high.priority = Priority(90);
            high.task_template.resources.reservations.memory.0 = OFFERED_MEMORY.0 / 3;
            cluster.create(high);
        }
        Step::Elapse(millis) => cluster.now = cluster.now.after(Duration::from_millis(millis)),
        Step::Agents => drop(cluster.agents()),
    }
}

proptest! {
    #![proptest_config(times(2))]

    #[test]
    fn no_plan_takes_a_service_below_what_has_to_run(
        replicas in prop_oneof![4 => (1u32..8).prop_map(Some), 1 => Just(None)],
        share in prop_oneof![(0u32..6).prop_map(Share::Count), (0u8..=100).prop_map(Share::Percent)],
        memory in 0u64..400, mut policy in policy(), steps in vec((step(), any::<bool>()), 0..50),
    ) {
        policy.start_timeout_ms = 3_600_000;
        let mut cluster = Cluster::new(4);
        let mut web = bounded(replicas, "0");
        (web.update, web.rollback) = (policy, policy);
        web.rollback.failure_action = None;
        web.min_available = Some(share);
        web.task_template.resources.reservations.memory.0 = memory;
        let web = cluster.create(web);
        cluster.settle_now();
        for (number, (step, twice)) in steps.iter().enumerate() {
            take(&mut cluster, web, *step, number);
            let base = cluster.view().revision;
            let plan = cluster.plan();
            let late = cluster.plan();
            let prefixes = cluster.prefixes(&plan, base);
            for pair in prefixes.windows(2) {
                let (before, (after, least)) = (served(&pair[0], web), served(&pair[1], web));
                prop_assert!(after >= before.0 || after >= least, "{plan:#?}");
            }
            cluster.hand_in(&plan, base);
            // Given up too early, it was decided once more on the same view.
            if *twice {
                let before = served(cluster.view(), web).0;
                cluster.hand_in(&late, base);
                let (after, least) = served(cluster.view(), web);
                prop_assert!(after >= before || after >= least, "{late:#?}");
            }
        }
    }
}
