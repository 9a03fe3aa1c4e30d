//! A network namespace for this program alone: faults reach nobody else, and none outlives it.
//!
//! It does not inject anything: see `partition`.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

/// Set in the environment of a program that runs in a network of its own.
const MARK: &str = "SWARM_CHAOS_OWN_NETWORK";

/// Whether [`enter`] has brought this program into a network of its own.
pub fn is_own() -> bool {
    std::env::var_os(MARK).is_some()
}

/// Starts this program anew in a network of its own, where that is possible; in there, prepares it.
/// Call it first: nothing done before is kept.
///
/// # Errors
/// When the loopback interface cannot be prepared.
pub fn enter() -> Result<()> {
    if is_own() {
        return prepare();
    }
    if rustix::process::geteuid().is_root() && may_unshare() {
        let program = std::env::current_exe().context("find this program")?;
        let error = Command::new("unshare")
            .args(["--net", "--"])
            .arg(program)
            .args(std::env::args_os().skip(1))
            .env(MARK, "1")
            .exec();
        bail!("start anew in a network of its own: {error}");
    }
    // Faults then are injected into the machine's network; what needs an own one says so.
    Ok(())
}

/// Whether there is `unshare`, and the right to use it.
fn may_unshare() -> bool {
    let tried = Command::new("unshare").args(["--net", "--", "true"]).output();
    tried.is_ok_and(|done| done.status.success())
}

/// A batch of segments (UDP GSO) crosses the loopback interface as one large packet: rules about
/// sizes or shares of packets would hit whole batches. No link beyond this machine carries them.
fn prepare() -> Result<()> {
    let done = Command::new("ip")
        .args(["link", "set", "dev", "lo", "up", "gso_max_segs", "1"])
        .output()
        .context("ip is needed (apt-get install iproute2)")?;
    if !done.status.success() {
        bail!("ip link set lo: {}", String::from_utf8_lossy(&done.stderr).trim_end());
    }
    Ok(())
}
