//! What a probe's answers mean, one after the other. Pure: no clock, no tasks, nothing is asked here.
//!
//! All times are counted from the start of the task's program.

use std::time::Duration;

use swarm_model::probe::Probe;

use crate::runtime::Answer;

/// The first pauses before a success are short, and double from this one: most programs are up soon.
pub(super) const PAUSE_FIRST: Duration = Duration::from_millis(50);

/// What the answers so far amount to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// No success yet.
    Starting,
    /// The last success was followed by fewer failures than it takes.
    Passing,
    /// So many failures in a row that it takes.
    Failing,
}

/// Where one probe stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Health {
    /// What the answers so far amount to.
    pub(super) standing: Standing,
    /// Failures in a row that count.
    pub(super) streak: u32,
    /// The newest failure's words; empty after a success.
    pub(super) message: String,
    /// A failure of a probe that begins earlier than an interval after this does not count.
    since: Duration,
    /// Probes so far, as far as that matters for the first pauses.
    asked: u32,
}

impl Health {
    /// Nothing was asked yet. `now`: when the asking begins, which is later than the start after a
    /// restart of the daemon.
    pub(super) fn new(probe: &Probe, now: Duration) -> Self {
        let start_period = Duration::from_millis(probe.start_period_ms);
        Self {
            standing: Standing::Starting,
            streak: 0,
            message: String::new(),
            since: start_period.max(now),
            asked: 0,
        }
    }

    /// Whether there was any answer yet.
    pub(super) fn was_asked(&self) -> bool {
        self.asked > 0
    }

    /// The answer of the probe that began at `began`.
    ///
    /// A failure counts once an interval: before the first success it is asked more often, to see the
    /// success soon, and not to see more failures.
    pub(super) fn step(&mut self, probe: &Probe, began: Duration, answer: Answer) {
        self.asked = self.asked.saturating_add(1);
        match answer {
            Answer::Passed => {
                self.standing = Standing::Passing;
                self.streak = 0;
                self.since = began;
                self.message.clear();
            }
            Answer::Failed(why) => {
                self.message = why;
                if began >= self.since + Duration::from_millis(probe.interval_ms) {
                    self.since = began;
                    self.streak = self.streak.saturating_add(1);
                }
                if self.streak >= probe.retries {
                    self.standing = Standing::Failing;
                }
            }
            // Not the task's fault; the node's own trouble must not restart what runs on it.
            Answer::Unknown(_) => {}
        }
    }

    /// The pause from the beginning of the last probe (at first: of the asking) to that of the next.
    pub(super) fn pause(&self, probe: &Probe) -> Duration {
        let interval = Duration::from_millis(probe.interval_ms);
        match self.standing {
            Standing::Starting => {
                let start_interval = Duration::from_millis(probe.start_interval_ms);
                let doubled = PAUSE_FIRST.saturating_mul(1 << self.asked.min(16));
                doubled.min(start_interval).min(interval)
            }
            Standing::Passing | Standing::Failing => interval,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use swarm_model::probe::Check;

    fn probe(interval_ms: u64, retries: u32, start_period_ms: u64) -> Probe {
        let timeout_ms = interval_ms;
        let check = Check::Tcp { port: 80 };
        Probe { interval_ms, timeout_ms, retries, start_period_ms, ..Probe::new(check) }
    }

    fn failed() -> Answer {
        Answer::Failed("port 80: connection refused".to_owned())
    }

    /// Asks at the right times; each probe takes as long as it says. Gives when each began and where
    /// it stood then.
    fn run(
        probe: &Probe,
        from: Duration,
        answers: impl IntoIterator<Item = (Answer, Duration)>,
    ) -> Vec<(Duration, Answer, Health)> {
        let mut health = Health::new(probe, from);
        let mut began = from + health.pause(probe);
        let mut seen = Vec::new();
        for (answer, took) in answers {
            health.step(probe, began, answer.clone());
            seen.push((began, answer, health.clone()));
            began = (began + health.pause(probe)).max(began + took);
        }
        seen
    }

    fn instantly(answers: Vec<Answer>) -> Vec<(Answer, Duration)> {
        answers.into_iter().map(|answer| (answer, Duration::ZERO)).collect()
    }

    #[test]
    fn a_task_that_is_up_soon_is_found_well_soon() {
        let probe = probe(10_000, 3, 0);
        let seen = run(&probe, Duration::ZERO, instantly(vec![failed(), failed(), Answer::Passed]));
        let began: Vec<_> = seen.iter().map(|(began, ..)| began.as_millis()).collect();
        assert_eq!(began, [50, 150, 350]);
        let standings: Vec<_> = seen.iter().map(|(_, _, health)| health.standing).collect();
        assert_eq!(standings, [Standing::Starting, Standing::Starting, Standing::Passing]);
        assert_eq!(seen[2].2.message, "");
    }

    #[test]
    fn failures_before_the_first_success_count_once_an_interval() {
        let probe = probe(10_000, 3, 5000);
        let seen = run(&probe, Duration::ZERO, instantly(vec![failed(); 60]));
        let fails = seen.iter().find(|(_, _, health)| health.standing == Standing::Failing);
        let at = fails.map(|(began, ..)| began.as_millis()).expect("it fails in the end");
        assert!((35_000..39_000).contains(&at), "{at}");
        assert_eq!(seen[0].2.message, "port 80: connection refused");
        // A second a pause at most, as long as it starts.
        assert!(seen.windows(2).take(30).all(|two| two[1].0 - two[0].0 <= Duration::from_secs(1)));
    }

    #[test]
    fn a_restarted_daemon_gives_a_task_its_whole_time_again() {
        let probe = probe(1000, 3, 0);
        let late = Duration::from_secs(3600);
        let seen = run(&probe, late, instantly(vec![failed(); 20]));
        let fails = seen.iter().find(|(_, _, health)| health.standing == Standing::Failing);
        assert!(fails.is_some_and(|(began, ..)| *began >= late + Duration::from_secs(3)));
    }

    #[test]
    fn what_could_not_be_asked_is_no_failure() {
        let probe = probe(1000, 1, 0);
        let unknown = Answer::Unknown("too many open files".to_owned());
        let mut answers = vec![Answer::Passed];
        answers.extend(vec![unknown; 100]);
        let seen = run(&probe, Duration::ZERO, instantly(answers));
        assert!(seen.iter().all(|(_, _, health)| health.standing == Standing::Passing));
    }

    fn answer() -> impl Strategy<Value = Answer> {
        prop_oneof![
            2 => Just(Answer::Passed),
            3 => Just(failed()),
            1 => Just(Answer::Unknown(String::new())),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 4000, ..ProptestConfig::default() })]

        #[test]
        fn it_never_fails_faster_than_its_retries_and_never_in_its_start_period(
            interval in 100u64..20_000,
            retries in 1u32..6,
            start_period in 0u64..60_000,
            from in 0u64..100_000,
            answers in prop::collection::vec((answer(), 0u64..20_000), 1..80),
        ) {
            let probe = probe(interval, retries, start_period);
            let (from, interval) = (Duration::from_millis(from), Duration::from_millis(interval));
            let start_period = Duration::from_millis(start_period);
            let took = |millis: u64| Duration::from_millis(millis).min(interval);
            let answers = answers.into_iter().map(|(answer, millis)| (answer, took(millis)));
            let seen = run(&probe, from, answers.collect::<Vec<_>>());
            // From when on failures may count: its start, or its newest success.
            let mut calm = start_period.max(from);
            let mut failures = 0;
            let mut before = Standing::Starting;
            for (began, answer, health) in seen {
                match answer {
                    Answer::Passed => {
                        prop_assert_eq!(health.standing, Standing::Passing);
                        prop_assert_eq!(health.streak, 0);
                        (calm, failures) = (began, 0);
                    }
                    Answer::Failed(_) => failures += 1,
                    Answer::Unknown(_) => prop_assert_eq!(health.standing, before),
                }
                if health.standing == Standing::Failing && before != Standing::Failing {
                    prop_assert!(failures >= retries, "{failures} of {retries}");
                    prop_assert!(began >= calm + interval * retries, "{began:?} {calm:?}");
                }
                prop_assert!(health.standing != Standing::Starting || before == Standing::Starting);
                before = health.standing;
            }
        }

        #[test]
        fn who_always_fails_is_found_out(
            interval in 100u64..20_000,
            retries in 1u32..6,
            start_period in 0u64..60_000,
            well_first in any::<bool>(),
        ) {
            let probe = probe(interval, retries, start_period);
            let mut answers = if well_first { vec![Answer::Passed] } else { vec![] };
            answers.extend(vec![failed(); 5000]);
            let seen = run(&probe, Duration::ZERO, instantly(answers));
            let found = seen.iter().find(|(_, _, health)| health.standing == Standing::Failing);
            let (at, ..) = found.expect("it fails for ever");
            // One more interval for each failure, since the first ones may just be too early.
            let latest = start_period + (interval + 1000) * u64::from(retries + 1) + 1000;
            prop_assert!(at.as_millis() <= u128::from(latest), "{at:?} {latest}");
        }
    }
}
