//! A plan leaves nothing to a second look: examples that chance found for `property`.

use std::time::Duration;

use swarm_model::command::Op;
use swarm_model::id::ServiceId;
use swarm_model::node::Reachability;
use swarm_model::placement::Constraint;
use swarm_model::plan::Change;
use swarm_model::restart::{Reschedule, RestartCondition};
use swarm_model::service::ServiceMode;
use swarm_model::task::{Slot, TaskTemplate};
use swarm_model::task_state::ObservedState;

use crate::testing::{Cluster, spec, template};
use crate::{Scope, reconcile};

/// A round, after which nothing is left to decide.
fn decide(cluster: &mut Cluster) -> Vec<Change> {
    let plan = cluster.round();
    let (view, now) = (cluster.view().clone(), cluster.now);
    let again = reconcile(&view, &Scope::everything(), now, &mut cluster.ids);
    assert_eq!(again.changes, [], "after {:#?}", plan.changes);
    plan.changes
}

/// Updates to `template`, `parallelism` at a time; what runs is well at once.
fn update(cluster: &mut Cluster, id: ServiceId, parallelism: u32, template: TaskTemplate) {
    cluster.update(id, |spec| {
        spec.task_template = template;
        spec.update.parallelism = parallelism;
        (spec.update.monitor_ms, spec.update.delay_ms) = (0, 0);
    });
}

fn zone(name: &str) -> Constraint {
    format!("node.labels.zone=={name}").parse().expect("a constraint")
}

fn only_there(program: &str, zone: Constraint) -> TaskTemplate {
    let mut template = template(program);
    template.placement.constraints.push(zone);
    template
}

#[test]
fn a_slot_whose_last_task_is_still_ending_has_no_turn_that_another_could_have() {
    let mut cluster = Cluster::new(3);
    let web = cluster.create(spec("web", Some(4), only_there("ok", zone("z0"))));
    decide(&mut cluster);
    cluster.agents();
    cluster.scale(web, 2);
    decide(&mut cluster);
    let gone: Vec<_> = cluster.nodes.clone();
    for node in gone {
        cluster.update_node(node, |spec| {
            spec.labels.insert("zone".into(), "z1".into());
        });
    }
    cluster.update(web, |spec| {
        spec.mode = ServiceMode::Replicated { replicas: 5 };
        spec.task_template = template("ok");
        spec.update.parallelism = 2;
        (spec.update.monitor_ms, spec.update.delay_ms) = (0, 0);
    });
    let created: Vec<Slot> = decide(&mut cluster)
        .iter()
        .filter_map(|change| match change {
            Change::CreateTask(new) if new.voluntary => Some(new.slot),
            _other => None,
        })
        .collect();
    assert_eq!(created.len(), 2, "both turns are taken: {created:?}");
}

#[test]
fn what_is_given_up_on_a_silent_node_does_not_hold_a_slot_from_its_turn() {
    for silent in 0..3 {
        let mut cluster = Cluster::new(3);
        let web = cluster.create(spec("web", Some(2), template("ok")));
        decide(&mut cluster);
        cluster.agents();
        let mut stays = template("ok");
        stays.restart_policy.reschedule = Reschedule::Never;
        update(&mut cluster, web, 0, stays.clone());
        decide(&mut cluster);
        cluster.reach(cluster.nodes[silent], Reachability::Down);
        update(&mut cluster, web, 0, TaskTemplate { force_update: 1, ..stays });
        decide(&mut cluster);
    }
}

#[test]
fn what_failed_under_an_earlier_update_does_not_count_as_done_under_the_next() {
    let mut cluster = Cluster::new(4);
    let web = cluster.create(spec("web", None, template("ok")));
    decide(&mut cluster);
    cluster.agents();
    cluster.add_node();
    let mut fails = only_there("fail", zone("z0"));
    fails.restart_policy.condition = RestartCondition::None;
    update(&mut cluster, web, 2, fails);
    decide(&mut cluster);
    let paused = Op::PauseUpdate { id: web, paused: true };
    cluster.apply(paused).expect("an update to pause");
    cluster.agents();
    // A new spec with the same template: a new update to the same version.
    cluster.scale(web, 0);
    decide(&mut cluster);
}

#[test]
fn what_a_plan_gives_up_is_the_newest_of_its_slots_history() {
    let mut cluster = Cluster::new(3);
    let web = cluster.create(spec("web", Some(1), template("ok")));
    decide(&mut cluster);
    cluster.agents();
    let silent = cluster.running(web)[0].node.expect("a place");
    cluster.reach(silent, Reachability::Down);
    for _time in 0..8 {
        decide(&mut cluster);
        cluster.agents();
        let task = cluster.running(web)[0].id;
        cluster.report(task, ObservedState::Failed);
        cluster.now = cluster.now.after(Duration::from_secs(90));
    }
    cluster.apply(Op::RemoveNode { id: silent, force: true }).expect("a member");
    decide(&mut cluster);
}
