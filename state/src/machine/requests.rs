//! Answers already given: a retried request is answered again, not applied again.
//!
//! How long an answer is kept is counted in answers. Time would be the leader's wall clock, and one
//! clock that is wrong by days, on a node that leads for a moment, would have all of them forgotten.

use imbl::{OrdMap, OrdSet};

use swarm_model::id::RequestId;
use swarm_model::meta::Revision;
use swarm_model::outcome::Outcome;
use swarm_model::units::Timestamp;

/// How many answers are kept: at 3,000 requests a second those of ten seconds, which is longer than
/// a node repeats a request for its client.
pub(super) const KEPT_MAX: usize = 32_768;

/// An answer as it was given.
#[derive(Debug, Clone)]
struct Given {
    /// For people who read a snapshot: nothing depends on it.
    at: Timestamp,
    /// Of the change itself: the entry that repeats the request is a later one.
    revision: Revision,
    outcome: Outcome,
}

/// An answer as a snapshot has it.
pub(super) type Entry = (RequestId, Timestamp, Revision, Outcome);

/// Answers by request, and requests by age.
#[derive(Debug, Clone, Default)]
pub(super) struct Requests {
    answers: OrdMap<RequestId, Given>,
    by_age: OrdSet<(Revision, RequestId)>,
}

impl Requests {
    /// The answer given to `request` before.
    pub(super) fn answer(&self, request: RequestId) -> Option<Outcome> {
        self.answers.get(&request).map(|given| given.outcome.clone())
    }

    /// The revision of the entry that was applied for `request`.
    pub(super) fn revision(&self, request: RequestId) -> Option<Revision> {
        self.answers.get(&request).map(|given| given.revision)
    }

    /// Keeps an answer, and drops the oldest when there are too many.
    pub(super) fn remember(
        &mut self,
        request: RequestId,
        now: Timestamp,
        revision: Revision,
        outcome: Outcome,
    ) {
        self.answers.insert(request, Given { at: now, revision, outcome });
        self.by_age.insert((revision, request));
        while self.by_age.len() > KEPT_MAX
            && let Some((_, oldest)) = self.by_age.remove_min()
        {
            self.answers.remove(&oldest);
        }
    }

    /// Everything kept, oldest first.
    pub(super) fn entries(&self) -> Vec<Entry> {
        let entry =
            |id: &RequestId, given: &Given| (*id, given.at, given.revision, given.outcome.clone());
        let ids = self.by_age.iter().map(|(_, id)| id);
        ids.filter_map(|id| self.answers.get(id).map(|given| entry(id, given))).collect()
    }

    /// From what [`Requests::entries`] gave.
    pub(super) fn from_entries(entries: Vec<Entry>) -> Self {
        let mut requests = Self::default();
        for (id, at, revision, outcome) in entries {
            requests.answers.insert(id, Given { at, revision, outcome });
            requests.by_age.insert((revision, id));
        }
        requests
    }
}
