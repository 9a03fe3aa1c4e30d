//! Scheduled jobs under leaders that come, go and err, and whose clocks differ: each due time once, under
//! its rules for overlaps and for what was missed.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use swarm_model::id::ServiceId;
use swarm_model::job::{Run, RunPhase};
use swarm_model::schedule::{CatchUp, Overlap};
use swarm_model::units::Timestamp;
use swarm_model::view::View;

use super::scheduled::scheduled;
use crate::schedule::Schedule;
use crate::testing::{Cluster, times};
use crate::{Scope, reconcile};

const MINUTE_MS: u64 = 60_000;

/// What goes wrong in one round.
#[derive(Debug, Clone, Copy)]
enum Fault {
    None,
    /// The leader dies with its plan.
    Lost,
    /// Its plan is proposed twice.
    Twice,
    /// It decides on an old view.
    Behind(usize),
    /// Its clock is ahead.
    Ahead,
    /// Its clock is slow.
    Slow,
    /// The expression is written in other words, through a node whose clock is slow.
    Reword,
}

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        6 => Just(Fault::None),
        2 => Just(Fault::Lost),
        4 => Just(Fault::Twice),
        4 => (1usize..5).prop_map(Fault::Behind),
        2 => Just(Fault::Ahead),
        2 => Just(Fault::Slow),
        1 => Just(Fault::Reword),
    ]
}

struct World {
    cluster: Cluster,
    job: ServiceId,
    /// By how many minutes clocks are wrong.
    wrong: u64,
    past: Vec<View>,
}

impl World {
    /// The time that the clock of who has this fault shows.
    fn clock(&self, fault: Fault) -> Timestamp {
        let (now, span) = (self.cluster.now, Duration::from_millis(self.wrong * MINUTE_MS));
        match fault {
            Fault::Ahead => now.after(span),
            Fault::Slow | Fault::Reword => {
                Timestamp::from_millis(now.as_millis().saturating_sub(self.wrong * MINUTE_MS))
            }
            Fault::None | Fault::Lost | Fault::Twice | Fault::Behind(_) => now,
        }
    }

    fn round(&mut self, fault: Fault) {
        self.past.push(self.cluster.view().clone());
        let (now, clock) = (self.cluster.now, self.clock(fault));
        self.cluster.now = clock;
        if let Fault::Reword = fault {
            self.cluster.update(self.job, |spec| {
                let schedule = spec.schedule.as_mut().expect("it has one");
                let words =
                    if schedule.cron.to_string().len() > 9 { "* * * * *" } else { "0-59 * * * *" };
                schedule.cron = words.parse().expect(words);
            });
        }
        let view = match fault {
            Fault::Behind(rounds) => self.past[self.past.len().saturating_sub(rounds + 1)].clone(),
            _now => self.cluster.view().clone(),
        };
        let plan = reconcile(&view, &Scope::everything(), clock, &mut self.cluster.ids);
        let times = match fault {
            Fault::Lost => 0,
            Fault::Twice => 2,
            _once => 1,
        };
        for _ in 0..times {
            let before = self.cluster.view().clone();
            self.cluster.hand_in(&plan, view.revision);
            self.check(&before);
        }
        self.cluster.now = now;
        self.cluster.agents();
    }

    /// No time has two runs that are remembered, and runs meet only where they may.
    fn check(&self, before: &View) {
        let view = self.cluster.view();
        let mut known: BTreeMap<Timestamp, u64> = BTreeMap::new();
        for run in before.runs_of(self.job).chain(view.runs_of(self.job)) {
            let Some(due) = run.due else { continue };
            let number = *known.entry(due).or_insert(run.number);
            assert_eq!(number, run.number, "{due} has two runs");
        }
        let overlap = view.services[&self.job].spec.schedule.as_ref().map(|it| it.overlap);
        let active = view.runs_of(self.job).filter(|run| run.is_active()).count();
        assert!(active <= 1 || overlap == Some(Overlap::Allow), "{active} at a time");
    }
}

proptest! {
    #![proptest_config(times(2))]

    #[test]
    fn each_due_time_is_decided_on_exactly_once_whatever_leaders_do(
        overlap in select(vec![Overlap::Skip, Overlap::Allow, Overlap::Replace]),
        catch_up in select(vec![CatchUp::All, CatchUp::Last, CatchUp::None]),
        program in select(vec!["once", "ok", "stubborn"]),
        // No two differ by an hour, but for the last one.
        wrong in select(vec![0u64, 1, 25, 90]),
        steps in vec((fault(), 1u64..40), 1..60),
    ) {
        let mut cluster = Cluster::new(2);
        cluster.now = cluster.now.after(Duration::from_secs(24 * 3600));
        let job = cluster.create(scheduled(program, "* * * * *", overlap, catch_up));
        let created = cluster.now;
        let reworded = steps.iter().any(|(fault, _)| matches!(fault, Fault::Reword));
        let mut world = World { cluster, job, wrong, past: Vec::new() };
        for (fault, seconds) in steps {
            world.cluster.now = world.cluster.now.after(Duration::from_secs(seconds));
            world.round(fault);
        }
        let World { mut cluster, job, .. } = world;
        let now = cluster.now;
        cluster.lead_anew(now);
        cluster.settle_now();
        let view = cluster.view();
        let runs: Vec<&Run> = view.runs_of(job).map(AsRef::as_ref).collect();
        let replaced = runs.iter().any(|run| run.phase == RunPhase::Replaced);
        prop_assert!(!replaced || overlap == Overlap::Replace);
        if wrong > 60 {
            return Ok(());
        }
        let found: Vec<Timestamp> = runs.iter().filter_map(|run| run.due).collect();
        prop_assert!(found.windows(2).all(|pair| pair[0] < pair[1]), "in order, none twice");
        let spec = view.services[&job].spec.schedule.clone().expect("it has one");
        let schedule = Schedule::new(&spec).expect("is a zone");
        // A clock that is ahead decides early.
        let until = found.last().map_or(now, |last| now.max(*last));
        let (mut expect, mut at) = (Vec::new(), created);
        while let Some(due) = schedule.next(at).filter(|due| *due <= until) {
            expect.push(due);
            at = due;
        }
        prop_assert!(found.iter().all(|due| expect.contains(due)), "only when it is due");
        match catch_up {
            // What was undecided when it changed was not missed.
            _any if reworded => {}
            CatchUp::None => {}
            CatchUp::Last => prop_assert_eq!(found.last(), expect.last(), "the newest in any case"),
            CatchUp::All => {
                // What was missed waits its turn while a run goes on.
                let waits = overlap != Overlap::Allow && runs.iter().any(|run| run.is_active());
                let decided = if waits { &expect[..found.len()] } else { &expect[..] };
                prop_assert_eq!(&found[..], decided);
            }
        }
    }
}
