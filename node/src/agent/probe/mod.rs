//! Watches over a running task: asks it how it is, again and again, and posts what that amounts to.
//!
//! What the answers mean is decided in [`health`]; how a task is asked is its runtime's business; and
//! to stop one that is not well is the actor's.

mod health;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use swarm_model::clock::Clock;
use swarm_model::id::TaskId;
use swarm_model::probe::{Health as Said, HealthState, Probe};
use swarm_model::task::TaskStatus;
use swarm_model::task_state::ObservedState;
use swarm_model::units::Timestamp;
use tokio::time::{Instant, sleep_until, timeout};

use self::health::{Health, Standing};
use super::board::Board;
use crate::runtime::{Answer, Started, TaskRuntime};

/// How long a runtime may take to end a probe whose time is over.
const SLACK: Duration = Duration::from_secs(5);
/// Other words for the same are posted this often at most: each is a change of the replicated state.
const WORDS_AGAIN: Duration = Duration::from_secs(5);

/// What a task is asked, with its templates expanded.
#[derive(Debug, Clone, Default)]
pub(super) struct Probes {
    /// Whether it is well.
    pub(super) health: Option<Probe>,
    /// Whether it may be sent work.
    pub(super) ready: Option<Probe>,
}

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Which {
    Health,
    Ready,
}

/// How a task came to run under this watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// It was just started.
    Started,
    /// An earlier life of the daemon started it.
    Adopted,
}

/// The watch over one running task.
#[derive(Debug)]
pub(super) struct Watcher {
    task: TaskId,
    runtime: Arc<dyn TaskRuntime>,
    board: Arc<Board>,
    clock: Arc<dyn Clock>,
    probes: Probes,
    started: Started,
    origin: Origin,
    /// When the watch began, and for how long the program ran before.
    began: Instant,
    head_start: Duration,
    seen: Mutex<Seen>,
}

/// What the answers amount to so far.
#[derive(Debug)]
struct Seen {
    health: Option<Health>,
    ready: Option<Health>,
    /// Since when it counts as running.
    runs_since: Option<Timestamp>,
    draining: bool,
    posted: Option<(TaskStatus, Instant)>,
}

impl Watcher {
    /// The watch over `task`, which runs since `started`. Posts that it runs, or that it waits for its
    /// first success; of an adopted task with readiness nothing before an answer to that.
    pub(super) fn begin(
        (task, runtime): (TaskId, Arc<dyn TaskRuntime>),
        (board, clock): (Arc<Board>, Arc<dyn Clock>),
        probes: Probes,
        (started, origin): (Started, Origin),
    ) -> Self {
        let head_start = match origin {
            Origin::Started => Duration::ZERO,
            Origin::Adopted => clock.now().since(started.at),
        };
        let fresh = |probe: &Option<Probe>| probe.as_ref().map(|it| Health::new(it, head_start));
        let seen = Seen {
            health: fresh(&probes.health),
            ready: fresh(&probes.ready),
            runs_since: probes.health.is_none().then_some(started.at),
            draining: false,
            posted: None,
        };
        let (began, seen) = (Instant::now(), Mutex::new(seen));
        let watcher =
            Self { task, runtime, board, clock, probes, started, origin, began, head_start, seen };
        watcher.post(&mut watcher.lock());
        watcher
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks until the task is found unhealthy: why.
    ///
    /// # Cancel safety
    /// A dropped watch ends the probes that are under way.
    pub(super) async fn watch(&self) -> String {
        tokio::select! {
            why = self.ask(Which::Health) => why,
            why = self.ask(Which::Ready) => why,
        }
    }

    async fn ask(&self, which: Which) -> String {
        let (probe, mut health) = {
            let seen = self.lock();
            let known = match which {
                Which::Health => (&self.probes.health, &seen.health),
                Which::Ready => (&self.probes.ready, &seen.ready),
            };
            match known {
                (Some(probe), Some(health)) => (Some(probe), Some(health.clone())),
                (None, _) | (_, None) => (None, None),
            }
        };
        let (Some(probe), Some(health)) = (probe, &mut health) else {
            return std::future::pending().await;
        };
        let check = Arc::new(probe.check.clone());
        let within = Duration::from_millis(probe.timeout_ms);
        let mut began = Instant::now();
        loop {
            sleep_until(began + health.pause(probe)).await;
            began = Instant::now();
            let at = self.head_start + (began - self.began);
            let asked = self.runtime.probe(self.task, check.clone(), within);
            let late = || Answer::Unknown("the probe does not end".to_owned());
            let answer = timeout(within + SLACK, asked).await.unwrap_or_else(|_late| late());
            if let Answer::Unknown(error) = &answer {
                tracing::warn!(task_id = %self.task, error, "cannot probe the task");
            }
            health.step(probe, at, answer);
            self.note(which, health);
            if which == Which::Health && health.standing == Standing::Failing {
                return format!("{} ({} times in a row)", health.message, health.streak);
            }
        }
    }

    /// Takes up what one probe amounts to now.
    fn note(&self, which: Which, health: &Health) {
        let mut seen = self.lock();
        match which {
            Which::Health => {
                if health.standing == Standing::Passing && seen.runs_since.is_none() {
                    seen.runs_since = Some(self.clock.now());
                }
                seen.health = Some(health.clone());
            }
            Which::Ready => seen.ready = Some(health.clone()),
        }
        self.post(&mut seen);
    }

    /// If it may be sent work now: posts that it may not any more.
    pub(super) fn drain(&self) -> bool {
        let mut seen = self.lock();
        let was_ready = self.is_unasked(&seen)
            || seen.posted.as_ref().is_some_and(|(status, _)| status.is_ready());
        if was_ready {
            seen.draining = true;
            self.post(&mut seen);
        }
        was_ready
    }

    /// Whether it is not known yet if a task of an earlier life takes work: it may well do so now.
    fn is_unasked(&self, seen: &Seen) -> bool {
        let unasked = seen.ready.as_ref().is_some_and(|ready| !ready.was_asked());
        self.origin == Origin::Adopted && unasked && !seen.draining
    }

    /// What the probes said last.
    pub(super) fn said(&self) -> Option<Said> {
        self.lock().posted.as_ref().and_then(|(status, _)| status.health.clone())
    }

    /// Posts what there is to say, unless it was said.
    fn post(&self, seen: &mut Seen) {
        let status = self.status(seen);
        let is_well = status.health.as_ref().is_none_or(|health| is_well(health.status));
        if self.is_unasked(seen) && status.state == ObservedState::Running && is_well {
            // Not ready it is only by want of an answer: until then stands what is on record.
            return;
        }
        if let Some((before, at)) = &seen.posted {
            let gist = |status: &TaskStatus| {
                let health = status.health.as_ref();
                let gist = |health: &Said| (health.status, health.ready, health.message.is_empty());
                (status.state, health.map(gist))
            };
            let only_words = gist(before) == gist(&status);
            if *before == status || only_words && at.elapsed() < WORDS_AGAIN {
                return;
            }
        }
        self.board.post(self.task, status.clone());
        seen.posted = Some((status, Instant::now()));
    }

    fn status(&self, seen: &Seen) -> TaskStatus {
        let (state, since, message) = match (seen.runs_since, self.origin) {
            (Some(since), Origin::Started) => (ObservedState::Running, since, "started"),
            (Some(since), Origin::Adopted) => (ObservedState::Running, since, "adopted"),
            (None, _) => {
                let message = "started, its health probe has not succeeded yet";
                (ObservedState::Starting, self.started.at, message)
            }
        };
        TaskStatus {
            pid: (self.started.pid != 0).then_some(self.started.pid),
            health: self.health(seen),
            ..TaskStatus::new(state, since, message)
        }
    }

    fn health(&self, seen: &Seen) -> Option<Said> {
        if seen.health.is_none() && seen.ready.is_none() && !seen.draining {
            return None;
        }
        let status = match seen.health.as_ref().map(|health| health.standing) {
            None => HealthState::None,
            Some(Standing::Starting) => HealthState::Starting,
            Some(Standing::Passing) => HealthState::Healthy,
            Some(Standing::Failing) => HealthState::Unhealthy,
        };
        let is_well = is_well(status);
        let takes = seen.ready.as_ref().is_none_or(|ready| ready.standing == Standing::Passing);
        let words = |health: &Option<Health>| health.as_ref().map(|health| health.message.clone());
        let message = if !is_well {
            words(&seen.health)
        } else if seen.draining {
            Some("draining before its stop".to_owned())
        } else if !takes {
            words(&seen.ready)
        } else {
            None
        };
        let ready = is_well && takes && !seen.draining;
        Some(Said { status, ready, message: message.unwrap_or_default() })
    }
}

fn is_well(health: HealthState) -> bool {
    matches!(health, HealthState::None | HealthState::Healthy)
}
