//! Which cgroup hierarchies this machine has, from the texts of `/proc/mounts` and
//! `/proc/self/cgroup`.
//!
//! Pure; whether they are writable is found out by [`super::Cgroups::probe`].

use std::path::{Path, PathBuf};

/// One mounted hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hierarchy {
    /// Where it is mounted.
    pub(crate) mount: PathBuf,
    /// This process's group in it, below `mount`.
    pub(crate) own: PathBuf,
}

/// The hierarchies that matter here. On a hybrid machine v2 is there without controllers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Hierarchies {
    pub(crate) unified: Option<Hierarchy>,
    pub(crate) cpu: Option<Hierarchy>,
    pub(crate) memory: Option<Hierarchy>,
    pub(crate) pids: Option<Hierarchy>,
    pub(crate) freezer: Option<Hierarchy>,
    pub(crate) systemd: Option<Hierarchy>,
}

/// Reads both texts; mounts that are read-only do not count.
pub(crate) fn detect(mounts: &str, own: &str) -> Hierarchies {
    let mut found = Hierarchies::default();
    for line in mounts.lines() {
        let mut fields = line.split(' ').skip(1);
        let (Some(path), Some(kind), Some(options)) = (fields.next(), fields.next(), fields.next())
        else {
            continue;
        };
        let options: Vec<&str> = options.split(',').collect();
        if options.contains(&"ro") {
            continue;
        }
        let mount = PathBuf::from(unescape(path));
        let at = |controller: &str| {
            Some(Hierarchy { mount: mount.clone(), own: own_group(own, controller) })
        };
        match kind {
            "cgroup2" => found.unified = found.unified.or_else(|| at("")),
            "cgroup" => {
                for (name, slot) in [
                    ("cpu", &mut found.cpu),
                    ("memory", &mut found.memory),
                    ("pids", &mut found.pids),
                    ("freezer", &mut found.freezer),
                    ("name=systemd", &mut found.systemd),
                ] {
                    if slot.is_none() && options.contains(&name) {
                        *slot = at(name);
                    }
                }
            }
            _ => {}
        }
    }
    found
}

/// The group of this process in the hierarchy with `controller` (empty: v2), relative.
fn own_group(own: &str, controller: &str) -> PathBuf {
    let group = own.lines().find_map(|line| {
        let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
        controllers.split(',').any(|name| name == controller).then_some(path)
    });
    Path::new(group.unwrap_or("/")).strip_prefix("/").unwrap_or(Path::new("")).to_owned()
}

/// `/proc/mounts` writes space, tab, line feed and backslash as three octal digits.
fn unescape(field: &str) -> String {
    [(r"\040", " "), (r"\011", "\t"), (r"\012", "\n"), (r"\134", r"\")]
        .into_iter()
        .fold(field.to_owned(), |text, (escaped, plain)| text.replace(escaped, plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(mount: &str, own: &str) -> Option<Hierarchy> {
        Some(Hierarchy { mount: mount.into(), own: own.into() })
    }

    #[test]
    fn a_unified_machine_has_v2_only() {
        let mounts = "sysfs /sys sysfs rw 0 0\ncgroup2 /sys/fs/cgroup cgroup2 rw,nsdelegate 0 0\n";
        let found = detect(mounts, "0::/system.slice/swarm.service\n");
        let unified = at("/sys/fs/cgroup", "system.slice/swarm.service");
        assert_eq!(found, Hierarchies { unified, ..Hierarchies::default() });
    }

    #[test]
    fn a_hybrid_machine_has_both_and_joint_mounts_serve_each_controller() {
        let mounts = "cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,cpu,cpuacct 0 0\n\
                      cgroup /sys/fs/cgroup/memory cgroup rw,relatime,memory 0 0\n\
                      cgroup /sys/fs/cgroup/systemd cgroup rw,xattr,name=systemd 0 0\n\
                      cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n";
        let own = "4:memory:/a/b\n2:cpu,cpuacct:/\n1:name=systemd:/c\n0::/d\n";
        let expect = Hierarchies {
            unified: at("/sys/fs/cgroup/unified", "d"),
            cpu: at("/sys/fs/cgroup/cpu,cpuacct", ""),
            memory: at("/sys/fs/cgroup/memory", "a/b"),
            systemd: at("/sys/fs/cgroup/systemd", "c"),
            ..Hierarchies::default()
        };
        assert_eq!(detect(mounts, own), expect);
    }

    #[test]
    fn read_only_and_odd_mounts_do_not_count() {
        let mounts = "cgroup2 /sys/fs/cgroup cgroup2 ro,nosuid 0 0\nrubbish\n\n\
                      cgroup /mnt/my\\040groups cgroup rw,pids 0 0\n";
        let expect = Hierarchies { pids: at("/mnt/my groups", ""), ..Hierarchies::default() };
        assert_eq!(detect(mounts, "rubbish"), expect);
    }
}
