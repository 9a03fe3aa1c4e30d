//! Finds the `swarm` binary that belongs to this test or benchmark, and builds it when cargo runs us.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::SystemTime;

use anyhow::{Context as _, Result, anyhow, bail};

/// Source folders that the binary is made of.
const SOURCES: [&str; 6] = ["cli/src", "net/src", "node", "raft/src", "state", "Cargo.lock"];

/// The binary: `SWARM_BIN`, or the one of the target directory that this program was built into.
///
/// # Errors
/// When there is none and cargo cannot make one.
pub fn swarm() -> Result<PathBuf> {
    static FOUND: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let found = FOUND.get_or_init(|| find().map_err(|error| format!("{error:#}")));
    found.clone().map_err(|error| anyhow!("no swarm binary: {error}"))
}

fn find() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("SWARM_BIN") {
        return fs::canonicalize(&path).with_context(|| format!("SWARM_BIN={path:?}"));
    }
    let own = std::env::current_exe()?;
    let is_profile = |dir: &&Path| dir.ends_with("debug") || dir.ends_with("release");
    let profile = own.ancestors().find(is_profile).context("not in a cargo target directory")?;
    let binary = profile.join("swarm");
    if let Some(cargo) = std::env::var_os("CARGO")
        && is_stale(&binary)?
    {
        let mut build = Command::new(cargo);
        build.args(["build", "--quiet", "--package", "swarm", "--bin", "swarm"]);
        build.arg("--manifest-path").arg(root().join("Cargo.toml"));
        build.arg("--target-dir").arg(profile.parent().context("no target directory")?);
        if profile.ends_with("release") {
            build.arg("--release");
        }
        if !build.status().context("cannot run cargo")?.success() {
            bail!("cargo build --package swarm failed");
        }
    }
    if !binary.exists() {
        bail!("{} is missing: build it, or set SWARM_BIN", binary.display());
    }
    Ok(binary)
}

fn root() -> &'static Path {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap_or(own)
}

/// Whether the binary is missing or older than what it is made of.
fn is_stale(binary: &Path) -> Result<bool> {
    let Ok(built) = fs::metadata(binary).and_then(|found| found.modified()) else {
        return Ok(true);
    };
    for source in SOURCES {
        let path = root().join(source);
        if path.exists() && is_newer(&path, built)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn is_newer(path: &Path, than: SystemTime) -> Result<bool> {
    let found = fs::metadata(path)?;
    if !found.is_dir() {
        return Ok(found.modified()? > than);
    }
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        // Not part of the binary.
        let skipped = ["tests", "examples"].iter().any(|name| entry.file_name() == *name);
        if !skipped && is_newer(&entry.path(), than)? {
            return Ok(true);
        }
    }
    Ok(false)
}
