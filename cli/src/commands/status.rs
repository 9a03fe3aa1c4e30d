//! `swarm status`: the cluster on one screen.

use std::fmt::Write as _;

use clap::Args;
use serde_json::Value;
use swarm_model::units::{Bytes, Timestamp};
use swarm_node::api::types::ClusterStatus;

use crate::client::Client;
use crate::clock::now;
use crate::exit::Failure;
use crate::output::format::Format;
use crate::output::{inspect, line, table};
use crate::parse::duration;

/// Show the cluster on one screen
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    swarm status\n  \
    swarm status --format '{{.Quorum}} {{.Info.Leader}}'")]
pub(crate) struct Status {
    /// json (one line) or a template like '{{.Quorum}}'
    #[arg(long, value_name = "FORMAT")]
    format: Option<Format>,
}

impl Status {
    /// Shows it.
    ///
    /// # Errors
    /// When no node answers, or the template does not fit.
    pub(crate) async fn run(self, client: &Client) -> Result<(), Failure> {
        let object: Value = client.get("/v1/status", &[]).await?;
        match self.format {
            Some(format) if format != Format::Table => inspect::one(&object, &format),
            Some(_) | None => {
                let status: ClusterStatus = serde_json::from_value(object).map_err(|error| {
                    Failure::failed(format!("the node's answer is not understood: {error}"))
                })?;
                line(screen(&status, now()).trim_end())
            }
        }
    }
}

fn nodes(status: &ClusterStatus) -> String {
    let text = format!("{} ready, {} down", status.nodes_ready, status.nodes_down);
    match status.nodes_unknown {
        0 => text,
        unknown => format!("{text}, {unknown} unknown"),
    }
}

/// The whole screen.
fn screen(status: &ClusterStatus, now: Timestamp) -> String {
    let info = &status.info;
    let leader = match info.leader {
        None => "none known".to_owned(),
        Some(leader) => {
            let name = status.replicas.iter().find(|replica| replica.node_id == leader);
            let name = name.map_or("", |replica| replica.hostname.as_str());
            format!("{} {name}", leader.short())
        }
    };
    let quorum = if status.quorum { "yes" } else { "LOST: only reads are answered" };
    let expires = duration::in_words(info.certificate_expires_at.since(now)).to_lowercase();
    let expires = if info.certificate_expires_at > now { expires } else { "EXPIRED".to_owned() };
    let facts = [
        ("Cluster", info.cluster_id.short()),
        ("Quorum", format!("{quorum} ({} of {} voters)", status.voters_reachable, status.voters)),
        ("Leader", leader),
        ("Term", format!("{}, revision {}, epoch {}", info.term, info.revision, info.epoch)),
        ("Nodes", nodes(status)),
        ("Services", format!("{}, {} short", status.services, status.services_short.len())),
        ("This node", format!("{} {} ({})", info.node_id.short(), info.hostname, info.role)),
        ("Certificate", format!("ends in {expires}")),
        (
            "Disk writes",
            status.disk_bytes_per_day.map_or_else(
                || format!("{} since the start", Bytes(info.disk_bytes_written)),
                |bytes| format!("{} a day, by the last hour", Bytes(bytes)),
            ),
        ),
    ];
    let mut text = String::new();
    for (name, value) in facts {
        // Writing to a String cannot fail.
        let _infallible = writeln!(text, "{:<13}{value}", format!("{name}:"));
    }
    if let Some(rival) = &info.rival {
        // Writing to a String cannot fail.
        let _infallible = writeln!(text, "{:<13}{rival}", "Rival:");
    }
    for node in &status.quarantined {
        // Writing to a String cannot fail.
        let _infallible = writeln!(
            text,
            "{:<13}{} {}: {}",
            "Quarantine:",
            node.node_id.short(),
            node.hostname,
            node.reason
        );
    }
    let replica = |replica: &swarm_node::api::types::ReplicaStatus| {
        vec![
            replica.node_id.short(),
            replica.hostname.clone(),
            if replica.voter { "yes" } else { "no" }.to_owned(),
            replica.lag.map_or_else(|| "unknown".to_owned(), |lag| lag.to_string()),
        ]
    };
    let rows: Vec<_> = status.replicas.iter().map(replica).collect();
    text.push('\n');
    text.push_str(&table::render(&["REPLICA", "HOSTNAME", "VOTES", "LAG"], &rows));
    if !status.services_short.is_empty() {
        let rows: Vec<_> = status
            .services_short
            .iter()
            .map(|short| {
                let running = format!("{}/{}", short.running, short.desired);
                vec![short.name.clone(), running, short.reason.clone()]
            })
            .collect();
        text.push_str("\n\n");
        text.push_str(&table::render(&["SHORT SERVICE", "REPLICAS", "REASON"], &rows));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_screen_says_what_matters() {
        let id = "0".repeat(24);
        let status: ClusterStatus = serde_json::from_value(serde_json::json!({
            "Info": {
                "NodeID": format!("{id}1"), "ClusterID": format!("{id}2"),
                "NodeAddr": "10.0.0.1:2377", "Hostname": "alpha", "Role": "manager",
                "DaemonPID": 1, "ControlAvailable": true, "Leader": format!("{id}1"), "Term": 3,
                "Revision": 40, "Epoch": 2, "Rival": "node 9", "Voter": true, "DataDir": "/d",
                "Version": "0.1.0",
                "CertificateExpiresAt": "2026-01-04T00:00:00Z", "Cgroup": "none", "Managers": 1,
                "Nodes": 2, "DiskBytesWritten": 1, "StartedAt": "2026-01-01T00:00:00Z"
            },
            "Quorum": true, "Voters": 1, "VotersReachable": 1,
            "Replicas": [{"NodeID": format!("{id}1"), "Hostname": "alpha", "Voter": true, "Lag": 0}],
            "NodesReady": 1, "NodesDown": 1, "NodesUnknown": 2, "Services": 2,
            "ServicesShort": [{"Name": "web", "Running": 1, "Desired": 3, "Reason": "no node fits"}],
            "DiskBytesPerDay": 2_097_152
        }))
        .expect("is a status");
        let now = Timestamp::parse_rfc3339("2026-01-01T00:00:00Z").expect("is a time");
        let want = "\
Cluster:     000000000000
Quorum:      yes (1 of 1 voters)
Leader:      000000000000 alpha
Term:        3, revision 40, epoch 2
Nodes:       1 ready, 1 down, 2 unknown
Services:    2, 1 short
This node:   000000000000 alpha (manager)
Certificate: ends in 3 days
Disk writes: 2MiB a day, by the last hour
Rival:       node 9

REPLICA        HOSTNAME   VOTES   LAG
000000000000   alpha      yes     0

SHORT SERVICE   REPLICAS   REASON
web             1/3        no node fits";
        assert_eq!(screen(&status, now), want);
    }
}
