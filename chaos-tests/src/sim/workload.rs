//! Clients: each writes its own configs and services through whatever node answers, asks again under
//! the same request id until it knows, and reads what others wrote.

use std::collections::BTreeMap;
use std::time::Duration;

use swarm_model::command::{Actor, Op};
use swarm_model::config::ConfigSpec;
use swarm_model::id::{ConfigId, RequestId, ServiceId};
use swarm_model::meta::{Revision, Version};
use swarm_model::node::Role;
use swarm_model::outcome::{Done, Rejection};
use swarm_model::probe::{Check, Probe};
use swarm_model::runtime::{ProcessSpec, RuntimeSpec, Signal};
use swarm_model::service::{ServiceMode, ServiceSpec};
use swarm_model::task::TaskTemplate;
use swarm_model::update::{FailureAction, UpdatePolicy};
use swarm_node::api::backend::{Backend, ProposeError};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::chance::Chance;
use super::ledger::{Ledger, VALUE, Value, shown};
use super::world::World;
use crate::history::{Kind, Record};

/// Objects that one client keeps at a time.
const OBJECTS_MAX: usize = 4;
/// Services among them.
const SERVICES_MAX: usize = 2;
/// Replicas of one service.
const REPLICAS_MAX: u32 = 5;
/// How long one attempt may take before the client takes another node.
const ATTEMPT: Duration = Duration::from_secs(11);
/// After this long an answer is given up on.
const PATIENCE: Duration = Duration::from_secs(45);
/// In so many of a hundred writes a client is in a hurry, and gives up after so many milliseconds: often it
/// never learns that it was heard.
const HURRIED: u32 = 10;
const HURRY_MS: (u32, u32) = (3, 60);
/// How long a read may take.
const READ: Duration = Duration::from_secs(5);
/// Registers that one read looks at.
const READ_AT_ONCE: u32 = 3;
/// How long a task has to end after its signal.
const STOP_GRACE_MS: u64 = 2000;

/// One client.
#[derive(Debug)]
pub struct Client {
    name: String,
    process: u32,
    world: World,
    ledger: Ledger,
    chance: Chance,
    objects: Vec<Object>,
    made: u32,
    writes: u64,
}

#[derive(Debug, Clone)]
struct Object {
    name: String,
    what: What,
}

#[derive(Debug, Clone, Copy)]
enum What {
    Config { id: ConfigId, version: Version },
    Service { id: ServiceId, replicas: u32, program: u64 },
}

/// What became of a write.
#[derive(Debug)]
pub enum Settled {
    /// It was acknowledged.
    Applied(Revision, Done),
    /// It was refused.
    Rejected(Rejection),
    /// Nobody knows.
    GaveUp,
}

/// A service of so many replicas that carries `value`; another `program` makes another template.
pub fn service_spec(name: &str, replicas: u32, value: u64, program: u64) -> ServiceSpec {
    let process = ProcessSpec {
        command: vec!["serve".to_owned(), program.to_string()],
        ..ProcessSpec::default()
    };
    // What machines do to tasks is not what the versions do: no update is turned back.
    let policy = UpdatePolicy {
        monitor_ms: 200,
        failure_action: Some(FailureAction::Continue),
        ..UpdatePolicy::default()
    };
    ServiceSpec {
        name: name.parse().expect("generated names are valid"),
        labels: BTreeMap::from([(VALUE.to_owned(), value.to_string())]),
        mode: ServiceMode::Replicated { replicas },
        task_template: TaskTemplate {
            runtime: RuntimeSpec::Process(process),
            resources: Default::default(),
            restart_policy: Default::default(),
            placement: Default::default(),
            stop_signal: Signal::TERM,
            stop_grace_ms: STOP_GRACE_MS,
            force_update: 0,
            // Every other version is asked how it is.
            health: (program % 2 == 1).then(|| {
                let probe = Probe::new(Check::Tcp { port: 80 });
                Probe { interval_ms: 1000, timeout_ms: 500, ..probe }
            }),
            ready: None,
            drain_delay_ms: 0,
        },
        priority: Default::default(),
        update: policy,
        rollback: policy,
        min_available: None,
        job: Default::default(),
        schedule: None,
    }
}

fn config_spec(name: &str, value: u64) -> ConfigSpec {
    ConfigSpec {
        name: name.parse().expect("generated names are valid"),
        labels: BTreeMap::from([(VALUE.to_owned(), value.to_string())]),
        data: vec![7; 64].into(),
    }
}

impl Client {
    /// Client `number` of the run.
    pub fn new(world: World, ledger: Ledger, seed: u64, number: u32) -> Self {
        let name = format!("c{number}");
        let chance = Chance::new(seed, &format!("client {number}"));
        // A read of several registers is as many processes.
        let process = number * (READ_AT_ONCE + 1);
        Self { name, process, world, ledger, chance, objects: Vec::new(), made: 0, writes: 0 }
    }

    /// Works until `stop`; a write that was begun is finished.
    pub async fn run(mut self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let pause = self.chance.millis(20, 250);
            sleep(pause).await;
            match self.chance.between(0, 9) {
                0..2 => self.read().await,
                2..5 => self.create().await,
                5..9 => self.change().await,
                _ => self.remove().await,
            }
        }
    }

    async fn create(&mut self) {
        if self.objects.len() >= OBJECTS_MAX {
            return self.change().await;
        }
        self.made += 1;
        let services = self.objects.iter().filter(|o| matches!(o.what, What::Service { .. }));
        if services.count() < SERVICES_MAX && self.chance.percent(40) {
            self.create_service().await;
        } else {
            self.create_config().await;
        }
    }

    async fn create_config(&mut self) {
        let name = format!("{}-config-{}", self.name, self.made);
        let (id, value) = (ConfigId::from_raw(self.chance.wide()), self.next_value());
        let op = Op::CreateConfig { id, spec: config_spec(&name, value) };
        if let Some((at, Done::Config(_, version))) = self.write(&name, Some(value), op).await {
            self.ledger.acknowledge(&name, Value::Config(value), at);
            self.objects.push(Object { name, what: What::Config { id, version } });
        }
    }

    async fn create_service(&mut self) {
        let name = format!("{}-service-{}", self.name, self.made);
        let (id, value) = (ServiceId::from_raw(self.chance.wide()), self.next_value());
        let replicas = self.chance.between(0, REPLICAS_MAX);
        let spec = Box::new(service_spec(&name, replicas, value, 0));
        let op = Op::CreateService { id, spec };
        if let Some((at, _)) = self.write(&name, Some(value), op).await {
            self.ledger.acknowledge(&name, Value::Service(value, replicas), at);
            let what = What::Service { id, replicas, program: 0 };
            self.objects.push(Object { name, what });
        }
    }

    async fn change(&mut self) {
        let Some(object) = self.chance.pick(&self.objects).cloned() else { return };
        let next = self.next_value();
        let (op, what, value) = match object.what {
            What::Config { id, version } => {
                let spec = config_spec(&object.name, next);
                let op = Op::UpdateConfig { id, version: Some(version), spec };
                (op, object.what, Value::Config(next))
            }
            What::Service { id, mut replicas, mut program } => {
                match self.chance.between(0, 2) {
                    0 => {}
                    1 => replicas = self.chance.between(0, REPLICAS_MAX),
                    _ => program = next,
                }
                let spec = Box::new(service_spec(&object.name, replicas, next, program));
                let op = Op::UpdateService { id, version: None, spec, steered: true };
                let what = What::Service { id, replicas, program };
                (op, what, Value::Service(next, replicas))
            }
        };
        let Some((at, done)) = self.write(&object.name, Some(next), op).await else {
            return self.objects.retain(|other| other.name != object.name);
        };
        self.ledger.acknowledge(&object.name, value, at);
        let what = match (what, done) {
            (What::Config { id, .. }, Done::Config(_, version)) => What::Config { id, version },
            (what, _) => what,
        };
        if let Some(known) = self.objects.iter_mut().find(|other| other.name == object.name) {
            known.what = what;
        }
    }

    async fn remove(&mut self) {
        let Some(object) = self.chance.pick(&self.objects).cloned() else { return };
        self.objects.retain(|other| other.name != object.name);
        let op = match object.what {
            What::Config { id, .. } => Op::RemoveConfig { id },
            What::Service { id, .. } => Op::RemoveService { id },
        };
        if let Some((at, _)) = self.write(&object.name, None, op).await {
            self.ledger.acknowledge(&object.name, Value::Absent, at);
        }
    }

    fn next_value(&mut self) -> u64 {
        self.writes += 1;
        self.writes
    }

    /// Writes until it is known what became of it. `None` when nobody will know, or when it was
    /// refused, which no write of a lone writer may be.
    async fn write(&mut self, name: &str, value: Option<u64>, op: Op) -> Option<(Revision, Done)> {
        self.ledger.begin(name);
        let begun = Record::write(self.world.clock.micros(), self.process, name, value);
        self.world.history.note(begun.clone());
        let patience = match self.chance.percent(HURRIED) {
            true => self.chance.millis(HURRY_MS.0, HURRY_MS.1),
            false => PATIENCE,
        };
        let settled = propose_within(&self.world, &mut self.chance, op, patience).await;
        let ended = self.world.clock.micros();
        self.world.history.note(match &settled {
            Settled::Applied(at, _) => begun.answered(ended, value, at.0),
            Settled::Rejected(_) => begun.ended(ended, Kind::Fail),
            Settled::GaveUp => begun.ended(ended, Kind::Unknown),
        });
        match settled {
            Settled::Applied(at, done) => {
                self.world.note(&format!("{name} acknowledged at {at}"));
                self.world.count("load: writes acknowledged");
                Some((at, done))
            }
            Settled::Rejected(why) => {
                self.world.violate(&format!("D: a lone writer's {name} was refused: {why}"));
                None
            }
            Settled::GaveUp => {
                self.world.note(&format!("{name} given up"));
                self.world.count("load: writes given up");
                None
            }
        }
    }

    /// L: a read shows everything that was acknowledged before it began.
    async fn read(&mut self) {
        let up = self.world.up();
        let Some((number, up)) = self.chance.pick(&up) else { return };
        let page = self.ledger.page();
        let mut begun = Vec::new();
        for reader in 1..=READ_AT_ONCE {
            let names = page.names();
            let Some(name) = self.chance.pick(&names) else { return };
            let now = self.world.clock.micros();
            let read = Record::read(now, self.process + reader, name);
            begun.push(Record { node: Some(*number), ..read });
        }
        begun.iter().for_each(|read| self.world.history.note(read.clone()));
        let barrier = up.ended.run_until_cancelled(up.node.read_barrier());
        let answer = timeout(READ, barrier).await;
        let (view, now) = (up.node.view(), self.world.clock.micros());
        let answered = matches!(answer, Ok(Some(Ok(_))));
        for read in begun {
            self.world.history.note(match answered {
                true => read.answered(now, shown(&read.key, &view).number(), view.revision.0),
                false => read.ended(now, Kind::Unknown),
            });
        }
        if !answered {
            return;
        }
        match self.ledger.verify(&page, &view) {
            Ok(_) => self.world.count("check: linearizable reads"),
            Err(what) => self.world.violate(&format!("L: on n{number}: {what}")),
        }
    }
}

/// Has `op` agreed on through whatever node answers.
pub async fn propose(world: &World, chance: &mut Chance, op: Op) -> Settled {
    propose_within(world, chance, op, PATIENCE).await
}

async fn propose_within(world: &World, chance: &mut Chance, op: Op, patience: Duration) -> Settled {
    let request = RequestId::from_raw(chance.wide());
    let started = Instant::now();
    let managers_only =
        matches!(op, Op::UpdateCluster { .. } | Op::UpdateNode { .. } | Op::RemoveNode { .. });
    while started.elapsed() < patience {
        let mut up = world.up();
        up.retain(|(_, up)| !managers_only || up.node.facts().role == Role::Manager);
        let Some((_, up)) = chance.pick(&up) else {
            sleep(Duration::from_millis(100)).await;
            continue;
        };
        let caller = Actor { node: up.node.core().id, uid: Some(0) };
        let proposed = up.node.propose(caller, request, op.clone());
        match timeout(ATTEMPT.min(patience), up.ended.run_until_cancelled(proposed)).await {
            Ok(Some(Ok(applied))) => return Settled::Applied(applied.revision, applied.done),
            Ok(Some(Err(ProposeError::Rejected(why)))) => return Settled::Rejected(why),
            Ok(Some(Err(
                error @ (ProposeError::Forbidden { .. } | ProposeError::TooLarge { .. }),
            ))) => {
                world.violate(&format!("a fair request was turned away: {error}"));
                return Settled::GaveUp;
            }
            Ok(Some(Err(
                ProposeError::NoQuorum { .. }
                | ProposeError::Unknown
                | ProposeError::Unavailable { .. },
            ))) => world.count("load: attempts unanswered"),
            Ok(None) | Err(_) => world.count("load: attempts cut off"),
        }
        sleep(Duration::from_millis(100)).await;
    }
    Settled::GaveUp
}
