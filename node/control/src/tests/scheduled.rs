//! Scheduled jobs by example: their times, runs that meet or were missed, changes.

use std::time::Duration;

use swarm_model::command::Op;
use swarm_model::id::ServiceId;
use swarm_model::job::RunPhase;
use swarm_model::schedule::{CatchUp, Overlap, ScheduleSpec};
use swarm_model::service::ServiceSpec;
use swarm_model::task_state::ObservedState;
use swarm_model::units::Timestamp;

use crate::Scope;
use crate::testing::{Cluster, job, spec, template};

pub(super) fn scheduled(
    program: &str,
    cron: &str,
    overlap: Overlap,
    catch_up: CatchUp,
) -> ServiceSpec {
    let mut spec = job("nightly", 1, 0, program);
    let time_zone = "Europe/Berlin".to_owned();
    let cron = cron.parse().expect(cron);
    spec.job.keep_runs = 100;
    spec.schedule = Some(ScheduleSpec { cron, time_zone, overlap, catch_up });
    spec
}

fn pass(cluster: &mut Cluster, span: Duration) {
    cluster.now = cluster.now.after(span);
}

fn phases(cluster: &Cluster, id: ServiceId) -> Vec<&'static str> {
    cluster.view().runs_of(id).map(|run| run.phase.word()).collect()
}

const MINUTE: Duration = Duration::from_secs(60);

/// Rounds at the times at which they were asked for, until `until`.
fn live(cluster: &mut Cluster, until: Timestamp) {
    loop {
        cluster.settle_now();
        match cluster.wake_at.filter(|at| *at <= until) {
            Some(at) => cluster.now = at.max(cluster.now),
            None => break,
        }
    }
    cluster.now = until;
}

#[test]
fn a_scheduled_job_runs_at_its_times_without_any_event() {
    let mut cluster = Cluster::new(2);
    let id = cluster.create(scheduled("once", "*/5 * * * *", Overlap::Skip, CatchUp::Last));
    cluster.settle_now();
    assert_eq!(cluster.view().runs_of(id).count(), 0, "not when it is declared");
    let until = cluster.now.after(Duration::from_secs(3600));
    live(&mut cluster, until);
    assert_eq!(phases(&cluster, id), ["complete"; 12]);
    let dues = cluster.view().runs_of(id).map(|run| run.due.expect("it has one").as_millis());
    assert!(dues.into_iter().all(|due| due % 300_000 == 0));
}

#[test]
fn runs_that_meet_are_left_out_allowed_or_replaced() {
    for (overlap, expect) in [
        (Overlap::Skip, ["active", "skipped", "skipped"]),
        (Overlap::Allow, ["active", "active", "active"]),
        (Overlap::Replace, ["replaced", "replaced", "active"]),
    ] {
        let mut cluster = Cluster::new(2);
        let id = cluster.create(scheduled("ok", "* * * * *", overlap, CatchUp::Last));
        let until = cluster.now.after(MINUTE * 3);
        live(&mut cluster, until);
        assert_eq!(phases(&cluster, id), expect);
        let runs = if overlap == Overlap::Allow { 3 } else { 1 };
        assert_eq!(cluster.running(id).len(), runs);
        let asked = cluster.apply(Op::StartRun { id });
        assert_eq!(asked.is_ok(), overlap != Overlap::Skip, "{asked:?}");
    }
}

#[test]
fn a_day_without_a_leader_is_made_up_for_as_asked() {
    for (catch_up, runs) in [(CatchUp::Last, 1), (CatchUp::None, 0), (CatchUp::All, 24)] {
        let mut cluster = Cluster::new(2);
        // A moment after midnight, so that no hour is due right at the end.
        cluster.now = Timestamp::from_millis(1_767_222_000_000 + 120_000);
        let id = cluster.create(scheduled("once", "0 * * * *", Overlap::Skip, catch_up));
        cluster.settle_now();
        let next = cluster.now.after(MINUTE * 60 * 24);
        cluster.lead_anew(next);
        cluster.settle_now();
        assert_eq!(phases(&cluster, id), vec!["complete"; runs], "{catch_up}");
    }
}

#[test]
fn a_changed_schedule_makes_up_for_nothing_and_a_new_version_waits_for_it() {
    let mut cluster = Cluster::new(1);
    let id = cluster.create(scheduled("once", "0 0 1 1 *", Overlap::Skip, CatchUp::All));
    cluster.settle_now();
    pass(&mut cluster, MINUTE * 30);
    cluster.update(id, |spec| {
        spec.task_template.force_update += 1;
        let schedule = spec.schedule.as_mut().expect("it has one");
        schedule.cron = "* * * * *".parse().expect("is one");
    });
    cluster.settle_now();
    assert_eq!(cluster.view().runs_of(id).count(), 0);
    let until = cluster.now.after(MINUTE);
    live(&mut cluster, until);
    assert_eq!(phases(&cluster, id), ["complete"]);
    cluster.update(id, |spec| spec.schedule = None);
    cluster.settle();
    assert_eq!(phases(&cluster, id).len(), 1, "it does not run at once for that");
}

#[test]
fn what_is_due_later_is_looked_at_alone() {
    let mut cluster = Cluster::new(2);
    let web = cluster.create(spec("web", Some(2), template("ok")));
    let tick = cluster.create(scheduled("once", "*/5 * * * *", Overlap::Skip, CatchUp::Last));
    let mut other = scheduled("once", "*/7 * * * *", Overlap::Skip, CatchUp::Last);
    other.name = "other".parse().expect("is a name");
    let other = cluster.create(other);
    // As a new leader, who knows nothing, and as the sweep.
    cluster.scope = Scope::everything();
    cluster.settle_now();
    // It is 00:16:40.
    for (seconds, job) in [(200, tick), (60, other), (240, tick), (180, other)] {
        pass(&mut cluster, Duration::from_secs(seconds));
        let scope = cluster.due();
        assert!(!scope.all && !scope.services.contains(&web), "{scope:?}");
        assert_eq!(scope.services, [job].into(), "after {seconds} seconds");
        cluster.scope.merge(scope);
        cluster.settle_now();
    }
    assert_eq!(phases(&cluster, tick), ["complete"; 2]);
    assert_eq!(phases(&cluster, other), ["complete"; 2]);
}

#[test]
fn what_was_missed_is_made_up_for_in_turn_until_a_time_replaces_it() {
    let mut cluster = Cluster::new(2);
    let id = cluster.create(scheduled("ok", "0 * * * *", Overlap::Replace, CatchUp::All));
    cluster.settle_now();
    let midnight = Timestamp::from_millis(1_767_222_000_000);
    let now = midnight.after(MINUTE * 30);
    cluster.lead_anew(now);
    cluster.settle_now();
    let first = cluster.run(id).number;
    assert_eq!(phases(&cluster, id), ["active"], "the others have their turn after it");
    for task in cluster.running(id).iter().map(|task| task.id).collect::<Vec<_>>() {
        cluster.report(task, ObservedState::Complete);
    }
    cluster.settle_now();
    assert_eq!(phases(&cluster, id), ["complete", "active"]);
    // At one o'clock the newest takes the place of all.
    cluster.lead_anew(midnight.after(MINUTE * 60));
    cluster.settle_now();
    let found = phases(&cluster, id);
    let (begin, rest) = found.split_at(2);
    assert_eq!(begin, ["complete", "replaced"]);
    assert!(rest.len() == 99 && rest[..98].iter().all(|phase| *phase == "skipped"), "{found:?}");
    assert_eq!((first, cluster.run(id).phase.clone()), (1, RunPhase::Active));
}
