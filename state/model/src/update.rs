//! Updates: how a service passes from one template to the next, how far it is, and what it was before.
//!
//! Plain data and its rules; when tasks are replaced is decided elsewhere.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::command::Actor;
use crate::meta::{Revision, Version};
use crate::node::UnknownWord;
use crate::service::{Service, ServiceSpec, SpecError};
use crate::share::Share;
use crate::units::Timestamp;

/// The most specs of one service that are remembered.
pub const HISTORY_MAX: usize = 10;
/// The most bytes of texts in them; the newest two stay in any case.
pub const HISTORY_BYTES_MAX: usize = 1 << 20;
/// The longest delay, monitor time and start time-out.
pub const UPDATE_TIME_MAX_MS: u64 = 24 * 3600 * 1000;

/// What happens when too many slots fail under an update.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum FailureAction {
    /// It stops where it is until somebody decides.
    Pause,
    /// It goes on.
    Continue,
    /// The service goes back to the last spec that ran. Only for updates.
    Rollback,
}

impl FromStr for FailureAction {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        match text {
            "pause" => Ok(Self::Pause),
            "continue" => Ok(Self::Continue),
            "rollback" => Ok(Self::Rollback),
            _ => Err(UnknownWord { given: text.to_owned(), allowed: "pause, continue, rollback" }),
        }
    }
}

impl fmt::Display for FailureAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Pause => "pause",
            Self::Continue => "continue",
            Self::Rollback => "rollback",
        })
    }
}

/// Which task of a slot goes first when it is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// The new one starts; when it runs, the old one ends.
    StartFirst,
    /// The old one ends; then the new one starts.
    StopFirst,
}

impl FromStr for Order {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        match text {
            "start-first" => Ok(Self::StartFirst),
            "stop-first" => Ok(Self::StopFirst),
            _ => Err(UnknownWord { given: text.to_owned(), allowed: "start-first, stop-first" }),
        }
    }
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::StartFirst => "start-first",
            Self::StopFirst => "stop-first",
        })
    }
}

/// The rules of an update or of a rollback.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "PascalCase", default)]
pub struct UpdatePolicy {
    /// Slots that may be in change at a time; 0 is all of them.
    pub parallelism: u32,
    /// Pause between one slot's replacement and the next one that takes its turn.
    pub delay_ms: u64,
    /// A task that ends sooner after its start has failed.
    pub monitor_ms: u64,
    /// `None`: rollback for updates, pause for rollbacks.
    pub failure_action: Option<FailureAction>,
    /// So many of a thousand slots may fail without consequence.
    pub max_failure_permille: u16,
    /// `None`: start-first, or stop-first where the new task fits only in the old one's place.
    pub order: Option<Order>,
    /// A task that does not run so long after it was made has failed.
    pub start_timeout_ms: u64,
    /// So many slots have their turn, the others wait until it is promoted. Only for updates.
    pub canary: Option<Share>,
    /// Whether a canary that has proven itself is promoted without being asked.
    pub auto_promote: bool,
}

impl Default for UpdatePolicy {
    fn default() -> Self {
        Self {
            parallelism: 1,
            delay_ms: 0,
            monitor_ms: 5000,
            failure_action: None,
            max_failure_permille: 0,
            order: None,
            start_timeout_ms: 300_000,
            canary: None,
            auto_promote: false,
        }
    }
}

impl UpdatePolicy {
    /// Checks what the types cannot. `field` is the policy's name in the spec.
    ///
    /// # Errors
    /// The first field that is wrong.
    pub(crate) fn validate(&self, field: &str) -> Result<(), SpecError> {
        if self.max_failure_permille > 1000 {
            let field = format!("{field}.MaxFailurePermille");
            let reason = format!("{} is more than all (1000)", self.max_failure_permille);
            return Err(SpecError::new(&field, reason));
        }
        let times = [
            ("DelayMs", self.delay_ms, 0),
            ("MonitorMs", self.monitor_ms, 0),
            ("StartTimeoutMs", self.start_timeout_ms, 1),
        ];
        self.canary.map_or(Ok(()), |share| share.validate(&format!("{field}.Canary")))?;
        let none = matches!(self.canary, Some(Share::Count(0) | Share::Percent(0)));
        if none {
            let reason = "a canary of no task would wait for ever: leave it out for none";
            return Err(SpecError::new(&format!("{field}.Canary"), reason));
        }
        if self.auto_promote && self.canary.is_none() {
            let reason = "there is no canary to promote: give Canary, too";
            return Err(SpecError::new(&format!("{field}.AutoPromote"), reason));
        }
        for (name, given, least) in times {
            if !(least..=UPDATE_TIME_MAX_MS).contains(&given) {
                let reason = format!("{given} is not from {least} to {UPDATE_TIME_MAX_MS} (24h)");
                return Err(SpecError::new(&format!("{field}.{name}"), reason));
            }
        }
        Ok(())
    }

    /// The same for a rollback's rules.
    ///
    /// # Errors
    /// The first field that is wrong.
    pub(crate) fn validate_rollback(&self, field: &str) -> Result<(), SpecError> {
        if self.failure_action == Some(FailureAction::Rollback) {
            let reason = "a rollback is never rolled back: use pause or continue";
            return Err(SpecError::new(&format!("{field}.FailureAction"), reason));
        }
        if self.canary.is_some() {
            let reason = "what runs again has proven itself before: only updates have a canary";
            return Err(SpecError::new(&format!("{field}.Canary"), reason));
        }
        self.validate(field)
    }
}

/// Where a service is on its way to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub enum UpdateKind {
    /// To what was asked for.
    Update,
    /// Back to what it was.
    Rollback,
}

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub enum UpdatePhase {
    /// Slots are being replaced.
    Rolling,
    /// Nothing more is replaced until somebody decides.
    Paused,
    /// All slots had their turn.
    Completed,
}

/// How far an update with a canary is with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub enum Canary {
    /// Its slots have their turn.
    Trying,
    /// They have proven themselves; the others wait until somebody decides.
    Waiting,
    /// The others have their turn, too.
    Promoted,
}

/// The newest update of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "PascalCase")]
pub struct UpdateState {
    /// The revision at which it began; names it.
    #[serde(rename = "ID")]
    pub id: Revision,
    /// Forth or back.
    pub kind: UpdateKind,
    /// How far.
    pub phase: UpdatePhase,
    /// The template version before.
    pub from: Version,
    /// The template version it leads to.
    pub to: Version,
    /// When it began.
    pub started_at: Timestamp,
    /// When it was completed.
    pub ended_at: Option<Timestamp>,
    /// Why it is paused, or was rolled back; empty when there is nothing to say.
    pub reason: String,
    /// How far its canary is, if it has one.
    #[serde(default)]
    pub canary: Option<Canary>,
}

impl UpdateState {
    /// Whether tasks are made under it: it is not completed.
    pub fn is_open(&self) -> bool {
        match self.phase {
            UpdatePhase::Rolling | UpdatePhase::Paused => true,
            UpdatePhase::Completed => false,
        }
    }

    /// Whether its canary has proven itself, and waits for somebody to promote it.
    pub fn awaits_promotion(&self) -> bool {
        self.phase == UpdatePhase::Rolling && self.canary == Some(Canary::Waiting)
    }

    /// The word for its kind and phase, as Docker has it, which knows no canary.
    pub fn word(&self) -> &'static str {
        match (self.kind, self.phase) {
            (UpdateKind::Update, UpdatePhase::Rolling) if self.awaits_promotion() => "canary",
            (UpdateKind::Update, UpdatePhase::Rolling) => "updating",
            (UpdateKind::Update, UpdatePhase::Paused) => "paused",
            (UpdateKind::Update, UpdatePhase::Completed) => "completed",
            (UpdateKind::Rollback, UpdatePhase::Rolling) => "rollback_started",
            (UpdateKind::Rollback, UpdatePhase::Paused) => "rollback_paused",
            (UpdateKind::Rollback, UpdatePhase::Completed) => "rollback_completed",
        }
    }
}

/// One step of an update that the leader saw due.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum UpdateStep {
    /// Too much failed: it stops where it is.
    Pause {
        /// What failed.
        reason: String,
    },
    /// Too much failed: the service goes back to the last spec that ran.
    RollBack {
        /// What failed.
        reason: String,
    },
    /// All slots had their turn.
    Complete {
        /// What is worth knowing, such as slots that failed.
        reason: String,
    },
    /// The canary has proven itself.
    Prove {
        /// Whether the others have their turn now, rather than when somebody decides.
        promoted: bool,
    },
}

/// Why a spec came to be a service's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub enum Cause {
    /// It was there when the first update came.
    Created,
    /// Somebody asked for it.
    Updated,
    /// It was the service's before.
    RolledBack {
        /// Which one.
        #[serde(rename = "To")]
        to: Version,
    },
}

/// A spec that a service has, or had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpecRecord {
    /// The service's version when it became its spec; names it.
    pub version: Version,
    /// The version of its template.
    pub template_version: Version,
    /// The spec.
    pub spec: Arc<ServiceSpec>,
    /// When.
    pub at: Timestamp,
    /// Who asked; `None` when that is not known.
    pub by: Option<Actor>,
    /// Why.
    pub cause: Cause,
    /// Whether its template once ran in all slots: then it is worth going back to.
    pub stood: bool,
}

/// The specs of one service, the newest last.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct History(Vec<SpecRecord>);

impl History {
    /// All of them, the newest last.
    pub fn records(&self) -> &[SpecRecord] {
        &self.0
    }

    /// The record of that version.
    pub fn find(&self, version: Version) -> Option<&SpecRecord> {
        self.0.iter().find(|record| record.version == version)
    }

    /// The newest record that ran and has another template than `current`: what an update that
    /// fails goes back to.
    pub fn proven(&self, current: Version) -> Option<&SpecRecord> {
        self.0.iter().rev().find(|record| record.stood && record.template_version != current)
    }

    /// What tasks are made from while an update has no turn for their slots: what an update that fails
    /// goes back to. `None` when `service` is not being updated, or is on its way to what once ran.
    pub fn former(&self, service: &Service) -> Option<&SpecRecord> {
        let (current, open) = (service.template_version, service.update.as_ref()?.is_open());
        let stood = |record: &SpecRecord| record.stood && record.template_version == current;
        if open && !self.0.iter().any(stood) { self.proven(current) } else { None }
    }

    /// What somebody means who wants the spec before: the proven one, else the newest with another
    /// template, else the one before the newest.
    pub fn before(&self, current: Version) -> Option<&SpecRecord> {
        let another = |record: &&SpecRecord| record.template_version != current;
        self.proven(current)
            .or_else(|| self.0.iter().rev().find(another))
            .or_else(|| self.0.iter().rev().nth(1))
    }

    /// Adds the newest record and forgets the oldest beyond the bounds; but never what an update would
    /// go back to.
    pub fn push(&mut self, record: SpecRecord) {
        let current = record.template_version;
        self.0.push(record);
        while self.0.len() > 2 && self.is_too_large() {
            let kept = self.proven(current).map(|record| record.version);
            let oldest = self.0.iter().position(|record| Some(record.version) != kept);
            match oldest {
                Some(oldest) if oldest + 1 < self.0.len() => drop(self.0.remove(oldest)),
                Some(_) | None => break,
            }
        }
    }

    fn is_too_large(&self) -> bool {
        let bytes: usize = self.0.iter().map(|record| record.spec.weight()).sum();
        self.0.len() > HISTORY_MAX || bytes > HISTORY_BYTES_MAX
    }

    /// Notes that the template of that version ran in all slots.
    pub fn note_stood(&mut self, template_version: Version) {
        for record in &mut self.0 {
            record.stood |= record.template_version == template_version;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzz::sample;
    use crate::service::ServiceMode;

    fn record(number: u64, stood: bool) -> SpecRecord {
        SpecRecord {
            version: Version(number),
            template_version: Version(number),
            spec: Arc::new(sample::service(ServiceMode::Replicated { replicas: 1 })),
            at: Timestamp::default(),
            by: None,
            cause: Cause::Updated,
            stood,
        }
    }

    fn versions(history: &History) -> Vec<u64> {
        history.records().iter().map(|record| record.version.0).collect()
    }

    #[test]
    fn the_history_is_bounded_and_keeps_what_an_update_would_go_back_to() {
        let mut history = History::default();
        history.push(record(1, true));
        for number in 2..30 {
            history.push(record(number, false));
            assert_eq!(history.proven(Version(number)), Some(&record(1, true)));
        }
        assert_eq!(versions(&history), [1, 21, 22, 23, 24, 25, 26, 27, 28, 29]);
        history.note_stood(Version(29));
        history.push(record(30, false));
        assert_eq!(versions(&history), [21, 22, 23, 24, 25, 26, 27, 28, 29, 30]);
        assert_eq!(history.before(Version(30)).map(|record| record.version), Some(Version(29)));
    }

    #[test]
    fn large_specs_push_out_older_ones_but_never_the_one_before() {
        let large = |number| {
            let mut record = record(number, false);
            let spec = Arc::make_mut(&mut record.spec);
            for at in 0..120 {
                spec.labels.insert(format!("k{at}"), "x".repeat(4000));
            }
            record
        };
        let mut history = History::default();
        (1..6).for_each(|number| history.push(large(number)));
        assert_eq!(versions(&history), [4, 5]);
    }

    #[test]
    fn without_a_proven_one_the_spec_before_is_another_template_or_the_last_but_one() {
        let mut history = History::default();
        assert_eq!(history.before(Version(1)), None);
        history.push(record(1, false));
        history.push(record(2, false));
        assert_eq!(history.before(Version(2)).map(|record| record.version), Some(Version(1)));
        let mut same = History::default();
        same.push(record(1, true));
        same.push(SpecRecord { version: Version(2), ..record(1, true) });
        assert_eq!(same.before(Version(1)).map(|record| record.version), Some(Version(1)));
        assert_eq!(same.proven(Version(1)), None);
    }

    #[test]
    fn wrong_policies_are_refused_by_field() {
        let check = |change: &dyn Fn(&mut UpdatePolicy)| {
            let mut policy = UpdatePolicy::default();
            assert_eq!(policy.validate_rollback("R"), Ok(()));
            change(&mut policy);
            policy.validate_rollback("R").expect_err("is wrong").field
        };
        assert_eq!(check(&|policy| policy.max_failure_permille = 1001), "R.MaxFailurePermille");
        assert_eq!(check(&|policy| policy.delay_ms = u64::MAX), "R.DelayMs");
        assert_eq!(check(&|policy| policy.monitor_ms = UPDATE_TIME_MAX_MS + 1), "R.MonitorMs");
        assert_eq!(check(&|policy| policy.start_timeout_ms = 0), "R.StartTimeoutMs");
        let again = |policy: &mut UpdatePolicy| {
            policy.failure_action = Some(FailureAction::Rollback);
        };
        assert_eq!(check(&again), "R.FailureAction");
        let mut update = UpdatePolicy::default();
        again(&mut update);
        assert_eq!(update.validate("U"), Ok(()));
    }
}
