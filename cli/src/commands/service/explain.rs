//! `swarm service explain`.

use clap::Args;
use serde::Deserialize;
use serde_json::Value;
use swarm_model::units::{Bytes, MilliCpu, Timestamp};
use swarm_node::api::types::ServiceEntry;

use super::path;
use super::ps::update_line;
use super::runs::run_line;
use crate::client::Client;
use crate::clock::{ago, now};
use crate::exit::Failure;
use crate::output::format::Format;
use crate::output::{inspect, line, table};
use crate::parse::{duration, quantity};

/// Show why tasks are where they are, or nowhere
///
/// Runs the scheduler's own filters and ranking: the tasks that wait and why, those whose probes do not
/// succeed, then each node with the reasons against it, or how it ranks (fewest tasks of the service
/// first, then fewest tasks).
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  swarm service explain web\n  \
    swarm service explain web --format '{{.Refusal}}'")]
pub(crate) struct Explain {
    /// Name or id
    service: String,
    /// json (one line) or a template like '{{.Refusal}}'
    #[arg(long, value_name = "FORMAT")]
    format: Option<Format>,
}

/// What the API answers.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Explanation {
    service_name: String,
    refusal: String,
    #[serde(default)]
    preemption: String,
    waiting: Vec<Waiting>,
    #[serde(default)]
    unready: Vec<Waiting>,
    nodes: Vec<NodeVerdict>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Waiting {
    slot: swarm_model::task::Slot,
    since: Timestamp,
    reason: String,
    #[serde(default)]
    until: Option<Timestamp>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct NodeVerdict {
    #[serde(rename = "NodeID")]
    node: swarm_model::id::NodeId,
    hostname: String,
    refusals: Vec<String>,
    score: Score,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Score {
    last_choice: bool,
    service_tasks: u32,
    tasks: u32,
    #[serde(rename = "FreeCPUMilli")]
    free_cpu: MilliCpu,
    #[serde(rename = "FreeMemoryBytes")]
    free_memory: Bytes,
}

impl Explain {
    /// Shows it.
    ///
    /// # Errors
    /// When there is no such service, or the template does not fit.
    pub(super) async fn run(self, client: &Client) -> Result<(), Failure> {
        let target = format!("{}/explain", path(&self.service));
        let object: Value = client.get(&target, &[]).await?;
        if let Some(format) = &self.format
            && *format != Format::Table
        {
            return inspect::one(&object, format);
        }
        let entry: ServiceEntry = client.get(&path(&self.service), &[]).await?;
        let explanation: Explanation = serde_json::from_value(object).map_err(|error| {
            Failure::failed(format!("the node's answer is not understood: {error}"))
        })?;
        let state = update_line(&entry).or_else(|| run_line(&entry));
        let update = state.map(|update| format!("{update}\n\n"));
        line(&format!("{}{}", update.unwrap_or_default(), explanation.text()))
    }
}

impl Explanation {
    /// A node's host name, with its id where others are called the same.
    fn name_of(&self, node: &NodeVerdict) -> String {
        match self.nodes.iter().filter(|other| other.hostname == node.hostname).count() {
            1 => node.hostname.clone(),
            _ => format!("{} ({})", node.hostname, node.node.short()),
        }
    }

    fn text(&self) -> String {
        let name = &self.service_name;
        let mut parts = Vec::new();
        for (title, tasks) in [("WAITING TASK", &self.waiting), ("UNREADY TASK", &self.unready)] {
            let row = |task: &Waiting| {
                vec![format!("{name}.{}", task.slot), ago(task.since), task.reason()]
            };
            let rows: Vec<_> = tasks.iter().map(row).collect();
            if !rows.is_empty() {
                parts.push(table::render(&[title, "SINCE", "REASON"], &rows));
            }
        }
        parts.push(if self.refusal.is_empty() {
            let first = self.nodes.iter().find(|node| node.refusals.is_empty());
            let first = first.map_or_else(|| "no node".to_owned(), |node| self.name_of(node));
            format!("One more task of {name} would run on {first}.")
        } else {
            format!("One more task of {name} fits nowhere: {}", self.refusal)
        });
        if !self.preemption.is_empty() {
            parts.push(format!("Its priority makes room for it: {}.", self.preemption));
        }
        let rows: Vec<_> = self.nodes.iter().map(NodeVerdict::row).collect();
        let headers =
            ["NODE", "HOSTNAME", "FITS", "OWN TASKS", "ALL TASKS", "FREE CPU", "FREE MEMORY"];
        let headers: Vec<_> = headers.into_iter().chain(["REMARK"]).collect();
        parts.push(table::render(&headers, &rows));
        parts.join("\n\n")
    }
}

impl Waiting {
    /// Why, and until when.
    fn reason(&self) -> String {
        match self.until {
            Some(until) => {
                let span = duration::in_words(until.since(now())).to_lowercase();
                format!("starts in {span}: {}", self.reason)
            }
            None => self.reason.clone(),
        }
    }
}

impl NodeVerdict {
    fn row(&self) -> Vec<String> {
        let remark = if !self.refusals.is_empty() {
            self.refusals.join("; ")
        } else if self.score.last_choice {
            "last choice: tasks of the service failed there again and again".to_owned()
        } else {
            String::new()
        };
        vec![
            self.node.short(),
            self.hostname.clone(),
            if self.refusals.is_empty() { "yes" } else { "no" }.to_owned(),
            self.score.service_tasks.to_string(),
            self.score.tasks.to_string(),
            quantity::cpus_text(self.score.free_cpu),
            self.score.free_memory.to_string(),
            remark,
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_node_has_its_reason_or_its_rank() {
        let node = |id: u32, name: &str, refusals: &[&str]| {
            json!({
                "NodeID": format!("{id:025}"), "Hostname": name, "Refusals": refusals,
                "Score": {
                    "Preferences": [], "LastChoice": false, "ServiceTasks": 1, "Tasks": 2,
                    "FreeCPUMilli": 1500, "FreeMemoryBytes": 1 << 20
                }
            })
        };
        let explanation: Explanation = serde_json::from_value(json!({
            "ServiceID": "0".repeat(25), "ServiceName": "web", "Refusal": "",
            "Waiting": [], "Nodes": [node(1, "alpha", &[]), node(2, "beta", &["is drained"])]
        }))
        .expect("is an explanation");
        let want = "\
One more task of web would run on alpha.

NODE           HOSTNAME   FITS   OWN TASKS   ALL TASKS   FREE CPU   FREE MEMORY   REMARK
000000000000   alpha      yes    1           2           1.5        1MiB
000000000000   beta       no     1           2           1.5        1MiB          is drained";
        assert_eq!(explanation.text(), want);
        let twins = Explanation {
            nodes: explanation
                .nodes
                .into_iter()
                .map(|node| NodeVerdict { hostname: "same".to_owned(), ..node })
                .collect(),
            ..explanation
        };
        let text = twins.text();
        assert!(
            text.starts_with("One more task of web would run on same (000000000000)."),
            "{text}"
        );
    }
}
