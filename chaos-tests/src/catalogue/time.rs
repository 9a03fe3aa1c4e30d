//! Wall clocks that are wrong or jump. What the monotonic clock says is left alone.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::time::sleep;

use super::needs::fake_time;
use super::verdict::skipped;
use super::{Ask, Need, Run, Scenario, Sheet, Stage};

const MANAGERS: usize = 5;
const WORKERS: usize = 2;

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

/// Starts a daemon again under another clock.
async fn under(stage: &mut Stage, number: usize, clock: Vec<(String, String)>) -> Result<()> {
    stage.cluster.node(number).kill()?;
    stage.cluster.node(number).set_environment(clock);
    stage.restart(number).await
}

async fn days_off(ask: Ask) -> Result<Sheet> {
    let mut stage = Stage::start(&ask, MANAGERS, WORKERS).await?;
    let leader = stage.cluster.leader().await?;
    let (ahead, behind) = ((leader + 1) % MANAGERS, (leader + 2) % MANAGERS);
    for (number, by) in [(ahead, "+10d"), (behind, "-10d")] {
        under(&mut stage, number, shifted(by)?).await.context(by)?;
        stage.sheet.injected(&format!("wall clock {by}"), 1);
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
        under(&mut stage, number, Vec::new()).await?;
    }
    stage.heals().await?;
    stage.finish().await
}

async fn jumps(ask: Ask) -> Result<Sheet> {
    let mut stage = Stage::start(&ask, MANAGERS, WORKERS).await?;
    let file = stage.cluster.scratch().join("clock");
    fs::write(&file, "+0\n")?;
    let clock = shifted(&file.to_string_lossy())?;
    for number in 0..3 {
        under(&mut stage, number, clock.clone()).await?;
        stage.heals().await?;
    }
    stage.watch.forget_downs();
    let (began, time) = (stage.watch.now(), ask.seconds(60, 20));
    let mut ahead = false;
    while stage.watch.now() < began + time {
        ahead = !ahead;
        // Renamed into place: nobody reads half a file.
        let next = file.with_extension("next");
        fs::write(&next, if ahead { "+300\n" } else { "-300\n" })?;
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
