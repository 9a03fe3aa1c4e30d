//! Answers already given: a retried request is answered again, not applied again.

use imbl::{OrdMap, OrdSet};
use std::time::Duration;

use swarm_model::id::RequestId;
use swarm_model::outcome::Outcome;
use swarm_model::units::Timestamp;

/// For how long an answer is kept; clients give up long before.
const KEPT_FOR: Duration = Duration::from_secs(60);
/// The most answers kept, whatever their age.
const KEPT_MAX: usize = 32_768;

/// Answers by request, and requests by age.
#[derive(Debug, Clone, Default)]
pub(super) struct Requests {
    answers: OrdMap<RequestId, (Timestamp, Outcome)>,
    by_age: OrdSet<(Timestamp, RequestId)>,
}

impl Requests {
    /// The answer given to `request` before.
    pub(super) fn answer(&self, request: RequestId) -> Option<Outcome> {
        self.answers.get(&request).map(|(_, outcome)| outcome.clone())
    }

    /// Keeps an answer and drops those that nobody can ask for any more.
    pub(super) fn remember(&mut self, request: RequestId, now: Timestamp, outcome: Outcome) {
        self.answers.insert(request, (now, outcome));
        self.by_age.insert((now, request));
        while let Some((age, oldest)) = self.by_age.get_min().copied() {
            if now.since(age) <= KEPT_FOR && self.answers.len() <= KEPT_MAX {
                break;
            }
            self.by_age.remove(&(age, oldest));
            self.answers.remove(&oldest);
        }
    }

    /// Everything kept, oldest first.
    pub(super) fn entries(&self) -> Vec<(RequestId, Timestamp, Outcome)> {
        self.by_age
            .iter()
            .filter_map(|(age, id)| self.answers.get(id).map(|(_, out)| (*id, *age, out.clone())))
            .collect()
    }

    /// From what [`Requests::entries`] gave.
    pub(super) fn from_entries(entries: Vec<(RequestId, Timestamp, Outcome)>) -> Self {
        let mut requests = Self::default();
        for (id, age, outcome) in entries {
            requests.answers.insert(id, (age, outcome));
            requests.by_age.insert((age, id));
        }
        requests
    }
}
