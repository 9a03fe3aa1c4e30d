//! What is said of tasks that ended, by the plans that follow.

use swarm_model::command::Op;
use swarm_model::restart::RestartPolicy;

use super::*;
use crate::testing::{Cluster, spec, template};

/// Outlooks of all tasks of a service of one task, oldest first, when nothing is left to do now.
fn outlooks(program: &str, policy: RestartPolicy, in_time: bool) -> Vec<Outlook> {
    let mut cluster = Cluster::new(1);
    let mut bad = template(program);
    bad.restart_policy = policy;
    let web = cluster.create(spec("web", Some(1), bad));
    if in_time {
        cluster.settle_now();
    } else {
        cluster.settle();
    }
    let view = cluster.view();
    let mut tasks: Vec<_> = view.tasks_of(web).collect();
    tasks.sort_by_key(|task| (task.meta.created_at, task.meta.version));
    tasks.iter().map(|task| outlook(view, task, cluster.now)).collect()
}

#[test]
fn a_program_that_ends_well_again_and_again_waits_and_says_after_what() {
    let all = outlooks("once", RestartPolicy::default(), true);
    let waits = |outlook: &&Outlook| matches!(outlook, Outlook::Waits { .. });
    let Some(Outlook::Waits { reason, .. }) = all.iter().find(waits) else {
        panic!("nobody waits: {all:?}")
    };
    assert!(reason.starts_with("the last task ended"), "{reason}");
    assert_eq!(all.iter().filter(|outlook| **outlook == Outlook::Open).count(), all.len() - 1);
}

#[test]
fn spent_attempts_and_the_condition_are_given_as_reasons() {
    let spent = RestartPolicy { max_attempts: Some(2), ..RestartPolicy::default() };
    for (program, policy, word) in [
        ("fail", spent, "at most 2"),
        ("once", spent, "at most 2"),
        ("fail", RestartPolicy { condition: RestartCondition::None, ..spent }, "condition none"),
    ] {
        let all = outlooks(program, policy, false);
        let given_up: Vec<_> = all.iter().filter(|outlook| **outlook != Outlook::Open).collect();
        let [Outlook::GivenUp { reason }] = given_up.as_slice() else {
            panic!("{program}: {all:?}")
        };
        assert!(reason.contains(word), "{reason}");
    }
}

#[test]
fn what_ends_well_and_need_not_go_on_is_done() {
    for condition in [RestartCondition::OnFailure, RestartCondition::None] {
        let policy = RestartPolicy { condition, ..RestartPolicy::default() };
        assert_eq!(outlooks("once", policy, false), [Outlook::Done], "{condition}");
    }
}

#[test]
fn a_slot_that_lives_on_while_its_update_is_paused_says_that_nothing_follows() {
    let mut cluster = Cluster::new(1);
    let mut sound = template("ok");
    sound.restart_policy.condition = RestartCondition::None;
    let web = cluster.create(spec("web", Some(2), sound));
    cluster.settle();
    cluster.update(web, |spec| spec.task_template.force_update += 1);
    cluster.apply(Op::PauseUpdate { id: web, paused: true }).expect("it is updated");
    let last = cluster.running(web)[1].id;
    cluster.report(last, ObservedState::Failed);
    cluster.settle();
    let said =
        |cluster: &Cluster| outlook(cluster.view(), &cluster.view().tasks[&last], cluster.now);
    let Outlook::GivenUp { reason } = said(&cluster) else { panic!("{:?}", said(&cluster)) };
    assert!(reason.contains("condition none"), "{reason}");
    cluster.apply(Op::PauseUpdate { id: web, paused: false }).expect("it is paused");
    assert_eq!(said(&cluster), Outlook::Open, "its turn comes");
}
