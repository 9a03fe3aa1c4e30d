//! `swarm rebalance`.

use std::time::Duration;

use clap::Args;
use swarm_node::api::types::{Move, Rebalanced};

use super::guard::Guard;
use super::plan::places::Places;
use crate::client::Client;
use crate::exit::Failure;
use crate::output::format::Format;
use crate::output::{inspect, line, note, table};

/// How long the answer may take: plans that are being made come first.
const DEADLINE: Duration = Duration::from_secs(40);

/// Move tasks to where they would be better off by now
///
/// After nodes came or came back: the tasks that gain most by it are replaced elsewhere, one of a service
/// at a time, each new one first. What weighs more never gets worse for it: preferences, then tasks of
/// the service on each node, then all tasks. Global services, those with binpack and those that are not
/// at rest are left alone. Never happens by itself. Room that came free may make more worth while: ask
/// again until nothing moves.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  swarm rebalance --dry-run\n  swarm rebalance --max-moves 3")]
pub(crate) struct Rebalance {
    /// Only show what would move
    #[arg(long)]
    dry_run: bool,
    /// Move at most so many tasks, 1 to 100
    #[arg(long, value_name = "N", default_value_t = 10)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=100))]
    max_moves: u32,
    /// table, json (one line) or a template like '{{.Applied}}'
    #[arg(long, value_name = "FORMAT", default_value = "table", hide_default_value = true)]
    format: Format,
    #[command(flatten)]
    guard: Guard,
}

impl Rebalance {
    /// Has the tasks moved, and shows which.
    ///
    /// # Errors
    /// What the node refused, or that it does not answer.
    pub(crate) async fn run(self, client: &Client) -> Result<(), Failure> {
        let most = self.max_moves.to_string();
        let dry = if self.dry_run { "true" } else { "false" };
        let query = self.guard.query(&[("dry-run", dry), ("max-moves", &most)]);
        let made: Rebalanced = client.post_within("/v1/rebalance", &query, &(), DEADLINE).await?;
        if self.format != Format::Table {
            let object = serde_json::to_value(&made)
                .map_err(|error| Failure::failed(format!("cannot write the answer: {error}")))?;
            return inspect::one(&object, &self.format);
        }
        if made.moves.is_empty() {
            note("no task would be better off elsewhere");
            return Ok(());
        }
        line(&text(&made.moves))?;
        note(&verdict(&made, self.dry_run));
        Ok(())
    }
}

fn text(moves: &[Move]) -> String {
    let places = Places::new(moves.iter().flat_map(|it| [&it.from, &it.to]));
    let row = |it: &Move| {
        vec![it.name.clone(), places.name(&it.from), places.name(&it.to), it.reason.clone()]
    };
    let rows: Vec<_> = moves.iter().map(row).collect();
    table::render(&["TASK", "FROM", "TO", "REASON"], &rows)
}

fn verdict(made: &Rebalanced, dry: bool) -> String {
    let count = made.moves.len();
    match made.refused {
        _ if dry => format!("{count} would move; without --dry-run they do"),
        0 => format!("{count} are on their way: see `swarm service ps`"),
        refused => format!(
            "{} are on their way; {refused} changed in the same moment and stay",
            made.applied
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moves_are_shown_with_their_reasons() {
        let moves: Vec<Move> = serde_json::from_value(serde_json::json!([{
            "TaskID": "0000000000000000000000007", "Version": 4, "Name": "web.3", "Gain": 3,
            "From": {"ID": "0000000000000000000000001", "Hostname": "n1"},
            "To": {"ID": "0000000000000000000000002", "Hostname": "n2"},
            "Reason": "4 of its tasks on the one, 1 on the other"
        }]))
        .expect("is a move");
        let want = "\
TASK    FROM   TO   REASON
web.3   n1     n2   4 of its tasks on the one, 1 on the other";
        assert_eq!(text(&moves), want);
        let made = Rebalanced { moves, applied: 0, refused: 1 };
        assert!(verdict(&made, true).contains("would move"));
        assert!(verdict(&made, false).contains("1 changed in the same moment"));
    }
}
