//! Turns what changed into plans, and plans into commands.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use swarm_control::{Scope, reconcile};
use swarm_model::command::Op;
use swarm_model::meta::Term;
use swarm_model::outcome::Done;
use swarm_model::plan::Plan;
use swarm_model::units::Timestamp;
use swarm_model::view::View;
use swarm_raft::{Error, News};
use tokio::sync::broadcast::error::RecvError;

use crate::core::Core;

/// Pause after a plan that could not be agreed on.
const RETRY: Duration = Duration::from_millis(100);
/// Everything is looked at again after so long, whatever the events said.
const SWEEP: Duration = Duration::from_secs(60);

/// Which parts of the view to look at, now and later.
struct Agenda {
    now: Scope,
    later: BTreeMap<Timestamp, Scope>,
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

    /// Moves what is due from later to now.
    fn ripen(&mut self, now: Timestamp) {
        while let Some(entry) = self.later.first_entry() {
            if *entry.key() > now {
                break;
            }
            self.now.merge(entry.remove());
        }
    }

    fn next_wake(&self, now: Timestamp) -> Duration {
        self.later.first_key_value().map_or(SWEEP, |(at, _)| at.since(now)).min(SWEEP)
    }
}

/// Reconciles until the term ends.
pub(super) async fn run(core: &Core, term: Term) {
    let mut news = core.consensus.news();
    let mut agenda = Agenda { now: Scope::everything(), later: BTreeMap::new() };
    loop {
        while let Ok(item) = news.try_recv() {
            agenda.hear(&item);
        }
        agenda.ripen(core.clock.now());
        if !agenda.now.is_empty() {
            let scope = std::mem::take(&mut agenda.now);
            match round(core, term, &scope, &mut agenda).await {
                Ok(()) => {}
                Err(Error::NotLeader { .. } | Error::Stopped { .. }) => return,
                Err(error) => {
                    tracing::warn!(%error, "a plan was not agreed on, trying again");
                    agenda.now.merge(scope);
                    tokio::time::sleep(RETRY).await;
                }
            }
            continue;
        }
        let wake = agenda.next_wake(core.clock.now());
        match tokio::time::timeout(wake, news.recv()).await {
            Ok(Ok(item)) => agenda.hear(&item),
            Ok(Err(RecvError::Lagged(_))) => agenda.now = Scope::everything(),
            Ok(Err(RecvError::Closed)) => return,
            Err(_sweep) if agenda.later.is_empty() => agenda.now = Scope::everything(),
            Err(_woken) => {}
        }
    }
}

/// Decides over one scope and has the decision agreed on.
async fn round(core: &Core, term: Term, scope: &Scope, agenda: &mut Agenda) -> Result<(), Error> {
    let view = core.consensus.view();
    let now = core.clock.now();
    let Plan { changes, wake_at } = decide(core, &view, scope, now);
    let again = wake_at.is_some_and(|at| at <= now);
    if let Some(at) = wake_at.filter(|at| *at > now) {
        agenda.later.entry(at).or_default().merge(scope.clone());
    }
    if changes.is_empty() {
        return Ok(());
    }
    tracing::debug!(changes = changes.len(), revision = view.revision.0, "proposing a plan");
    let op = Op::ApplyPlan { term, base: view.revision, changes };
    let applied = core.consensus.propose(&core.own_command(op)).await?;
    match applied.outcome {
        Ok(Done::Plan { refused: 0, .. }) if !again => {}
        Ok(_) => agenda.now.merge(scope.clone()),
        Err(rejection) => tracing::info!(error = %rejection, "the plan was refused"),
    }
    Ok(())
}

fn decide(core: &Core, view: &Arc<View>, scope: &Scope, now: Timestamp) -> Plan {
    let mut ids = core.ids.lock().unwrap_or_else(PoisonError::into_inner);
    reconcile(view, scope, now, &mut **ids)
}
