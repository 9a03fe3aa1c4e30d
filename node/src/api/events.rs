//! `/v1/events`: what changed, from a point in the history on, live.
//!
//! Level-triggered: whenever a newer view is published the history is asked for what came after the
//! last event that went out. Nothing is missed unless the history itself no longer has it, which ends
//! the stream with an error line of code `gone`.

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
    Time(Timestamp),
}

fn point(params: &Params, key: &str) -> Result<Option<Point>, ApiError> {
    let Some(text) = params.text(key) else { return Ok(None) };
    if let Ok(revision) = text.parse() {
        return Ok(Some(Point::Revision(Revision(revision))));
    }
    Timestamp::parse_rfc3339(text).map(|time| Some(Point::Time(time))).map_err(|error| {
        ApiError::invalid(format!("parameter {key}: \"{text}\" is no revision, and {error}"))
    })
}

/// Streams events as JSON lines until the client goes, `until` has come, or the daemon ends.
#[utoipa::path(get, path = "/v1/events", tag = "events",
    params(("since" = Option<String>, Query,
            description = "a revision: what came after it; a time: from then on; else from now on"),
        ("until" = Option<String>, Query, description = "a revision or a time; else for ever"),
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
        None => (Some(read.view.revision), None),
        Some(Point::Revision(revision)) => (Some(revision), None),
        Some(Point::Time(time)) => (None, Some(time)),
    };
    // Asked once now, so that a history that is gone is an error and not an empty stream.
    let first = api.backend.events(after).map_err(gone)?;
    let watch = Watch {
        views: api.backend.views(),
        backend: api.backend.clone(),
        after: first.last().map(|event| event.revision).or(after).unwrap_or(read.view.revision),
        ready: first.into(),
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
    /// The newest event taken from the history.
    after: Revision,
    /// Taken, not sent yet.
    ready: VecDeque<Arc<Event>>,
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
            while let Some(event) = self.ready.pop_front() {
                if self.is_beyond(&event) {
                    return None;
                }
                let late_enough = self.from.is_none_or(|from| event.at >= from);
                if late_enough && self.filter.admits(&event) {
                    return Some(Ok(entry(&event)));
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

    fn is_beyond(&self, event: &Event) -> bool {
        match self.until {
            None => false,
            Some(Point::Revision(last)) => event.revision > last,
            Some(Point::Time(end)) => event.at > end,
        }
    }

    /// Takes what came meanwhile, or waits until there may be something.
    async fn refill(&mut self) -> Result<(), Gone> {
        // The end is looked at before the history: what came until then is still taken below.
        let revision = self.views.borrow_and_update().revision;
        let wait = match self.until {
            None => None,
            Some(Point::Revision(last)) => {
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
            self.ready = events.into();
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

fn entry(event: &Event) -> EventEntry {
    let mut attributes = event.attributes.clone();
    let id = match event.subject {
        Subject::Cluster => event.name.clone(),
        Subject::Node(id) => id.to_string(),
        Subject::Service(id) => id.to_string(),
        Subject::Task { task, service, node } => {
            attributes.insert("service".to_owned(), service.to_string());
            if let Some(node) = node {
                attributes.insert("node".to_owned(), node.to_string());
            }
            task.to_string()
        }
        Subject::Config(id) => id.to_string(),
        Subject::Token(id) => id.to_string(),
    };
    EventEntry {
        revision: event.revision,
        time: event.at,
        kind: event.subject.kind().to_string(),
        action: action_word(event.action).to_owned(),
        id,
        name: event.name.clone(),
        attributes,
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
    /// Ids behind names of nodes that are known, by the name.
    node_ids: BTreeMap<String, String>,
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
            let node = resolve::node(view, reference, this).ok()?;
            Some((reference.clone(), node.id.to_string()))
        });
        Ok(Self { node_ids: node_ids.collect(), filters })
    }

    fn admits(&self, event: &Event) -> bool {
        let (filters, action) = (&self.filters, action_word(event.action));
        filters.any("type", |word| word == event.subject.kind().to_string())
            && filters.any("action", |word| word == action)
            && filters.any("event", |word| word == action)
            && filters.prefix("name", &event.name)
            && (filters.values("id").is_empty() || filters.prefix("id", &entry(event).id))
            && filters.any("service", |wanted| is_of_service(event, wanted))
            && filters.any("node", |wanted| {
                let id = self.node_ids.get(wanted).map_or(wanted, String::as_str);
                is_of_node(event, id)
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
