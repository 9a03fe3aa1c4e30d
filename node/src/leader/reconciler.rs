//! Turns what changed into plans, and plans into commands.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use swarm_control::{Scope, reconcile};
use swarm_model::command::Op;
use swarm_model::id::ServiceId;
use swarm_model::meta::Term;
use swarm_model::outcome::{Done, Outcome};
use swarm_model::plan::Plan;
use swarm_model::units::Timestamp;
use swarm_model::view::View;
use swarm_raft::{Error, News};
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::time::Instant;

use crate::core::Core;

/// Pause after a plan that could not be agreed on.
const RETRY: Duration = Duration::from_millis(100);
/// Everything is looked at again after so long, whatever the events said.
const SWEEP: Duration = Duration::from_secs(60);

/// Which parts of the view to look at, now and later.
struct Agenda {
    now: Scope,
    /// Schedules, delays and deadlines: each is a matter of its service, however much was looked at by the
    /// round that saw it coming.
    later: BTreeSet<(Timestamp, ServiceId)>,
    /// When it was last looked at.
    looked: Timestamp,
}

impl Default for Agenda {
    /// A new leader knows nothing: everything is to be looked at.
    fn default() -> Self {
        Self { now: Scope::everything(), later: BTreeSet::new(), looked: Timestamp::default() }
    }
}

impl Agenda {
    fn hear(&mut self, news: &News) {
        match news {
            News::Applied { events, .. } => {
                for event in events {
                    self.now.extend(event);
                }
            }
            News::Replaced { .. } => self.now = Scope::everything(),
        }
    }

    /// Moves what is due from later to now. What was put off by a clock that has gone back since may
    /// be due by the new time.
    fn ripen(&mut self, now: Timestamp) {
        if now < self.looked {
            self.now = Scope::everything();
        }
        self.looked = now;
        while let Some(due) = self.later.first().copied().filter(|(at, _)| *at <= now) {
            self.later.remove(&due);
            self.now.services.insert(due.1);
        }
    }

    fn next_wake(&self, now: Timestamp) -> Duration {
        self.later.first().map_or(SWEEP, |(at, _)| at.since(now)).min(SWEEP)
    }
}

/// How one round ended.
#[derive(Debug, PartialEq, Eq)]
enum Round {
    /// All of it was done.
    Done,
    /// Part of it was done; the rest has to be decided anew, at once.
    Again,
    /// Nothing of it was done.
    Stuck,
}

/// Reconciles until the term ends.
pub(super) async fn run(core: &Core, term: Term) {
    let mut news = core.consensus.news();
    let mut agenda = Agenda::default();
    let led_since = core.clock.now();
    let mut swept = Instant::now();
    loop {
        loop {
            match news.try_recv() {
                Ok(item) => agenda.hear(&item),
                Err(TryRecvError::Lagged(_)) => agenda.now = Scope::everything(),
                Err(TryRecvError::Empty | TryRecvError::Closed) => break,
            }
        }
        agenda.ripen(core.clock.now());
        if swept.elapsed() >= SWEEP {
            agenda.now = Scope::everything();
            swept = Instant::now();
        }
        if !agenda.now.is_empty() {
            let mut scope = std::mem::take(&mut agenda.now);
            scope.led_since = led_since;
            match round(core, term, &scope, &mut agenda).await {
                Ok(Round::Done) => {}
                Ok(Round::Again) => agenda.now.merge(scope),
                Ok(Round::Stuck) => {
                    agenda.now.merge(scope);
                    tokio::time::sleep(RETRY).await;
                }
                Err(Error::NotLeader { .. } | Error::Stopped { .. }) => return,
                Err(error) => {
                    tracing::warn!(%error, "a plan was not agreed on, trying again");
                    agenda.now.merge(scope);
                    tokio::time::sleep(RETRY).await;
                }
            }
            continue;
        }
        let wake = agenda.next_wake(core.clock.now()).min(SWEEP.saturating_sub(swept.elapsed()));
        match tokio::time::timeout(wake, news.recv()).await {
            Ok(Ok(item)) => agenda.hear(&item),
            Ok(Err(RecvError::Lagged(_))) => agenda.now = Scope::everything(),
            Ok(Err(RecvError::Closed)) => return,
            // Something is due, or everything is.
            Err(_woken) => {}
        }
    }
}

/// Decides over one scope and has the decision agreed on.
async fn round(
    core: &Core,
    term: Term,
    scope: &Scope,
    agenda: &mut Agenda,
) -> Result<Round, Error> {
    let view = core.consensus.view();
    let now = core.clock.now();
    let Plan { changes, later, left } = decide(core, &view, scope, now);
    let later = later.into_iter().filter(|(_, at)| *at > now);
    agenda.later.extend(later.map(|(service, at)| (at, service)));
    if changes.is_empty() {
        return Ok(Round::Done);
    }
    tracing::debug!(changes = changes.len(), revision = view.revision.0, "proposing a plan");
    let op = Op::ApplyPlan { term, base: view.revision, changes };
    let applied = core.consensus.propose(&core.own_command(op)).await?;
    // What the plan changed comes back as events; what it had no room for does not.
    agenda.now.services.extend(left);
    Ok(judge(&applied.outcome))
}

/// What a plan's outcome means for its scope. Pure.
fn judge(outcome: &Outcome) -> Round {
    match outcome {
        Ok(Done::Plan { refused: 0, .. }) => Round::Done,
        // Without a pause a change that is refused every time would keep the log busy.
        Ok(Done::Plan { applied: 0, .. }) => Round::Stuck,
        Ok(_) => Round::Again,
        Err(rejection) => {
            tracing::info!(error = %rejection, "the plan was refused");
            Round::Stuck
        }
    }
}

fn decide(core: &Core, view: &Arc<View>, scope: &Scope, now: Timestamp) -> Plan {
    let mut ids = core.ids.lock().unwrap_or_else(PoisonError::into_inner);
    reconcile(view, scope, now, &mut **ids)
}

#[cfg(test)]
mod tests {
    use super::*;
    use swarm_model::outcome::Rejection;

    #[test]
    fn a_plan_that_changed_nothing_is_repeated_with_a_pause() {
        let plan = |applied, refused| Ok(Done::Plan { applied, refused });
        let check = |outcome: Outcome, expect| assert_eq!(judge(&outcome), expect);
        check(plan(2, 0), Round::Done);
        check(plan(1, 1), Round::Again);
        check(plan(0, 1), Round::Stuck);
        check(Err(Rejection::StaleTerm { have: Term(2), given: Term(1) }), Round::Stuck);
    }

    #[test]
    fn what_is_due_later_waits_for_its_time_only() {
        let at = |ms| Timestamp::from_millis(ms);
        let mut agenda = Agenda { now: Scope::default(), ..Agenda::default() };
        let service = ServiceId::from_raw(7);
        agenda.later.insert((at(2000), service));
        assert_eq!(agenda.next_wake(at(500)), Duration::from_millis(1500));
        agenda.ripen(at(1999));
        assert!(agenda.now.is_empty());
        agenda.ripen(at(2000));
        assert!(!agenda.now.all && agenda.later.is_empty());
        assert_eq!(agenda.now.services, [service].into());
        assert_eq!(agenda.next_wake(at(2000)), SWEEP);
        agenda.now = Scope::default();
        agenda.ripen(at(1999));
        assert!(agenda.now.all, "the clock went back");
    }
}
