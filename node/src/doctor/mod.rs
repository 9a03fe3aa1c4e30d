//! `swarm doctor`: whether this machine gives a node what it needs, and how to mend what it does not.
//!
//! Looks at the machine alone, with or without a daemon on it; what only the cluster knows (others'
//! clocks) is handed in. Changes nothing but for a file of some KiB beside the data, that it removes again.

mod cgroups;
mod clock;
mod disk;
mod kernel;
mod network;

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use swarm_model::units::Timestamp;

use crate::clocks::PeerClock;

/// What is looked at.
#[derive(Debug, Clone)]
pub struct Patient {
    /// Where the node keeps, or would keep, its data.
    pub data_dir: PathBuf,
    /// Where it listens, or would listen.
    pub listen: SocketAddr,
    /// Whether its daemon runs, which then has the port.
    pub is_running: bool,
    /// The wall clock.
    pub now: Timestamp,
    /// The other members' clocks; empty when they cannot be asked.
    pub peers: Vec<PeerClock>,
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Verdict {
    /// Nothing to do.
    Ok,
    /// It works, with less than there could be.
    Warn,
    /// Something that people expect does not work, or what is acknowledged may be lost.
    Bad,
}

/// What one check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Finding {
    /// The check's name.
    pub check: String,
    /// How bad it is.
    pub verdict: Verdict,
    /// What was seen.
    pub found: String,
    /// How to mend it; empty when there is nothing to mend.
    #[serde(default)]
    pub fix: String,
}

impl Finding {
    fn ok(check: &str, found: impl Into<String>) -> Self {
        Self::new(Verdict::Ok, check, found, "")
    }

    fn warn(check: &str, found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self::new(Verdict::Warn, check, found, fix)
    }

    fn bad(check: &str, found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self::new(Verdict::Bad, check, found, fix)
    }

    fn new(
        verdict: Verdict,
        check: &str,
        found: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self { check: check.to_owned(), verdict, found: found.into(), fix: fix.into() }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Bad => "BAD",
        })
    }
}

/// Looks at everything, always in the same order. Blocks on the disk for a moment.
pub fn examine(patient: &Patient) -> Vec<Finding> {
    let mut findings = vec![kernel::check(), cgroups::check()];
    findings.extend(disk::check(&patient.data_dir));
    findings.extend(network::check(patient));
    findings.extend(clock::check(patient.now, &patient.peers));
    findings
}
