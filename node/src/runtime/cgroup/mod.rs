//! Control groups: where a task's processes are found, limited and killed together.
//!
//! v2 where there is one (also without controllers, as on hybrid machines), v1 for the limits that
//! v2 does not have, none where nothing is writable. Starting programs in them is not done here.

mod detect;
mod group;
mod v1;
mod v2;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use swarm_model::id::TaskId;
use swarm_model::resources::Limits;

use self::detect::Hierarchy;
use super::Failure;
pub(crate) use group::{Group, Part};

/// The kernel's default period of CPU bandwidth.
const CPU_PERIOD_US: u64 = 100_000;
/// Below this the kernel refuses a CPU quota (1 ms of 100 ms).
const MIN_MILLI_CPU: u64 = 10;

/// A limit that the kernel did not take.
#[derive(Debug)]
struct Refused {
    limit: &'static str,
    source: io::Error,
}

/// The groups that this daemon may make: the parent of all task groups in each hierarchy.
#[derive(Debug, Default)]
pub(crate) struct Cgroups {
    unified: Option<PathBuf>,
    cpu: Option<PathBuf>,
    memory: Option<PathBuf>,
    pids: Option<PathBuf>,
    freezer: Option<PathBuf>,
    /// Controllers that v2 has.
    controllers: Vec<String>,
    /// Groups that supervisors join, so that stopping the daemon's service spares them.
    refuge: Vec<PathBuf>,
}

/// What this machine's groups can do for tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Limitable {
    /// Which there are; `None` when none is writable.
    pub(crate) kind: Option<&'static str>,
    /// CPU time has a limit.
    pub(crate) cpu: bool,
    /// Memory has a limit.
    pub(crate) memory: bool,
    /// The number of processes has a limit.
    pub(crate) pids: bool,
}

impl Cgroups {
    /// Looks what is there and writable, and makes the parents named `name`.
    pub(crate) fn probe(name: &str) -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let found = detect::detect(&read("/proc/mounts"), &read("/proc/self/cgroup"));
        let unified = found.unified.as_ref().and_then(|at| parent(at, name));
        let controllers =
            unified.as_deref().and_then(Path::parent).map_or_else(Vec::new, |above| {
                let text = fs::read_to_string(above.join("cgroup.controllers")).unwrap_or_default();
                text.split_whitespace().map(str::to_owned).collect()
            });
        let usable = |at: &Option<Hierarchy>| at.as_ref().and_then(|at| parent(at, name));
        // Only the hierarchies that a service manager kills by, and only when it put us somewhere.
        let refuge = [&found.unified, &found.systemd].into_iter().flatten();
        let refuge = refuge
            .filter(|at| at.own != Path::new(""))
            .filter_map(|at| parent(at, name).map(|parent| parent.join("supervisors")));
        Self {
            refuge: refuge.filter(|group| make(group).is_ok()).collect(),
            cpu: usable(&found.cpu),
            memory: usable(&found.memory),
            pids: usable(&found.pids),
            freezer: usable(&found.freezer),
            unified,
            controllers,
        }
    }

    /// Finds out what could be limited on this machine, and leaves nothing behind.
    pub(crate) fn trial(name: &str) -> Limitable {
        let all = Self::probe(name);
        let v2 = |name: &str| all.controllers.iter().any(|controller| controller == name);
        let found = Limitable {
            kind: match (&all.unified, all.controllers.is_empty()) {
                (Some(_), false) => Some("cgroup v2"),
                (Some(_), true) => Some("cgroup v1 and v2"),
                (None, _) => all.freezer.as_ref().or(all.memory.as_ref()).map(|_| "cgroup v1"),
            },
            cpu: v2("cpu") || all.cpu.is_some(),
            memory: v2("memory") || all.memory.is_some(),
            pids: v2("pids") || all.pids.is_some(),
        };
        let made = [&all.unified, &all.cpu, &all.memory, &all.pids, &all.freezer];
        // Below the groups to be left are those of the supervisors.
        for group in all.refuge.iter().chain(made.into_iter().flatten()) {
            fs::remove_dir(group).ok();
        }
        for group in &all.refuge {
            group.parent().map(fs::remove_dir);
        }
        found
    }

    /// Groups that a task's supervisor joins.
    pub(crate) fn refuge(&self) -> &[PathBuf] {
        &self.refuge
    }

    /// Makes the task's groups with its limits. Without a writable hierarchy a task without limits
    /// gets an empty [`Group`].
    pub(crate) fn create(&self, task: TaskId, limits: &Limits) -> Result<Group, Failure> {
        let mut group = Group::default();
        self.fill(&mut group, &task.to_string(), limits).inspect_err(|_failed| {
            group.remove().ok();
        })?;
        Ok(group)
    }

    fn fill(&self, group: &mut Group, name: &str, limits: &Limits) -> Result<(), Failure> {
        let limits = &Limits {
            cpu: limits.cpu.map(|cpu| cpu.max(swarm_model::units::MilliCpu(MIN_MILLI_CPU))),
            ..*limits
        };
        let mut by_v1 = *limits;
        if let Some(parent) = &self.unified {
            let by_v2 = self.split(&mut by_v1);
            v2::enable(parent.parent().unwrap_or(parent), &by_v2).map_err(unsupported)?;
            v2::enable(parent, &by_v2).map_err(unsupported)?;
            let dir = parent.join(name);
            make(&dir).map_err(|source| Failure::at("make cgroup", &dir, source))?;
            let dir = group.unified.insert(dir);
            v2::limit(dir, &by_v2).map_err(unsupported)?;
        }
        if let Some(cpu) = by_v1.cpu {
            v1::limit_cpu(join(group, self.cpu.as_ref(), name, "cpu")?, cpu)
                .map_err(unsupported)?;
        }
        if let Some(memory) = by_v1.memory {
            let dir = join(group, self.memory.as_ref(), name, "memory")?.clone();
            v1::limit_memory(&dir, memory).map_err(unsupported)?;
            group.memory = Some(dir);
        }
        if let Some(pids) = by_v1.pids {
            let dir = join(group, self.pids.as_ref(), name, "pids")?;
            v1::limit_pids(dir, pids).map_err(unsupported)?;
        }
        if group.unified.is_none() && self.freezer.is_some() {
            group.freezer = Some(join(group, self.freezer.as_ref(), name, "freezer")?.clone());
        }
        Ok(())
    }

    /// Takes the limits that v2 can enforce out of `limits`.
    fn split(&self, limits: &mut Limits) -> Limits {
        let has = |name: &str| self.controllers.iter().any(|controller| controller == name);
        Limits {
            cpu: if has("cpu") { limits.cpu.take() } else { None },
            memory: if has("memory") { limits.memory.take() } else { None },
            pids: if has("pids") { limits.pids.take() } else { None },
        }
    }
}

fn unsupported(refused: Refused) -> Failure {
    let Refused { limit, source } = refused;
    Failure::LimitUnsupported { limit, why: format!("the kernel refused it ({source})") }
}

/// Makes the task's group in a v1 hierarchy.
fn join<'a>(
    group: &'a mut Group,
    parent: Option<&PathBuf>,
    name: &str,
    limit: &'static str,
) -> Result<&'a PathBuf, Failure> {
    let parent = parent.ok_or_else(|| Failure::LimitUnsupported {
        limit,
        why: "no writable cgroup hierarchy has this controller (run as root, or enable it)".into(),
    })?;
    let dir = parent.join(name);
    make(&dir).map_err(|source| Failure::at("make cgroup", &dir, source))?;
    group.joined.push(dir);
    Ok(group.joined.last().expect("pushed in the line before"))
}

/// The parent of all tasks at the hierarchy's root, or below this process's own group.
fn parent(at: &Hierarchy, name: &str) -> Option<PathBuf> {
    let candidates = [at.mount.join(name), at.mount.join(&at.own).join(name)];
    candidates.into_iter().find(|dir| {
        make(dir).is_ok() && rustix::fs::access(dir, rustix::fs::Access::WRITE_OK).is_ok()
    })
}

fn make(dir: &Path) -> io::Result<()> {
    match fs::create_dir(dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

/// One write call, as these files demand.
fn write(path: &Path, text: &str) -> io::Result<()> {
    use std::io::Write;
    fs::OpenOptions::new().write(true).open(path)?.write_all(text.as_bytes())
}

/// The value behind `name` in a file of `name value` lines; 0 when there is none.
fn counter(path: &Path, name: &str) -> u64 {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines()
        .filter_map(|line| line.split_once(' '))
        .find(|(key, _)| *key == name)
        .and_then(|(_, value)| value.trim().parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};
    use swarm_model::units::{Bytes, MilliCpu};

    fn task() -> TaskId {
        TaskId::from_raw(u128::from(std::process::id()))
    }

    /// A program that has forked, inside of every group.
    fn fill(group: &Group) -> std::process::Child {
        let mut child = Command::new("sh")
            .args(["-c", "read go; sleep 1000 & sleep 1000"])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        for dir in group.unified.iter().chain(&group.joined) {
            write(&dir.join("cgroup.procs"), &child.id().to_string()).unwrap();
        }
        drop(child.stdin.take());
        child
    }

    fn check(cgroups: &Cgroups) {
        let group = cgroups.create(task(), &Limits::default()).unwrap();
        let mut child = fill(&group);
        assert!(group.kill(), "{group:?}");
        assert!(!child.wait().unwrap().success());
        assert!(!group.had_oom_kill());
        // The orphan is reaped by whoever adopts it, moments later.
        while group.remove().is_err() {
            std::thread::yield_now();
        }
        assert!(group.remove().is_ok(), "removing again is fine");
    }

    /// Of each kind that this machine has.
    fn each_kind() -> impl Iterator<Item = Cgroups> {
        let all = Cgroups::probe("swarm-unit-test");
        let v2 = all.unified.map(|it| Cgroups { unified: Some(it), ..Cgroups::default() });
        let v1 = all.freezer.map(|it| Cgroups { freezer: Some(it), ..Cgroups::default() });
        v2.into_iter().chain(v1)
    }

    #[test]
    fn every_kind_of_group_kills_what_is_in_it() {
        each_kind().for_each(|cgroups| check(&cgroups));
    }

    #[test]
    fn a_part_is_killed_by_itself_and_with_the_whole() {
        let task = TaskId::from_raw(task().raw() + 1);
        for cgroups in each_kind() {
            let group = cgroups.create(task, &Limits::default()).unwrap();
            let [one, other] = ["one", "other"].map(|name| group.part(name).unwrap());
            let mut whole = fill(&group);
            let mut parts = [&one, &other].map(|part| fill(&part.group));
            assert!(one.kill(), "{one:?}");
            assert!(!parts[0].wait().unwrap().success());
            assert!(whole.try_wait().unwrap().is_none() && parts[1].try_wait().unwrap().is_none());
            while one.remove().is_err() {
                std::thread::yield_now();
            }
            assert!(group.kill(), "{group:?}");
            assert!(!whole.wait().unwrap().success() && !parts[1].wait().unwrap().success());
            // The other part goes with it.
            while group.remove().is_err() {
                std::thread::yield_now();
            }
        }
        let none = Group::default().part("none").unwrap();
        assert!(!none.kill() && none.remove().is_ok());
    }

    #[test]
    fn without_a_file_to_kill_by_the_parts_are_listed_too() {
        let task = TaskId::from_raw(task().raw() + 2);
        for cgroups in each_kind() {
            let group = cgroups.create(task, &Limits::default()).unwrap();
            let mut within = fill(&group.part("part").unwrap().group);
            let dir = group.unified.as_ref().or(group.freezer.as_ref()).unwrap();
            assert!(group::kill_listed(dir));
            assert!(!within.wait().unwrap().success());
            while group.remove().is_err() {
                std::thread::yield_now();
            }
        }
    }

    #[test]
    fn a_trial_leaves_no_group_behind() {
        let name = format!("swarm-trial-{}", std::process::id());
        Cgroups::trial(&name);
        let read = |path| fs::read_to_string(path).unwrap();
        let found = detect::detect(&read("/proc/mounts"), &read("/proc/self/cgroup"));
        let all =
            [found.unified, found.cpu, found.memory, found.pids, found.freezer, found.systemd];
        for at in all.into_iter().flatten() {
            assert!(!at.mount.join(&name).exists() && !at.mount.join(&at.own).join(&name).exists());
        }
    }

    #[test]
    fn limits_without_a_hierarchy_are_refused_and_no_limits_are_fine() {
        let none = Cgroups::default();
        assert_eq!(none.create(task(), &Limits::default()).unwrap(), Group::default());
        for limits in [
            Limits { cpu: Some(MilliCpu(1)), ..Limits::default() },
            Limits { memory: Some(Bytes(1 << 20)), ..Limits::default() },
            Limits { pids: Some(1), ..Limits::default() },
        ] {
            let failure = none.create(task(), &limits).unwrap_err();
            assert!(matches!(failure, Failure::LimitUnsupported { .. }), "{failure}");
        }
    }

    #[test]
    fn limits_go_to_v2_where_it_has_the_controller() {
        let controllers = vec!["cpu".to_owned(), "pids".to_owned()];
        let cgroups = Cgroups { controllers, ..Cgroups::default() };
        let mut rest = Limits { cpu: Some(MilliCpu(1)), memory: Some(Bytes(2)), pids: Some(3) };
        let by_v2 = cgroups.split(&mut rest);
        assert_eq!(by_v2, Limits { cpu: Some(MilliCpu(1)), memory: None, pids: Some(3) });
        assert_eq!(rest, Limits { memory: Some(Bytes(2)), ..Limits::default() });
    }
}
