//! A runtime without processes, for simulations: programs are behaviours, time is tokio's.
//!
//! The value is the machine: clones share it, so a simulated daemon's restart keeps its tasks, and
//! [`MockRuntime::lose_power`] ends them. What happened is recorded for invariant checks.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt};
use swarm_model::clock::Clock;
use swarm_model::id::TaskId;
use swarm_model::probe::Check;
use swarm_model::runtime::Signal;
use swarm_model::units::Timestamp;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use super::probe::{self, Answer};
use super::{Adopted, AdoptedState, Exit, Failure, Launch, Started, TaskRuntime};

/// What a program (the first word of a command) does.
#[derive(Debug, Clone)]
pub enum Behaviour {
    /// Runs until a signal ends it. What unknown programs do.
    Runs,
    /// Ends by itself.
    Exits {
        /// After its start.
        after: Duration,
        /// Its exit code.
        code: i32,
    },
    /// Runs until it is killed.
    Stubborn,
    /// Cannot be prepared.
    Rejected(Failure),
    /// Can be prepared but not started.
    FailsToStart(Failure),
}

/// What tasks of a program answer to probes. Those of unknown programs are well as long as they run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// It is well.
    Well,
    /// It is well once it has run for so long.
    WellAfter(Duration),
    /// It is well for so long from its start, and never again.
    WellFor(Duration),
    /// It is not.
    Ill,
    /// It never answers.
    Hangs,
    /// It could not be asked.
    Unknown,
}

/// One thing that happened to a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MockEvent {
    /// When.
    pub at: Timestamp,
    /// Which task.
    pub task: TaskId,
    /// What.
    pub what: MockEventKind,
}

/// What happened to a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MockEventKind {
    /// It was prepared.
    Prepared,
    /// It was started.
    Started,
    /// A signal was sent to it.
    Signalled(Signal),
    /// It ended.
    Exited(Exit),
    /// Its machine lost power while it ran.
    Lost,
    /// It was removed.
    Removed,
}

/// The machine; see the module.
#[derive(Debug, Clone)]
pub struct MockRuntime {
    machine: Arc<Mutex<Machine>>,
    clock: Arc<dyn Clock>,
    start_delay: Duration,
}

#[derive(Debug, Default)]
struct Machine {
    programs: BTreeMap<String, Behaviour>,
    conditions: BTreeMap<String, Condition>,
    probes: BTreeMap<TaskId, usize>,
    well: BTreeSet<TaskId>,
    tasks: BTreeMap<TaskId, Task>,
    events: Vec<MockEvent>,
    removal: Duration,
}

#[derive(Debug)]
struct Task {
    program: String,
    env: Vec<(String, String)>,
    behaviour: Behaviour,
    state: State,
    changed: watch::Sender<()>,
}

#[derive(Debug, Clone, Copy)]
enum State {
    Prepared,
    Running { at: Timestamp, ends: Option<(Instant, Exit)> },
    Exited(Exit),
    Lost,
}

impl MockRuntime {
    /// A machine without tasks; a start takes `start_delay`.
    pub fn new(clock: Arc<dyn Clock>, start_delay: Duration) -> Self {
        Self { machine: Arc::default(), clock, start_delay }
    }

    /// Says what `program` does from now on.
    pub fn program(&self, program: &str, behaviour: Behaviour) {
        self.machine().programs.insert(program.to_owned(), behaviour);
    }

    /// Says what tasks of `program` answer to probes from now on.
    pub fn condition(&self, program: &str, condition: Condition) {
        self.machine().conditions.insert(program.to_owned(), condition);
    }

    /// How often a task was probed.
    pub fn probes(&self, task: TaskId) -> usize {
        self.machine().probes.get(&task).copied().unwrap_or(0)
    }

    /// Whether a task ever answered that it is well.
    pub fn was_well(&self, task: TaskId) -> bool {
        self.machine().well.contains(&task)
    }

    /// How long a removal takes from now on: a slow disk.
    pub fn slow_removals(&self, removal: Duration) {
        self.machine().removal = removal;
    }

    /// Everything that happened, oldest first.
    pub fn events(&self) -> Vec<MockEvent> {
        let mut machine = self.machine();
        machine.settle();
        machine.events.clone()
    }

    /// A variable of a task's environment.
    pub fn variable(&self, task: TaskId, name: &str) -> Option<String> {
        let machine = self.machine();
        let mut env = machine.tasks.get(&task)?.env.iter();
        env.find(|(key, _)| key == name).map(|(_, value)| value.clone())
    }

    /// What runs now.
    pub fn running(&self) -> BTreeSet<TaskId> {
        let mut machine = self.machine();
        machine.settle();
        let running = machine.tasks.iter();
        running
            .filter(|(_, task)| matches!(task.state, State::Running { .. }))
            .map(|(id, _)| *id)
            .collect()
    }

    /// Ends a running task as a crash would.
    pub fn crash(&self, task: TaskId, code: i32) {
        let at = self.clock.now();
        let exit = Exit { code: Some(code), signal: None, oom_killed: false, at };
        self.machine().end(task, exit);
    }

    /// The machine loses power: nothing runs any more, and nobody saw it end.
    pub fn lose_power(&self) {
        let at = self.clock.now();
        let mut machine = self.machine();
        machine.settle();
        let Machine { tasks, events, .. } = &mut *machine;
        for (id, task) in tasks {
            if matches!(task.state, State::Running { .. }) {
                task.state = State::Lost;
                events.push(MockEvent { at, task: *id, what: MockEventKind::Lost });
                task.changed.send_replace(());
            }
        }
    }

    fn machine(&self) -> MutexGuard<'_, Machine> {
        self.machine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lost(&self) -> Exit {
        Exit { code: None, signal: None, oom_killed: false, at: self.clock.now() }
    }

    fn prepare_now(&self, launch: &Launch) -> Result<(), Failure> {
        let at = self.clock.now();
        let program = launch.command.first().ok_or(Failure::EmptyCommand)?;
        let mut machine = self.machine();
        let behaviour = machine.programs.get(program).cloned().unwrap_or(Behaviour::Runs);
        if let Behaviour::Rejected(failure) = behaviour {
            return Err(failure);
        }
        match machine.tasks.get(&launch.task).map(|task| task.state) {
            None | Some(State::Prepared) => {}
            Some(State::Running { .. } | State::Exited(_) | State::Lost) => {
                return Err(Failure::AlreadyStarted { task: launch.task });
            }
        }
        let (program, changed) = (program.clone(), watch::Sender::new(()));
        let env = launch.env.clone();
        let task = Task { program, env, behaviour, state: State::Prepared, changed };
        machine.tasks.insert(launch.task, task);
        machine.note(at, launch.task, MockEventKind::Prepared);
        Ok(())
    }

    fn start_now(&self, id: TaskId) -> Result<Started, Failure> {
        let at = self.clock.now();
        let mut machine = self.machine();
        let task = machine.tasks.get_mut(&id).ok_or(Failure::UnknownTask { task: id })?;
        if !matches!(task.state, State::Prepared) {
            return Err(Failure::AlreadyStarted { task: id });
        }
        let ends = match &task.behaviour {
            Behaviour::FailsToStart(failure) => return Err(failure.clone()),
            Behaviour::Exits { after, code } => {
                let at = at.after(*after);
                let exit = Exit { code: Some(*code), signal: None, oom_killed: false, at };
                Some((Instant::now() + *after, exit))
            }
            Behaviour::Runs | Behaviour::Stubborn | Behaviour::Rejected(_) => None,
        };
        task.state = State::Running { at, ends };
        task.changed.send_replace(());
        machine.note(at, id, MockEventKind::Started);
        Ok(Started { pid: 0, at })
    }

    fn signal_now(&self, id: TaskId, signal: Signal) -> Result<(), Failure> {
        let at = self.clock.now();
        let mut machine = self.machine();
        machine.settle();
        let task = machine.tasks.get(&id).ok_or(Failure::UnknownTask { task: id })?;
        if !matches!(task.state, State::Running { .. }) {
            return Ok(());
        }
        let ends = signal == Signal::KILL || !matches!(task.behaviour, Behaviour::Stubborn);
        machine.note(at, id, MockEventKind::Signalled(signal));
        if ends {
            let signal = Some(signal.number());
            machine.end(id, Exit { code: None, signal, oom_killed: false, at });
        }
        Ok(())
    }

    /// What the task answers now; `None` is nothing.
    fn probe_now(&self, id: TaskId) -> Option<Answer> {
        let now = self.clock.now();
        let mut machine = self.machine();
        machine.settle();
        *machine.probes.entry(id).or_default() += 1;
        let failed = |why: &str| Some(Answer::Failed(why.to_owned()));
        let Some((program, State::Running { at, .. })) =
            machine.tasks.get(&id).map(|task| (&task.program, task.state))
        else {
            return failed("it does not run");
        };
        let ran = now.since(at);
        let answer = match machine.conditions.get(program) {
            None | Some(Condition::Well) => Some(Answer::Passed),
            Some(Condition::WellAfter(time)) if ran >= *time => Some(Answer::Passed),
            Some(Condition::WellAfter(_)) => failed("it is not up yet"),
            Some(Condition::WellFor(time)) if ran < *time => Some(Answer::Passed),
            Some(Condition::WellFor(_) | Condition::Ill) => failed("it is ill"),
            Some(Condition::Hangs) => None,
            Some(Condition::Unknown) => Some(Answer::Unknown("nobody could ask it".to_owned())),
        };
        if answer == Some(Answer::Passed) {
            machine.well.insert(id);
        }
        answer
    }

    fn remove_now(&self, id: TaskId) -> Result<(), Failure> {
        let at = self.clock.now();
        let mut machine = self.machine();
        machine.settle();
        match machine.tasks.get(&id).map(|task| task.state) {
            None => return Ok(()),
            Some(State::Running { .. }) => return Err(Failure::StillRunning { task: id }),
            Some(State::Prepared | State::Exited(_) | State::Lost) => {}
        }
        machine.tasks.remove(&id);
        machine.note(at, id, MockEventKind::Removed);
        Ok(())
    }

    fn adopt_now(&self) -> Vec<Adopted> {
        let mut machine = self.machine();
        machine.settle();
        machine.tasks.retain(|_, task| !matches!(task.state, State::Prepared));
        let tasks = machine.tasks.iter().filter_map(|(task, known)| {
            let state = match known.state {
                State::Prepared => return None,
                State::Running { at, .. } => AdoptedState::Running { pid: 0, started_at: at },
                State::Exited(exit) => AdoptedState::Exited(exit),
                State::Lost => AdoptedState::Lost { rebooted: true },
            };
            Some(Adopted { task: *task, state })
        });
        tasks.collect()
    }

    async fn wait_for(self, id: TaskId) -> Exit {
        loop {
            let (ends, mut changed) = {
                let mut machine = self.machine();
                machine.settle();
                let Some(task) = machine.tasks.get(&id) else { return self.lost() };
                match task.state {
                    State::Exited(exit) => return exit,
                    State::Prepared | State::Lost => return self.lost(),
                    State::Running { ends, .. } => (ends, task.changed.subscribe()),
                }
            };
            let end = async {
                match ends {
                    Some((instant, _)) => sleep_until(instant).await,
                    None => futures::future::pending().await,
                }
            };
            // Either way the state is looked at again; a sender that is gone was removed.
            tokio::select! {
                () = end => {}
                _changed = changed.changed() => {}
            }
        }
    }
}

impl Machine {
    fn note(&mut self, at: Timestamp, task: TaskId, what: MockEventKind) {
        self.events.push(MockEvent { at, task, what });
    }

    /// Ends what has ended by itself by now.
    fn settle(&mut self) {
        let now = Instant::now();
        let due = self.tasks.iter().filter_map(|(id, task)| match task.state {
            State::Running { ends: Some((instant, exit)), .. } if instant <= now => {
                Some((instant, *id, exit))
            }
            State::Running { .. } | State::Prepared | State::Exited(_) | State::Lost => None,
        });
        let mut due: Vec<_> = due.collect();
        due.sort_unstable_by_key(|(instant, id, _)| (*instant, *id));
        for (_, id, exit) in due {
            self.end(id, exit);
        }
    }

    fn end(&mut self, id: TaskId, exit: Exit) {
        let Some(task) = self.tasks.get_mut(&id) else { return };
        if matches!(task.state, State::Running { .. }) {
            task.state = State::Exited(exit);
            task.changed.send_replace(());
            self.note(exit.at, id, MockEventKind::Exited(exit));
        }
    }
}

impl TaskRuntime for MockRuntime {
    fn name(&self) -> &'static str {
        // It stands in for the runtime that specs ask for.
        "process"
    }

    fn prepare(&self, launch: Arc<Launch>) -> BoxFuture<'static, Result<(), Failure>> {
        let this = self.clone();
        async move { this.prepare_now(&launch) }.boxed()
    }

    fn start(&self, launch: Arc<Launch>) -> BoxFuture<'static, Result<Started, Failure>> {
        let this = self.clone();
        async move {
            if !this.start_delay.is_zero() {
                sleep(this.start_delay).await;
            }
            this.start_now(launch.task)
        }
        .boxed()
    }

    fn wait(&self, task: TaskId) -> BoxFuture<'static, Exit> {
        self.clone().wait_for(task).boxed()
    }

    fn signal(&self, task: TaskId, signal: Signal) -> BoxFuture<'static, Result<(), Failure>> {
        let this = self.clone();
        async move { this.signal_now(task, signal) }.boxed()
    }

    fn probe(
        &self,
        task: TaskId,
        _check: Arc<Check>,
        within: Duration,
    ) -> BoxFuture<'static, Answer> {
        let this = self.clone();
        async move {
            match this.probe_now(task) {
                Some(answer) => answer,
                None => {
                    sleep(within).await;
                    probe::late(within)
                }
            }
        }
        .boxed()
    }

    fn stop(
        &self,
        task: TaskId,
        signal: Signal,
        grace: Duration,
    ) -> BoxFuture<'static, Result<(), Failure>> {
        let this = self.clone();
        async move {
            this.signal_now(task, signal)?;
            if tokio::time::timeout(grace, this.clone().wait_for(task)).await.is_err() {
                this.signal_now(task, Signal::KILL)?;
            }
            Ok(())
        }
        .boxed()
    }

    fn remove(&self, task: TaskId) -> BoxFuture<'static, Result<(), Failure>> {
        let this = self.clone();
        async move {
            let removal = this.machine().removal;
            if !removal.is_zero() {
                sleep(removal).await;
            }
            this.remove_now(task)
        }
        .boxed()
    }

    fn adopt(&self) -> BoxFuture<'static, Result<Vec<Adopted>, Failure>> {
        let this = self.clone();
        async move { Ok(this.adopt_now()) }.boxed()
    }
}
