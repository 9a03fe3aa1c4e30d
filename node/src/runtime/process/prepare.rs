//! Checks a launch against this machine and writes everything that its supervisor needs.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, chown};
use std::path::Path;

use rustix::process::{getegid, geteuid, getgroups};
use swarm_model::runtime::Namespace;

use super::record::{Account, LaunchRecord, RunDir};
use super::{Inner, account, files, resolve};
use crate::runtime::{Failure, Launch};

/// Makes the task's run directory. Blocking. On failure nothing is left.
pub(super) fn prepare(inner: &Inner, launch: &Launch) -> Result<(), Failure> {
    let dir = inner.run_dir(launch.task);
    if dir.was_started() {
        return Err(Failure::AlreadyStarted { task: launch.task });
    }
    if launch.namespaces.contains(&Namespace::Pid) && !geteuid().is_root() {
        let why = "only a daemon that runs as root can make it".to_owned();
        return Err(Failure::NotIsolated { names: Namespace::Pid.to_string(), why });
    }
    let (account, home) = whom(launch.user.as_deref(), &launch.groups)?;
    let own_workdir = launch.workdir.is_none();
    let workdir = match &launch.workdir {
        Some(asked) => resolve::workdir(asked)?,
        None => dir.work(),
    };
    let env = environment(launch, home, &inner.files_dir(launch.task));
    let path = env.iter().rfind(|(name, _)| name == "PATH").map_or("", |(_, path)| path);
    let name = launch.command.first().ok_or(Failure::EmptyCommand)?;
    without_nul(&launch.command, &env)?;
    let program = resolve::program(name, path, &workdir)?;
    let group = inner.cgroups().create(launch.task, &launch.limits)?;
    let record = LaunchRecord {
        task: launch.task,
        program,
        arguments: launch.command.clone(),
        env,
        account,
        workdir,
        own_workdir,
        hostname: launch.hostname.clone(),
        namespaces: launch.namespaces.clone(),
        group,
        refuge: inner.cgroups().refuge().to_vec(),
        log_dir: inner.config.logs.ring(launch.task),
        log: launch.log,
    };
    let files = inner.files_dir(launch.task);
    write(&dir, &files, launch, &record).inspect_err(|_failed| {
        record.group.remove().ok();
        files::remove(&files).ok();
        fs::remove_dir_all(dir.path()).ok();
    })
}

fn write(
    dir: &RunDir,
    files: &Path,
    launch: &Launch,
    record: &LaunchRecord,
) -> Result<(), Failure> {
    let failed = |source: io::Error| Failure::at("make run directory", dir.path(), source);
    // Others may pass through, to the task's own directory; they may not look.
    DirBuilder::new().recursive(true).mode(0o711).create(dir.path()).map_err(failed)?;
    let work = dir.work();
    match DirBuilder::new().mode(0o700).create(&work) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        made => made.map_err(failed)?,
    }
    if let Some(Account { uid, gid, .. }) = record.account {
        chown(&work, Some(uid), Some(gid)).map_err(failed)?;
    }
    if !launch.configs.is_empty() {
        files::write(files, &launch.configs, record.account.as_ref())?;
    }
    dir.write_launch(record).map_err(failed)
}

/// Arguments and variables end at a NUL for the kernel: one in them says something else than was meant.
pub(super) fn without_nul(command: &[String], env: &[(String, String)]) -> Result<(), Failure> {
    let mut texts = command.iter().chain(env.iter().flat_map(|(name, value)| [name, value]));
    if !texts.any(|text| text.contains('\0')) {
        return Ok(());
    }
    let program = command.first().cloned().unwrap_or_default();
    let why = "a NUL character is in its arguments or its environment".to_owned();
    Err(Failure::NotExecutable { program, why })
}

/// The account to change to, if any, and the home directory.
pub(super) fn whom(
    user: Option<&str>,
    more: &[String],
) -> Result<(Option<Account>, Option<String>), Failure> {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let (passwd, group) = (read("/etc/passwd"), read("/etc/group"));
    let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
    let asked = user.map_or_else(|| format!("{uid}:{gid}"), str::to_owned);
    let mut found = account::look_up(&asked, more, &passwd, &group)?;
    if user.is_none() && more.is_empty() {
        return Ok((None, found.home));
    }
    if user.is_none() {
        let own = getgroups().unwrap_or_default();
        found.account.groups.extend(own.into_iter().map(rustix::process::Gid::as_raw));
    }
    if uid == 0 {
        return Ok((Some(found.account), found.home));
    }
    if found.account.uid == uid && found.account.gid == gid && more.is_empty() {
        return Ok((None, found.home));
    }
    let what = format!("run as {asked}: the daemon runs as uid {uid}, only root may change user");
    Err(Failure::PermissionDenied { what })
}

/// The launch's environment and what every program may expect in it.
fn environment(launch: &Launch, home: Option<String>, files: &Path) -> Vec<(String, String)> {
    let mut env = launch.env.clone();
    let mut default = |name: &str, value: String| {
        if !launch.env.iter().any(|(known, _)| known == name) {
            env.push((name.to_owned(), value));
        }
    };
    default("PATH", resolve::DEFAULT_PATH.to_owned());
    default("HOME", home.unwrap_or_else(|| "/".to_owned()));
    default("SWARM_TASK_ID", launch.task.to_string());
    if let Some(hostname) = &launch.hostname {
        default("HOSTNAME", hostname.clone());
    }
    if !launch.configs.is_empty() {
        default("SWARM_CONFIGS_DIR", files.display().to_string());
    }
    env
}
