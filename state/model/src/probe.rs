//! Probes: how a node asks a running task whether it is well, and what came of it.
//!
//! Plain data and its rules; who asks, and what follows, is decided elsewhere.

use serde::{Deserialize, Serialize};

use crate::service::SpecError;
use crate::template;

/// The longest span of time in a probe, and the longest drain delay.
pub const PROBE_TIME_MAX_MS: u64 = 24 * 3600 * 1000;
/// The shortest pause between two probes.
pub const PROBE_INTERVAL_MIN_MS: u64 = 100;
/// The most failures in a row that can be asked for.
pub const PROBE_RETRIES_MAX: u32 = 10_000;
/// The longest path of an HTTP probe, in bytes.
pub const PROBE_PATH_MAX: usize = 1024;
/// The longest text that is kept of a probe, in bytes.
pub const PROBE_TEXT_MAX: usize = 256;

/// What is asked of a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub enum Check {
    /// A program, run as the task's own is (same user, directory, environment and limits), ends with exit
    /// code 0. Templates are expanded.
    Command(Vec<String>),
    /// A GET on the task's address is answered with a status from 200 to 399.
    Http {
        /// With its leading slash.
        #[serde(rename = "Path")]
        path: String,
        /// The port.
        #[serde(rename = "Port")]
        port: u16,
    },
    /// The task's address takes a connection.
    Tcp {
        /// The port.
        #[serde(rename = "Port")]
        port: u16,
    },
}

/// How often a task is asked, and what its answers mean.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "PascalCase")]
pub struct Probe {
    /// What is asked.
    pub check: Check,
    /// From the beginning of one probe to that of the next.
    #[serde(default = "default_interval")]
    pub interval_ms: u64,
    /// A probe without an answer by then has failed; what it started is killed.
    #[serde(default = "default_timeout")]
    pub timeout_ms: u64,
    /// So many failures in a row, an interval apart each, mean that the task is not well.
    #[serde(default = "default_retries")]
    pub retries: u32,
    /// Failures so soon after the start do not count.
    #[serde(default)]
    pub start_period_ms: u64,
    /// The longest pause between two probes before the first success.
    #[serde(default = "default_start_interval")]
    pub start_interval_ms: u64,
}

fn default_interval() -> u64 {
    10_000
}

fn default_timeout() -> u64 {
    5000
}

fn default_retries() -> u32 {
    3
}

fn default_start_interval() -> u64 {
    1000
}

impl Probe {
    /// Asks `check` at the usual times.
    pub fn new(check: Check) -> Self {
        Self {
            check,
            interval_ms: default_interval(),
            timeout_ms: default_timeout(),
            retries: default_retries(),
            start_period_ms: 0,
            start_interval_ms: default_start_interval(),
        }
    }

    /// Bytes of its texts.
    pub(crate) fn weight(&self) -> usize {
        match &self.check {
            Check::Command(words) => words.iter().map(|word| word.len() + 1).sum(),
            Check::Http { path, .. } => path.len(),
            Check::Tcp { .. } => 0,
        }
    }

    /// Whether the task has to be reached over the network.
    pub(crate) fn asks_the_network(&self) -> bool {
        match self.check {
            Check::Command(_) => false,
            Check::Http { .. } | Check::Tcp { .. } => true,
        }
    }

    /// Checks what the types cannot. `field` is the probe's name in the spec.
    ///
    /// # Errors
    /// The first field that is wrong.
    pub(crate) fn validate(&self, field: &str) -> Result<(), SpecError> {
        let refused = |name: &str, reason: String| {
            let field = format!("{field}.{name}");
            Err(SpecError::new(&field, reason))
        };
        self.check.validate(&format!("{field}.Check"))?;
        for (name, span) in
            [("IntervalMs", self.interval_ms), ("StartIntervalMs", self.start_interval_ms)]
        {
            if !(PROBE_INTERVAL_MIN_MS..=PROBE_TIME_MAX_MS).contains(&span) {
                return refused(name, format!("{span} ms: must be from 100 ms to 24 h"));
            }
        }
        if self.timeout_ms == 0 {
            return refused("TimeoutMs", "nothing answers within no time".to_owned());
        }
        if self.timeout_ms > self.interval_ms {
            let (timeout, interval) = (self.timeout_ms, self.interval_ms);
            let reason = format!(
                "{timeout} ms is longer than the interval of {interval} ms: a probe has to end \
                 before the next one begins"
            );
            return refused("TimeoutMs", reason);
        }
        if self.start_period_ms > PROBE_TIME_MAX_MS {
            return refused("StartPeriodMs", "at most 24 h".to_owned());
        }
        if !(1..=PROBE_RETRIES_MAX).contains(&self.retries) {
            let reason = format!(
                "{} failures: must be from 1 to {PROBE_RETRIES_MAX}; without a probe nothing counts",
                self.retries
            );
            return refused("Retries", reason);
        }
        Ok(())
    }
}

impl Check {
    fn validate(&self, field: &str) -> Result<(), SpecError> {
        let refused = |reason: String| Err(SpecError::new(field, reason));
        match self {
            Self::Command(words) => {
                if words.first().is_none_or(String::is_empty) {
                    return refused("a probe's command needs a program to run".to_owned());
                }
                for word in words {
                    if word.contains('\0') {
                        return refused("must not contain a NUL byte".to_owned());
                    }
                    template::check(word)
                        .map_err(|error| SpecError::new(field, error.to_string()))?;
                }
                Ok(())
            }
            Self::Http { port: 0, .. } | Self::Tcp { port: 0 } => {
                refused("nothing listens on port 0: name the task's port".to_owned())
            }
            Self::Http { path, .. } if !path.starts_with('/') => {
                refused(format!("\"{path}\" is not a path: it begins with a slash"))
            }
            Self::Http { path, .. } if path.len() > PROBE_PATH_MAX => {
                refused(format!("{} bytes are more than {PROBE_PATH_MAX}", path.len()))
            }
            Self::Http { path, .. } if !path.bytes().all(|byte| byte.is_ascii_graphic()) => {
                refused(format!("{path:?} has to be encoded: no blanks, ASCII only"))
            }
            Self::Http { .. } | Self::Tcp { .. } => Ok(()),
        }
    }
}

/// What a task's health probe says, in Docker's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum HealthState {
    /// There is none.
    None,
    /// It has not succeeded yet.
    Starting,
    /// It succeeds.
    Healthy,
    /// It failed too often: the task is stopped.
    Unhealthy,
}

/// What the probes of a task say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "PascalCase")]
pub struct Health {
    /// The health probe.
    pub status: HealthState,
    /// Whether the task may be sent work.
    pub ready: bool,
    /// Why it is not healthy or not ready; empty when it is.
    pub message: String,
}

impl Health {
    /// The same with a text that is not too long.
    pub(crate) fn shorten(&mut self) {
        self.message.truncate(self.message.floor_char_boundary(PROBE_TEXT_MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn http(path: &str, port: u16) -> Check {
        Check::Http { path: path.to_owned(), port }
    }

    #[test]
    fn what_contradicts_itself_is_refused_by_field() {
        let check = |change: &dyn Fn(&mut Probe), expect: Option<&str>| {
            let mut probe = Probe::new(http("/healthz", 80));
            change(&mut probe);
            let refused = probe.validate("HealthCheck").err().map(|error| error.field);
            assert_eq!(refused.as_deref(), expect, "{probe:?}");
        };
        check(&|_| {}, None);
        check(&|it| it.timeout_ms = 10_000, None);
        check(&|it| it.timeout_ms = 10_001, Some("HealthCheck.TimeoutMs"));
        check(&|it| it.timeout_ms = 0, Some("HealthCheck.TimeoutMs"));
        check(&|it| it.retries = 0, Some("HealthCheck.Retries"));
        check(&|it| it.interval_ms = 99, Some("HealthCheck.IntervalMs"));
        check(&|it| it.start_interval_ms = 0, Some("HealthCheck.StartIntervalMs"));
        check(&|it| it.start_period_ms = u64::MAX, Some("HealthCheck.StartPeriodMs"));
        let is = |check: Check| move |it: &mut Probe| it.check = check.clone();
        for wrong in [
            http("/", 0),
            http("healthz", 80),
            http("/a b", 80),
            http("/ä", 80),
            http(&"/".repeat(PROBE_PATH_MAX + 1), 80),
            Check::Tcp { port: 0 },
            Check::Command(Vec::new()),
            Check::Command(vec![String::new()]),
            Check::Command(vec!["a".to_owned(), "\0".to_owned()]),
            Check::Command(vec!["{{.Nope}}".to_owned()]),
        ] {
            check(&is(wrong), Some("HealthCheck.Check"));
        }
        check(&is(Check::Command(vec!["check".to_owned(), "{{.Task.Slot}}".to_owned()])), None);
    }

    #[test]
    fn json_takes_defaults_and_reads_as_documented() {
        let text = r#"{"Check":{"Http":{"Path":"/","Port":80}}}"#;
        let probe: Probe = serde_json::from_str(text).expect("is a probe");
        assert_eq!(probe, Probe::new(http("/", 80)));
        let text = r#"{"Check":{"Command":["true"]},"Retries":1}"#;
        assert!(serde_json::from_str::<Probe>(text).is_ok_and(|probe| probe.retries == 1));
        let health = Health { status: HealthState::Healthy, ready: true, message: String::new() };
        let text = serde_json::to_string(&health).expect("is written");
        assert_eq!(text, r#"{"Status":"healthy","Ready":true,"Message":""}"#);
    }
}
