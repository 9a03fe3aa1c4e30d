//! The decoders of this crate, for the fuzz driver; see [`swarm_model::fuzz`].

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde::Serialize;
use serde::de::DeserializeOwned;
use swarm_model::assignment::AssignmentMessage;
use swarm_model::command::Actor;
use swarm_model::fuzz::{Target, sample};
use swarm_model::id::{ClusterId, Incarnation, NodeId, RequestId, TaskId};
use swarm_model::node::{Availability, Role};
use swarm_model::task::TaskStatus;
use swarm_model::task_state::ObservedState;
use swarm_model::units::{Bytes, Timestamp};
use swarm_net::frame;
use swarm_net::fuzz::{ROOT_PEM, message};

use crate::api::backend::TaskLine;
use crate::config::{NodeConfig, Peers};
use crate::dispatch::wire::{Hello, StatusBatch};
use crate::join::{JoinGrant, JoinRequest};
use crate::keys::ManagerKeys;
use crate::leave::Farewell;
use crate::logs::{LogLimits, LogQuery};
use crate::{
    agent, api, backup, chunk, epoch, greet, logs, propose, quarantine, reach, readmit, runtime,
};

/// The decoders of this crate.
pub const TARGETS: &[Target] = &[
    Target::new("node.join", message::<JoinRequest>, || vec![frame_of(&join())]),
    Target::new("node.join-grant", message::<JoinGrant>, || vec![frame_of(&grant())]),
    Target::new(
        "node.manager-keys",
        |bytes| ManagerKeys::decode(bytes).is_ok(),
        || vec![frame_of(&(ROOT_PEM.to_owned(), [7u8; 32]))],
    ),
    Target::new("node.leave", message::<Farewell>, || {
        let actor = Actor { node: NODE, uid: Some(0) };
        vec![frame_of(&Farewell { actor, request: RequestId::from_raw(7) })]
    }),
    Target::new("node.session-hello", message::<Hello>, || {
        let addr = "10.0.0.1:2377".to_owned();
        let incarnation = Incarnation::from_raw(7);
        vec![frame_of(&Hello { incarnation, description: sample::description(), addr })]
    }),
    Target::new("node.status-batch", message::<StatusBatch>, || {
        let states = [ObservedState::Running, ObservedState::Failed];
        vec![frame_of(&StatusBatch { reports: states.map(sample::report).to_vec() })]
    }),
    Target::new("node.assignments", message::<AssignmentMessage>, || {
        sample::assignments().iter().map(frame_of).collect()
    }),
    Target::new("node.gossip-status", message::<TaskStatus>, || {
        vec![frame_of(&sample::status(ObservedState::Running))]
    }),
    propose::fuzz::FORWARD,
    propose::fuzz::ANSWER,
    greet::fuzz::GREETING,
    greet::fuzz::MEMORY,
    readmit::fuzz::ASK,
    readmit::fuzz::GRANT,
    quarantine::fuzz::MARKER,
    epoch::fuzz::EPOCH,
    epoch::fuzz::FENCE,
    backup::envelope::fuzz::FILE,
    backup::envelope::fuzz::HEAD,
    backup::fuzz::ARCHIVE,
    agent::RECORD,
    Target::new("node.log-query", message::<(Vec<TaskId>, LogQuery)>, || {
        let query = LogQuery { tail: Some(5), follow: true, ..LogQuery::default() };
        vec![frame_of(&(vec![TaskId::from_raw(3)], query))]
    }),
    Target::new("node.log-lines", message::<Result<Vec<TaskLine>, String>>, || {
        let none: Result<Vec<TaskLine>, _> = Err("gone".to_owned());
        vec![frame_of(&none), frame_of(&logs::fuzz::lines())]
    }),
    logs::fuzz::RING,
    chunk::fuzz::STREAM,
    chunk::fuzz::MESSAGE,
    reach::exec::fuzz::ASK,
    reach::files::fuzz::ASK,
    reach::forward::fuzz::ASK,
    reach::top::fuzz::ASK,
    reach::top::fuzz::ANSWER,
    runtime::process::fuzz::LAUNCH,
    runtime::process::fuzz::START,
    runtime::process::fuzz::EXIT,
    runtime::process::fuzz::REPORT,
    Target::new("node.config-file", json::<NodeConfig>, || {
        vec![
            br#"{"ClusterID":"f5lxx1zz5pnorynqglhzmsp33","NodeID":"f5lxx1zz5pnorynqglhzmsp33",
            "Listen":"0.0.0.0:2377","Advertise":"10.0.0.1:2377","Labels":{"a":"b"},
            "SnapshotInterval":10000,"Bootstrap":{"Spec":{},"Availability":"active"}}"#
                .to_vec(),
        ]
    }),
    Target::new("node.peers-file", json::<Peers>, || vec![text(&peers())]),
    Target::new("node.log-limits", json::<LogLimits>, || {
        vec![text(&LogLimits { max_file: Bytes(1 << 20), max_files: 3 })]
    }),
    api::fuzz::SERVICE,
    api::fuzz::CONFIG,
    api::fuzz::OTHERS,
    api::fuzz::RECOVERY,
    api::fuzz::FILTERS,
];

const NODE: NodeId = NodeId::from_raw(1);

fn frame_of<T: Serialize>(value: &T) -> Vec<u8> {
    frame::encode(value).to_vec()
}

/// A value as JSON.
pub(crate) fn text<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).expect("plain data")
}

/// Reads JSON; what was read and written again must read as the same text.
pub(crate) fn json<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> bool {
    let Ok(value) = serde_json::from_slice::<T>(bytes) else { return false };
    let written = text(&value);
    let again: T = serde_json::from_slice(&written).expect("was just written");
    assert_eq!(text(&again), written, "a JSON form is not stable");
    true
}

fn peers() -> Peers {
    BTreeMap::from([(NODE, SocketAddr::from(([10, 0, 0, 1], 2377)))])
}

fn join() -> JoinRequest {
    JoinRequest {
        secret: [7; 16],
        certificate_request: vec![1, 2, 3],
        description: sample::description(),
        availability: Availability::Pause,
        advertise: SocketAddr::from(([0, 0, 0, 0], 2377)),
        now: Timestamp::from_millis(1_769_860_800_123),
    }
}

fn grant() -> JoinGrant {
    JoinGrant {
        cluster_id: ClusterId::from_raw(5),
        node_id: NODE,
        role: Role::Manager,
        certificate: vec![1, 2],
        ca_certificate: vec![3],
        addr: SocketAddr::from(([10, 0, 0, 2], 2377)),
        peers: peers(),
        snapshot_interval: 10_000,
        manager_keys: Some(bytes::Bytes::from_static(&[1, 2])),
    }
}
