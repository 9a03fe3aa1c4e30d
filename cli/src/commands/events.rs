//! `swarm events`: the cluster's history, live; goes on by itself after the daemon restarted.

use std::io::IsTerminal as _;
use std::time::Duration;

use clap::Args;
use serde_json::Value;
use swarm_node::api::types::EventEntry;
use tokio::time::{Instant, sleep};

use crate::client::Client;
use crate::clock::now;
use crate::exit::{Exit, Failure};
use crate::output::format::Format;
use crate::output::{self, inspect, list};
use crate::parse::{key_value, moment};

/// How long a lost daemon may take to come back.
const RESUME_WITHIN: Duration = Duration::from_secs(30);
/// Pause between two attempts to go on.
const RESUME_PAUSE: Duration = Duration::from_millis(200);

/// Show what happens, as it happens
///
/// Shows new events until Ctrl-C; with --since also those of before. JSON lines when stdout is no
/// terminal. An event's Cursor, given to --since, continues right behind it; a revision behind all of
/// its events.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    swarm events\n  \
    swarm events --since 10m --until 5m\n  \
    swarm events --since 4711 --filter type=task --filter service=web --format json")]
pub(crate) struct Events {
    /// Begin behind this event or revision, or at this time (2026-01-31T12:00:00Z, or 10m ago)
    #[arg(long, value_name = "CURSOR|REVISION|TIME")]
    since: Option<String>,
    /// End at this time, instead of waiting for more
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Show only what matches: type, action, id, name, service, node
    #[arg(short, long = "filter", value_name = "KEY=VALUE", value_parser = key_value::filter)]
    filters: Vec<(String, String)>,
    /// table (a line an event), json (one object a line) or a template
    #[arg(long, value_name = "FORMAT")]
    format: Option<Format>,
}

impl Events {
    /// Shows events until there are no more, or for ever.
    ///
    /// # Errors
    /// When the node refuses, or is gone for too long.
    pub(crate) async fn run(self, client: &Client) -> Result<(), Failure> {
        let now = now();
        let usage = |reason: String| Failure::usage(reason);
        let mut since = match &self.since {
            Some(text) if is_place(text) => Some(text.clone()),
            Some(text) => Some(moment::parse(text, now).map_err(usage)?.to_string()),
            None => None,
        };
        let until = match &self.until {
            Some(text) => Some(moment::parse(text, now).map_err(usage)?.to_string()),
            None => None,
        };
        let format = self.format.clone().unwrap_or_else(|| {
            if std::io::stdout().is_terminal() { Format::Table } else { Format::Json }
        });
        let filters = list::filters_json(&self.filters);
        let mut lost: Option<Instant> = None;
        loop {
            let mut query = Vec::new();
            query.extend(since.as_deref().map(|since| ("since", since)));
            query.extend(until.as_deref().map(|until| ("until", until)));
            query.extend(filters.as_deref().map(|filters| ("filters", filters)));
            let failure = match client.stream("/v1/events", &query).await {
                Err(failure) => failure,
                Ok(mut lines) => loop {
                    match lines.next::<EventEntry>().await {
                        Ok(Some(event)) => {
                            lost = None;
                            since = Some(place_of(&event));
                            show(&event, &format)?;
                        }
                        Ok(None) if until.is_some() => return Ok(()),
                        Ok(None) => break Failure::new(Exit::Unreachable, "the stream ended"),
                        Err(error) => break error.into(),
                    }
                },
            };
            let began = *lost.get_or_insert_with(Instant::now);
            // Without a revision to go on from, events could be missed silently.
            if since.is_none()
                || failure.exit != Exit::Unreachable
                || began.elapsed() > RESUME_WITHIN
            {
                return Err(failure);
            }
            sleep(RESUME_PAUSE).await;
        }
    }
}

/// Whether `text` is a revision or a cursor; longer numbers are times.
fn is_place(text: &str) -> bool {
    let (revision, number) = text.split_once('.').unwrap_or((text, "0"));
    revision.len() < 9 && revision.parse::<u64>().is_ok() && number.parse::<u64>().is_ok()
}

/// Where to go on behind `event`. A node of an older version tells no cursor.
fn place_of(event: &EventEntry) -> String {
    match event.cursor.is_empty() {
        true => event.revision.to_string(),
        false => event.cursor.clone(),
    }
}

fn show(event: &EventEntry, format: &Format) -> Result<(), Failure> {
    if *format == Format::Table {
        return output::line(&text(event));
    }
    let object = serde_json::to_value(event).unwrap_or(Value::Null);
    inspect::one(&object, format)
}

/// An event on one line.
fn text(event: &EventEntry) -> String {
    let mut words = vec![format!("name={}", event.name)];
    words.extend(event.attributes.iter().map(|(key, value)| format!("{key}={value}")));
    format!(
        "{} {} {} {} {} ({})",
        event.time,
        event.revision,
        event.kind,
        event.action,
        event.id,
        words.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn revisions_and_cursors_are_told_from_times() {
        for (text, place) in [
            ("4711", true),
            ("4711.2", true),
            ("1700000000", false),
            ("10m", false),
            ("1.5h", false),
        ] {
            assert_eq!(is_place(text), place, "{text}");
        }
    }
}
