//! Why a task is where it is, or nowhere: one line for lists, one verdict a node for `explain`.
//!
//! Runs the same filters and the same ranking as placing does.

use std::fmt::Write as _;

use serde::Serialize;
use swarm_model::id::{NodeId, ServiceId};
use swarm_model::placement::Preference;
use swarm_model::task::{Slot, Task};
use swarm_model::units::{Bytes, MilliCpu, Timestamp};
use swarm_model::view::View;

use super::class;
use super::filter::{self, Refusal};
use super::node_info::NodeSet;
use crate::facts::Facts;
use crate::outlook::{Outlook, outlook};

/// The most groups of refusals that one line names.
const GROUPS_MAX: usize = 6;

/// Why the tasks of a service are where they are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Explanation {
    /// The service.
    #[serde(rename = "ServiceID")]
    pub service: ServiceId,
    /// Its name.
    pub service_name: String,
    /// Why no node fits one more task, in one line; empty when one does.
    pub refusal: String,
    /// Tasks that do not run and why: those that wait, and those that nothing restarts.
    pub waiting: Vec<Waiting>,
    /// What would become of one more task on each node, the first choice first.
    pub nodes: Vec<NodeVerdict>,
}

/// A task that does not run and has a reason for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Waiting {
    /// Its slot.
    pub slot: Slot,
    /// Since when.
    pub since: Timestamp,
    /// Why.
    pub reason: String,
    /// When it starts, if it waits for a time.
    pub until: Option<Timestamp>,
}

/// What would become of one more task on one node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct NodeVerdict {
    /// The node.
    #[serde(rename = "NodeID")]
    pub node: NodeId,
    /// Its host name.
    pub hostname: String,
    /// Every reason why it will not do; empty when it will.
    pub refusals: Vec<String>,
    /// How it ranks.
    pub score: Score,
}

/// How a node ranks: what comes first in this struct weighs most, lower is better.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Score {
    /// For each preference, tasks of the service with the node's value.
    pub preferences: Vec<PreferenceScore>,
    /// Five tasks of the service failed there within five minutes.
    pub last_choice: bool,
    /// Tasks of the service there.
    pub service_tasks: u32,
    /// Tasks of all services there.
    pub tasks: u32,
    /// CPU that can still be reserved; does not weigh.
    #[serde(rename = "FreeCPUMilli")]
    pub free_cpu: MilliCpu,
    /// Memory that can still be reserved; does not weigh.
    #[serde(rename = "FreeMemoryBytes")]
    pub free_memory: Bytes,
}

/// One preference of a service at one node.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct PreferenceScore {
    /// Tasks of the service on the nodes with the same value (and the same values before it).
    pub tasks: u32,
    /// The preference, as it is written.
    pub preference: String,
    /// The node's value; empty when it has none.
    pub value: String,
}

/// Why the tasks of `service` are where they are; `None` when there is no such service.
pub fn explain(view: &View, service: ServiceId, now: Timestamp) -> Option<Explanation> {
    let facts = Facts { view, now };
    let service = view.services.get(&service)?;
    let nodes = NodeSet::filled(view);
    let shares = class::shares(facts, &nodes, service);
    let preferences = &service.template.placement.preferences;
    let paths: Vec<Vec<Option<String>>> =
        nodes.iter().map(|info| path(preferences, info.node)).collect();
    let mut verdicts = Vec::new();
    let mut refused = Vec::new();
    for at in 0..nodes.len() {
        let place = class::candidate(&nodes, service, &shares, at);
        let refusals = filter::refusals(&place);
        refused.extend(refusals.first().copied());
        let rank = class::rank(&nodes, &shares, at);
        let preferences = preferences.iter().enumerate().map(|(level, preference)| {
            let same = |other: usize| paths[other][..=level] == paths[at][..=level];
            let tasks = (0..nodes.len()).filter(|other| same(*other));
            PreferenceScore {
                tasks: tasks.map(|other| shares[other].staying).sum(),
                preference: preference.to_string(),
                value: paths[at][level].clone().unwrap_or_default(),
            }
        });
        let score = Score {
            preferences: preferences.collect(),
            last_choice: rank.shunned,
            service_tasks: rank.service_tasks,
            tasks: rank.tasks,
            free_cpu: place.free.cpu,
            free_memory: place.free.memory,
        };
        verdicts.push(NodeVerdict {
            node: place.node.id,
            hostname: place.node.description.hostname.clone(),
            refusals: refusals.iter().map(ToString::to_string).collect(),
            score,
        });
    }
    let fits = refused.len() < nodes.len();
    verdicts.sort_by(|left, right| sort_key(left).cmp(&sort_key(right)));
    Some(Explanation {
        service: service.id,
        service_name: service.spec.name.to_string(),
        refusal: if fits { String::new() } else { no_suitable_node(&refused) },
        waiting: view.tasks_of(service.id).filter_map(|task| waiting(facts, task)).collect(),
        nodes: verdicts,
    })
}

fn sort_key(verdict: &NodeVerdict) -> (bool, &Score, NodeId) {
    (!verdict.refusals.is_empty(), &verdict.score, verdict.node)
}

fn path(preferences: &[Preference], node: &swarm_model::node::Node) -> Vec<Option<String>> {
    let value = |Preference::Spread(attribute): &Preference| attribute.of(node);
    preferences.iter().map(value).collect()
}

fn waiting(facts: Facts<'_>, task: &Task) -> Option<Waiting> {
    let (slot, since) = (task.slot, task.meta.created_at);
    match outlook(facts.view, task, facts.now) {
        Outlook::Waits { until, reason } => {
            Some(Waiting { slot, since, reason, until: Some(until) })
        }
        Outlook::GivenUp { reason } => {
            Some(Waiting { slot, since: task.status.since, reason, until: None })
        }
        Outlook::Open if task.is_active() && task.node.is_none() => {
            Some(Waiting { slot, since, reason: task.status.error.clone(), until: None })
        }
        Outlook::Open | Outlook::Done => None,
    }
}

/// Why the only node that may be will not do.
pub(super) fn node_does_not_fit(refusal: &Refusal<'_>) -> String {
    format!("its node does not fit ({refusal})")
}

/// Why none of the nodes will do, in one line: refusals that are alike are counted together.
pub(super) fn no_suitable_node(refused: &[Refusal<'_>]) -> String {
    if refused.is_empty() {
        return "no suitable node (the cluster has no nodes)".to_owned();
    }
    let mut sorted = refused.to_vec();
    sorted.sort_unstable();
    let mut groups: Vec<(usize, Refusal<'_>)> = sorted
        .chunk_by(Refusal::is_like)
        .filter_map(|group| group.last().map(|most_free| (group.len(), *most_free)))
        .collect();
    groups.sort_by_key(|(count, _)| std::cmp::Reverse(*count));
    let mut line = "no suitable node (".to_owned();
    for (at, (count, refusal)) in groups.iter().take(GROUPS_MAX).enumerate() {
        let separator = if at == 0 { "" } else { "; " };
        // Writing to a String cannot fail.
        let _infallible = match count {
            1 => write!(line, "{separator}1 node: {refusal}"),
            many => write!(line, "{separator}{many} nodes: {refusal:#}"),
        };
    }
    if let Some(more) = groups.len().checked_sub(GROUPS_MAX).filter(|more| *more > 0) {
        let _infallible = write!(line, "; {more} more reasons");
    }
    line.push(')');
    line
}
