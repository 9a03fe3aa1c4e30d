//! Answers already given: a retried request is answered again, not applied again.
//!
//! How long an answer is kept is counted in answers first. Time is the leader's wall clock, and one
//! clock that is wrong by days, on a node that leads for a moment, would have all of them forgotten:
//! it only decides which of very many are dropped.

use std::time::Duration;

use imbl::{OrdMap, OrdSet};

use swarm_model::id::RequestId;
use swarm_model::meta::Revision;
use swarm_model::outcome::Outcome;
use swarm_model::units::Timestamp;

/// How many answers are kept whatever clocks say: at 3,000 requests a second those of ten seconds.
const KEPT_LEAST: usize = 32_768;
/// How many are kept while they are young: at 13,000 requests a second those of ten seconds.
const KEPT_MOST: usize = 131_072;
/// For how long an answer is young: for longer than a node repeats a request for its client.
const YOUNG: Duration = Duration::from_secs(30);
/// How many one request may drop: no change waits for a crowd to be forgotten.
const DROPPED_MOST: usize = 2;

/// An answer as it was given.
#[derive(Debug, Clone)]
struct Given {
    /// By the clock of the leader of then.
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

    /// Keeps an answer, and drops the oldest when there are too many of them.
    pub(super) fn remember(
        &mut self,
        request: RequestId,
        now: Timestamp,
        revision: Revision,
        outcome: Outcome,
    ) {
        self.answers.insert(request, Given { at: now, revision, outcome });
        self.by_age.insert((revision, request));
        for _ in 0..DROPPED_MOST {
            let Some((age, oldest)) = self.by_age.get_min().cloned() else { return };
            let young = |given: &Given| now.since(given.at) <= YOUNG;
            let young = self.answers.get(&oldest).is_some_and(young);
            let kept = if young { KEPT_MOST } else { KEPT_LEAST };
            if self.by_age.len() <= kept {
                return;
            }
            self.by_age.remove(&(age, oldest));
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

#[cfg(test)]
mod tests {
    use super::*;
    use swarm_model::outcome::Done;

    /// Gives `count` answers after those it has, all at `at`.
    fn answer(requests: &mut Requests, count: usize, at: u64) {
        let before = requests.by_age.get_max().map_or(0, |(age, _)| age.0);
        for revision in (before + 1..).take(count) {
            let id = RequestId::from_raw(u128::from(revision));
            requests.remember(
                id,
                Timestamp::from_millis(at),
                Revision(revision),
                Ok(Done::Nothing),
            );
        }
    }

    fn oldest(requests: &Requests) -> Option<u64> {
        assert_eq!(requests.answers.len(), requests.by_age.len());
        requests.by_age.get_min().map(|(age, _)| age.0)
    }

    #[test]
    fn so_many_answers_are_kept_whatever_clocks_say() {
        let mut requests = Requests::default();
        answer(&mut requests, KEPT_LEAST - 2, 0);
        answer(&mut requests, 1, u64::MAX);
        answer(&mut requests, 1, 0);
        assert_eq!(oldest(&requests), Some(1));
        answer(&mut requests, 1, u64::MAX);
        assert_eq!(oldest(&requests), Some(2), "the oldest one gives way");
    }

    #[test]
    fn young_answers_are_kept_in_a_crowd_and_old_ones_go_bit_by_bit() {
        let mut requests = Requests::default();
        answer(&mut requests, KEPT_MOST + 5, 1_000);
        assert_eq!(requests.by_age.len(), KEPT_MOST);
        assert_eq!(oldest(&requests), Some(6));
        answer(&mut requests, 1, 32_000);
        assert_eq!(oldest(&requests), Some(8), "not all in one go");
        answer(&mut requests, KEPT_MOST, 32_000);
        assert_eq!(requests.by_age.len(), KEPT_MOST, "a new crowd");
        answer(&mut requests, KEPT_MOST, 90_000);
        answer(&mut requests, KEPT_MOST - KEPT_LEAST, 150_000);
        assert!(requests.by_age.len() < KEPT_MOST, "{}", requests.by_age.len());
    }
}
