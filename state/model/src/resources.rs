//! What nodes offer and tasks reserve or may use at most.

use serde::{Deserialize, Serialize};

use crate::units::{Bytes, MilliCpu};

/// An amount of CPU and memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "PascalCase", default)]
pub struct Resources {
    /// CPU in thousandths.
    #[serde(rename = "CPUMilli")]
    pub cpu: MilliCpu,
    /// Memory in bytes.
    #[serde(rename = "MemoryBytes")]
    pub memory: Bytes,
}

impl Resources {
    /// Both added, saturating.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            cpu: MilliCpu(self.cpu.0.saturating_add(other.cpu.0)),
            memory: Bytes(self.memory.0.saturating_add(other.memory.0)),
        }
    }

    /// What is left of `self` without `other`, at least zero.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        Self {
            cpu: MilliCpu(self.cpu.0.saturating_sub(other.cpu.0)),
            memory: Bytes(self.memory.0.saturating_sub(other.memory.0)),
        }
    }

    /// Whether `other` fits inside.
    pub fn covers(self, other: Self) -> bool {
        self.cpu >= other.cpu && self.memory >= other.memory
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "PascalCase", default)]
pub struct ResourceRequirements {
    /// Set aside by the scheduler.
    pub reservations: Resources,
    /// Enforced by the runtime.
    pub limits: Limits,
}
