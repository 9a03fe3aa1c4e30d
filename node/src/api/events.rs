//! `/v1/events`: what changed, from a point in the history on, live.
//!
//! Level-triggered: whenever a newer view is published the history is asked for what came after the
//! last event that went out. Nothing is missed unless the history itself no longer has it, which ends
//! the stream with an error line of code `gone`.
//!
//! A revision may have several events. Each has a cursor, its revision and its number among them: who goes
//! on from a cursor gets every event behind it once, who goes on from a revision those of later ones.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use futures::Stream;
use futures::stream;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use swarm_model::event::{Action, Event, Subject};
use swarm_model::meta::Revision;
use swarm_model::outcome::Kind;
use swarm_model::units::Timestamp;
use swarm_model::view::View;
use swarm_state::feed::Gone;

use super::answer;
use super::backend::Backend;
use super::consistency::Read;
use super::errors::ApiError;
use super::filters::Filters;
use super::request::Params;
use super::resolve;
use super::state::Api;
use super::types::{ErrorBody, EventEntry};

/// Filters; `name` and `id` match prefixes, `service` and `node` also match their tasks.
const FILTERS: &[&str] = &["action", "event", "id", "name", "node", "service", "type"];

/// A point in the history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Point {
    Revision(Revision),
    Event(Cursor),
    Time(Timestamp),
}

/// One event's place: its revision, and its number among the events of that, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Cursor(Revision, u64);

impl Cursor {
    /// Behind all events of `revision`.
    fn behind(revision: Revision) -> Self {
        Self(revision, u64::MAX)
    }

    /// From `REVISION.NUMBER`.
    fn parse(text: &str) -> Option<Self> {
        let (revision, number) = text.split_once('.')?;
        Some(Self(Revision(revision.parse().ok()?), number.parse().ok()?))
    }
}

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

/// Numbers `events`, which begin with the first one of a revision.
fn numbered(events: Vec<Arc<Event>>) -> impl Iterator<Item = (Cursor, Arc<Event>)> {
    let mut last = Cursor(Revision(0), 0);
    events.into_iter().map(move |event| {
        let number = if event.revision == last.0 { last.1 + 1 } else { 1 };
        last = Cursor(event.revision, number);
        (last, event)
    })
}

fn point(params: &Params, key: &str) -> Result<Option<Point>, ApiError> {
    let Some(text) = params.text(key) else { return Ok(None) };
    if let Ok(revision) = text.parse() {
        return Ok(Some(Point::Revision(Revision(revision))));
    }
    if let Some(cursor) = Cursor::parse(text) {
        return Ok(Some(Point::Event(cursor)));
    }
    Timestamp::parse_rfc3339(text).map(|time| Some(Point::Time(time))).map_err(|error| {
        let message = format!("parameter {key}: \"{text}\" is no revision or cursor, and {error}");
        ApiError::invalid(message)
    })
}

/// Streams events as JSON lines until the client goes, `until` has come, or the daemon ends.
#[utoipa::path(get, path = "/v1/events", tag = "events",
    params(("since" = Option<String>, Query,
            description = "an event's Cursor: what came after that event; a revision: what came after \
                all of its events; a time: from then on; else from now on"),
        ("until" = Option<String>, Query,
            description = "a Cursor, a revision or a time, included; else for ever"),
        ("filters" = Option<String>, Query,
            description = "keys: action, event, id, name, node, service, type"),
        ("stale" = Option<bool>, Query)),
    responses((status = 200, description = "one a line; an ErrorBody is the last line",
            body = EventEntry, content_type = "application/x-ndjson"),
        (status = "default", description = "failed", body = ErrorBody)))]
pub(super) async fn stream(
    State(api): State<Api>,
    params: Params,
    read: Read,
) -> Result<Response, ApiError> {
    params.allow(&["filters", "since", "stale", "until"])?;
    let filter = EventFilter::new(&params, &read.view, &api)?;
    let (since, until) = (point(&params, "since")?, point(&params, "until")?);
    let (after, from) = match since {
        None => (Some(Cursor::behind(read.view.revision)), None),
        Some(Point::Revision(revision)) => (Some(Cursor::behind(revision)), None),
        Some(Point::Event(cursor)) => (Some(cursor), None),
        Some(Point::Time(time)) => (None, Some(time)),
    };
    // Events are kept and given by whole revisions.
    let whole = after.map(|Cursor(revision, number)| match number {
        u64::MAX => revision,
        _ => Revision(revision.0.saturating_sub(1)),
    });
    // Asked once now, so that a history that is gone is an error and not an empty stream.
    let first = api.backend.events(whole).map_err(gone)?;
    let watch = Watch {
        views: api.backend.views(),
        backend: api.backend.clone(),
        after: first.last().map(|event| event.revision).or(whole).unwrap_or(read.view.revision),
        ready: numbered(first).collect(),
        had: after,
        from,
        until,
        filter,
        over: false,
    };
    Ok(read.mark(answer::lines(watch.entries(), &api.ending)))
}

fn gone(gone: Gone) -> ApiError {
    ApiError::gone(format!("{gone}; read the lists anew, then go on from their Swarm-Revision"))
}

/// One client's place in the history.
struct Watch {
    backend: Arc<dyn Backend>,
    views: watch::Receiver<Arc<View>>,
    /// The newest revision taken from the history.
    after: Revision,
    /// Taken, not sent yet.
    ready: VecDeque<(Cursor, Arc<Event>)>,
    /// What the client has had before, up to here.
    had: Option<Cursor>,
    from: Option<Timestamp>,
    until: Option<Point>,
    filter: EventFilter,
    over: bool,
}

impl Watch {
    fn entries(self) -> impl Stream<Item = Result<EventEntry, ApiError>> {
        stream::unfold(self, |mut watch| async move {
            let next = watch.next().await?;
            Some((next, watch))
        })
    }

    async fn next(&mut self) -> Option<Result<EventEntry, ApiError>> {
        loop {
            while let Some((cursor, event)) = self.ready.pop_front() {
                if self.is_beyond(cursor, &event) {
                    return None;
                }
                let new = self.had.is_none_or(|had| cursor > had);
                let late_enough = self.from.is_none_or(|from| event.at >= from);
                if new && late_enough && self.filter.admits(&event) {
                    return Some(Ok(entry(cursor, &event)));
                }
            }
            if self.over {
                return None;
            }
            if let Err(error) = self.refill().await {
                self.over = true;
                return Some(Err(gone(error)));
            }
        }
    }

    fn is_beyond(&self, cursor: Cursor, event: &Event) -> bool {
        match self.until {
            None => false,
            Some(Point::Revision(last)) => event.revision > last,
            Some(Point::Event(last)) => cursor > last,
            Some(Point::Time(end)) => event.at > end,
        }
    }

    /// Takes what came meanwhile, or waits until there may be something.
    async fn refill(&mut self) -> Result<(), Gone> {
        // The end is looked at before the history: what came until then is still taken below.
        let revision = self.views.borrow_and_update().revision;
        let wait = match self.until {
            None => None,
            Some(Point::Revision(last) | Point::Event(Cursor(last, _))) => {
                self.over = revision >= last;
                None
            }
            Some(Point::Time(end)) => {
                let left = end.since(self.backend.now());
                self.over = left.is_zero();
                Some(Instant::now() + left)
            }
        };
        let events = self.backend.events(Some(self.after))?;
        if let Some(newest) = events.last() {
            self.after = newest.revision;
            self.ready = numbered(events).collect();
        } else if !self.over {
            self.over = !self.changed(wait).await;
        }
        Ok(())
    }

    /// Waits for a newer view, or until `end`; `false` when the node ends.
    async fn changed(&mut self, end: Option<Instant>) -> bool {
        let changed = self.views.changed();
        match end {
            None => changed.await.is_ok(),
            Some(end) => tokio::select! {
                changed = changed => changed.is_ok(),
                () = sleep_until(end) => true,
            },
        }
    }
}

fn entry(cursor: Cursor, event: &Event) -> EventEntry {
    let mut attributes = event.attributes.clone();
    if let Subject::Task { service, node, .. } = event.subject {
        attributes.insert("service".to_owned(), service.to_string());
        if let Some(node) = node {
            attributes.insert("node".to_owned(), node.to_string());
        }
    }
    EventEntry {
        revision: event.revision,
        cursor: cursor.to_string(),
        time: event.at,
        kind: event.subject.kind().to_string(),
        action: action_word(event.action).to_owned(),
        id: id_of(event),
        name: event.name.clone(),
        attributes,
    }
}

fn id_of(event: &Event) -> String {
    match event.subject {
        Subject::Cluster => event.name.clone(),
        Subject::Node(id) => id.to_string(),
        Subject::Service(id) => id.to_string(),
        Subject::Task { task, .. } => task.to_string(),
        Subject::Config(id) => id.to_string(),
        Subject::Token(id) => id.to_string(),
    }
}

fn action_word(action: Action) -> &'static str {
    match action {
        Action::Create => "create",
        Action::Update => "update",
        Action::Remove => "remove",
    }
}

/// Which events a client wants.
#[derive(Debug)]
struct EventFilter {
    filters: Filters,
    /// Ids behind names of nodes that are known, by the name: several nodes may be called the same.
    node_ids: BTreeMap<String, Vec<String>>,
}

impl EventFilter {
    fn new(params: &Params, view: &View, api: &Api) -> Result<Self, ApiError> {
        let filters = Filters::parse(params.text("filters"), FILTERS)?;
        let kinds =
            [Kind::Cluster, Kind::Node, Kind::Service, Kind::Task, Kind::Config, Kind::Token];
        let actions = [Action::Create, Action::Update, Action::Remove].map(action_word);
        check_words(&filters, "type", &kinds.map(|kind| kind.to_string()))?;
        for key in ["action", "event"] {
            check_words(&filters, key, &actions.map(str::to_owned))?;
        }
        let this = api.backend.facts().node_id;
        let node_ids = filters.values("node").iter().filter_map(|reference| {
            // An unknown one may join later, under its id.
            let nodes = resolve::nodes(view, reference, this).ok()?;
            Some((reference.clone(), nodes.iter().map(ToString::to_string).collect()))
        });
        Ok(Self { node_ids: node_ids.collect(), filters })
    }

    fn admits(&self, event: &Event) -> bool {
        let (filters, action) = (&self.filters, action_word(event.action));
        filters.any("type", |word| word == event.subject.kind().to_string())
            && filters.any("action", |word| word == action)
            && filters.any("event", |word| word == action)
            && filters.prefix("name", &event.name)
            && (filters.values("id").is_empty() || filters.prefix("id", &id_of(event)))
            && filters.any("service", |wanted| is_of_service(event, wanted))
            && filters.any("node", |wanted| match self.node_ids.get(wanted) {
                Some(ids) => ids.iter().any(|id| is_of_node(event, id)),
                None => is_of_node(event, wanted),
            })
    }
}

fn check_words(filters: &Filters, key: &str, words: &[String]) -> Result<(), ApiError> {
    match filters.values(key).iter().find(|word| !words.contains(word)) {
        None => Ok(()),
        Some(word) => {
            let words = words.join(", ");
            Err(ApiError::invalid(format!("filter {key}: \"{word}\" is not one of: {words}")))
        }
    }
}

fn is_of_service(event: &Event, wanted: &str) -> bool {
    match event.subject {
        Subject::Service(id) => event.name == wanted || id.to_string() == wanted,
        Subject::Task { service, .. } => {
            let name = event.name.rsplit_once('.').map(|(name, _slot)| name);
            name == Some(wanted) || service.to_string() == wanted
        }
        Subject::Cluster | Subject::Node(_) | Subject::Config(_) | Subject::Token(_) => false,
    }
}

fn is_of_node(event: &Event, wanted: &str) -> bool {
    match event.subject {
        Subject::Node(id) => id.to_string() == wanted || event.name == wanted,
        Subject::Task { node, .. } => node.is_some_and(|node| node.to_string() == wanted),
        Subject::Cluster | Subject::Service(_) | Subject::Config(_) | Subject::Token(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_numbered_within_their_revision() {
        let event = |revision| {
            Arc::new(Event {
                revision: Revision(revision),
                at: Timestamp::default(),
                subject: Subject::Cluster,
                action: Action::Update,
                name: String::new(),
                attributes: BTreeMap::new(),
            })
        };
        let cursors: Vec<_> = numbered([3, 3, 5, 6, 6, 6].map(event).to_vec())
            .map(|(cursor, _)| cursor.to_string())
            .collect();
        assert_eq!(cursors, ["3.1", "3.2", "5.1", "6.1", "6.2", "6.3"]);
        assert_eq!(Cursor::parse("6.2"), Some(Cursor(Revision(6), 2)));
        assert_eq!(Cursor::parse("6"), None);
        assert_eq!(Cursor::parse("2026-01-31T12:00:00.5Z"), None);
    }
}
