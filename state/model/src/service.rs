//! Services: what a user declares, and how far the cluster is with it.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::id::ServiceId;
use crate::job::JobPolicy;
use crate::meta::{Meta, Version};
use crate::name::{LABEL_MAX, LABELS_BYTES_MAX, LABELS_MAX, Name};
use crate::placement::Preference;
use crate::probe::{PROBE_TIME_MAX_MS, Probe};
use crate::runtime::{Namespace, RuntimeSpec};
use crate::schedule::{ScheduleSpec, ScheduleState};
use crate::share::Share;
use crate::task::TaskTemplate;
use crate::template;
use crate::update::{UpdatePolicy, UpdateState};

/// The most replicas of one service.
pub const REPLICAS_MAX: u32 = 100_000;
/// The most bytes of all texts of one service spec.
pub const SPEC_BYTES_MAX: usize = 256 * 1024;
/// The longest stop grace period.
pub const STOP_GRACE_MAX_MS: u64 = 24 * 3600 * 1000;

/// How many tasks a service has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub enum ServiceMode {
    /// A number of them.
    Replicated {
        /// How many.
        #[serde(rename = "Replicas")]
        replicas: u32,
    },
    /// One on each node that fits.
    Global {},
    /// A number of tasks that end well, in each run of a job.
    ReplicatedJob {
        /// How many.
        #[serde(rename = "TotalCompletions")]
        completions: u32,
        /// So many at a time; 0 is all of them.
        #[serde(default, rename = "MaxConcurrent")]
        max_concurrent: u32,
    },
    /// One task that ends well on each node that fits when a run of the job begins.
    GlobalJob {},
}

impl ServiceMode {
    /// The word that lists show.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Replicated { .. } => "replicated",
            Self::Global {} => "global",
            Self::ReplicatedJob { .. } => "replicated-job",
            Self::GlobalJob {} => "global-job",
        }
    }

    /// Whether its tasks are meant to end.
    pub fn is_job(&self) -> bool {
        match self {
            Self::Replicated { .. } | Self::Global {} => false,
            Self::ReplicatedJob { .. } | Self::GlobalJob {} => true,
        }
    }
}

/// How important a service's tasks are, from 0 to 100. Tasks of higher priority are placed first,
/// and may end tasks of lower priority when nothing else fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(transparent)]
pub struct Priority(pub u8);

/// The highest priority.
pub const PRIORITY_MAX: u8 = 100;

impl Default for Priority {
    fn default() -> Self {
        Self(50)
    }
}

/// What a user declares.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "PascalCase")]
pub struct ServiceSpec {
    /// Unique among services.
    pub name: Name,
    /// For people and filters.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// How many tasks.
    pub mode: ServiceMode,
    /// What each is made from.
    pub task_template: TaskTemplate,
    /// How important they are; 50 when nothing is said.
    #[serde(default)]
    pub priority: Priority,
    /// How its tasks are replaced when the template changes.
    #[serde(default, rename = "UpdateConfig")]
    pub update: UpdatePolicy,
    /// How they are replaced when it goes back.
    #[serde(default, rename = "RollbackConfig")]
    pub rollback: UpdatePolicy,
    /// So many of its tasks run at least, whatever is done to it on purpose; `None` bounds nothing.
    #[serde(default)]
    pub min_available: Option<Share>,
    /// Rules of a job's runs.
    #[serde(default)]
    pub job: JobPolicy,
    /// When a job runs by itself; `None` is once, when it is declared.
    #[serde(default)]
    pub schedule: Option<ScheduleSpec>,
}

/// Why a spec is not valid. Nothing was changed; mend the field and ask again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("{field}: {reason}")]
pub struct SpecError {
    /// The field, as the API calls it.
    pub field: String,
    /// What is wrong with it and what would be right.
    pub reason: String,
}

impl SpecError {
    /// An error of one field.
    pub fn new(field: &str, reason: impl Into<String>) -> Self {
        Self { field: field.to_owned(), reason: reason.into() }
    }
}

/// Checks the length of a text.
///
/// # Errors
/// When it is over `most` bytes.
pub(crate) fn at_most(field: &str, text: &str, most: usize) -> Result<(), SpecError> {
    if text.len() > most {
        let reason = format!("{} bytes are more than the {most} allowed", text.len());
        return Err(SpecError::new(field, reason));
    }
    Ok(())
}

/// Bytes of all keys and values.
fn weight(texts: &BTreeMap<String, String>) -> usize {
    texts.iter().map(|(key, value)| key.len() + value.len()).sum()
}

/// Checks keys and values of a label map.
///
/// # Errors
/// For an empty or overlong key or value, and for too many of them.
pub fn validate_labels(field: &str, labels: &BTreeMap<String, String>) -> Result<(), SpecError> {
    if labels.len() > LABELS_MAX {
        let reason = format!("{} labels are more than the {LABELS_MAX} allowed", labels.len());
        return Err(SpecError::new(field, reason));
    }
    let bytes = weight(labels);
    if bytes > LABELS_BYTES_MAX {
        let reason = format!("{bytes} bytes are more than the {LABELS_BYTES_MAX} of all labels");
        return Err(SpecError::new(field, reason));
    }
    for (key, value) in labels {
        if key.is_empty() || key.chars().any(|c| c.is_whitespace() || c == '=') {
            let reason = format!("\"{key}\" is not a label key: no spaces, no '=', not empty");
            return Err(SpecError::new(field, reason));
        }
        if key.len() > LABEL_MAX || value.len() > LABEL_MAX {
            let reason = format!("label keys and values have at most {LABEL_MAX} bytes");
            return Err(SpecError::new(field, reason));
        }
    }
    Ok(())
}

impl ServiceSpec {
    /// Checks what the types cannot.
    ///
    /// # Errors
    /// The first field that is wrong.
    pub fn validate(&self) -> Result<(), SpecError> {
        if let ServiceMode::Replicated { replicas } = self.mode
            && replicas > REPLICAS_MAX
        {
            let reason = format!("{replicas} is more than {REPLICAS_MAX}");
            return Err(SpecError::new("Mode.Replicated.Replicas", reason));
        }
        self.validate_job()?;
        if self.priority.0 > PRIORITY_MAX {
            let reason = format!("{} is not a priority: 0 to {PRIORITY_MAX}", self.priority.0);
            return Err(SpecError::new("Priority", reason));
        }
        let own = self.task_template.placement.preferences.iter().find(|preference| {
            matches!(preference, Preference::Affinity(affinity) if affinity.is_to(&self.name))
        });
        if let Some(own) = own {
            let reason = format!(
                "{own}: a service cannot prefer or avoid its own tasks: use binpack, the default \
                 spreading, or a bound per node"
            );
            return Err(SpecError::new("TaskTemplate.Placement.Preferences", reason));
        }
        self.update.validate("UpdateConfig")?;
        self.rollback.validate_rollback("RollbackConfig")?;
        self.min_available.map_or(Ok(()), |share| share.validate("MinAvailable"))?;
        validate_labels("Labels", &self.labels)?;
        let bytes = self.weight();
        if bytes > SPEC_BYTES_MAX {
            let reason = format!("{bytes} bytes are more than the {SPEC_BYTES_MAX} of one service");
            return Err(SpecError::new("TaskTemplate", reason));
        }
        self.task_template.validate()
    }

    /// What goes with jobs alone, and what does not go with them.
    fn validate_job(&self) -> Result<(), SpecError> {
        match self.mode {
            ServiceMode::Replicated { .. } | ServiceMode::Global {} => {
                if self.job != JobPolicy::default() {
                    let reason = "only a job has runs: use the mode ReplicatedJob or GlobalJob";
                    return Err(SpecError::new("Job", reason));
                }
                if self.schedule.is_some() {
                    let reason = "only a job has a schedule: use the mode ReplicatedJob or \
                        GlobalJob";
                    return Err(SpecError::new("Schedule", reason));
                }
                return Ok(());
            }
            ServiceMode::ReplicatedJob { completions, .. } => {
                if !(1..=REPLICAS_MAX).contains(&completions) {
                    let reason = format!("{completions} is not from 1 to {REPLICAS_MAX}");
                    return Err(SpecError::new("Mode.ReplicatedJob.TotalCompletions", reason));
                }
            }
            ServiceMode::GlobalJob {} => {}
        }
        let policies = [("UpdateConfig", self.update), ("RollbackConfig", self.rollback)];
        for (field, policy) in policies {
            if policy != UpdatePolicy::default() {
                let reason = "a job is not updated task by task: a new version is a new run, so \
                    leave this out";
                return Err(SpecError::new(field, reason));
            }
        }
        if self.min_available.is_some() {
            let reason = "a job's tasks are not replaced on purpose, so leave this out";
            return Err(SpecError::new("MinAvailable", reason));
        }
        self.schedule.iter().try_for_each(ScheduleSpec::validate)?;
        self.job.validate()
    }

    /// Bytes of its texts.
    pub fn weight(&self) -> usize {
        weight(&self.labels) + self.task_template.weight()
    }
}

impl TaskTemplate {
    /// Bytes of its texts, and of what stands between them.
    fn weight(&self) -> usize {
        let RuntimeSpec::Process(process) = &self.runtime;
        let texts = process.command.iter().chain(&process.groups);
        let texts = texts.chain(&process.user).chain(&process.workdir).chain(&process.hostname);
        let configs = process.configs.iter().map(|file| 32 + file.name.len() + file.target.len());
        let placement = self.placement.constraints.iter().map(|one| one.to_string().len() + 1);
        let preferences = self.placement.preferences.iter().map(|one| one.to_string().len() + 1);
        let probes = self.health.iter().chain(&self.ready).map(Probe::weight);
        texts.map(|text| text.len() + 1).sum::<usize>()
            + weight(&process.env)
            + configs.chain(placement).chain(preferences).chain(probes).sum::<usize>()
    }

    /// Checks what the types cannot.
    ///
    /// # Errors
    /// The first field that is wrong.
    pub fn validate(&self) -> Result<(), SpecError> {
        if self.stop_grace_ms > STOP_GRACE_MAX_MS {
            return Err(SpecError::new("TaskTemplate.StopGraceMs", "at most 24h"));
        }
        let (reserved, limits) = (&self.resources.reservations, self.resources.limits);
        reserved.validate("TaskTemplate.Resources.Reservations.Generic")?;
        if limits.cpu.is_some_and(|limit| limit < reserved.cpu || limit.0 == 0) {
            let reason = "must be above 0 and not below the reservation";
            return Err(SpecError::new("TaskTemplate.Resources.Limits.CPUMilli", reason));
        }
        if limits.memory.is_some_and(|limit| limit < reserved.memory || limit.0 < 4096) {
            let reason = "must be at least 4 KiB and not below the reservation";
            return Err(SpecError::new("TaskTemplate.Resources.Limits.MemoryBytes", reason));
        }
        if limits.pids == Some(0) {
            return Err(SpecError::new("TaskTemplate.Resources.Limits.Pids", "must be above 0"));
        }
        if self.drain_delay_ms > PROBE_TIME_MAX_MS {
            return Err(SpecError::new("TaskTemplate.DrainDelayMs", "at most 24h"));
        }
        for (field, probe) in [("HealthCheck", &self.health), ("ReadyCheck", &self.ready)] {
            if let Some(probe) = probe {
                probe.validate(&format!("TaskTemplate.{field}"))?;
            }
        }
        let RuntimeSpec::Process(process) = &self.runtime;
        let is_alone = process.namespaces.contains(&Namespace::Net);
        for (field, probe) in [("HealthCheck", &self.health), ("ReadyCheck", &self.ready)] {
            if is_alone && probe.as_ref().is_some_and(Probe::asks_the_network) {
                let reason = "a task with a network of its own cannot be reached from its node: \
                              ask by a command, or do not isolate net";
                return Err(SpecError::new(&format!("TaskTemplate.{field}.Check"), reason));
            }
        }
        process.validate()
    }
}

impl crate::runtime::ProcessSpec {
    fn validate(&self) -> Result<(), SpecError> {
        let field = |name: &str| format!("TaskTemplate.Runtime.Process.{name}");
        if self.command.first().is_none_or(String::is_empty) {
            return Err(SpecError::new(&field("Command"), "a process needs a program to run"));
        }
        let texts = self
            .command
            .iter()
            .map(|text| ("Command", text))
            .chain(self.env.values().map(|text| ("Env", text)))
            .chain(self.hostname.iter().map(|text| ("Hostname", text)));
        for (name, text) in texts {
            if text.contains('\0') {
                return Err(SpecError::new(&field(name), "must not contain a NUL byte"));
            }
            template::check(text)
                .map_err(|error| SpecError::new(&field(name), error.to_string()))?;
        }
        for name in self.env.keys() {
            if name.is_empty() || name.contains('=') || name.contains('\0') {
                let reason = format!("\"{name}\" is not the name of an environment variable");
                return Err(SpecError::new(&field("Env"), reason));
            }
        }
        if self.workdir.as_ref().is_some_and(|dir| !dir.starts_with('/')) {
            return Err(SpecError::new(&field("Workdir"), "must be an absolute path"));
        }
        for config in &self.configs {
            let plain = !config.target.is_empty()
                && !config.target.starts_with('/')
                && config.target.split('/').all(|part| !matches!(part, "" | "." | ".."));
            if !plain {
                let reason = format!("target \"{}\" must be a file name", config.target);
                return Err(SpecError::new(&field("Configs"), reason));
            }
        }
        Ok(())
    }
}

/// A declared service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "PascalCase")]
pub struct Service {
    /// Its id.
    #[serde(rename = "ID")]
    pub id: ServiceId,
    /// Version and times.
    pub meta: Meta,
    /// What was declared.
    pub spec: Arc<ServiceSpec>,
    /// The declaration before the last update.
    pub previous_spec: Option<Arc<ServiceSpec>>,
    /// Revision at which the task template last changed: tasks of another one are replaced.
    pub template_version: Version,
    /// The template by itself, shared with the tasks made from it.
    pub template: Arc<TaskTemplate>,
    /// Set by `service rm`: its tasks end, then it is deleted.
    pub removing: bool,
    /// The newest update; `None` before the first one.
    #[serde(default)]
    pub update: Option<UpdateState>,
    /// How far its schedule is; `None` without one.
    #[serde(default)]
    pub schedule: Option<ScheduleState>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzz::sample;

    fn refused(change: impl FnOnce(&mut ServiceSpec)) -> String {
        let mut spec = sample::service(ServiceMode::Global {});
        spec.validate().expect("the sample is valid");
        change(&mut spec);
        spec.validate().expect_err("over a bound").field
    }

    fn labels(count: usize, bytes: usize) -> BTreeMap<String, String> {
        (0..count).map(|number| (format!("k{number}"), "x".repeat(bytes))).collect()
    }

    #[test]
    fn a_task_with_a_network_of_its_own_is_asked_by_commands_only() {
        let probed = |check: crate::probe::Check| {
            let mut spec = sample::service(ServiceMode::Global {});
            let RuntimeSpec::Process(process) = &mut spec.task_template.runtime;
            process.namespaces = [Namespace::Net].into();
            spec.task_template.health = Some(Probe::new(check));
            spec.validate().err().map(|error| error.field)
        };
        let refused = probed(crate::probe::Check::Tcp { port: 80 });
        assert_eq!(refused.as_deref(), Some("TaskTemplate.HealthCheck.Check"));
        assert_eq!(probed(crate::probe::Check::Command(vec!["x".to_owned()])), None);
    }

    #[test]
    fn specs_have_bounds_of_number_and_length() {
        assert_eq!(refused(|spec| spec.labels = labels(LABELS_MAX + 1, 1)), "Labels");
        assert_eq!(refused(|spec| spec.labels = labels(17, LABEL_MAX)), "Labels");
        let long = "x".repeat(SPEC_BYTES_MAX);
        let texts = |change: fn(&mut crate::runtime::ProcessSpec, String)| {
            let long = long.clone();
            refused(move |spec| {
                let RuntimeSpec::Process(process) = &mut spec.task_template.runtime;
                change(process, long);
            })
        };
        assert_eq!(texts(|process, long| process.command.push(long)), "TaskTemplate");
        assert_eq!(
            texts(|process, long| drop(process.env.insert(long, String::new()))),
            "TaskTemplate"
        );
        assert_eq!(
            texts(|process, _| process.groups = vec![String::new(); SPEC_BYTES_MAX + 1]),
            "TaskTemplate"
        );
    }
}
