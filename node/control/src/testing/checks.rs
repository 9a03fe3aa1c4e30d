//! What holds of a cluster after every plan: places, slots and sums.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use swarm_model::id::{NodeId, ServiceId};
use swarm_model::plan::{Change, NewTask, Plan};
use swarm_model::resources::Resources;
use swarm_model::service::Service;
use swarm_model::task::{Task, TaskTemplate};
use swarm_model::task_state::ObservedState;

use super::{Cluster, offer};

impl Cluster {
    /// Every task gets a node that takes it.
    pub(super) fn check_places(&self, plan: &Plan) {
        for change in &plan.changes {
            let (template, node) = match change {
                Change::CreateTask(new) => (self.template_of(new), new.node),
                Change::Assign { task, node, .. } => {
                    (self.view().tasks[task].template.clone(), Some(*node))
                }
                Change::Explain { .. }
                | Change::SetDesired { .. }
                | Change::Orphan { .. }
                | Change::RemoveTask { .. }
                | Change::Preempt { .. }
                | Change::Yield { .. }
                | Change::Update { .. }
                | Change::EndRun { .. }
                | Change::Fire { .. }
                | Change::DeleteService { .. } => continue,
            };
            let Some(node) = node else { continue };
            let node = &self.view().nodes[&node];
            assert!(node.takes_tasks(), "{change:?} on {node:?}");
            let constraints = &template.placement.constraints;
            assert!(constraints.iter().all(|rule| rule.allows(node)), "{change:?} on {node:?}");
        }
    }

    fn template_of(&self, new: &NewTask) -> Arc<TaskTemplate> {
        let service = &self.view().services[&new.service];
        let former = self.view().former(service);
        let all = [Some(Service::clone(service)), former];
        let made_from = |service: &Service| service.template_version == new.template_version;
        all.into_iter().flatten().find(made_from).expect("a template of the service").template
    }

    /// What holds after every plan.
    pub(crate) fn check(&self) {
        self.check_but(&BTreeSet::new());
    }

    /// The same, but that those services may have slots with more tasks than they should.
    pub(super) fn check_but(&self, turned: &BTreeSet<ServiceId>) {
        let mut slots: BTreeMap<_, Vec<&Task>> = BTreeMap::new();
        let mut used: BTreeMap<NodeId, Resources> = BTreeMap::new();
        let mut shared: BTreeMap<(NodeId, ServiceId), Vec<&Task>> = BTreeMap::new();
        for task in self.view().tasks.values() {
            if task.is_active() && !turned.contains(&task.service) {
                slots.entry((task.service, task.slot)).or_default().push(task);
            }
            if let Some(node) = task.node.filter(|_| task.holds_node()) {
                let sum = used.entry(node).or_default();
                sum.add(&task.template.resources.reservations);
                shared.entry((node, task.service)).or_default().push(task);
            }
        }
        for (slot, tasks) in slots {
            let starting =
                tasks.iter().filter(|task| task.status.state != ObservedState::Running).count();
            // A new version runs beside the old one until it has proven itself.
            let versions =
                tasks.iter().filter(|it| it.template_version != tasks[0].template_version);
            let is_job = tasks[0].slot.run().is_some();
            let pair = tasks.len() == 2 && !is_job && (starting == 1 || versions.count() == 1);
            assert!(tasks.len() == 1 || pair, "{slot:?} has {tasks:#?}");
        }
        for (node, sum) in used {
            assert!(offer().covers(&sum), "{node} is over-placed: {sum:?}");
            assert_eq!(self.view().usage[&node].reserved, sum, "the index of {node}");
        }
        for (place, tasks) in shared {
            // An update may lower the bound: what is there already may exceed the new one.
            let most = tasks.iter().map(|task| task.template.placement.max_replicas_per_node);
            let most = most.map(|most| if most == 0 { usize::MAX } else { most as usize }).max();
            assert!(most.is_none_or(|most| tasks.len() <= most), "{place:?} has {tasks:#?}");
        }
    }
}
