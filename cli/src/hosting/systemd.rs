//! The systemd unit of a node: written when root starts a node on a machine that runs systemd.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use swarm_node::setup::DAEMON_LOG;

use crate::exit::Failure;

/// Where units of the administrator are.
const UNITS: &str = "/etc/systemd/system";
/// Set to 0, it keeps nodes out of systemd's hands.
const SWITCH: &str = "SWARM_SYSTEMD";

/// Whether new nodes become units.
pub(crate) fn is_in_charge() -> bool {
    rustix::process::geteuid().is_root()
        && Path::new("/run/systemd/system").is_dir()
        && std::env::var_os(SWITCH).is_none_or(|value| value != "0")
}

/// The name of a data directory's unit: `swarm.service` for /var/lib/swarm.
fn unit_name(data_dir: &Path) -> String {
    let text = data_dir.to_string_lossy();
    if text == "/var/lib/swarm" {
        return "swarm.service".to_owned();
    }
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    let word: String = text.trim_matches('/').chars().map(plain).collect();
    format!("swarm-{word}.service")
}

fn unit_path(data_dir: &Path) -> PathBuf {
    Path::new(UNITS).join(unit_name(data_dir))
}

/// A word of a unit's command line.
fn quoted(path: &Path) -> String {
    let text = path.to_string_lossy();
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '%' | '$' => quoted.extend([c, c]),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// The unit's text. Tasks outlive the daemon, so only the daemon itself is stopped.
fn unit(program: &Path, data_dir: &Path) -> String {
    let log = data_dir.join(DAEMON_LOG);
    format!(
        "[Unit]\n\
         Description=swarm node ({dir})\n\
         Wants=network-online.target\n\
         After=network-online.target\n\
         \n\
         [Service]\n\
         ExecStart={program} daemon --data-dir {quoted_dir}\n\
         Restart=on-failure\n\
         RestartSec=1\n\
         KillMode=process\n\
         Delegate=yes\n\
         TasksMax=infinity\n\
         LimitNOFILE=1048576\n\
         StandardOutput=append:{log}\n\
         StandardError=append:{log}\n\
         \n\
         [Install]\n\
         WantedBy=multi-user.target\n",
        dir = data_dir.display(),
        program = quoted(program),
        quoted_dir = quoted(data_dir),
        log = log.display(),
    )
}

fn systemctl(arguments: &[&str]) -> Result<(), Failure> {
    let output = Command::new("systemctl")
        .args(arguments)
        .output()
        .map_err(|error| Failure::failed(format!("cannot run systemctl: {error}")))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let message = format!("systemctl {}: {}", arguments.join(" "), said.trim());
    Err(Failure::failed(message))
}

/// Writes the unit, enables and starts it.
///
/// # Errors
/// What systemctl says; the unit is removed again.
pub(crate) fn install(program: &Path, data_dir: &Path) -> Result<(), Failure> {
    let path = unit_path(data_dir);
    fs::write(&path, unit(program, data_dir))
        .map_err(|error| Failure::failed(format!("cannot write {}: {error}", path.display())))?;
    let name = unit_name(data_dir);
    let started =
        systemctl(&["daemon-reload"]).and_then(|()| systemctl(&["enable", "--now", &name]));
    if started.is_err() {
        remove(data_dir);
    }
    started
}

/// Whether the unit runs or is about to.
pub(crate) fn is_active(data_dir: &Path) -> bool {
    systemctl(&["is-active", "--quiet", &unit_name(data_dir)]).is_ok()
}

/// Stops, disables and removes the unit of a data directory, if there is one.
pub(crate) fn remove(data_dir: &Path) {
    let path = unit_path(data_dir);
    if !path.exists() {
        return;
    }
    // What does not work here is said by the next `systemctl`; the node itself is gone already.
    let _disabled = systemctl(&["disable", "--now", &unit_name(data_dir)]);
    let _removed = fs::remove_file(&path);
    let _reloaded = systemctl(&["daemon-reload"]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_named_after_their_directory() {
        assert_eq!(unit_name(Path::new("/var/lib/swarm")), "swarm.service");
        assert_eq!(unit_name(Path::new("/data/my node")), "swarm-data-my-node.service");
    }

    #[test]
    fn the_unit_stops_the_daemon_but_not_the_tasks() {
        let text = unit(Path::new("/usr/bin/swarm"), Path::new("/data/a \"b\" 100%"));
        assert!(text.contains("KillMode=process\n"));
        let command = r#"ExecStart="/usr/bin/swarm" daemon --data-dir "/data/a \"b\" 100%%""#;
        assert!(text.contains(command), "{text}");
    }
}
