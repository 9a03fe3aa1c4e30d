//! Keeps tasks whose health comes and goes from filling the log: what is only news of a task's health
//! is recorded once a second at most, and then the newest. Pure.
//!
//! A new state of a task never waits. What is held back here when a term ends is told to the next
//! leader by the agents.

use std::collections::BTreeMap;
use std::time::Duration;

use swarm_model::command::StatusReport;
use swarm_model::id::{NodeId, TaskId};
use swarm_model::task::TaskStatus;
use swarm_model::view::View;
use tokio::time::Instant;

/// The shortest time between two records of one task's health.
pub(super) const PAUSE: Duration = Duration::from_secs(1);

/// Reports by node.
pub(super) type Reports = BTreeMap<NodeId, Vec<StatusReport>>;

/// What was recorded of late, and what waits.
#[derive(Debug, Default)]
pub(super) struct Calm {
    recorded: BTreeMap<TaskId, Instant>,
    held: BTreeMap<TaskId, (NodeId, TaskStatus)>,
}

impl Calm {
    /// When what waits has to be looked at.
    pub(super) fn next(&self) -> Option<Instant> {
        let due = |task: &TaskId| self.recorded.get(task).map(|at| *at + PAUSE);
        self.held.keys().filter_map(due).min()
    }

    /// What is to be recorded now: of `reports`, and of what waited.
    pub(super) fn admit(&mut self, view: &View, now: Instant, reports: Reports) -> Reports {
        self.recorded.retain(|_, at| now < *at + PAUSE);
        let mut admitted = Reports::new();
        for (node, reports) in reports {
            for report in reports {
                let StatusReport { task, status } = &report;
                // What a liar says of another node's task is dropped by the recorder; here it must not
                // take the place of what the task's own node says.
                let known = view.tasks.get(task).filter(|known| known.node == Some(node));
                let Some(known) = known else {
                    admitted.entry(node).or_default().push(report);
                    continue;
                };
                let only_health = known.status.state == status.state;
                if only_health && self.recorded.contains_key(task) {
                    self.held.insert(*task, (node, report.status));
                    continue;
                }
                self.held.remove(task);
                if known.status != *status {
                    self.recorded.insert(*task, now);
                }
                admitted.entry(node).or_default().push(report);
            }
        }
        let recorded = &self.recorded;
        for (task, (node, status)) in
            self.held.extract_if(.., |task, _| !recorded.contains_key(task)).collect::<Vec<_>>()
        {
            self.recorded.insert(task, now);
            admitted.entry(node).or_default().push(StatusReport { task, status });
        }
        admitted
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use swarm_model::probe::{Health, HealthState};
    use swarm_model::task_state::ObservedState::{self, Failed, Running, Starting};
    use swarm_model::units::Timestamp;

    const NODE: NodeId = NodeId::from_raw(1);

    fn status(state: ObservedState, ready: bool) -> TaskStatus {
        let health = Health { status: HealthState::Healthy, ready, message: String::new() };
        TaskStatus { health: Some(health), ..TaskStatus::new(state, Timestamp::default(), "") }
    }

    /// A leader with one task on record.
    struct Leader {
        view: View,
        calm: Calm,
        records: usize,
    }

    impl Leader {
        fn new() -> Self {
            let mut view = View::default();
            view.put_task(crate::leader::recorder::sample_task(NODE, status(Starting, false)));
            Self { view, calm: Calm::default(), records: 0 }
        }

        fn recorded(&self) -> &TaskStatus {
            &self.view.tasks[&TaskId::from_raw(1)].status
        }

        /// Hears `status`, or just wakes up: how many records that makes.
        fn hears(&mut self, at: Instant, status: Option<TaskStatus>) -> usize {
            let report = status.map(|status| StatusReport { task: TaskId::from_raw(1), status });
            let reports = report.map(|report| (NODE, vec![report])).into_iter().collect();
            let admitted = self.calm.admit(&self.view, at, reports);
            let mut records = 0;
            for report in admitted.into_values().flatten() {
                if report.status != *self.recorded() {
                    records += 1;
                    let task = &self.view.tasks[&report.task];
                    let task = swarm_model::task::Task::clone(task);
                    self.view.put_task(swarm_model::task::Task { status: report.status, ..task });
                }
            }
            self.records += records;
            records
        }
    }

    #[tokio::test(start_paused = true)]
    async fn health_is_recorded_once_a_second_and_states_at_once() {
        let (mut leader, began) = (Leader::new(), Instant::now());
        let at = |millis| began + Duration::from_millis(millis);
        assert_eq!(leader.hears(at(0), Some(status(Running, true))), 1);
        assert_eq!(leader.hears(at(10), Some(status(Running, false))), 0, "it waits");
        assert_eq!(leader.hears(at(20), Some(status(Running, true))), 0);
        assert_eq!(leader.hears(at(30), Some(status(Running, false))), 0);
        assert_eq!(leader.calm.next(), Some(at(1000)));
        assert_eq!(leader.hears(at(1000), None), 1, "the newest one");
        assert!(!leader.recorded().is_ready());
        assert_eq!(leader.calm.next(), None);
        assert_eq!(leader.hears(at(1010), Some(status(Running, true))), 0);
        assert_eq!(leader.hears(at(1020), Some(status(Failed, false))), 1, "an end does not wait");
        assert_eq!(leader.hears(at(9000), None), 0, "what waited is out of date");
        assert_eq!(leader.hears(at(9010), Some(status(Failed, true))), 1, "it is calm again");
    }

    #[test]
    fn what_another_node_says_is_left_to_the_recorder_and_holds_up_nothing() {
        let (mut leader, now) = (Leader::new(), Instant::now());
        assert_eq!(leader.hears(now, Some(status(Running, true))), 1);
        assert_eq!(leader.hears(now, Some(status(Running, false))), 0, "it waits");
        let (liar, task) = (NodeId::from_raw(2), TaskId::from_raw(1));
        for lie in [status(Running, true), status(Failed, false)] {
            let lies = vec![StatusReport { task, status: lie }];
            let admitted = leader.calm.admit(&leader.view, now, [(liar, lies.clone())].into());
            assert_eq!(admitted, Reports::from([(liar, lies)]));
        }
        assert_eq!(leader.hears(now + PAUSE, None), 1, "what waited");
    }

    proptest! {
        #[test]
        fn the_last_word_gets_on_record_and_few_before_it(
            words in prop::collection::vec((0u64..400, any::<bool>()), 1..100),
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().expect("builds");
            runtime.block_on(async {
                let (mut leader, began) = (Leader::new(), Instant::now());
                let (mut now, mut last) = (began, true);
                leader.hears(now, Some(status(Running, true)));
                for (pause, ready) in words {
                    let until = now + Duration::from_millis(pause);
                    while let Some(next) = leader.calm.next().filter(|next| *next <= until) {
                        leader.hears(next, None);
                    }
                    now = until;
                    last = ready;
                    leader.hears(now, Some(status(Running, ready)));
                }
                let seconds = (now - began).as_secs();
                assert!(leader.records as u64 <= seconds + 2, "{} in {seconds} s", leader.records);
                if let Some(next) = leader.calm.next() {
                    leader.hears(next, None);
                }
                assert_eq!(leader.recorded().is_ready(), last);
            });
        }
    }
}
