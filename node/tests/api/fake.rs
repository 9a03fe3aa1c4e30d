//! A node without peers: the real state machine, with quorum, gossip and logs by order of the test.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt};
use futures::stream::{self, BoxStream, StreamExt};
use tokio::sync::watch;

use swarm_model::cluster::ClusterSpec;
use swarm_model::command::{Actor, Command, NewNode, Op, StatusReport};
use swarm_model::event::Event;
use swarm_model::id::{ClusterId, NodeId, RequestId, ServiceId, TaskId};
use swarm_model::meta::{Revision, Term};
use swarm_model::node::{Availability, NodeDescription, NodeSpec, Role};
use swarm_model::outcome::{Outcome, Rejection};
use swarm_model::plan::{Change, NewTask};
use swarm_model::resources::Resources;
use swarm_model::restart::RestartRecord;
use swarm_model::task::{Slot, TaskStatus};
use swarm_model::task_state::{DesiredState, ObservedState};
use swarm_model::units::{Bytes, MilliCpu, Timestamp};
use swarm_model::view::View;
use swarm_node::api::Backend;
use swarm_node::api::backend::{
    Applied, Consensus, Facts, LogsError, ProposeError, ReadError, TaskLine,
};
use swarm_node::api::types::TokenRequest;
use swarm_node::logs::{LogLine, LogQuery, LogStream};
use swarm_state::feed::{Feed, Gone};
use swarm_state::machine::Machine;

const TERM: Term = Term(7);

pub(crate) fn node_id(number: u128) -> NodeId {
    NodeId::from_raw(number << 100)
}

#[derive(Debug, Default)]
struct Core {
    machine: Machine,
    feed: Feed,
    last_caller: Option<Actor>,
}

/// What the rings of all nodes hold.
#[derive(Debug, Default)]
struct Rings {
    lines: Vec<(NodeId, TaskLine)>,
    unreachable: BTreeSet<NodeId>,
}

#[derive(Debug)]
pub(crate) struct Fake {
    core: Mutex<Core>,
    views: watch::Sender<Arc<View>>,
    rings: watch::Sender<Rings>,
    nodes: BTreeSet<NodeId>,
    quorum: AtomicBool,
    /// Who is believed to lead without quorum.
    lost_leader: Mutex<Option<NodeId>>,
    silent_ms: AtomicU64,
    drawn: AtomicU64,
    /// Milliseconds since the epoch.
    clock: AtomicU64,
}

impl Fake {
    pub(crate) fn new(nodes: u128) -> Self {
        let fake = Self {
            core: Mutex::default(),
            views: watch::Sender::new(Arc::default()),
            rings: watch::Sender::default(),
            nodes: (1..=nodes).map(node_id).collect(),
            quorum: AtomicBool::new(true),
            lost_leader: Mutex::default(),
            silent_ms: AtomicU64::new(4321),
            drawn: AtomicU64::new(0),
            clock: AtomicU64::new(1_000_000),
        };
        let node = |number| NewNode {
            id: node_id(number),
            spec: NodeSpec {
                role: Role::Manager,
                availability: Availability::Active,
                labels: BTreeMap::new(),
            },
            description: NodeDescription {
                hostname: format!("n{number}"),
                resources: Resources::new(MilliCpu(2000), Bytes(1 << 30)),
                ..NodeDescription::default()
            },
            addr: format!("127.0.0.{number}:2377"),
            token: None,
        };
        fake.must(Op::InitCluster {
            id: ClusterId::from_raw(5),
            spec: ClusterSpec::default(),
            ca_certificate: vec![1],
            node: node(1),
        });
        (2..=nodes).for_each(|number| fake.must(Op::AddNode(node(number))));
        for number in 1..=nodes {
            let NewNode { id, description, addr, .. } = node(number);
            fake.must(Op::DescribeNode { id, incarnation: Default::default(), description, addr });
        }
        fake
    }

    /// Changes the state past the API.
    pub(crate) fn apply(
        &self,
        request: Option<RequestId>,
        actor: Actor,
        op: Op,
    ) -> (Revision, Outcome) {
        self.apply_if(None, request, actor, op)
    }

    fn apply_if(
        &self,
        if_revision: Option<Revision>,
        request: Option<RequestId>,
        actor: Actor,
        op: Op,
    ) -> (Revision, Outcome) {
        let mut core = self.core.lock().unwrap();
        let revision = Revision(core.machine.view().revision.0 + 1);
        let command = Command { request, at: self.now(), actor, op, if_revision };
        let (outcome, events) = core.machine.apply(revision, TERM, &command);
        core.feed.push(events.into_iter().map(Arc::new));
        core.last_caller = Some(command.actor);
        self.views.send_replace(Arc::new(core.machine.view().clone()));
        (revision, outcome)
    }

    pub(crate) fn must(&self, op: Op) {
        self.apply(None, Actor::default(), op).1.unwrap();
    }

    pub(crate) fn set_silence(&self, silence: Duration) {
        self.silent_ms.store(u64::try_from(silence.as_millis()).unwrap(), SeqCst);
    }

    /// Without quorum, the node goes on to believe that this one leads.
    pub(crate) fn keep_leader(&self, leader: NodeId) {
        *self.lost_leader.lock().unwrap() = Some(leader);
    }

    /// Gives a node another host name.
    pub(crate) fn rename(&self, id: NodeId, hostname: &str) {
        let node = self.view().nodes.get(&id).unwrap().clone();
        self.must(Op::DescribeNode {
            id,
            incarnation: node.status.incarnation,
            description: NodeDescription {
                hostname: hostname.to_owned(),
                ..node.description.clone()
            },
            addr: node.status.addr.clone(),
        });
    }

    /// Whether the others answer.
    pub(crate) fn set_quorum(&self, quorum: bool) {
        self.quorum.store(quorum, SeqCst);
    }

    pub(crate) fn set_clock(&self, millis: u64) {
        self.clock.store(millis, SeqCst);
    }

    pub(crate) fn last_caller(&self) -> Option<Actor> {
        self.core.lock().unwrap().last_caller.clone()
    }

    pub(crate) fn service(&self, name: &str) -> ServiceId {
        self.view().service_named(&name.parse().unwrap()).unwrap().id
    }

    /// Gives a slot of a service a task that runs.
    pub(crate) fn start_task(&self, id: u128, service: &str, slot: Slot, node: NodeId) -> TaskId {
        self.place(service, &[(id, slot, node)]);
        let task = TaskId::from_raw(id << 64);
        self.report(task, ObservedState::Running);
        task
    }

    /// Gives slots of a service their tasks, in one revision.
    pub(crate) fn place(&self, service: &str, tasks: &[(u128, Slot, NodeId)]) {
        let view = self.view();
        let service = view.services.get(&self.service(service)).unwrap();
        let change = |(id, slot, node): &(u128, Slot, NodeId)| {
            Change::CreateTask(Box::new(NewTask {
                id: TaskId::from_raw(id << 64),
                service: service.id,
                template_version: service.template_version,
                slot: *slot,
                node: Some(*node),
                pending: String::new(),
                desired: DesiredState::Running,
                not_before: None,
                restart: RestartRecord::default(),
                voluntary: false,
            }))
        };
        let changes = tasks.iter().map(change).collect();
        self.must(Op::ApplyPlan { term: TERM, base: view.revision, changes });
    }

    /// An agent's report.
    pub(crate) fn report(&self, task: TaskId, state: ObservedState) {
        let node = self.view().tasks.get(&task).unwrap().node.unwrap();
        let status = TaskStatus::new(state, self.now(), "");
        self.must(Op::ReportStatus { node, reports: vec![StatusReport { task, status }] });
    }

    /// A task writes a line.
    pub(crate) fn write_line(&self, task: TaskId, at: u64, text: &str) {
        let node = self.view().tasks.get(&task).unwrap().node.unwrap();
        let line = LogLine {
            at: Timestamp::from_millis(at),
            stream: LogStream::Stdout,
            partial: false,
            text: text.to_owned().into(),
        };
        self.rings.send_modify(|rings| rings.lines.push((node, TaskLine { task, line })));
    }

    pub(crate) fn set_reachable(&self, node: NodeId, reachable: bool) {
        self.rings.send_modify(|rings| {
            if reachable {
                rings.unreachable.remove(&node);
            } else {
                rings.unreachable.insert(node);
            }
        });
    }
}

impl Backend for Fake {
    fn facts(&self) -> Facts {
        Facts {
            node_id: node_id(1),
            cluster_id: ClusterId::from_raw(5),
            addr: "127.0.0.1:2377".into(),
            hostname: "n1".into(),
            role: Role::Manager,
            data_dir: "/data".into(),
            certificate_expires_at: Timestamp::from_millis(1),
            cgroup: "none".into(),
            rival: None,
            disk_bytes_written: 1000,
            started_at: Timestamp::default(),
        }
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.clock.load(SeqCst))
    }

    fn draw_id(&self) -> u128 {
        (1 << 90) + u128::from(self.drawn.fetch_add(1, SeqCst))
    }

    fn view(&self) -> Arc<View> {
        self.views.borrow().clone()
    }

    fn views(&self) -> watch::Receiver<Arc<View>> {
        self.views.subscribe()
    }

    fn consensus(&self) -> Consensus {
        let quorum = self.quorum.load(SeqCst);
        Consensus {
            leader: match quorum {
                true => Some(node_id(1)),
                false => *self.lost_leader.lock().unwrap(),
            },
            term: TERM,
            voters: self.nodes.clone(),
            learners: BTreeSet::new(),
            leader_silent: Some(Duration::from_millis(match quorum {
                true => 5,
                false => self.silent_ms.load(SeqCst),
            })),
        }
    }

    fn heard(&self) -> BTreeSet<NodeId> {
        if self.quorum.load(SeqCst) {
            &self.nodes - &self.rings.borrow().unreachable
        } else {
            BTreeSet::from([node_id(1)])
        }
    }

    fn lag(&self) -> BoxFuture<'_, BTreeMap<NodeId, u64>> {
        async { self.nodes.iter().map(|node| (*node, 0)).collect() }.boxed()
    }

    fn propose_if(
        &self,
        if_revision: Option<Revision>,
        caller: Actor,
        request: RequestId,
        op: Op,
        patience: Duration,
    ) -> BoxFuture<'_, Result<Applied, ProposeError>> {
        async move {
            if !self.quorum.load(SeqCst) {
                let waited = patience;
                return Err(ProposeError::NoQuorum { waited, may_apply: false });
            }
            let (revision, outcome) = self.apply_if(if_revision, Some(request), caller, op);
            Ok(Applied { revision, done: outcome? })
        }
        .boxed()
    }

    fn read_barrier(&self) -> BoxFuture<'_, Result<Revision, ReadError>> {
        async {
            while !self.quorum.load(SeqCst) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            Ok(self.view().revision)
        }
        .boxed()
    }

    fn events(&self, after: Option<Revision>) -> Result<Vec<Arc<Event>>, Gone> {
        let core = self.core.lock().unwrap();
        after.map_or_else(|| Ok(core.feed.all()), |after| core.feed.since(after))
    }

    fn join_token(&self, role: Role) -> BoxFuture<'_, Result<String, ProposeError>> {
        let number = self.view().cluster.as_ref().unwrap().tokens.of(role);
        async move { Ok(format!("SWMTKN-1-{role}-{number}")) }.boxed()
    }

    fn limited_token(
        &self,
        _caller: Actor,
        _request: RequestId,
        limits: TokenRequest,
    ) -> BoxFuture<'_, Result<String, ProposeError>> {
        async move { Ok(format!("SWMTKN-1-limited-{:?}", limits.uses)) }.boxed()
    }

    fn leave(&self, _caller: Actor, force: bool) -> BoxFuture<'_, Result<(), ProposeError>> {
        async move {
            if force { Ok(()) } else { Err(Rejection::LastManager { node: node_id(1) }.into()) }
        }
        .boxed()
    }

    fn logs(
        &self,
        node: NodeId,
        tasks: Vec<TaskId>,
        query: LogQuery,
    ) -> BoxStream<'static, Result<TaskLine, LogsError>> {
        let tasks: BTreeSet<TaskId> = tasks.into_iter().collect();
        let state = (self.rings.subscribe(), 0, tasks, false);
        stream::unfold(state, move |(mut rings, mut at, tasks, over)| async move {
            if over {
                return None;
            }
            loop {
                let next = rings.borrow_and_update().next(node, &tasks, query.since, &mut at);
                match next {
                    Some(line) => {
                        let over = line.is_err();
                        return Some((line, (rings, at, tasks, over)));
                    }
                    None if !query.follow || rings.changed().await.is_err() => return None,
                    None => {}
                }
            }
        })
        .boxed()
    }
}

impl Rings {
    fn next(
        &self,
        node: NodeId,
        tasks: &BTreeSet<TaskId>,
        since: Option<Timestamp>,
        at: &mut usize,
    ) -> Option<Result<TaskLine, LogsError>> {
        if self.unreachable.contains(&node) {
            return Some(Err(LogsError { reason: "cannot be reached".to_owned() }));
        }
        let rest = self.lines.iter().skip(*at);
        let wanted = |(owner, line): &&(NodeId, TaskLine)| {
            *owner == node
                && tasks.contains(&line.task)
                && since.is_none_or(|since| line.line.at >= since)
        };
        let skipped = rest.clone().take_while(|line| !wanted(line)).count();
        *at += skipped + 1;
        let found = self.lines.get(*at - 1).map(|(_, line)| Ok(line.clone()));
        *at = (*at).min(self.lines.len());
        found
    }
}
