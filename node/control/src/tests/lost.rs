//! Nodes that fall silent, come back, or are removed.

use swarm_model::command::Op;
use swarm_model::node::Reachability;
use swarm_model::restart::{Reschedule, RestartCondition};
use swarm_model::task_state::{DesiredState, ObservedState};

use crate::ORPHAN_AFTER;
use crate::testing::{Cluster, spec, template};

#[test]
fn a_lost_nodes_tasks_are_replaced_elsewhere_under_every_condition() {
    for condition in [RestartCondition::Any, RestartCondition::OnFailure, RestartCondition::None] {
        let mut cluster = Cluster::new(3);
        let mut strict = template("ok");
        strict.restart_policy.condition = condition;
        let web = cluster.create(spec("web", Some(6), strict));
        cluster.settle();
        let lost = cluster.nodes[2];
        cluster.reach(lost, Reachability::Down);
        let plan = cluster.round();
        assert_eq!(plan.changes.len(), 4, "two told to stop, two new: {plan:?}");
        cluster.settle_now();
        assert_eq!(cluster.running(web).len(), 6);
        assert_eq!(cluster.running_on(web, lost), 0);
        assert!(cluster.active(web).iter().all(|task| task.restart.attempts == 0));
    }
}

#[test]
fn a_returning_node_stops_what_was_replaced() {
    let mut cluster = Cluster::new(3);
    let web = cluster.create(spec("web", Some(6), template("ok")));
    cluster.settle();
    let lost = cluster.nodes[2];
    cluster.reach(lost, Reachability::Down);
    cluster.settle_now();
    let old: Vec<_> = cluster.view().tasks_on(lost).map(|task| task.id).collect();
    assert_eq!(old.len(), 2);
    cluster.reach(lost, Reachability::Ready);
    cluster.settle();
    for task in old {
        assert_eq!(cluster.view().tasks[&task].status.state, ObservedState::Shutdown);
    }
    assert_eq!(cluster.running(web).len(), 6);
    assert_eq!(cluster.running_on(web, lost), 0, "nothing moves back by itself");
}

#[test]
fn a_service_that_is_never_rescheduled_waits_for_its_node() {
    let mut cluster = Cluster::new(2);
    let mut loyal = template("ok");
    loyal.restart_policy.reschedule = Reschedule::Never;
    let db = cluster.create(spec("db", Some(2), loyal));
    cluster.settle();
    let lost = cluster.nodes[1];
    cluster.reach(lost, Reachability::Down);
    assert_eq!(cluster.round().changes, []);
    cluster.reach(lost, Reachability::Ready);
    cluster.settle();
    assert_eq!(cluster.running_on(db, lost), 1);
    cluster.apply(Op::RemoveNode { id: lost, force: true }).expect("it is a worker");
    cluster.settle();
    assert_eq!(cluster.running(db).len(), 2, "a removed node never comes back");
}

#[test]
fn tasks_of_a_removed_node_are_orphaned() {
    let mut cluster = Cluster::new(2);
    let web = cluster.create(spec("web", Some(2), template("ok")));
    cluster.settle();
    let gone = cluster.nodes[1];
    let task = cluster.running(web).into_iter().find(|task| task.node == Some(gone));
    let task = task.expect("one runs there").id;
    cluster.apply(Op::RemoveNode { id: gone, force: true }).expect("it is a worker");
    cluster.round();
    assert_eq!(cluster.view().tasks[&task].status.state, ObservedState::Orphaned);
    cluster.settle();
    assert_eq!(cluster.running(web).len(), 2);
}

#[test]
fn a_stopped_task_of_a_silent_node_is_given_up_after_a_day() {
    let mut cluster = Cluster::new(2);
    let web = cluster.create(spec("web", Some(2), template("ok")));
    cluster.settle();
    let lost = cluster.nodes[1];
    let down_at = cluster.now;
    cluster.reach(lost, Reachability::Down);
    cluster.settle_now();
    assert_eq!(cluster.wake_at, Some(down_at.after(ORPHAN_AFTER)));
    assert_eq!(cluster.view().tasks_on(lost).count(), 1);
    cluster.settle();
    assert_eq!(cluster.now, down_at.after(ORPHAN_AFTER));
    assert_eq!(cluster.view().tasks_on(lost).count(), 0);
    assert_eq!(cluster.running(web).len(), 2);
}

#[test]
fn a_service_removed_while_its_node_is_away_is_gone_once_the_node_is_back() {
    let mut cluster = Cluster::new(2);
    let web = cluster.create(spec("web", Some(2), template("ok")));
    cluster.settle();
    let lost = cluster.nodes[1];
    cluster.reach(lost, Reachability::Down);
    cluster.round();
    cluster.apply(Op::RemoveService { id: web }).expect("it exists");
    cluster.settle_now();
    let left: Vec<_> = cluster.view().tasks_of(web).cloned().collect();
    assert_eq!(left.len(), 1, "the lost node may still run it");
    assert_eq!(left[0].desired, DesiredState::Remove);
    cluster.reach(lost, Reachability::Ready);
    cluster.settle();
    assert!(cluster.view().services.is_empty());
}

#[test]
fn a_restart_waits_while_a_returned_node_still_stops_the_slots_old_task() {
    let mut cluster = Cluster::new(2);
    let web = cluster.create(spec("web", Some(1), template("ok")));
    cluster.settle();
    let lost = cluster.running(web)[0].node.expect("it runs");
    cluster.reach(lost, Reachability::Down);
    cluster.settle_now();
    let replacement = cluster.running(web)[0].id;
    cluster.reach(lost, Reachability::Ready);
    cluster.report(replacement, ObservedState::Failed);
    assert_eq!(cluster.round().changes, [], "two would run where one is wanted");
    cluster.settle();
    assert_eq!(cluster.running(web).len(), 1);
}
