//! What nodes offer and tasks reserve or may use at most.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::service::SpecError;
use crate::units::{Bytes, MilliCpu};

/// What the kinds of device are called among the generic resources: `device/CLASS`.
pub const DEVICE_PREFIX: &str = "device/";
/// The most kinds of generic resource of one node or task.
pub const GENERIC_KINDS_MAX: usize = 32;
/// The longest name of a kind, in bytes.
pub const GENERIC_NAME_MAX: usize = 64;

/// An amount of CPU, memory and whatever else is counted.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "PascalCase", default)]
pub struct Resources {
    /// CPU in thousandths.
    #[serde(rename = "CPUMilli")]
    pub cpu: MilliCpu,
    /// Memory in bytes.
    #[serde(rename = "MemoryBytes")]
    pub memory: Bytes,
    /// Other things that are counted, by kind: licences, ports of a switch. Devices are called
    /// `device/CLASS`. A kind of which there is none is left out.
    pub generic: BTreeMap<String, u64>,
}

impl Resources {
    /// So much CPU and memory, and nothing else.
    pub fn new(cpu: MilliCpu, memory: Bytes) -> Self {
        Self { cpu, memory, generic: BTreeMap::new() }
    }

    /// Adds `other`, saturating.
    pub fn add(&mut self, other: &Self) {
        self.cpu.0 = self.cpu.0.saturating_add(other.cpu.0);
        self.memory.0 = self.memory.0.saturating_add(other.memory.0);
        for (kind, count) in &other.generic {
            let sum = self.generic.entry(kind.clone()).or_default();
            *sum = sum.saturating_add(*count);
        }
    }

    /// Takes `other` away, at least zero is left.
    pub fn subtract(&mut self, other: &Self) {
        self.cpu.0 = self.cpu.0.saturating_sub(other.cpu.0);
        self.memory.0 = self.memory.0.saturating_sub(other.memory.0);
        for (kind, count) in &other.generic {
            if let Some(left) = self.generic.get_mut(kind) {
                *left = left.saturating_sub(*count);
                if *left == 0 {
                    self.generic.remove(kind);
                }
            }
        }
    }

    /// Both added, saturating.
    #[must_use]
    pub fn plus(mut self, other: &Self) -> Self {
        self.add(other);
        self
    }

    /// What is left of `self` without `other`, at least zero.
    #[must_use]
    pub fn minus(mut self, other: &Self) -> Self {
        self.subtract(other);
        self
    }

    /// So much of a generic resource.
    pub fn generic(&self, kind: &str) -> u64 {
        self.generic.get(kind).copied().unwrap_or(0)
    }

    /// Whether `other` fits inside.
    pub fn covers(&self, other: &Self) -> bool {
        self.cpu >= other.cpu
            && self.memory >= other.memory
            && other.generic.iter().all(|(kind, count)| self.generic(kind) >= *count)
    }

    /// Checks what the types cannot.
    ///
    /// # Errors
    /// For too many kinds, for a name that is none, and for a count of zero.
    pub fn validate(&self, field: &str) -> Result<(), SpecError> {
        if self.generic.len() > GENERIC_KINDS_MAX {
            let reason = format!("{} kinds are more than {GENERIC_KINDS_MAX}", self.generic.len());
            return Err(SpecError::new(field, reason));
        }
        for (kind, count) in &self.generic {
            let name = kind.strip_prefix(DEVICE_PREFIX).unwrap_or(kind);
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
            if name.is_empty() || kind.len() > GENERIC_NAME_MAX || !name.chars().all(plain) {
                let reason = format!(
                    "\"{kind}\" is not a generic resource: letters, digits, '.', '-' and '_', for a \
                     device behind device/, at most {GENERIC_NAME_MAX} bytes"
                );
                return Err(SpecError::new(field, reason));
            }
            if *count == 0 {
                let reason = format!("{kind} must be above 0: leave it out for none");
                return Err(SpecError::new(field, reason));
            }
        }
        Ok(())
    }
}

/// The most a task may use; `None` is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "PascalCase", default)]
pub struct Limits {
    /// CPU in thousandths.
    #[serde(rename = "CPUMilli")]
    pub cpu: Option<MilliCpu>,
    /// Memory in bytes.
    #[serde(rename = "MemoryBytes")]
    pub memory: Option<Bytes>,
    /// Processes and threads.
    pub pids: Option<u64>,
}

/// What a task asks for.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "PascalCase", default)]
pub struct ResourceRequirements {
    /// Set aside by the scheduler.
    pub reservations: Resources,
    /// Enforced by the runtime.
    pub limits: Limits,
}
