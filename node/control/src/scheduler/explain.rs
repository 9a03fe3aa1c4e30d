//! Why a task is where it is, or nowhere: one line for lists, one verdict a node for `explain`.
//!
//! Runs the same filters and the same ranking as placing does.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde::Serialize;
use swarm_model::id::{NodeId, ServiceId};
use swarm_model::placement::{Affinity, Preference};
use swarm_model::probe::HealthState;
use swarm_model::task::{Eviction, Slot, Task};
use swarm_model::units::{Bytes, MilliCpu, Timestamp};
use swarm_model::view::View;

use super::class::{self, Class};
use super::filter::{self, Refusal};
use super::node_info::NodeSet;
use super::preempt;
use super::taste::{self, Level};
use crate::facts::{Facts, recency};
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
    /// Tasks on their nodes whose probes do not succeed (yet), and what those say.
    pub unready: Vec<Waiting>,
    /// Which tasks of lower priority would end for one more task; empty when none would.
    pub preemption: String,
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

/// How a node ranks: by its preferences first, then as the last choice or not, then by tasks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Score {
    /// What it is to each preference, in the order in which they weigh.
    pub preferences: Vec<PreferenceScore>,
    /// Five tasks of the service failed there within five minutes.
    pub last_choice: bool,
    /// Tasks of the service there.
    pub service_tasks: u32,
    /// Tasks of all services there.
    pub tasks: u32,
    /// CPU that can still be reserved; weighs for `binpack` only.
    #[serde(rename = "FreeCPUMilli")]
    pub free_cpu: MilliCpu,
    /// Memory that can still be reserved; weighs for `binpack` only.
    #[serde(rename = "FreeMemoryBytes")]
    pub free_memory: Bytes,
}

/// One preference of a service at one node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct PreferenceScore {
    /// `spread`: tasks of the service on the nodes with the same value (and alike in the preferences
    /// before it). Fewer are better.
    pub tasks: u32,
    /// The preference, as it is written.
    pub preference: String,
    /// `spread`: the node's value, empty when it has none. An affinity: its weight if the node meets
    /// it, else 0. `binpack`: how full the node is, CPU and memory in thousandths, added.
    pub value: String,
}

/// What a node is to one level of preferences, so that lower is better.
type Standing = (i64, u64, String);

/// Why the tasks of `service` are where they are; `None` when there is no such service.
pub fn explain(view: &View, service: ServiceId, now: Timestamp) -> Option<Explanation> {
    let former = BTreeMap::new();
    let facts = Facts { view, now, led_since: Timestamp::default(), still: false, former: &former };
    let service = view.services.get(&service)?;
    let mut nodes = NodeSet::new(view, &BTreeSet::new());
    let class = Class::new(facts, &mut nodes, service, usize::MAX);
    let packs = service.template.placement.preferences.contains(&Preference::Binpack);
    let counts = |at: usize| {
        class.shares[at].staying > 0 || filter::check(&class.candidate(&nodes, at)).is_ok()
    };
    let counted: Vec<bool> = (0..nodes.len()).map(counts).collect();
    let standings = standings(&nodes, &class, &counted);
    let scores = preference_scores(facts, &nodes, &class, &standings);
    let mut verdicts = Vec::new();
    let mut refused = Vec::new();
    for (at, (standing, preferences)) in standings.into_iter().zip(scores).enumerate() {
        let place = class.candidate(&nodes, at);
        let refusals = filter::refusals(&place);
        refused.extend(refusals.first().copied());
        let rank = class::rank(&nodes, &class.shares, at, packs);
        let score = Score {
            preferences,
            last_choice: rank.shunned,
            service_tasks: class.shares[at].staying,
            tasks: nodes.at(at).tasks,
            free_cpu: place.free.cpu,
            free_memory: place.free.memory,
        };
        let verdict = NodeVerdict {
            node: place.node.id,
            hostname: place.node.description.hostname.clone(),
            refusals: refusals.iter().map(ToString::to_string).collect(),
            score,
        };
        verdicts.push(((!verdict.refusals.is_empty(), standing, rank), verdict));
    }
    let fits = refused.len() < nodes.len();
    verdicts.sort_by(|(left, _), (right, _)| left.cmp(right));
    let refusal =
        if fits { String::new() } else { no_suitable_node(refused.into_iter(), nodes.len()) };
    let room = if fits { None } else { preempt::outlook(facts, &mut nodes, &class) };
    Some(Explanation {
        service: service.id,
        service_name: service.spec.name.to_string(),
        refusal,
        waiting: view.tasks_of(service.id).filter_map(|task| waiting(facts, task)).collect(),
        unready: view.tasks_of(service.id).filter_map(|task| unready(view, task)).collect(),
        preemption: room
            .map(|(at, tasks)| would_end(view, &nodes.at(at).node.description.hostname, &tasks))
            .unwrap_or_default(),
        nodes: verdicts.into_iter().map(|(_, verdict)| verdict).collect(),
    })
}

/// What each node is to each level of the class's taste. `counted` are the nodes that count for how
/// busy a group is.
fn standings(nodes: &NodeSet<'_>, class: &Class<'_>, counted: &[bool]) -> Vec<Vec<Standing>> {
    let count = nodes.len();
    let mut standings = vec![Vec::<Standing>::new(); count];
    // What each node is alike in with others.
    let mut group: Vec<Vec<(i64, String)>> = vec![Vec::new(); count];
    for level in &class.taste.levels {
        for (at, group) in group.iter_mut().enumerate() {
            group.push(match level {
                Level::Best(scores) => (-scores[at], String::new()),
                Level::Even(attribute) => {
                    let text = nodes.text(*attribute, at);
                    (i64::from(text.is_some()), text.unwrap_or_default().into_owned())
                }
            });
        }
        // Tasks of the service, of all services, and nodes in each group.
        let mut sums: BTreeMap<&[_], (i64, u64, u64)> = BTreeMap::new();
        for at in (0..count).filter(|at| counted[*at]) {
            let (own, all, size) = sums.entry(&group[at]).or_default();
            *own += i64::from(class.shares[at].staying);
            *all += u64::from(nodes.at(at).tasks);
            *size += 1;
        }
        for at in 0..count {
            let standing = match level {
                Level::Best(scores) => (-scores[at], 0, String::new()),
                Level::Even(_) => {
                    let (own, all, size) = sums.get(&*group[at]).copied().unwrap_or_default();
                    let value = group[at].last().map(|(_, value)| value.clone());
                    (own, all * 1000 / size.max(1), value.unwrap_or_default())
                }
            };
            standings[at].push(standing);
        }
    }
    standings
}

/// The same in words, a preference each.
fn preference_scores(
    facts: Facts<'_>,
    nodes: &NodeSet<'_>,
    class: &Class<'_>,
    standings: &[Vec<Standing>],
) -> Vec<Vec<PreferenceScore>> {
    let mut scores = vec![Vec::new(); nodes.len()];
    let levels = class.taste.levels.iter().enumerate();
    let mut even = levels.filter(|(_, level)| matches!(level, Level::Even(_)));
    for preference in &class.service.template.placement.preferences {
        let tell = |tasks: i64, value: String| PreferenceScore {
            tasks: u32::try_from(tasks).unwrap_or(u32::MAX),
            preference: preference.to_string(),
            value,
        };
        match preference {
            Preference::Spread(_) => {
                let Some((level, _)) = even.next() else { continue };
                for (score, standing) in scores.iter_mut().zip(standings) {
                    let (tasks, _, value) = &standing[level];
                    score.push(tell(*tasks, value.clone()));
                }
            }
            Preference::Binpack => {
                for (at, score) in scores.iter_mut().enumerate() {
                    score.push(tell(0, nodes.at(at).fullness().to_string()));
                }
            }
            Preference::Affinity(Affinity { to, weight }) => {
                for (score, met) in scores.iter_mut().zip(taste::meets(facts, nodes, to)) {
                    score.push(tell(0, if met { *weight } else { 0 }.to_string()));
                }
            }
        }
    }
    scores
}

/// Which tasks would end on a node.
fn would_end(view: &View, hostname: &str, tasks: &[&Task]) -> String {
    let name = |task: &&Task| {
        let service = view.services.get(&task.service);
        let service = service.map_or("?", |service| service.spec.name.as_str());
        format!("{service}.{}", task.slot)
    };
    let names: Vec<String> = tasks.iter().take(GROUPS_MAX).map(name).collect();
    let more = match tasks.len().saturating_sub(names.len()) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("on {hostname} {}{more} would end", names.join(", "))
}

/// Why a task waits although room is made for it.
pub(super) fn room_is_made(hostname: &str, ending: usize) -> String {
    match ending {
        0 => format!("waits for what is about to end on {hostname}"),
        1 => format!("waits for a task of lower priority to end on {hostname}"),
        many => format!("waits for {many} tasks of lower priority to end on {hostname}"),
    }
}

/// The more important task that took the place of the one before `task`.
fn usurper(facts: Facts<'_>, task: &Task) -> Option<String> {
    if !task.restart.displaced {
        return None;
    }
    let before = facts.view.tasks_in(task.service, task.slot);
    let before = before.filter(|task| task.is_preempted()).max_by_key(|task| recency(task));
    let by = match before?.eviction? {
        Eviction::Preempted { by } => by,
        Eviction::Rebalanced { .. } => return None,
    };
    let by = facts.view.tasks.get(&by)?;
    let service = facts.view.services.get(&by.service)?;
    Some(format!("{}.{}", service.spec.name, by.slot))
}

/// What a task's probes say, when they keep it from running or from its work.
fn unready(view: &View, task: &Task) -> Option<Waiting> {
    let status = &task.status;
    let health = status.health.as_ref().filter(|health| task.is_active() && !health.ready)?;
    let node = task.node.and_then(|id| view.nodes.get(&id));
    let place = node.map_or("its node", |node| node.description.hostname.as_str());
    let what = match health.status {
        HealthState::Starting => "not healthy yet",
        HealthState::Unhealthy => "unhealthy",
        HealthState::None | HealthState::Healthy => "not ready",
    };
    let why = if health.message.is_empty() { "no answer so far" } else { &health.message };
    let reason = format!("{what} on {place}: {why}");
    Some(Waiting { slot: task.slot, since: status.since, reason, until: None })
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
            let reason = match usurper(facts, task) {
                Some(by) => format!(
                    "{}; its place went to {by}, and until it has one again it ends no others",
                    task.status.error
                ),
                None => task.status.error.clone(),
            };
            Some(Waiting { slot, since, reason, until: None })
        }
        Outlook::Open | Outlook::Done => None,
    }
}

/// Why the only node that may be will not do.
pub(super) fn node_does_not_fit(refusal: &Refusal<'_>) -> String {
    format!("its node does not fit ({refusal})")
}

/// Why none of `nodes` nodes will do, in one line: refusals that are alike are counted together.
pub(super) fn no_suitable_node<'a>(
    refused: impl Iterator<Item = Refusal<'a>>,
    nodes: usize,
) -> String {
    if nodes == 0 {
        return "no suitable node (the cluster has no nodes)".to_owned();
    }
    // There are few kinds, so looking through them is faster than sorting all.
    let mut groups: Vec<(usize, Refusal<'a>)> = Vec::new();
    for refusal in refused {
        match groups.iter_mut().find(|(_, other)| other.is_like(&refusal)) {
            Some((count, most_free)) => {
                *count += 1;
                *most_free = refusal.max(*most_free);
            }
            None => groups.push((1, refusal)),
        }
    }
    groups.sort_by_key(|(count, refusal)| (std::cmp::Reverse(*count), *refusal));
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
