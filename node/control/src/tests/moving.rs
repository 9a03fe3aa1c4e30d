//! Drains, pauses and constraints that change.

use std::time::Duration;

use swarm_model::node::Availability;
use swarm_model::task_state::{DesiredState, ObservedState};

use crate::testing::{Cluster, OFFERED_MEMORY, spec, template};

#[test]
fn a_drained_node_gives_up_its_tasks_when_their_replacements_run() {
    let mut cluster = Cluster::new(3);
    let web = cluster.create(spec("web", Some(6), template("ok")));
    cluster.settle();
    let drained = cluster.nodes[1];
    cluster.drain(drained);
    cluster.round();
    assert_eq!(cluster.running(web).len(), 6, "the old ones serve on");
    assert_eq!(cluster.active(web).len(), 8);
    cluster.agents();
    cluster.round();
    assert_eq!(cluster.running_on(web, drained), 0);
    cluster.settle();
    assert_eq!(cluster.running(web).len(), 6);
    cluster.scale(web, 12);
    cluster.settle();
    assert_eq!(cluster.running_on(web, drained), 0, "a drained node gets nothing");
}

#[test]
fn a_task_with_nowhere_to_go_serves_until_the_drain_deadline() {
    let mut cluster = Cluster::new(1);
    let web = cluster.create(spec("web", Some(1), template("ok")));
    cluster.settle();
    let (node, deadline) = (cluster.nodes[0], cluster.now.after(Duration::from_secs(60)));
    cluster.drain_by(node, Some(deadline), |spec| spec.availability = Availability::Drain);
    cluster.settle_now();
    assert_eq!(cluster.running(web).len(), 1);
    assert_eq!(cluster.wake_at, Some(deadline));
    cluster.settle();
    assert_eq!(cluster.now, deadline);
    assert_eq!(cluster.running(web).len(), 0);
    let waiting = cluster.active(web)[0];
    assert_eq!(waiting.status.error, "no suitable node (1 node: drained)");
}

#[test]
fn a_paused_node_keeps_its_tasks_and_gets_no_new_ones() {
    let mut cluster = Cluster::new(2);
    let web = cluster.create(spec("web", Some(2), template("ok")));
    cluster.settle();
    let paused = cluster.nodes[0];
    cluster.update_node(paused, |spec| spec.availability = Availability::Pause);
    assert_eq!(cluster.round().changes, []);
    cluster.scale(web, 6);
    cluster.settle();
    assert_eq!(cluster.running_on(web, paused), 1);
    assert_eq!(cluster.running(web).len(), 6);
}

#[test]
fn tasks_leave_a_node_that_does_not_meet_their_constraints_any_more() {
    let mut cluster = Cluster::new(3);
    let mut bound = template("ok");
    bound.placement.constraints = vec!["node.labels.zone==z0".parse().expect("it is valid")];
    let web = cluster.create(spec("web", Some(2), bound));
    cluster.settle();
    let (left, stays) = (cluster.nodes[0], cluster.nodes[2]);
    assert_eq!((cluster.running_on(web, left), cluster.running_on(web, stays)), (1, 1));
    let relabel = |cluster: &mut Cluster, node, zone: &str| {
        cluster.update_node(node, |spec| {
            spec.labels.insert("zone".into(), zone.into());
        });
    };
    relabel(&mut cluster, left, "z9");
    cluster.round();
    assert_eq!(cluster.running(web).len(), 2, "start-first");
    cluster.settle();
    assert_eq!((cluster.running_on(web, left), cluster.running_on(web, stays)), (0, 2));
    relabel(&mut cluster, stays, "z9");
    cluster.settle();
    assert_eq!(cluster.running(web).len(), 0, "with nowhere to go the rule wins");
    relabel(&mut cluster, left, "z0");
    cluster.settle();
    assert_eq!(cluster.running_on(web, left), 2);
}

#[test]
fn a_drained_task_that_waits_for_room_moves_when_there_is_some() {
    let mut cluster = Cluster::new(2);
    let mut heavy = template("ok");
    heavy.resources.reservations.memory = OFFERED_MEMORY;
    let web = cluster.create(spec("web", Some(2), heavy));
    cluster.settle();
    let drained = cluster.nodes[0];
    cluster.drain(drained);
    cluster.settle();
    assert_eq!(cluster.running(web).len(), 2);
    let waiting = cluster.active(web).into_iter().find(|task| task.node.is_none());
    let error = &waiting.expect("one waits").status.error;
    assert_eq!(
        error,
        "no suitable node (1 node: drained; 1 node: insufficient memory, needs 1KiB, has 0B free)"
    );
    cluster.add_node();
    cluster.settle();
    assert_eq!(cluster.running(web).len(), 2);
    assert_eq!(cluster.running_on(web, drained), 0);
}

#[test]
fn a_task_that_moves_keeps_what_is_left_of_its_delay() {
    let mut cluster = Cluster::new(2);
    let web = cluster.create(spec("web", Some(1), template("ok")));
    cluster.settle();
    for _ in 0..4 {
        let task = cluster.active(web)[0].id;
        cluster.report(task, ObservedState::Failed);
        cluster.settle_now();
    }
    let delayed = cluster.active(web)[0].clone();
    assert_eq!(delayed.desired, DesiredState::Ready);
    cluster.drain(delayed.node.expect("it is placed"));
    cluster.round();
    let moved = cluster.active(web)[0].clone();
    assert_ne!(moved.node, delayed.node);
    assert_eq!((moved.not_before, moved.restart), (delayed.not_before, delayed.restart));
}
