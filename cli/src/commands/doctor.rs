//! `swarm doctor`: what this machine lacks to be a good node, and how to mend it.

use std::net::{Ipv4Addr, SocketAddr};

use clap::Args;
use serde_json::json;
use swarm_node::clocks::PeerClock;
use swarm_node::config::NodeConfig;
use swarm_node::doctor::{self, Finding, Patient, Verdict};

use crate::args::Global;
use crate::client::Client;
use crate::clock::now;
use crate::exit::Failure;
use crate::output::format::Format;
use crate::output::{inspect, line, table};
use crate::parse::address::DEFAULT_PORT;

/// Check what this machine lacks to be a good node, and how to mend it
///
/// Looks at the kernel, cgroups, the disk under the data directory (a few KiB are written and synced
/// there), the node's port, the network's packet size and the clock. Works before `init` or `join`, while the
/// daemon runs, and when it does not start; run it as the daemon's user. Exit code 1 when something is BAD.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    swarm doctor\n  \
    sudo swarm doctor --data-dir /mnt/ssd/swarm     # before a node is made there\n  \
    swarm doctor --format '{{.Check}} {{.Verdict}}'")]
pub(crate) struct Doctor {
    /// json (one object a line) or a template like '{{.Check}} {{.Fix}}'
    #[arg(long, value_name = "FORMAT")]
    format: Option<Format>,
}

impl Doctor {
    /// Looks at everything and shows what it found.
    ///
    /// # Errors
    /// When something is bad, or the template does not fit.
    pub(crate) async fn run(self, global: &Global) -> Result<(), Failure> {
        if global.names_host() {
            return Err(Failure::usage(
                "doctor looks at this machine: leave --host away, and run it on the other one",
            ));
        }
        let findings = doctor::examine(&patient(global).await?);
        match self.format {
            Some(format) if format != Format::Table => {
                for finding in &findings {
                    inspect::one(&json!(finding), &format)?;
                }
            }
            Some(_) | None => line(&screen(&findings))?,
        }
        let bad = findings.iter().filter(|it| it.verdict == Verdict::Bad).count();
        match bad {
            0 => Ok(()),
            1 => Err(Failure::failed("1 finding is bad: mend it first")),
            bad => Err(Failure::failed(format!("{bad} findings are bad: mend them first"))),
        }
    }
}

async fn patient(global: &Global) -> Result<Patient, Failure> {
    let data_dir = global.data_dir()?;
    let client = global.client()?;
    let is_running = client.get::<serde_json::Value>("/v1/ping", &[]).await.is_ok();
    let peers = if is_running { clocks(&client).await } else { Vec::new() };
    // No node yet, or one whose settings do not read: its start says why.
    let listen = NodeConfig::load(&data_dir)
        .map_or_else(|_| SocketAddr::from((Ipv4Addr::UNSPECIFIED, DEFAULT_PORT)), |it| it.listen);
    Ok(Patient { data_dir, listen, is_running, now: now(), peers })
}

/// A daemon of an older version does not know; then only this machine is looked at.
async fn clocks(client: &Client) -> Vec<PeerClock> {
    client.get("/v1/clocks", &[]).await.unwrap_or_default()
}

/// A line a finding; what is to be done stands below it.
fn screen(findings: &[Finding]) -> String {
    let rows: Vec<Vec<String>> = findings
        .iter()
        .map(|it| vec![it.check.clone(), it.verdict.to_string(), it.found.clone()])
        .collect();
    let table = table::render(&["CHECK", "VERDICT", "FOUND"], &rows);
    let fixes = findings
        .iter()
        .filter(|it| !it.fix.is_empty())
        .map(|it| format!("\n{}: {}", it.check, it.fix));
    let fixes: String = fixes.collect();
    if fixes.is_empty() { table } else { format!("{table}\n\nTo mend:{fixes}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_to_do_stands_below_what_was_found() {
        let finding = |check: &str, verdict, fix: &str| Finding {
            check: check.into(),
            verdict,
            found: format!("{check} seen"),
            fix: fix.into(),
        };
        let well = [finding("kernel", Verdict::Ok, "")];
        assert_eq!(screen(&well), "CHECK    VERDICT   FOUND\nkernel   ok        kernel seen");
        let ill = [finding("port", Verdict::Bad, "end it"), finding("mtu", Verdict::Ok, "")];
        let want = "CHECK   VERDICT   FOUND\nport    BAD       port seen\nmtu     ok        mtu seen\n\n\
                    To mend:\nport: end it";
        assert_eq!(screen(&ill), want);
    }
}
