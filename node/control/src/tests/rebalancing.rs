//! Moves to even things out: which, how they are made, and that they come to an end.

use std::collections::BTreeMap;

use proptest::prelude::*;
use swarm_model::command::{Op, Relocation};
use swarm_model::id::{NodeId, ServiceId};
use swarm_model::node::{Availability, Reachability};
use swarm_model::outcome::Done;
use swarm_model::task::{Eviction, REBALANCED_WITHIN};
use swarm_model::task_state::ObservedState;

use super::property::{Shape, shape};
use crate::rebalance::{Move, rebalance};
use crate::testing::{Chance, Cluster, OFFERED_MEMORY, job, spec, template, times};

fn moves(cluster: &Cluster, most: usize) -> Vec<Move> {
    rebalance(cluster.view(), most, cluster.now)
}

fn evict(cluster: &mut Cluster, moves: &[Move]) -> Done {
    let relocation = |it: &Move| Relocation { task: it.task, version: it.version, to: it.to.id };
    let moves = moves.iter().map(relocation).collect();
    cluster.apply(Op::Evict { moves }).expect("few enough")
}

fn spread(cluster: &Cluster, service: ServiceId) -> Vec<usize> {
    cluster.nodes.iter().map(|node| cluster.running_on(service, *node)).collect()
}

/// Six tasks on the first two of three nodes.
fn uneven() -> (Cluster, ServiceId) {
    let mut cluster = Cluster::new(2);
    let web = cluster.create(spec("web", Some(6), template("ok")));
    cluster.settle();
    cluster.add_node();
    cluster.settle();
    (cluster, web)
}

#[test]
fn a_new_node_gets_its_share_and_then_nothing_more_moves() {
    let (mut cluster, web) = uneven();
    assert_eq!(spread(&cluster, web), [3, 3, 0]);
    let first = moves(&cluster, 10);
    assert_eq!(first.len(), 2, "{first:#?}");
    assert!(first.iter().all(|it| it.to.id == cluster.nodes[2]), "{first:#?}");
    assert!(
        first.iter().any(|it| it.reason == "3 of its tasks on the one, 0 on the other"),
        "{first:#?}"
    );
    assert_eq!(evict(&mut cluster, &first), Done::Plan { applied: 2, refused: 0 });
    assert_eq!(moves(&cluster, 10), [], "it is on its way");
    cluster.settle();
    assert_eq!(spread(&cluster, web), [2, 2, 2]);
    assert_eq!(moves(&cluster, 10), []);
}

#[test]
fn tasks_of_jobs_stay_where_they_are() {
    let mut cluster = Cluster::new(1);
    let batch = cluster.create(job("batch", 6, 0, "ok"));
    cluster.settle_now();
    cluster.add_node();
    cluster.settle_now();
    assert_eq!(spread(&cluster, batch), [6, 0]);
    assert_eq!(moves(&cluster, 10), []);
}

#[test]
fn each_replacement_runs_first_and_one_slot_goes_at_a_time() {
    let (mut cluster, web) = uneven();
    let both = moves(&cluster, 10);
    evict(&mut cluster, &both);
    for _ in 0..20 {
        cluster.round();
        assert!(cluster.active(web).len() <= 7, "one more than wanted at most");
        assert_eq!(cluster.running(web).len().max(6), cluster.running(web).len());
        cluster.agents();
    }
    assert_eq!(spread(&cluster, web), [2, 2, 2]);
}

#[test]
fn no_more_moves_than_asked_for_and_the_best_first() {
    let (cluster, _) = uneven();
    assert_eq!(moves(&cluster, 1).len(), 1);
    assert_eq!(moves(&cluster, 0), []);
}

#[test]
fn preferences_weigh_more_than_nodes() {
    let mut cluster = Cluster::new(3);
    // Node 1 is the only one of zone z1.
    cluster.drain(cluster.nodes[1]);
    let mut zoned = template("ok");
    zoned.placement.preferences.push("spread=node.labels.zone".parse().expect("valid"));
    let web = cluster.create(spec("web", Some(6), zoned));
    cluster.settle();
    cluster.update_node(cluster.nodes[1], |spec| spec.availability = Availability::Active);
    cluster.settle();
    assert_eq!(spread(&cluster, web), [3, 0, 3]);
    let first = moves(&cluster, 10);
    assert_eq!(first.len(), 3, "{first:#?}");
    assert!(
        first.iter().any(|it| it.reason == "\"z0\" has 6 of its tasks, \"z1\" 0"),
        "{first:#?}"
    );
    evict(&mut cluster, &first);
    cluster.settle();
    let mut after = spread(&cluster, web);
    assert_eq!(after.remove(1), 3);
    assert_eq!(moves(&cluster, 10), []);
}

#[test]
fn what_may_not_or_need_not_move_stays() {
    let mut cluster = Cluster::new(2);
    let mut packed = template("ok");
    packed.placement.preferences.push("binpack".parse().expect("valid"));
    cluster.create(spec("packed", Some(4), packed));
    let mut bound = template("ok");
    bound.placement.constraints.push("node.hostname==n0".parse().expect("valid"));
    cluster.create(spec("bound", Some(2), bound));
    cluster.create(spec("all", None, template("ok")));
    cluster.settle();
    cluster.add_node();
    cluster.settle();
    assert_eq!(moves(&cluster, 10), []);
}

#[test]
fn services_that_are_not_at_rest_are_left_alone() {
    let (mut cluster, web) = uneven();
    cluster.update(web, |spec| spec.task_template.force_update = 1);
    assert_eq!(moves(&cluster, 10), [], "an update goes on");
    cluster.settle();
    cluster.scale(web, 7);
    cluster.round();
    assert_eq!(moves(&cluster, 10), [], "a task starts");
    cluster.settle();
    cluster.reach(cluster.nodes[0], Reachability::Down);
    assert_eq!(moves(&cluster, 10), [], "a node was lost");
}

#[test]
fn a_move_that_does_not_fit_any_more_is_not_made_and_lapses() {
    let mut cluster = Cluster::new(1);
    let mut heavy = template("ok");
    heavy.resources.reservations.memory.0 = OFFERED_MEMORY.0 / 2;
    let web = cluster.create(spec("web", Some(2), heavy.clone()));
    cluster.settle();
    let new = cluster.add_node();
    cluster.settle();
    let first = moves(&cluster, 10);
    assert_eq!(first.len(), 1, "{first:#?}");
    heavy.resources.reservations.memory = OFFERED_MEMORY;
    cluster.create(spec("other", Some(1), heavy));
    cluster.round();
    evict(&mut cluster, &first);
    cluster.settle_now();
    assert_eq!((cluster.running(web).len(), cluster.running_on(web, new)), (2, 0));
    assert_eq!(cluster.active(web).len(), 2, "nothing waits in vain");
    let began = cluster.now;
    cluster.settle();
    assert!(cluster.now.since(began) >= REBALANCED_WITHIN, "it was looked at once more, then left");
    assert_eq!(cluster.running(web).len(), 2);
}

#[test]
fn an_update_goes_before_a_move() {
    let (mut cluster, web) = uneven();
    let first = moves(&cluster, 10);
    evict(&mut cluster, &first);
    cluster.update(web, |spec| spec.task_template.force_update = 1);
    cluster.settle();
    assert_eq!(spread(&cluster, web), [2, 2, 2], "the new ones are placed as always");
    assert_eq!(cluster.active(web).len(), 6);
}

#[test]
fn a_program_that_fails_elsewhere_leaves_the_old_task_alone() {
    let (mut cluster, web) = uneven();
    let first = moves(&cluster, 1);
    evict(&mut cluster, &first);
    cluster.round();
    let new =
        cluster.active(web).iter().find(|task| task.node == Some(cluster.nodes[2])).map(|t| t.id);
    cluster.report(new.expect("is made"), ObservedState::Failed);
    cluster.round();
    assert!(cluster.running(web).iter().any(|task| task.id == first[0].task), "it serves on");
    assert_eq!(cluster.running(web).len(), 6);
    cluster.settle();
    assert_eq!(cluster.running(web).len(), 6);
}

#[test]
fn a_moved_task_is_no_displaced_one() {
    let (mut cluster, web) = uneven();
    let first = moves(&cluster, 1);
    evict(&mut cluster, &first);
    let task = &cluster.view().tasks[&first[0].task];
    assert!(matches!(task.eviction, Some(Eviction::Rebalanced { .. })) && !task.is_preempted());
    cluster.settle();
    assert!(cluster.running(web).iter().all(|task| !task.restart.displaced));
}

fn below(chance: &mut Chance, bound: usize) -> usize {
    let bound = u64::try_from(bound).expect("small");
    usize::try_from(chance.below(bound)).expect("small")
}

/// A random cluster at rest, uneven because nodes came and went.
fn world(seed: u64, shapes: Vec<(u32, Shape)>) -> Cluster {
    let mut chance = Chance(seed);
    let mut cluster = Cluster::new(2 + below(&mut chance, 3));
    for (number, (replicas, shape)) in shapes.into_iter().enumerate() {
        let name = format!("s{number}");
        cluster.create(spec(&name, Some(replicas), shape.that_runs().template()));
        if chance.one_in(2) {
            cluster.settle();
        }
        if chance.one_in(2) {
            cluster.add_node();
        }
        if chance.one_in(3) {
            let at = below(&mut chance, cluster.nodes.len());
            let node: NodeId = cluster.nodes[at];
            cluster.drain(node);
            cluster.settle();
            cluster.update_node(node, |spec| spec.availability = Availability::Active);
        }
    }
    cluster.settle();
    cluster
}

proptest! {
    #![proptest_config(times(1))]

    #[test]
    fn moves_are_made_as_foretold_and_come_to_an_end(
        seed in any::<u64>(),
        shapes in proptest::collection::vec((0u32..8, shape()), 1..6),
        light in any::<bool>(),
        most in 1usize..8,
    ) {
        let lighten = |(count, shape): (u32, Shape)| (count, if light { shape.light() } else { shape });
        let shapes: Vec<_> = shapes.into_iter().map(lighten).collect();
        let roomy = shapes.iter().all(|(_, shape)| shape.reserves_nothing());
        let mut cluster = world(seed, shapes);
        let running: BTreeMap<_, _> = cluster.view().services.keys()
            .map(|id| (*id, cluster.running(*id).len())).collect();
        for round in 0..60 {
            let next = moves(&cluster, most);
            prop_assert!(next.len() <= most);
            prop_assert_eq!(&next, &moves(&cluster, most), "the same every time");
            let last = next.len() < most;
            evict(&mut cluster, &next);
            let meanwhile = moves(&cluster, most);
            prop_assert!(!meanwhile.iter().any(|it| next.contains(it)), "{meanwhile:#?}");
            cluster.settle();
            for (id, count) in &running {
                // Room that was made may be just what another one waited for.
                prop_assert!(cluster.running(*id).len() >= *count);
            }
            for it in &next {
                let old = cluster.view().tasks.get(&it.task);
                prop_assert!(old.is_none_or(|task| !task.is_active()), "{it:#?} stayed");
            }
            if next.is_empty() {
                return Ok(());
            }
            // Else the room that came free may make more worth while.
            if last && roomy {
                let again = moves(&cluster, most);
                prop_assert!(again.is_empty(), "after {round}: {next:#?}, then {again:#?}");
            }
        }
        prop_assert!(false, "it never ends");
    }
}
