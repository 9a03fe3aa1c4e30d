//! The newest events, kept in memory, so that a watcher can go on where it stopped.
//!
//! Bounded: a watcher that was away for longer is told so and starts from a fresh view.

use std::collections::VecDeque;
use std::sync::Arc;

use swarm_model::event::Event;
use swarm_model::meta::Revision;

/// Events that are kept.
pub const EVENTS_KEPT: usize = 4096;

/// The history does not reach back that far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("events after revision {asked} are no longer kept here: the oldest kept follow {oldest}")]
pub struct Gone {
    /// What was asked for.
    pub asked: Revision,
    /// What can be asked for.
    pub oldest: Revision,
}

/// A bounded history of events.
#[derive(Debug, Clone, Default)]
pub struct Feed {
    events: VecDeque<Arc<Event>>,
    /// Every event after this revision is here.
    floor: Revision,
}

impl Feed {
    /// An empty history that starts after `floor`.
    pub fn starting_after(floor: Revision) -> Self {
        Self { events: VecDeque::new(), floor }
    }

    /// Adds what one revision brought.
    pub fn push(&mut self, events: impl IntoIterator<Item = Arc<Event>>) {
        self.events.extend(events);
        while self.events.len() > EVENTS_KEPT {
            if let Some(oldest) = self.events.pop_front() {
                self.floor = oldest.revision;
            }
        }
        // Half a revision is worse than none.
        while self.events.front().is_some_and(|event| event.revision <= self.floor) {
            self.events.pop_front();
        }
    }

    /// Everything after `revision`, oldest first.
    ///
    /// # Errors
    /// When the history starts later than that.
    pub fn since(&self, revision: Revision) -> Result<Vec<Arc<Event>>, Gone> {
        if revision < self.floor {
            return Err(Gone { asked: revision, oldest: self.floor });
        }
        let start = self.events.partition_point(|event| event.revision <= revision);
        Ok(self.events.iter().skip(start).cloned().collect())
    }

    /// Everything that is kept.
    pub fn all(&self) -> Vec<Arc<Event>> {
        self.events.iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use swarm_model::event::{Action, Subject};
    use swarm_model::units::Timestamp;

    fn event(revision: u64) -> Arc<Event> {
        Arc::new(Event {
            revision: Revision(revision),
            at: Timestamp::default(),
            subject: Subject::Cluster,
            action: Action::Update,
            name: String::new(),
            attributes: BTreeMap::new(),
        })
    }

    #[test]
    fn a_watcher_resumes_without_gap_or_repeat() {
        let mut feed = Feed::starting_after(Revision(10));
        feed.push([event(11), event(11), event(12)]);
        assert_eq!(feed.since(Revision(11)).map(|events| events.len()), Ok(1));
        assert_eq!(feed.since(Revision(10)).map(|events| events.len()), Ok(3));
        assert_eq!(feed.since(Revision(9)), Err(Gone { asked: Revision(9), oldest: Revision(10) }));
    }

    #[test]
    fn old_revisions_are_dropped_whole() {
        let mut feed = Feed::default();
        feed.push((0..10).map(|_| event(1)));
        feed.push((0..EVENTS_KEPT as u64).map(|n| event(2 + n)));
        assert!(feed.since(Revision(0)).is_err(), "part of revision 1 would be missing");
        assert_eq!(feed.since(Revision(1)).map(|events| events.len()), Ok(EVENTS_KEPT));
    }
}
