//! `swarm recover`: a surviving manager goes on without the majority that was lost.

use std::fmt::Write as _;
use std::io::{BufRead as _, IsTerminal as _};
use std::path::Path;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};
use swarm_node::api::types::{Info, RecoverRequest, RecoveryMember, RecoveryReport};
use tokio::time::{Instant, sleep};

use crate::args::Global;
use crate::client::Client;
use crate::clock::now;
use crate::exit::{Exit, Failure};
use crate::hosting::{backend, launch};
use crate::output::format::Format;
use crate::output::progress::Progress;
use crate::output::{inspect, line, note, raw, table};
use crate::parse::duration;

/// How long the survivor may take to lead.
const LEADS_WITHIN: Duration = Duration::from_secs(60);
/// What a daemon that was just started is given to hear which managers are there.
const HEARS_WITHIN: Duration = Duration::from_secs(10);
/// A daemon between two of its lives does not answer for a moment.
const SILENT_FOR: Duration = Duration::from_secs(2);
/// Pause between two looks.
const LOOK_PAUSE: Duration = Duration::from_millis(50);
/// What has to be typed to go on.
const WORD: &str = "recover";

/// Go on without the managers that are lost for good
///
/// For a cluster whose majority of managers will not come back: this manager becomes the only
/// voter, the silent managers are left out for ever, and the cluster goes on as its next epoch.
/// Shows first what this node holds and what would be lost. No task that runs is restarted.
/// Workers, and managers that are heard, follow by themselves. Lost managers that come back are
/// fenced: they cannot form a second cluster.
///
/// A stopped daemon is started first, and given ten seconds to hear which managers are there.
/// Run it on the survivor with the highest revision. Refused while a majority answers.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    swarm recover                    # shows what would happen, then asks\n  \
    swarm recover --yes              # does it without asking\n  \
    swarm recover --format json      # what it holds, for a program; recovers only with --yes")]
pub(crate) struct Recover {
    /// Do it without asking
    #[arg(short, long)]
    yes: bool,
    /// json (one line) or a template like '{{.Revision}}'
    #[arg(long, value_name = "FORMAT")]
    format: Option<Format>,
}

impl Recover {
    /// Shows, asks, recovers, waits until the survivor leads.
    ///
    /// # Errors
    /// A conflict while there is quorum; why this node cannot; nothing was recovered then.
    pub(crate) async fn run(self, global: &Global) -> Result<(), Failure> {
        let client = global.client()?;
        let held = match answers(&client).await {
            Ok(()) => None,
            Err(silent) if global.names_host() => return Err(silent),
            Err(_silent) => Some(wake(&global.data_dir()?).await?),
        };
        let before: Info = client.get("/v1/info", &[]).await?;
        let mut report = listen(&client, &before).await?;
        // A life that has just begun does not know how long the leader has been silent.
        report.newest_change = report.newest_change.or(held.and_then(|held| held.newest_change));
        self.show(&report)?;
        match (self.yes, self.program()) {
            (true, _) => {}
            (false, None) => confirm()?,
            (false, Some(_)) => return Ok(()),
        }
        let progress = Progress::new(false);
        progress.show("recovering");
        let lost = report.lost.iter().map(|member| member.node_id).collect();
        let _decided: Value = client.post("/v1/recovery", &[], &RecoverRequest { lost }).await?;
        let info = leads(&client, &report, Some(&before)).await?;
        drop(progress);
        self.done(&report, &info)
    }

    /// The format of a program's call, whose output is the report alone.
    fn program(&self) -> Option<&Format> {
        self.format.as_ref().filter(|format| **format != Format::Table)
    }

    fn show(&self, report: &RecoveryReport) -> Result<(), Failure> {
        match self.program() {
            Some(format) => inspect::one(&json!(report), format),
            None => line(text(report).trim_end()),
        }
    }

    fn done(&self, report: &RecoveryReport, info: &Info) -> Result<(), Failure> {
        let text = done(report, info);
        match self.program() {
            Some(_) => {
                note(&text);
                Ok(())
            }
            None => line(&text),
        }
    }
}

/// Whether a daemon answers.
async fn answers(client: &Client) -> Result<(), Failure> {
    let end = Instant::now() + SILENT_FOR;
    loop {
        match client.get::<Value>("/v1/ping", &[]).await {
            Ok(_answer) => return Ok(()),
            Err(silent) if Instant::now() >= end => return Err(silent),
            Err(_silent) => sleep(LOOK_PAUSE).await,
        }
    }
}

/// Starts the stopped node, which hears then whether it is alone: its directory does not say so.
/// Gives what that holds.
async fn wake(data_dir: &Path) -> Result<RecoveryReport, Failure> {
    // What needs no daemon to be refused leaves it stopped.
    let held = backend::examine(data_dir)?;
    note("The node's daemon is stopped: it is started, to hear which managers are there.");
    start(data_dir).await.map_err(|failure| {
        let hint = format!(
            "{failure}; nothing was recovered. If the other managers are off for good, `swarm init \
             --force-new-cluster` goes on with the stopped node, without hearing whether they are"
        );
        Failure::new(failure.exit, hint)
    })?;
    Ok(held)
}

/// What the running survivor holds, and whom it hears by the time that it should hear who is there.
async fn listen(client: &Client, info: &Info) -> Result<RecoveryReport, Failure> {
    let end = Instant::now() + HEARS_WITHIN.saturating_sub(now().since(info.started_at));
    loop {
        let report = client.get("/v1/recovery", &[]).await?;
        if Instant::now() >= end {
            return Ok(report);
        }
        sleep(LOOK_PAUSE).await;
    }
}

/// What follows a recovery.
pub(crate) fn done(report: &RecoveryReport, info: &Info) -> String {
    format!(
        "\nThe cluster goes on as epoch {} at revision {}; this node is its only voter.\n\
         Left out: {}. Make more managers: `swarm node promote NODE`, or `swarm join-token \
         manager`.\n\
         A node that was left out comes back with `swarm leave --force`, then `swarm join`.",
        info.epoch,
        info.revision,
        match report.lost.len() {
            0 => "nobody".to_owned(),
            count => format!("{count} of the managers"),
        }
    )
}

/// Starts the stopped node's daemon. Unlike a new node's, its directory stays whatever happens.
pub(crate) async fn start(data_dir: &Path) -> Result<Client, Failure> {
    let mut daemon = launch::start(data_dir, true)?;
    launch::wait_until_serving(&mut daemon, data_dir).await
}

/// Waits until the survivor leads the next epoch.
pub(crate) async fn leads(
    client: &Client,
    report: &RecoveryReport,
    before: Option<&Info>,
) -> Result<Info, Failure> {
    let end = Instant::now() + LEADS_WITHIN;
    while Instant::now() < end {
        sleep(LOOK_PAUSE).await;
        let Ok(info) = client.get::<Info>("/v1/info", &[]).await else { continue };
        if info.epoch > report.epoch && info.leader == Some(info.node_id) {
            return Ok(info);
        }
        let reborn = before.is_some_and(|before| before.started_at != info.started_at);
        if reborn && info.epoch == report.epoch {
            let message =
                "the node goes on as it was, not recovered: its log (daemon.log) says why";
            return Err(Failure::failed(message));
        }
    }
    let message = "the node was recovered, but does not lead yet: see its log (daemon.log)";
    Err(Failure::new(Exit::TimedOut, message))
}

fn confirm() -> Result<(), Failure> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        return Err(Failure::usage(
            "nothing was changed: say --yes to recover without being asked",
        ));
    }
    raw(format!("\nType \"{WORD}\" to go on, anything else to leave it: ").as_bytes())?;
    let mut answer = String::new();
    let read = stdin.lock().read_line(&mut answer);
    read.map_err(|error| Failure::failed(format!("cannot read the answer: {error}")))?;
    match answer.trim() == WORD {
        true => Ok(()),
        false => Err(Failure::failed("nothing was changed")),
    }
}

/// What the survivor holds and what would be lost.
pub(crate) fn text(report: &RecoveryReport) -> String {
    let silent = report.leader_silent_ms.map_or_else(
        || report.newest_change.map_or_else(|| "unknown".to_owned(), |at| format!("before {at}")),
        |millis| format!("{} ago", duration::format(Duration::from_millis(millis))),
    );
    let count = |number: usize, one: &str| match number {
        1 => format!("1 {one}"),
        number => format!("{number} {one}s"),
    };
    let lost_voters = report.lost.iter().filter(|member| member.voter).count();
    let facts = [
        ("This node", report.node_id.short()),
        ("Epoch", format!("{} ends", report.epoch)),
        ("Holds", format!("revision {}, term {}", report.revision, report.term)),
        ("Not agreed on", count_records(report.uncommitted)),
        ("Last leader", silent),
        ("Voters", format!("{lost_voters} of {} lost", report.voters)),
        ("Services", report.services.to_string()),
        (
            "Tasks",
            format!(
                "{} run here and go on; {} ran on lost nodes and start elsewhere",
                report.tasks_here, report.tasks_lost
            ),
        ),
        ("Kept", count(report.kept.len(), "node")),
        ("Left out", count(report.lost.len(), "manager")),
    ];
    let mut text = String::new();
    for (name, value) in facts {
        // Writing to a String cannot fail.
        let _infallible = writeln!(text, "{:<15}{value}", format!("{name}:"));
    }
    let rows = |members: &[RecoveryMember], fate: &str| -> Vec<Vec<String>> {
        let row = |member: &RecoveryMember| {
            let role = member.role.to_string();
            vec![
                member.node_id.short(),
                member.hostname.clone(),
                role,
                member.addr.clone(),
                fate.to_owned(),
            ]
        };
        members.iter().map(row).collect()
    };
    let all = [rows(&report.kept, "stays"), rows(&report.lost, "left out for ever")].concat();
    text.push('\n');
    text.push_str(&table::render(&["ID", "HOSTNAME", "ROLE", "ADDRESS", "FATE"], &all));
    text.push_str(
        "\n\nLost with them: what only they had agreed on after this node last heard of a leader.\n\
         Make sure that they are off, or cut off: those that still run are fenced only when they\n\
         hear of this.",
    );
    text
}

fn count_records(number: u64) -> String {
    match number {
        0 => "nothing".to_owned(),
        number => format!("{number} records, which become part of the history"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use swarm_model::id::NodeId;
    use swarm_model::meta::{Revision, Term};
    use swarm_model::node::Role;

    fn member(id: u128, hostname: &str) -> RecoveryMember {
        RecoveryMember {
            node_id: NodeId::from_raw(id),
            hostname: hostname.to_owned(),
            role: Role::Manager,
            addr: format!("10.0.0.{id}:2377"),
            voter: true,
        }
    }

    #[test]
    fn the_screen_says_what_is_held_and_what_is_lost() {
        let report = RecoveryReport {
            node_id: NodeId::from_raw(1),
            epoch: 1,
            revision: Revision(40),
            uncommitted: 2,
            term: Term(3),
            newest_change: None,
            leader_silent_ms: Some(90_000),
            voters: 3,
            services: 1,
            tasks: 3,
            tasks_here: 1,
            tasks_lost: 2,
            kept: vec![member(1, "alpha")],
            lost: vec![member(2, "beta"), member(3, "gamma")],
        };
        let text = text(&report);
        for part in [
            "revision 40, term 3",
            "2 records, which become part of the history",
            "1m30s ago",
            "2 of 3 lost",
            "1 run here and go on; 2 ran on lost nodes",
            "2 managers",
            "gamma",
            "left out for ever",
        ] {
            assert!(text.contains(part), "{part:?} is not in\n{text}");
        }
    }
}
