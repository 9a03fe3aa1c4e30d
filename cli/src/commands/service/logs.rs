//! `swarm service logs`.

use std::io::Write as _;

use clap::Args;
use swarm_node::api::types::LogEntry;

use super::path;
use crate::client::{Client, Lines, encode};
use crate::clock::now;
use crate::exit::Failure;
use crate::output;
use crate::parse::moment;

/// Show what the tasks of a service, or one task, wrote
///
/// Lines of all tasks on all nodes, merged by time. A node that cannot be reached is named on stderr;
/// the rest is shown.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    swarm service logs -f web\n  \
    swarm service logs --since 10m -n 100 -t web\n  \
    swarm service logs web.3")]
pub(crate) struct Logs {
    /// Name or id of a service, or of a task (web.3)
    #[arg(value_name = "SERVICE|TASK")]
    reference: String,
    /// Go on showing new lines until Ctrl-C
    #[arg(short, long)]
    follow: bool,
    /// Show lines since this time (2026-01-31T12:00:00Z, or 10m ago)
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Show lines before this time
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Show only the last N lines of each task [default: all]
    #[arg(short = 'n', long, value_name = "N|all", value_parser = tail)]
    tail: Option<Tail>,
    /// Show each line's time
    #[arg(short, long)]
    timestamps: bool,
    /// Show the lines only, without task and node
    #[arg(long)]
    raw: bool,
    /// Do not shorten the tasks' ids
    #[arg(long)]
    no_trunc: bool,
}

/// How many lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tail {
    All,
    Last(u32),
}

fn tail(text: &str) -> Result<Tail, String> {
    if text == "all" {
        return Ok(Tail::All);
    }
    text.parse().map(Tail::Last).map_err(|_nan| format!("\"{text}\" is not a number, nor all"))
}

impl Logs {
    /// Shows the lines until there are no more, or for ever.
    ///
    /// # Errors
    /// When neither a service nor a task is called so, or the node does not answer.
    pub(super) async fn run(self, client: &Client) -> Result<(), Failure> {
        let mut lines = self.open(client).await?;
        loop {
            match lines.next::<LogEntry>().await {
                Ok(Some(entry)) => self.show(&entry)?,
                Ok(None) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }

    async fn open(&self, client: &Client) -> Result<Lines, Failure> {
        let now = now();
        let time = |text: &Option<String>| match text {
            Some(text) => moment::parse(text, now).map(|t| Some(t.to_string())),
            None => Ok(None),
        };
        let since = time(&self.since).map_err(Failure::usage)?;
        let until = time(&self.until).map_err(Failure::usage)?;
        let tail = match self.tail {
            Some(Tail::Last(number)) => Some(number.to_string()),
            Some(Tail::All) | None => None,
        };
        let mut query = Vec::new();
        if self.follow {
            query.push(("follow", "true"));
        }
        query.extend(since.as_deref().map(|since| ("since", since)));
        query.extend(until.as_deref().map(|until| ("until", until)));
        query.extend(tail.as_deref().map(|tail| ("tail", tail)));
        let service = client.stream(&format!("{}/logs", path(&self.reference)), &query).await;
        match service {
            Err(failure) if failure.is_not_found() => {
                let task = format!("/v1/tasks/{}/logs", encode(&self.reference));
                let task = client.stream(&task, &query).await;
                // Both say "not found"; a person thinks of services first.
                task.map_err(|other| if other.is_not_found() { failure } else { other })
            }
            other => other,
        }
    }

    fn show(&self, entry: &LogEntry) -> Result<(), Failure> {
        if let Some(error) = &entry.error {
            output::warning(&self.gap(entry, error));
            return Ok(());
        }
        let line = self.text(entry);
        if entry.stream == "stderr" {
            let _closed = std::io::stderr().lock().write_all(line.as_bytes());
            return Ok(());
        }
        output::raw(line.as_bytes())
    }

    /// What is missing, and why.
    fn gap(&self, entry: &LogEntry, error: &str) -> String {
        let tasks = match entry.missing_tasks {
            1 => "1 task".to_owned(),
            many => format!("{many} tasks"),
        };
        let gap = if self.follow { " until it is back" } else { "" };
        format!("node {}: {error}; lines of {tasks} there are missing{gap}", entry.place())
    }

    /// One line with its end.
    fn text(&self, entry: &LogEntry) -> String {
        let time = if self.timestamps { format!("{} ", entry.at) } else { String::new() };
        if self.raw {
            return format!("{time}{}\n", entry.line);
        }
        let id = match entry.task {
            Some(task) if self.no_trunc => format!(".{task}"),
            Some(task) => format!(".{}", task.short()),
            None => String::new(),
        };
        let (task, node, line) = (&entry.task_name, entry.place(), &entry.line);
        format!("{time}{task}{id}@{node}    | {line}\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use swarm_model::id::{NodeId, TaskId};
    use swarm_model::units::Timestamp;

    fn logs(raw: bool, timestamps: bool) -> Logs {
        Logs {
            reference: "web".to_owned(),
            follow: false,
            since: None,
            until: None,
            tail: None,
            timestamps,
            raw,
            no_trunc: false,
        }
    }

    fn entry() -> LogEntry {
        LogEntry {
            at: Timestamp::from_millis(0),
            task: Some(TaskId::from_raw(0)),
            task_name: "web.1".to_owned(),
            node: NodeId::from_raw(0),
            node_hostname: "alpha".to_owned(),
            node_hostname_shared: false,
            stream: "stdout".to_owned(),
            line: "hello".to_owned(),
            error: None,
            missing_tasks: 0,
        }
    }

    #[test]
    fn a_node_that_cannot_be_read_is_named_once() {
        let gap = LogEntry { missing_tasks: 5, node_hostname_shared: true, ..entry() };
        let want = "node alpha (000000000000): it cannot be reached; \
                    lines of 5 tasks there are missing";
        assert_eq!(logs(false, false).gap(&gap, "it cannot be reached"), want);
        let follower = Logs { follow: true, ..logs(false, false) };
        assert_eq!(follower.gap(&gap, "it cannot be reached"), format!("{want} until it is back"));
    }

    #[test]
    fn lines_say_whose_they_are() {
        let entry = entry();
        let shared = LogEntry { node_hostname_shared: true, ..entry.clone() };
        let want = "web.1.000000000000@alpha (000000000000)    | hello\n";
        assert_eq!(logs(false, false).text(&shared), want);
        assert_eq!(logs(false, false).text(&entry), "web.1.000000000000@alpha    | hello\n");
        assert_eq!(logs(true, false).text(&entry), "hello\n");
        assert_eq!(logs(true, true).text(&entry), "1970-01-01T00:00:00.000Z hello\n");
    }

    #[test]
    fn tails_are_numbers_or_all() {
        assert_eq!(tail("all"), Ok(Tail::All));
        assert_eq!(tail("5"), Ok(Tail::Last(5)));
        assert!(tail("-1").is_err());
    }
}
