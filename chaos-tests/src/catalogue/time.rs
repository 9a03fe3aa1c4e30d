//! Wall clocks that are wrong or jump. What the monotonic clock says is left alone. The stamps in a
//! daemon's log prove that its clock is shifted.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use swarm_model::clock::Clock as _;
use swarm_model::units::Timestamp;
use swarm_node::clock::SystemClock;
use tokio::time::sleep;

use super::needs::fake_time;
use super::verdict::{invalid, skipped};
use super::{Ask, Need, Run, Scenario, Sheet, Stage};
use crate::real::{NodeProcess, wait_until};

const MANAGERS: usize = 5;
const WORKERS: usize = 2;
const TEN_DAYS: Duration = Duration::from_secs(10 * 24 * 60 * 60);
const FIVE_MINUTES: Duration = Duration::from_secs(5 * 60);

pub(super) const ALL: [Scenario; 2] = [
    Scenario {
        number: 53,
        name: "clock-days-off",
        injects: "a manager's wall clock 10 days ahead, another's 10 days behind, 60 s",
        figure: "≥ 95 % of the seconds with an acknowledged write; whole again with right clocks",
        needs: &[Need::FakeTime],
        run: Run::Real(|ask| Box::pin(days_off(ask))),
    },
    Scenario {
        number: 54,
        name: "clock-jumps",
        injects: "three managers' wall clocks jump by ±5 min every 5 s, 60 s",
        figure: "no leader change, nobody called down",
        needs: &[Need::FakeTime],
        run: Run::Real(|ask| Box::pin(jumps(ask))),
    },
];

/// How far a log's stamps may be from what the clock should show.
const SLACK: Duration = Duration::from_secs(30);
/// How soon a daemon that serves has said so in its log.
const LOGS_WITHIN: Duration = Duration::from_secs(10);

/// A wall clock other than the machine's.
#[derive(Debug, Clone, Copy)]
enum Shift {
    Ahead(Duration),
    Behind(Duration),
}

impl Shift {
    /// As libfaketime is told.
    fn word(self) -> String {
        match self {
            Self::Ahead(by) => format!("+{}", by.as_secs()),
            Self::Behind(by) => format!("-{}", by.as_secs()),
        }
    }

    /// Whether `stamp` is about what this clock shows at `now`.
    fn shows(self, stamp: Timestamp, now: Timestamp) -> bool {
        let (far, by) = match self {
            Self::Ahead(by) => (stamp.since(now), by),
            Self::Behind(by) => (now.since(stamp), by),
        };
        far.abs_diff(by) <= SLACK
    }
}

/// The stamp of the newest line of a daemon's log.
fn newest_stamp(log: &str) -> Option<Timestamp> {
    let mut words = log.lines().rev().filter_map(|line| line.split_whitespace().next());
    words.find_map(|word| Timestamp::parse_rfc3339(word).ok())
}

/// Waits until a daemon that was started under another clock has shown in its log that it has it.
async fn proves(node: &NodeProcess, shift: Shift) -> Result<()> {
    let shown = wait_until("a log under the other clock", LOGS_WITHIN, async || {
        let log = fs::read_to_string(node.log_file()).ok()?;
        shift.shows(newest_stamp(&log)?, SystemClock.now()).then_some(())
    });
    shown.await.map_err(|_in_vain| {
        let end = node.log_end();
        invalid(format!("the daemon's clock was not shifted by {} s: {end}", shift.word()))
    })
}

/// Variables that shift a daemon's wall clock.
fn shifted(by: &str) -> Result<Vec<(String, String)>> {
    let library = fake_time().ok_or_else(|| skipped("libfaketime is needed"))?;
    let library = library.to_string_lossy().into_owned();
    let pairs = [("LD_PRELOAD", library.as_str()), ("FAKETIME_DONT_FAKE_MONOTONIC", "1")];
    let mut all: Vec<_> = pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec();
    let key = if by.starts_with('/') { "FAKETIME_TIMESTAMP_FILE" } else { "FAKETIME" };
    all.push((key.to_owned(), by.to_owned()));
    all.push(("FAKETIME_NO_CACHE".to_owned(), "1".to_owned()));
    Ok(all)
}

/// What libfaketime leaves in the shared memory for each daemon that is killed; removed when dropped.
/// To be made before the stage: what is made first is dropped last.
#[derive(Debug, Default)]
struct Leftovers(Vec<i32>);

impl Leftovers {
    /// Starts a daemon again under another clock.
    async fn under(
        &mut self,
        stage: &mut Stage,
        number: usize,
        clock: Vec<(String, String)>,
    ) -> Result<()> {
        let node = stage.cluster.node(number);
        node.kill()?;
        node.set_environment(clock);
        node.restart()?;
        self.0.extend(node.pid());
        node.serving().await
    }
}

impl Drop for Leftovers {
    fn drop(&mut self) {
        for pid in &self.0 {
            for file in [format!("faketime_shm_{pid}"), format!("sem.faketime_sem_{pid}")] {
                // One that ended by itself has removed them.
                let _gone = fs::remove_file(Path::new("/dev/shm").join(file));
            }
        }
    }
}

async fn days_off(ask: Ask) -> Result<Sheet> {
    let mut clocks = Leftovers::default();
    let mut stage = Stage::start(&ask, MANAGERS, WORKERS).await?;
    let leader = stage.cluster.leader().await?;
    let (ahead, behind) = ((leader + 1) % MANAGERS, (leader + 2) % MANAGERS);
    for (number, shift) in [(ahead, Shift::Ahead(TEN_DAYS)), (behind, Shift::Behind(TEN_DAYS))] {
        let by = shift.word();
        let clock = shifted(&by)?;
        clocks.under(&mut stage, number, clock).await.with_context(|| format!("clock {by} s"))?;
        proves(&stage.cluster.nodes()[number], shift).await?;
        stage.sheet.injected(&format!("wall clock {by} s"), 1);
    }
    let from = stage.load.journal().now_us();
    sleep(ask.seconds(60, 20)).await;
    stage.slots(from, 95.0);
    for (number, what) in [(ahead, "ahead"), (behind, "behind")] {
        let leader = stage.cluster.nodes()[number].info().await?.leader;
        let word = if leader.is_some() { "follows a leader" } else { "knows no leader" };
        stage.sheet.fact(&format!("the one 10 days {what}"), word.to_owned());
    }
    for number in [ahead, behind] {
        clocks.under(&mut stage, number, Vec::new()).await?;
    }
    stage.heals().await?;
    stage.finish().await
}

async fn jumps(ask: Ask) -> Result<Sheet> {
    let mut clocks = Leftovers::default();
    let mut stage = Stage::start(&ask, MANAGERS, WORKERS).await?;
    let file = stage.cluster.scratch().join("clock");
    let (ahead, behind) = (Shift::Ahead(FIVE_MINUTES), Shift::Behind(FIVE_MINUTES));
    fs::write(&file, ahead.word())?;
    let clock = shifted(&file.to_string_lossy())?;
    for number in 0..3 {
        clocks.under(&mut stage, number, clock.clone()).await?;
        proves(&stage.cluster.nodes()[number], ahead).await?;
        stage.heals().await?;
    }
    stage.watch.forget_downs();
    let (began, time) = (stage.watch.now(), ask.seconds(60, 20));
    for shift in [behind, ahead].into_iter().cycle() {
        if stage.watch.now() >= began + time {
            break;
        }
        // Renamed into place: nobody reads half a file.
        let next = file.with_extension("next");
        fs::write(&next, shift.word())?;
        fs::rename(&next, &file)?;
        stage.sheet.injected("wall clocks jumped", 3);
        sleep(Duration::from_secs(5)).await;
    }
    let changes = stage.watch.leaders_since(began).len();
    stage.sheet.no_more("leader changes", u64::try_from(changes)?, 0);
    let downs = stage.watch.downs().len();
    stage.sheet.no_more("nodes called down", u64::try_from(downs)?, 0);
    fs::write(&file, "+0\n")?;
    stage.heals().await?;
    stage.finish().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_log_of_the_shifted_clock_proves_the_shift() {
        let log =
            "an old line\n2026-01-11T00:00:05.123456Z  INFO swarm: serving\n  its second line\n";
        let stamp = newest_stamp(log).expect("a stamp");
        let now = Timestamp::parse_rfc3339("2026-01-01T00:00:10Z").expect("a time");
        assert!(Shift::Ahead(TEN_DAYS).shows(stamp, now));
        assert!(!Shift::Behind(TEN_DAYS).shows(stamp, now));
        assert!(!Shift::Ahead(TEN_DAYS).shows(now, now));
        assert!(!Shift::Behind(FIVE_MINUTES).shows(now, now));
        assert!(Shift::Behind(TEN_DAYS).shows(now, stamp));
        assert_eq!(newest_stamp("no stamp"), None);
    }
}
