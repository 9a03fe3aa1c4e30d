//! What the daemon reads of a task's run directory and of its supervisor, for the fuzz driver.

use serde::Serialize;
use serde::de::DeserializeOwned;
use swarm_model::fuzz::Target;

use super::record::{LaunchRecord, StartRecord, parse};
use super::report::Report;
use crate::fuzz::{json, text};
use crate::runtime::Exit;

/// What the supervisor is to start.
pub(crate) const LAUNCH: Target = Target::new("node.launch-record", record::<LaunchRecord>, || {
    vec![
        br#"{"format":1,"record":{"task":"0000000000000000000000003","program":"/bin/a",
        "arguments":["a"],"env":[["A","1"]],"account":{"uid":1,"gid":2,"groups":[3]},"workdir":"/",
        "own_workdir":true,"hostname":null,"group":{"unified":null,"joined":[],"freezer":null,
        "memory":"/x"},"refuge":[],"log_dir":"/l","log":{"max_file":1048576,"max_files":3}}}"#
            .to_vec(),
    ]
});
/// What runs.
pub(crate) const START: Target = Target::new("node.start-record", record::<StartRecord>, || {
    vec![
        br#"{"format":1,"record":{"supervisor":{"pid":7,"start_ticks":8},"program":{"pid":7,
        "start_ticks":8},"boot_id":"b","at":"2026-01-31T12:00:00.123Z"}}"#
            .to_vec(),
    ]
});
/// How it ended.
pub(crate) const EXIT: Target = Target::new("node.exit-record", record::<Exit>, || {
    vec![
        br#"{"format":1,"record":{"code":null,"signal":9,"oom_killed":true,
        "at":"2026-01-31T12:00:00.123Z"}}"#
            .to_vec(),
    ]
});
/// The one line of a new supervisor.
pub(crate) const REPORT: Target = Target::new("node.supervisor-report", json::<Report>, || {
    vec![
        br#"{"Started":{"pid":7,"at":"2026-01-31T12:00:00.123Z"}}"#.to_vec(),
        br#"{"Failed":{"step":"Execute","errno":2}}"#.to_vec(),
    ]
});

fn record<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> bool {
    parse::<T>(bytes).is_ok_and(|record| json::<T>(&text(&record)))
}
