//! Lives of tasks on one simulated machine, driven by the leader's messages. Time is paused.

use std::collections::BTreeMap;
use std::path::Path;

use swarm_model::assignment::Generation;
use swarm_model::id::ServiceId;
use swarm_model::meta::Term;
use swarm_model::runtime::{ConfigReference, ProcessSpec, Signal};
use swarm_model::task::{Slot, TaskTemplate};
use swarm_model::units::Timestamp;
use swarm_state::store::disk::{Disk, MemDisk};
use swarm_state::store::{LogOptions, Store, Table};
use tokio::time::Instant;

use super::*;
use crate::agent::board::Whisper;
use crate::runtime::{Behaviour, MockEventKind, MockRuntime};

#[derive(Debug)]
struct Tokio(Instant);

impl Clock for Tokio {
    fn now(&self) -> Timestamp {
        Timestamp::default().after(self.0.elapsed())
    }
}

#[derive(Debug)]
struct Nobody;

impl Whisper for Nobody {
    fn publish(&self, _: TaskId, _: &TaskStatus) {}
    fn retract(&self, _: TaskId) {}
}

/// A machine with its disk; what lives on it is one daemon after another.
struct Machine {
    disk: MemDisk,
    runtime: MockRuntime,
    devices: Devices,
    clock: Arc<Tokio>,
    views: watch::Sender<Arc<View>>,
}

/// One life of the daemon.
struct Daemon {
    board: Arc<Board>,
    inputs: mpsc::Sender<AssignmentMessage>,
    table: AgentTable,
    tasks: TaskGroup,
    sequence: u64,
}

fn id(raw: u128) -> TaskId {
    TaskId::from_raw(raw)
}

impl Machine {
    fn new() -> Self {
        let clock = Arc::new(Tokio(Instant::now()));
        Self {
            disk: MemDisk::new(1),
            runtime: MockRuntime::new(clock.clone(), Duration::from_millis(5)),
            devices: Devices::new(),
            clock,
            views: watch::Sender::default(),
        }
    }

    async fn boot(&self) -> Daemon {
        let disk: Arc<dyn Disk> = Arc::new(self.disk.clone());
        let store = Store::open_on(disk, Path::new("/d"), LogOptions::default()).expect("opens");
        let board = Arc::new(Board::new(Arc::new(Nobody)));
        let tasks = TaskGroup::new();
        let agent = Agent::start(Options {
            node: NodeId::from_raw(1),
            hostname: "here".to_owned(),
            table: store.agent_tasks.clone(),
            devices: self.devices.clone(),
            runtimes: Registry::new([Arc::new(self.runtime.clone()) as Arc<dyn TaskRuntime>]),
            board: board.clone(),
            views: self.views.subscribe(),
            clock: self.clock.clone(),
            tasks: tasks.clone(),
            work: Work::Inline,
        })
        .await
        .expect("starts");
        let inputs = agent.inputs();
        tasks.spawn("agent", agent.run(tasks.token()));
        Daemon { board, inputs, table: store.agent_tasks, tasks, sequence: 0 }
    }

    fn starts(&self, task: u128) -> usize {
        let started = |event: &&crate::runtime::MockEvent| {
            event.task == id(task) && event.what == MockEventKind::Started
        };
        self.runtime.events().iter().filter(started).count()
    }
}

impl Daemon {
    fn generation(&mut self) -> Generation {
        self.sequence += 1;
        Generation { term: Term(2), sequence: self.sequence }
    }

    async fn full(&mut self, tasks: &[u128]) {
        let tasks = tasks.iter().copied().map(id).collect();
        let message = AssignmentMessage::Full { generation: self.generation(), tasks };
        self.inputs.send(message).await.expect("the agent lives");
    }

    async fn assign(&mut self, changed: Vec<Assignment>) {
        self.delta(changed, &[]).await;
    }

    async fn delta(&mut self, changed: Vec<Assignment>, removed: &[u128]) {
        let removed = removed.iter().copied().map(id).collect();
        let generation = self.generation();
        let message = AssignmentMessage::Delta { generation, changed, removed };
        self.inputs.send(message).await.expect("the agent lives");
    }

    async fn until(&self, task: u128, state: Option<ObservedState>) -> Option<TaskStatus> {
        let reached = async {
            loop {
                let status = self.board.status(id(task));
                if status.as_ref().map(|status| status.state) == state {
                    return status;
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(60), reached).await;
        waited
            .unwrap_or_else(|_| panic!("{state:?} not reached: {:?}", self.board.status(id(task))))
    }

    /// Ends as a daemon does: tasks go on, and nothing waits for them.
    async fn stop(self) {
        let late = self.tasks.shutdown(Duration::from_secs(5)).await;
        assert!(late.is_empty(), "still running: {late:?}");
    }
}

fn assignment(task: u128, program: &str, desired: DesiredState) -> Assignment {
    let process = ProcessSpec { command: vec![program.to_owned()], ..ProcessSpec::default() };
    Assignment {
        task: id(task),
        service: ServiceId::from_raw(9),
        service_name: "web".to_owned(),
        service_labels: BTreeMap::new(),
        slot: Slot::Replica(1),
        template: Arc::new(TaskTemplate {
            runtime: RuntimeSpec::Process(process),
            resources: Default::default(),
            restart_policy: Default::default(),
            placement: Default::default(),
            stop_signal: Signal::TERM,
            stop_grace_ms: 100,
            force_update: 0,
            health: None,
            ready: None,
            drain_delay_ms: 0,
        }),
        desired,
        node_labels: BTreeMap::new(),
        configs: BTreeMap::new(),
    }
}

mod devices;
mod health;

const RUNNING: Option<ObservedState> = Some(ObservedState::Running);
const SHUTDOWN: Option<ObservedState> = Some(ObservedState::Shutdown);
const FAILED: Option<ObservedState> = Some(ObservedState::Failed);

#[tokio::test(start_paused = true)]
async fn a_task_waits_ready_then_runs_then_stops_and_is_cleared_away() {
    let machine = Machine::new();
    let mut daemon = machine.boot().await;
    daemon.assign(vec![assignment(1, "web", DesiredState::Ready)]).await;
    daemon.until(1, Some(ObservedState::Ready)).await;
    assert_eq!(machine.starts(1), 0);
    daemon.assign(vec![assignment(1, "web", DesiredState::Running)]).await;
    daemon.until(1, RUNNING).await;
    daemon.assign(vec![assignment(1, "web", DesiredState::Shutdown)]).await;
    daemon.until(1, SHUTDOWN).await;
    assert!(machine.runtime.running().is_empty());
    daemon.delta(Vec::new(), &[1]).await;
    daemon.until(1, None).await;
    assert!(daemon.table.scan().expect("reads").is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_crash_is_told_and_the_task_never_runs_again() {
    let machine = Machine::new();
    let mut daemon = machine.boot().await;
    daemon.assign(vec![assignment(1, "web", DesiredState::Running)]).await;
    daemon.until(1, RUNNING).await;
    machine.runtime.crash(id(1), 3);
    let end = daemon.until(1, FAILED).await.expect("a status");
    assert_eq!(end.exit.and_then(|exit| exit.code), Some(3));
    daemon.assign(vec![assignment(1, "web", DesiredState::Running)]).await;
    daemon.stop().await;
    let daemon = machine.boot().await;
    daemon.until(1, FAILED).await;
    tokio::time::sleep(LEADER_PATIENCE * 2).await;
    assert_eq!(machine.starts(1), 1);
}

#[tokio::test(start_paused = true)]
async fn a_restarted_daemon_adopts_what_runs_and_stops_at_once_itself() {
    let machine = Machine::new();
    let mut daemon = machine.boot().await;
    daemon.assign(vec![assignment(1, "web", DesiredState::Running)]).await;
    daemon.until(1, RUNNING).await;
    let before = Instant::now();
    daemon.stop().await;
    assert!(before.elapsed() < Duration::from_secs(1), "it waited for its tasks");
    let mut daemon = machine.boot().await;
    let adopted = daemon.until(1, RUNNING).await.expect("a status");
    assert_eq!((adopted.message.as_str(), machine.starts(1)), ("adopted", 1));
    daemon.full(&[]).await;
    daemon.until(1, None).await;
    assert!(machine.runtime.running().is_empty(), "nobody asks for it any more");
}

/// Tasks 1 and 2 run on it, and their daemon has stopped.
async fn runs_two_without_a_daemon() -> Machine {
    let machine = Machine::new();
    let mut daemon = machine.boot().await;
    let both = [1, 2].map(|task| assignment(task, "web", DesiredState::Running));
    daemon.assign(both.to_vec()).await;
    daemon.until(1, RUNNING).await;
    daemon.until(2, RUNNING).await;
    daemon.stop().await;
    machine
}

#[tokio::test(start_paused = true)]
async fn a_lost_table_restarts_no_task_and_leaves_none_that_is_not_wanted() {
    let machine = runs_two_without_a_daemon().await;
    let disk: Arc<dyn Disk> = Arc::new(machine.disk.clone());
    Store::set_aside_on(&disk, Path::new("/d"), Table::Agent).expect("room");
    let mut daemon = machine.boot().await;
    tokio::time::sleep(LEADER_PATIENCE * 2).await;
    assert_eq!(machine.runtime.running().len(), 2, "nobody has said anything yet");
    daemon.full(&[1]).await;
    daemon.assign(vec![assignment(1, "web", DesiredState::Running)]).await;
    let adopted = daemon.until(1, RUNNING).await.expect("a status");
    assert_eq!((adopted.message.as_str(), machine.starts(1)), ("adopted", 1));
    assert_eq!(machine.runtime.running(), BTreeSet::from([id(1)]));
    assert_eq!(daemon.table.scan().expect("readable").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn after_a_reboot_tasks_wait_for_the_leader_but_not_for_ever() {
    let machine = runs_two_without_a_daemon().await;
    machine.runtime.lose_power();
    let mut daemon = machine.boot().await;
    tokio::time::sleep(LEADER_PATIENCE / 2).await;
    assert!(machine.runtime.running().is_empty(), "the leader may have moved them");
    daemon.assign(vec![assignment(1, "web", DesiredState::Shutdown)]).await;
    daemon.until(1, SHUTDOWN).await;
    daemon.until(2, RUNNING).await;
    assert_eq!((machine.starts(1), machine.starts(2)), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn what_the_leader_forgot_meanwhile_does_not_start_after_a_reboot() {
    let machine = Machine::new();
    let mut daemon = machine.boot().await;
    daemon.assign(vec![assignment(1, "web", DesiredState::Running)]).await;
    daemon.until(1, RUNNING).await;
    daemon.stop().await;
    machine.runtime.lose_power();
    let mut daemon = machine.boot().await;
    daemon.full(&[]).await;
    tokio::time::sleep(LEADER_PATIENCE * 2).await;
    assert_eq!(machine.starts(1), 1);
    assert!(daemon.table.scan().expect("reads").is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_refuses_new_tasks_and_still_stops_old_ones() {
    let machine = Machine::new();
    let mut daemon = machine.boot().await;
    daemon.assign(vec![assignment(1, "web", DesiredState::Running)]).await;
    daemon.until(1, RUNNING).await;
    machine.disk.set_free(Some(0));
    // More than what the table has kept free ahead.
    let mut large = assignment(2, "web", DesiredState::Running);
    large.service_labels.insert("large".to_owned(), "x".repeat(900_000));
    daemon.assign(vec![large]).await;
    let refused = daemon.until(2, FAILED).await.expect("a status");
    assert!(refused.error.contains("disk is full"), "{}", refused.error);
    assert_eq!(machine.starts(2), 0);
    daemon.assign(vec![assignment(1, "web", DesiredState::Shutdown)]).await;
    daemon.until(1, SHUTDOWN).await;
    machine.disk.set_free(None);
    daemon.full(&[]).await;
    daemon.until(2, None).await;
    daemon.until(1, None).await;
    assert!(daemon.table.scan().expect("reads").is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_task_whose_config_does_not_arrive_is_rejected_and_others_are_not() {
    let machine = Machine::new();
    let mut daemon = machine.boot().await;
    let config = swarm_model::id::ConfigId::from_raw(5);
    let mut late = assignment(1, "web", DesiredState::Running);
    let reference = ConfigReference {
        config,
        name: "conf".to_owned(),
        target: "conf".to_owned(),
        uid: None,
        gid: None,
        mode: 0o444,
    };
    let process = ProcessSpec {
        command: vec!["web".to_owned()],
        configs: vec![reference],
        ..ProcessSpec::default()
    };
    let template = TaskTemplate::clone(&late.template);
    let runtime = RuntimeSpec::Process(process);
    late.template = Arc::new(TaskTemplate { runtime, ..template });
    late.configs.insert(config, swarm_model::meta::Version(1));
    daemon.assign(vec![late, assignment(2, "web", DesiredState::Running)]).await;
    let rejected = daemon.until(1, Some(ObservedState::Rejected)).await.expect("a status");
    assert!(rejected.error.contains("conf has not reached"), "{}", rejected.error);
    daemon.until(2, RUNNING).await;
}

#[tokio::test(start_paused = true)]
async fn a_rejection_is_told_when_the_task_was_to_run() {
    let machine = Machine::new();
    let missing = Failure::NotFound { program: "nope".to_owned(), hint: String::new() };
    machine.runtime.program("nope", Behaviour::Rejected(missing));
    let mut daemon = machine.boot().await;
    daemon.assign(vec![assignment(1, "nope", DesiredState::Ready)]).await;
    daemon.until(1, Some(ObservedState::Preparing)).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(daemon.board.status(id(1)).map(|s| s.state), Some(ObservedState::Preparing));
    daemon.assign(vec![assignment(1, "nope", DesiredState::Running)]).await;
    daemon.until(1, Some(ObservedState::Rejected)).await;
}

#[tokio::test(start_paused = true)]
async fn a_deposed_leader_is_not_obeyed() {
    let machine = Machine::new();
    let mut daemon = machine.boot().await;
    daemon.assign(vec![assignment(1, "web", DesiredState::Running)]).await;
    daemon.until(1, RUNNING).await;
    let generation = Generation { term: Term(1), sequence: 9 };
    let stale = AssignmentMessage::Full { generation, tasks: Vec::new() };
    daemon.inputs.send(stale).await.expect("the agent lives");
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(machine.runtime.running().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_write_that_failed_is_made_up_for_when_there_is_space_again() {
    let machine = Machine::new();
    let mut daemon = machine.boot().await;
    daemon.assign(vec![assignment(1, "web", DesiredState::Running)]).await;
    daemon.until(1, RUNNING).await;
    machine.disk.set_free(Some(0));
    let mut large = assignment(1, "web", DesiredState::Running);
    large.service_labels.insert("large".to_owned(), "x".repeat(900_000));
    daemon.assign(vec![large]).await;
    let kept = |daemon: &Daemon| daemon.table.scan().expect("reads")[0].1.len();
    tokio::time::sleep(REWRITE * 3).await;
    assert!(kept(&daemon) < 900_000, "the disk is full");
    machine.disk.set_free(None);
    tokio::time::sleep(REWRITE * 2).await;
    assert!(kept(&daemon) > 900_000, "nobody tried again");
    assert_eq!(daemon.board.status(id(1)).map(|status| status.state), RUNNING);
}

#[tokio::test(start_paused = true)]
async fn a_stop_does_not_wait_until_others_are_cleared_away() {
    let machine = Machine::new();
    let mut daemon = machine.boot().await;
    let all = (1..=21).map(|task| assignment(task, "web", DesiredState::Running)).collect();
    daemon.assign(all).await;
    for task in 1..=21 {
        daemon.until(task, RUNNING).await;
    }
    let removal = Duration::from_secs(30);
    machine.runtime.slow_removals(removal);
    let cleared: Vec<u128> = (1..=20).collect();
    daemon.delta(Vec::new(), &cleared).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let asked = Instant::now();
    daemon.assign(vec![assignment(21, "web", DesiredState::Shutdown)]).await;
    daemon.until(21, SHUTDOWN).await;
    assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
    // 20 of them, 8 at a time.
    tokio::time::sleep(removal * 3).await;
    let removed = |event: &&crate::runtime::MockEvent| event.what == MockEventKind::Removed;
    assert_eq!(machine.runtime.events().iter().filter(removed).count(), 20);
    assert!(daemon.board.status(id(20)).is_none());
}
