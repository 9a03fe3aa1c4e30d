//! What a service's tasks would rather have among the nodes that would do, level by level.
//!
//! Preferences nest in the order in which they are written: each one parts the nodes that the one
//! before holds equal. Affinities that follow each other are one level: their weights add up.

use swarm_model::placement::{Affinity, AffinityTarget, Preference};
use swarm_model::service::Service;
use swarm_model::task::Task;

use super::node_info::NodeSet;
use crate::facts::Facts;

/// One level.
#[derive(Debug)]
pub(super) enum Level {
    /// Evenly over the values of this attribute (a number of [`NodeSet::attribute`]).
    Even(usize),
    /// The highest score first: one for each node.
    Best(Vec<i64>),
}

/// What a service strives for.
#[derive(Debug)]
pub(super) struct Taste {
    /// Outermost first.
    pub(super) levels: Vec<Level>,
    /// Whether the fullest node is the best one, and not the emptiest.
    pub(super) packs: bool,
}

impl Taste {
    /// What `service` strives for. `holds` says where tasks of another service are, by its name.
    pub(super) fn of<'a>(
        nodes: &mut NodeSet<'a>,
        service: &'a Service,
        holds: &mut dyn FnMut(&NodeSet<'a>, &AffinityTarget) -> Vec<bool>,
    ) -> Self {
        let mut taste = Self { levels: Vec::new(), packs: false };
        for preference in &service.template.placement.preferences {
            match preference {
                Preference::Spread(attribute) => {
                    let attribute = nodes.attribute(attribute);
                    taste.levels.push(Level::Even(attribute));
                }
                Preference::Binpack => taste.packs = true,
                Preference::Affinity(Affinity { to, weight }) => {
                    let met = holds(nodes, to);
                    let mut scores = match taste.levels.pop() {
                        Some(Level::Best(scores)) => scores,
                        other => {
                            taste.levels.extend(other);
                            vec![0; nodes.len()]
                        }
                    };
                    for (score, met) in scores.iter_mut().zip(met) {
                        *score += if met { i64::from(*weight) } else { 0 };
                    }
                    taste.levels.push(Level::Best(scores));
                }
            }
        }
        taste
    }

    /// Whether all nodes are alike to it but for how much runs there.
    pub(super) fn is_plain(&self) -> bool {
        self.levels.is_empty() && !self.packs
    }
}

/// Which nodes meet the target of an affinity, tasks that are to end left out.
pub(super) fn meets(facts: Facts<'_>, nodes: &NodeSet<'_>, target: &AffinityTarget) -> Vec<bool> {
    match target {
        AffinityTarget::Node(rule) => {
            (0..nodes.len()).map(|at| rule.allows(nodes.at(at).node)).collect()
        }
        AffinityTarget::Service(name) => {
            let mut met = vec![false; nodes.len()];
            let Some(service) = facts.view.service_names.get(name) else { return met };
            let tasks = facts.view.tasks_of(*service).map(AsRef::as_ref);
            for task in tasks.filter(|task: &&Task| task.is_active()) {
                if let Some(at) = task.node.and_then(|node| nodes.position(node)) {
                    met[at] = true;
                }
            }
            met
        }
    }
}
