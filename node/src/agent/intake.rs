//! The agent's main loop: takes the leader's messages and the ends of tasks, one at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use swarm_model::assignment::{Assignment, AssignmentMessage, Generation};
use swarm_model::id::TaskId;
use swarm_model::task::TaskStatus;
use swarm_model::task_state::{DesiredState, ObservedState};
use swarm_model::units::Timestamp;
use swarm_model::view::View;
use swarm_state::mistake::{Mistake, planted};
use swarm_state::store::AgentWrite;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::devices;
use super::launch::Configs;
use super::record::Record;
use super::{Agent, ENDED_MAX, Entry, LEADER_PATIENCE, Life, REWRITE};
use crate::offers::Devices;

/// How long a config may be behind its assignment: the replica follows within a heartbeat or two.
const CONFIG_PATIENCE: Duration = Duration::from_secs(3);

impl Agent {
    /// Runs until cancelled. Tasks go on without it.
    pub async fn run(mut self, cancel: CancellationToken) {
        let mut generation = Generation::default();
        let patience = tokio::time::sleep(LEADER_PATIENCE);
        tokio::pin!(patience);
        let mut patient = true;
        let mut rewrite_at = Instant::now();
        loop {
            let mut ended = Vec::new();
            tokio::select! {
                () = cancel.cancelled() => return,
                message = self.inputs.1.recv() => {
                    let Some(message) = message else { return };
                    let deposed = message.generation().term < generation.term;
                    if deposed && !planted(Mistake::ForgetGeneration) {
                        tracing::warn!(term = message.generation().term.0, "ignoring a deposed leader");
                        continue;
                    }
                    generation = message.generation();
                    self.take(message).await;
                }
                _ = self.ended.1.recv_many(&mut ended, ENDED_MAX) => self.note_ended(ended).await,
                () = &mut patience, if patient => {
                    patient = false;
                    self.release(None);
                }
                () = tokio::time::sleep_until(rewrite_at), if !self.unwritten.is_empty() => {
                    self.rewrite().await;
                    rewrite_at = Instant::now() + REWRITE;
                }
            }
        }
    }

    async fn take(&mut self, message: AssignmentMessage) {
        match message {
            AssignmentMessage::Full { tasks, .. } => {
                let named: BTreeSet<_> = tasks.into_iter().collect();
                let missing =
                    self.entries.keys().filter(|task| !named.contains(task)).copied().collect();
                if !planted(Mistake::KeepUnnamed) {
                    self.forget(missing).await;
                }
                let unclaimed = self.unclaimed.extract_if(.., |task, _| !named.contains(task));
                for (task, (runtime, _)) in unclaimed.collect::<Vec<_>>() {
                    self.clear_stray(task, runtime).await;
                }
            }
            AssignmentMessage::Delta { changed, removed, .. } => {
                self.forget(removed).await;
                self.assign(changed).await;
            }
        }
    }

    /// Starts what is held since the restart: all of it, or just `task`.
    fn release(&mut self, task: Option<TaskId>) {
        let held: Vec<_> = self
            .entries
            .iter()
            .filter(|(id, entry)| {
                matches!(entry.life, Life::Held(_)) && task.is_none_or(|only| only == **id)
            })
            .map(|(id, _)| *id)
            .collect();
        for task in held {
            self.begin(task);
        }
    }

    /// Keeps new and changed assignments, then acts on them.
    async fn assign(&mut self, changed: Vec<Assignment>) {
        let mut writes = Vec::new();
        let mut begin = Vec::new();
        let mut fresh = Vec::new();
        self.await_configs(&changed).await;
        let there = self.devices_there(&changed).await;
        for assignment in changed {
            let task = assignment.task;
            if let Some(entry) = self.entries.get_mut(&task) {
                entry.forgotten = false;
                if let Life::Live(desired) = &entry.life {
                    desired.send_replace(assignment.desired);
                }
                entry.record.assignment = assignment;
                writes.push(AgentWrite::Put(task, entry.record.encode()));
                begin.push(task);
                continue;
            }
            let configs = self.configs(&assignment);
            let state = self.unclaimed.remove(&task).map(|(_, state)| state);
            let now = self.options.clock.now();
            let (devices, ended) = match self.hand_out(&assignment, &there) {
                Ok(devices) => (devices, None),
                // What runs already has got its devices.
                Err(_few) if state.is_some() => (Devices::new(), None),
                Err(few) => (Devices::new(), Some(refusal(now, ObservedState::Rejected, few))),
            };
            let life = match &ended {
                None => Life::Held(self.beginning(state)),
                Some(end) => {
                    self.options.board.post(task, end.clone());
                    Life::Ended
                }
            };
            let record = Record { assignment, configs, ended, devices };
            writes.push(AgentWrite::Put(task, record.encode()));
            self.entries.insert(task, Entry { record, life, forgotten: false });
            fresh.push(task);
        }
        if !planted(Mistake::ForgetAssignments) && !self.write(writes).await {
            self.refuse(fresh);
            fresh = Vec::new();
        }
        for task in begin.into_iter().chain(fresh) {
            self.release(Some(task));
        }
    }

    /// Says that new tasks cannot be kept here, so that they go elsewhere.
    fn refuse(&mut self, tasks: Vec<TaskId>) {
        for task in tasks {
            if let Some(entry) = self.entries.get_mut(&task) {
                let error = "the node cannot keep assignments: its disk is full or broken";
                let now = self.options.clock.now();
                let end = refusal(now, ObservedState::Failed, error.to_owned());
                // It stays known until the leader forgets it: part of it may be on the disk.
                entry.life = Life::Ended;
                entry.record.ended = Some(end.clone());
                self.options.board.post(task, end);
            }
        }
    }

    /// Which of the devices that `assignments` could get are plugged in.
    async fn devices_there(&self, assignments: &[Assignment]) -> BTreeSet<String> {
        let offered = &self.options.devices;
        let of = |it: &Assignment| {
            devices::classes(offered, needs(it))
                .flat_map(|(_, it, _)| it.to_vec())
                .collect::<Vec<_>>()
        };
        let paths: BTreeSet<String> = assignments.iter().flat_map(of).collect();
        if paths.is_empty() {
            return paths;
        }
        let there = |path: &String| Path::new(path).exists();
        self.options.work.run(move || paths.into_iter().filter(there).collect()).await
    }

    /// Picks the devices of a new task, out of those that are `there` and that no other task has.
    fn hand_out(
        &self,
        assignment: &Assignment,
        there: &BTreeSet<String>,
    ) -> Result<Devices, String> {
        let needs = needs(assignment);
        // The leader may know of an end before it is noted here.
        let over = |task| self.options.board.status(task).is_some_and(|it| it.state.is_terminal());
        let has = |(task, entry): &(&TaskId, &Entry)| {
            let devices = &entry.record.devices;
            !devices.is_empty() && entry.record.ended.is_none() && !over(**task)
        };
        let holders = self.entries.iter().filter(has);
        let taken = holders.flat_map(|(_, entry)| entry.record.devices.values().flatten());
        devices::choose(&self.options.devices, needs, &taken.cloned().collect(), there)
    }

    /// Waits until the replica has all configs that `assignments` name: once for all of them, since
    /// nothing else is done meanwhile.
    async fn await_configs(&self, assignments: &[Assignment]) {
        let mut views = self.options.views.clone();
        let complete = views.wait_for(|view| assignments.iter().all(|it| has_configs(view, it)));
        if tokio::time::timeout(CONFIG_PATIENCE, complete).await.is_err() {
            tracing::warn!("a config has not reached this node in time");
        }
    }

    /// The contents of the configs that `assignment` names, if this node's replica has them all.
    fn configs(&self, assignment: &Assignment) -> Configs {
        let view = self.options.views.borrow();
        if !has_configs(&view, assignment) {
            return Configs::new();
        }
        let configs = assignment.configs.keys().filter_map(|id| view.configs.get(id));
        configs.map(|config| (config.id, config.spec.data.clone())).collect()
    }

    /// Ends and clears away what the leader does not name any more.
    async fn forget(&mut self, tasks: Vec<TaskId>) {
        let mut clear = Vec::new();
        for task in tasks {
            let Some(entry) = self.entries.get_mut(&task) else {
                self.options.board.forget(task);
                continue;
            };
            match &entry.life {
                Life::Live(desired) => {
                    entry.forgotten = true;
                    desired.send_replace(DesiredState::Remove);
                }
                Life::Held(_) | Life::Ended => clear.push(task),
            }
        }
        self.clear(clear).await;
    }
}

/// What a task is to be set aside, of all that is only counted.
fn needs(assignment: &Assignment) -> &BTreeMap<String, u64> {
    &assignment.template.resources.reservations.generic
}

/// The end of a task that was not taken.
fn refusal(now: Timestamp, state: ObservedState, error: String) -> TaskStatus {
    TaskStatus { error, ..TaskStatus::new(state, now, "not accepted") }
}

/// Whether `view` holds every config of `assignment`, as new as the leader meant.
fn has_configs(view: &View, assignment: &Assignment) -> bool {
    assignment.configs.iter().all(|(id, version)| {
        view.configs.get(id).is_some_and(|config| config.meta.version >= *version)
    })
}
