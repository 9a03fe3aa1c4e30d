//! Rolling updates: who is replaced when, as far as that does not depend on the rules of an update.

use swarm_model::id::ServiceId;
use swarm_model::runtime::RuntimeSpec;
use swarm_model::task_state::ObservedState;

use crate::testing::{Cluster, OFFERED_MEMORY, program, spec, template};

fn set_program(cluster: &mut Cluster, service: ServiceId, name: &str) {
    cluster.update(service, |spec| {
        let RuntimeSpec::Process(process) = &mut spec.task_template.runtime;
        process.command = vec![name.to_owned()];
    });
}

fn running_of(cluster: &Cluster, service: ServiceId, name: &str) -> usize {
    cluster.running(service).iter().filter(|task| program(task) == name).count()
}

#[test]
fn an_update_replaces_one_slot_at_a_time_and_never_runs_fewer() {
    let mut cluster = Cluster::new(3);
    let web = cluster.create(spec("web", Some(6), template("ok")));
    cluster.settle();
    set_program(&mut cluster, web, "new");
    for done in 0..6 {
        cluster.round();
        assert_eq!(running_of(&cluster, web, "new"), done);
        assert_eq!(cluster.active(web).len(), 7, "{done}");
        assert_eq!(cluster.running(web).len(), 6);
        cluster.agents();
    }
    cluster.settle();
    assert_eq!(running_of(&cluster, web, "new"), 6);
    for node in cluster.nodes.clone() {
        assert_eq!(cluster.running_on(web, node), 2, "still even");
    }
}

#[test]
fn slots_where_nothing_runs_are_replaced_at_once() {
    let mut cluster = Cluster::new(3);
    let web = cluster.create(spec("web", Some(6), template("fail")));
    cluster.settle_now();
    set_program(&mut cluster, web, "ok");
    cluster.round();
    cluster.agents();
    assert_eq!(running_of(&cluster, web, "ok"), 6);
}

#[test]
fn an_update_without_room_stops_first() {
    let mut cluster = Cluster::new(2);
    let mut heavy = template("ok");
    heavy.resources.reservations.memory = OFFERED_MEMORY;
    let web = cluster.create(spec("web", Some(2), heavy));
    cluster.settle();
    set_program(&mut cluster, web, "new");
    for _ in 0..20 {
        cluster.round();
        assert!(!cluster.running(web).is_empty(), "one slot at a time");
        cluster.agents();
    }
    assert_eq!(running_of(&cluster, web, "new"), 2);
}

#[test]
fn an_update_under_a_bound_per_node_stops_first() {
    let mut cluster = Cluster::new(2);
    let mut alone = template("ok");
    alone.placement.max_replicas_per_node = 1;
    let web = cluster.create(spec("web", Some(2), alone));
    cluster.settle();
    set_program(&mut cluster, web, "new");
    cluster.settle();
    assert_eq!(running_of(&cluster, web, "new"), 2);
}

#[test]
fn an_update_that_fits_nowhere_leaves_the_old_tasks_alone() {
    let mut cluster = Cluster::new(2);
    let web = cluster.create(spec("web", Some(2), template("ok")));
    cluster.settle();
    cluster.update(web, |spec| {
        spec.task_template.resources.reservations.memory.0 = OFFERED_MEMORY.0 * 2;
    });
    cluster.settle_now();
    assert_eq!(cluster.running(web).len(), 2);
    let waiting = cluster.active(web).into_iter().filter(|task| task.node.is_none());
    let errors: Vec<_> = waiting.map(|task| task.status.error.as_str()).collect();
    assert_eq!(
        errors,
        ["no suitable node (2 nodes: insufficient memory, needs 2KiB, at most 1KiB free)"]
    );
    cluster.update(web, |spec| spec.task_template.resources.reservations.memory.0 = 1);
    cluster.settle();
    assert_eq!(cluster.active(web).len(), 2);
}

#[test]
fn a_new_task_that_fails_after_it_ran_holds_the_update() {
    let mut cluster = Cluster::new(3);
    let web = cluster.create(spec("web", Some(3), template("ok")));
    cluster.settle();
    set_program(&mut cluster, web, "new");
    cluster.round();
    cluster.agents();
    let new = cluster.running(web).into_iter().find(|task| program(task) == "new");
    let new = new.expect("the first one runs").id;
    cluster.report(new, ObservedState::Failed);
    cluster.round();
    // It ran, so its old task has gone or goes; the next slot waits for the restart.
    assert!(running_of(&cluster, web, "ok") >= 2);
    cluster.settle();
    assert_eq!(running_of(&cluster, web, "new"), 3);
}
