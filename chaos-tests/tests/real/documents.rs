//! The documents' commands, run as they are written.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use swarm_chaos::real::{Block, processes};
use tokio::process::Command;
use tokio::time::timeout;

/// For all commands of one page, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(300);

/// All lines of the page's blocks of commands.
fn commands(page: &str) -> String {
    let mut runs = false;
    let mut script = String::new();
    for line in page.lines() {
        match (line, runs) {
            ("```console", _) => runs = true,
            (line, true) if line.starts_with("```") => runs = false,
            (line, true) => script.extend([line, "\n"]),
            (_, false) => {}
        }
    }
    script
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_on_placement_shows_what_happens() -> Result<()> {
    let said = run_page("placement").await?;
    for expected in [
        r#"{"device/camera":1,"licence":2}"#,
        "insufficient licence, needs 1",
        "I see through /dev/zero",
        "too few devices of class camera, needs 1",
        "exit 2: a need is never of nothing",
        "made room for vital.1, which is more important",
        "; its place went to vital.1",
    ] {
        ensure!(said.contains(expected), "nothing says \"{expected}\": {said}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_on_services_shows_what_happens() -> Result<()> {
    let said = run_page("services").await?;
    for expected in [
        "service web was rolled back: ",
        " of 3 tasks failed; slot ",
        "exit 1: it was no good",
        "rollback_completed: ",
        "updating web is paused: ",
        "exit 1: it waits for you",
        "3/3 (paused)",
        "held back by --min-available 100%: 3 run, 3 have to",
        "update of web: paused, ",
        "the canary runs: 1 of 3 tasks are updated; `swarm service promote web` brings",
        "update of web: canary, 1 of 3 tasks are as they should be",
        "\ncanary\n",
        "exit 4: no canary waits",
        "rolled back to ",
        "+ TaskTemplate.Runtime.Process.Command: [",
        "exit 3: the history has no such version",
        "not healthy yet on ",
        "exit 1: it never was healthy",
        "port 1: connection refused",
        "unhealthy: exit code 1 (3 times in a row)",
    ] {
        ensure!(said.contains(expected), "nothing says \"{expected}\": {said}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_on_tasks_shows_what_happens() -> Result<()> {
    let said = run_page("tasks").await?;
    for expected in [
        "web 1 is red\n",
        "/usr\nblue\n",
        "BEES\n",
        "exit 3\n",
        "exit 127\n",
        "program no-such-program not found",
        ": Failed, exit code 3; its output",
        "exit 4\n",
        "so long\n",
        "web.1 runs /bin/sleep 10000\n",
        "public/css:\nmain.css\n",
        "red\nhello\n",
        "site/link is refused: it is a link to /etc/passwd",
        "etc/passwd: no such file",
    ] {
        ensure!(said.contains(expected), "nothing says \"{expected}\": {said}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_on_plans_shows_what_happens() -> Result<()> {
    let said = run_page("plan").await?;
    for expected in [
        "service web: 4 replaced, in 2 batches, 0 unchanged; update: completed",
        "To do this, and nothing else:\nswarm service update --if-revision ",
        "swarm service scale --if-revision ",
        "exit 4: the plan does not hold any more",
        "6/6",
        "insufficient licence, needs 1",
        "exit 1: not all of it fits",
        "node update --if-revision ",
        "4 of its tasks on the one, 0 on the other",
        "2 are on their way",
    ] {
        ensure!(said.contains(expected), "nothing says \"{expected}\": {said}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_on_jobs_shows_what_happens() -> Result<()> {
    let said = run_page("jobs").await?;
    for expected in [
        "20/20",
        "batch.run1.7",
        "part 3 of 3",
        "run 1 of broken failed, 0 of 2 succeeded",
        "its restarts are used up (at most 1)",
        "exit 1: no use",
        "(failed)",
        "its deadline is over and 1 of 1 are left",
        "exit 1: too slow",
        "run 4 of batch goes on",
        "exit 4: one at a time",
        "4 stopped 0/5",
        "3 complete 20/20",
        "0/1 (next in ",
        "is never due: no month of it has such a day",
        "exit 2: no such day",
        "no time zone \"Europe/Berln\": near it are Europe/Berlin",
        ": no such zone",
    ] {
        ensure!(said.contains(expected), "nothing says \"{expected}\": {said}");
    }
    Ok(())
}

/// Runs the commands of a page on addresses and in a directory of its own: what they say.
async fn run_page(name: &str) -> Result<String> {
    let scratch = tempfile::Builder::new().prefix("swarm-").tempdir()?;
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../docs/{name}.md"));
    let page = fs::read_to_string(&page).with_context(|| page.display().to_string())?;
    let block = Block::take();
    let mut script = commands(&page);
    script = script.replace(&format!("/tmp/{name}"), &scratch.path().to_string_lossy());
    for number in 0..3 {
        let own = block.ip(number)?.to_string();
        script = script.replace(&format!("127.0.0.{}", number + 1), &own);
    }
    let swarm = swarm_chaos::real::swarm()?;
    let folder = swarm.parent().context("a program is in a folder")?;
    let path = std::env::var("PATH").unwrap_or_default();
    let run = Command::new("bash")
        .args(["-euo", "pipefail", "-c", &script])
        .env("PATH", format!("{}:{path}", folder.display()))
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let ended = timeout(PATIENCE, run).await;
    let left = processes::kill_all(scratch.path());
    let output = ended.context("the page takes too long")??;
    left?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    ensure!(output.status.success(), "{}: {said}", output.status);
    Ok(said.into_owned())
}
