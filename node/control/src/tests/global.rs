//! Global services.

use swarm_model::command::Op;
use swarm_model::node::{Availability, Reachability};

use crate::testing::{Cluster, OFFERED_CPU, OFFERED_MEMORY, program, spec, template};

#[test]
fn every_node_gets_one_task_also_those_that_join_later() {
    let mut cluster = Cluster::new(3);
    let agent = cluster.create(spec("agent", None, template("ok")));
    cluster.settle();
    cluster.add_node();
    cluster.settle();
    for node in cluster.nodes.clone() {
        assert_eq!(cluster.running_on(agent, node), 1);
    }
}

#[test]
fn only_nodes_that_meet_the_constraints_get_one() {
    let mut cluster = Cluster::new(4);
    let mut bound = template("ok");
    bound.placement.constraints = vec!["node.labels.zone==z1".parse().expect("it is valid")];
    let agent = cluster.create(spec("agent", None, bound));
    cluster.settle();
    let (left, stays) = (cluster.nodes[1], cluster.nodes[3]);
    assert_eq!(cluster.running(agent).len(), 2);
    cluster.update_node(left, |spec| spec.labels.clear());
    cluster.settle();
    assert_eq!(cluster.running_on(agent, stays), 1);
    assert_eq!(cluster.view().tasks_of(agent).count(), 1);
}

#[test]
fn a_drained_node_loses_its_task_and_gets_one_again_later() {
    let mut cluster = Cluster::new(3);
    let agent = cluster.create(spec("agent", None, template("ok")));
    cluster.settle();
    let node = cluster.nodes[1];
    cluster.drain(node);
    cluster.settle();
    assert_eq!((cluster.running_on(agent, node), cluster.active(agent).len()), (0, 2));
    cluster.update_node(node, |spec| spec.availability = Availability::Pause);
    cluster.settle();
    assert_eq!(cluster.running_on(agent, node), 0);
    cluster.update_node(node, |spec| spec.availability = Availability::Active);
    cluster.settle();
    assert_eq!(cluster.running_on(agent, node), 1);
}

#[test]
fn a_silent_node_keeps_its_task() {
    let mut cluster = Cluster::new(3);
    let agent = cluster.create(spec("agent", None, template("ok")));
    cluster.settle();
    let node = cluster.nodes[1];
    cluster.reach(node, Reachability::Down);
    assert_eq!(cluster.round().changes, []);
    cluster.reach(node, Reachability::Ready);
    assert_eq!(cluster.round().changes, []);
    assert_eq!(cluster.running_on(agent, node), 1);
}

#[test]
fn a_removed_node_leaves_no_task_behind() {
    let mut cluster = Cluster::new(3);
    let agent = cluster.create(spec("agent", None, template("ok")));
    cluster.settle();
    let id = cluster.nodes[1];
    cluster.apply(Op::RemoveNode { id, force: true }).expect("it is a worker");
    cluster.settle();
    assert_eq!(cluster.view().tasks_of(agent).count(), 2);
}

#[test]
fn an_update_goes_node_by_node_and_stops_first_where_there_is_no_room() {
    let mut cluster = Cluster::new(3);
    let mut heavy = template("ok");
    heavy.resources.reservations.memory = OFFERED_MEMORY;
    let agent = cluster.create(spec("agent", None, heavy));
    cluster.settle();
    let away = cluster.nodes[2];
    cluster.reach(away, Reachability::Down);
    cluster.update(agent, |spec| {
        let swarm_model::runtime::RuntimeSpec::Process(process) = &mut spec.task_template.runtime;
        process.command = vec!["new".to_owned()];
    });
    cluster.round();
    assert!(cluster.running(agent).len() >= 2);
    cluster.settle();
    let new = |cluster: &Cluster| {
        cluster.running(agent).iter().filter(|task| program(task) == "new").count()
    };
    assert_eq!(new(&cluster), 2, "the silent node is updated when it is back");
    cluster.reach(away, Reachability::Ready);
    cluster.settle();
    assert_eq!(new(&cluster), 3);
}

#[test]
fn a_node_without_room_says_so() {
    let mut cluster = Cluster::new(1);
    let mut heavy = template("ok");
    heavy.resources.reservations.cpu.0 = OFFERED_CPU.0 + 1;
    let agent = cluster.create(spec("agent", None, heavy));
    cluster.settle();
    let waiting = cluster.active(agent)[0];
    assert_eq!(
        waiting.status.error,
        "its node does not fit (insufficient cpu, needs 4.001, has 4.000 free)"
    );
}

#[test]
fn a_node_that_is_open_again_waits_for_its_old_task_to_end() {
    let mut cluster = Cluster::new(2);
    let agent = cluster.create(spec("agent", None, template("ok")));
    cluster.settle();
    let node = cluster.nodes[1];
    cluster.drain(node);
    cluster.round();
    cluster.update_node(node, |spec| spec.availability = Availability::Active);
    assert_eq!(cluster.round().changes, [], "the old one still ends");
    cluster.settle();
    assert_eq!(cluster.running_on(agent, node), 1);
}

#[test]
fn a_replacement_that_ran_before_its_node_fell_silent_takes_over() {
    let mut cluster = Cluster::new(1);
    let agent = cluster.create(spec("agent", None, template("ok")));
    cluster.settle();
    cluster.update(agent, |spec| spec.task_template.force_update += 1);
    cluster.round();
    cluster.agents();
    cluster.reach(cluster.nodes[0], Reachability::Down);
    assert_eq!(cluster.running(agent).len(), 2);
    cluster.round();
    assert_eq!(cluster.running(agent).len(), 1);
}

#[test]
fn of_two_that_run_on_a_silent_node_the_one_that_is_known_to_run_stays() {
    let mut cluster = Cluster::new(1);
    let agent = cluster.create(spec("agent", None, template("ok")));
    cluster.settle();
    cluster.update(agent, |spec| spec.task_template = template("once more"));
    cluster.round();
    cluster.agents();
    assert_eq!(cluster.running(agent).len(), 2);
    cluster.update(agent, |spec| spec.task_template = template("another"));
    cluster.reach(cluster.nodes[0], Reachability::Down);
    cluster.round();
    cluster.check();
    let left = cluster.active(agent);
    assert_eq!((left.len(), program(left[0])), (1, "ok"));
}
