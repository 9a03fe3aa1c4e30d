//! What clients send, for the fuzz driver: bodies in JSON, filters.

use swarm_model::cluster::ClusterSpec;
use swarm_model::config::ConfigSpec;
use swarm_model::fuzz::{Target, sample};
use swarm_model::node::NodeSpec;
use swarm_model::service::{ServiceMode, ServiceSpec};

use super::filters::Filters;
use super::types::{
    BackupAnswer, LeaveRequest, NodeUpdate, RecoverRequest, RecoveryReport, TokenRequest,
};
use crate::fuzz::{json, text};

/// A service as it is declared.
pub(crate) const SERVICE: Target = Target::new("node.service-json", service, || {
    let modes = [ServiceMode::Replicated { replicas: 3 }, ServiceMode::Global {}];
    let specs = modes.map(sample::service);
    specs.iter().chain([&sample::job()]).map(text).collect()
});
/// A config as it is declared.
pub(crate) const CONFIG: Target =
    Target::new("node.config-json", config, || vec![text(&sample::config())]);
/// The other bodies.
pub(crate) const OTHERS: Target = Target::new("node.small-json", others, || {
    vec![
        br#"{"Role":"manager","Availability":"drain","LabelsAdd":{"a":"b"},"LabelsRemove":["c"],
        "DrainDeadlineMs":5}"#
            .to_vec(),
        br#"{"Role":"worker","TtlMs":5,"Uses":1}"#.to_vec(),
        br#"{"Force":true}"#.to_vec(),
        text(&ClusterSpec::default()),
    ]
});
/// What a recovery and a backup ask and answer.
pub(crate) const RECOVERY: Target = Target::new("node.recovery-json", recovery, || {
    vec![
        br#"{"Lost":["f5lxx1zz5pnorynqglhzmsp33"]}"#.to_vec(),
        br#"{"NodeID":"f5lxx1zz5pnorynqglhzmsp33","Epoch":1,"Revision":7,"Uncommitted":1,"Term":2,
        "NewestChange":"2026-01-04T00:00:00Z","LeaderSilentMs":5,"Voters":3,"Services":1,"Tasks":8,
        "TasksHere":2,"TasksLost":4,"Kept":[{"NodeID":"f5lxx1zz5pnorynqglhzmsp33","Hostname":"a",
        "Role":"manager","Addr":"10.0.0.1:2377","Voter":true}],"Lost":[]}"#
            .to_vec(),
        br#"{"Archive":"c3RhdGU="}"#.to_vec(),
    ]
});
/// `filters=` of lists.
pub(crate) const FILTERS: Target = Target::new("node.filters", filters, || {
    vec![
        br#"{"name":["web"],"label":{"a=b":true},"role":"worker"}"#.to_vec(),
        br#"{"name":{"web":true,"api":false}}"#.to_vec(),
    ]
});

fn service(bytes: &[u8]) -> bool {
    let Ok(spec) = serde_json::from_slice::<ServiceSpec>(bytes) else { return false };
    spec.validate().is_ok() & json::<ServiceSpec>(bytes)
}

fn config(bytes: &[u8]) -> bool {
    let Ok(spec) = serde_json::from_slice::<ConfigSpec>(bytes) else { return false };
    spec.validate().is_ok() & json::<ConfigSpec>(bytes)
}

fn others(bytes: &[u8]) -> bool {
    let cluster = serde_json::from_slice::<ClusterSpec>(bytes);
    cluster.is_ok_and(|spec| spec.validate().is_ok())
        | json::<NodeUpdate>(bytes)
        | json::<TokenRequest>(bytes)
        | json::<LeaveRequest>(bytes)
        | json::<NodeSpec>(bytes)
}

fn recovery(bytes: &[u8]) -> bool {
    json::<RecoverRequest>(bytes) | json::<RecoveryReport>(bytes) | json::<BackupAnswer>(bytes)
}

fn filters(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    Filters::parse(Some(text), &["name", "label", "role"]).is_ok_and(|filters| {
        filters.prefix("name", "web") | filters.words::<swarm_model::node::Role>("role").is_ok()
    })
}
