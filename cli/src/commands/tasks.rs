//! Tasks as lists show them: `service ps` and `node ps`.

use serde::Serialize;
use swarm_model::probe::{Health, HealthState};
use swarm_model::task::Slot;
use swarm_model::task_state::ObservedState;
use swarm_model::units::Timestamp;
use swarm_node::api::types::{Outlook, TaskEntry};

use crate::clock::{ago, now};
use crate::output::list::{Column, Cut, Row};
use crate::parse::duration;

/// The columns of task lists.
pub(crate) const COLUMNS: [Column; 7] = [
    ("ID", "ID", Cut::Id),
    ("Name", "NAME", Cut::No),
    ("Image", "IMAGE", Cut::Text),
    ("Node", "NODE", Cut::No),
    ("DesiredState", "DESIRED STATE", Cut::No),
    ("CurrentState", "CURRENT STATE", Cut::No),
    ("Error", "ERROR", Cut::Text),
];

/// One task of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct TaskRow {
    #[serde(rename = "ID")]
    id: String,
    name: String,
    #[serde(skip)]
    is_history: bool,
    #[serde(skip)]
    place: String,
    image: String,
    node: String,
    #[serde(rename = "NodeID")]
    node_id: String,
    service: String,
    desired_state: String,
    current_state: String,
    state: String,
    since: Timestamp,
    error: String,
    health: Option<Health>,
    outlook: Outlook,
    note: String,
    next_attempt_at: Option<Timestamp>,
    #[serde(rename = "PID")]
    pid: Option<u32>,
    exit_code: Option<i32>,
}

impl Row for TaskRow {
    fn cell(&self, field: &str) -> Option<String> {
        match field {
            "Name" if self.is_history => Some(format!("\\_ {}", self.name)),
            "Node" => Some(self.place.clone()),
            _ => None,
        }
    }
}

/// Rows in reading order: by service and slot, the newest of a slot first, its history indented.
pub(crate) fn rows(mut tasks: Vec<TaskEntry>) -> Vec<TaskRow> {
    let place = |entry: &TaskEntry| (entry.service_name.clone(), slot_order(entry));
    tasks.sort_by(|a, b| {
        let newest = |entry: &TaskEntry| (!entry.task.is_active(), entry.task.meta.created_at);
        let (a_ended, a_at) = newest(a);
        let (b_ended, b_at) = newest(b);
        (place(a), a_ended, b_at, b.task.id).cmp(&(place(b), b_ended, a_at, a.task.id))
    });
    let mut before: Option<(String, (u64, u32, String))> = None;
    let mut rows = Vec::with_capacity(tasks.len());
    for entry in tasks {
        let here = place(&entry);
        let is_history = before.as_ref() == Some(&here);
        before = Some(here);
        rows.push(row(entry, is_history));
    }
    rows
}

/// Slots by number or node, those of a job's newest run first.
fn slot_order(entry: &TaskEntry) -> (u64, u32, String) {
    match entry.task.slot {
        Slot::Replica(number) => (0, number, String::new()),
        Slot::Node(node) => (0, 0, node.to_string()),
        Slot::Job { run, index } => (u64::MAX - run, index, String::new()),
        Slot::JobNode { run, node } => (u64::MAX - run, 0, node.to_string()),
    }
}

fn row(entry: TaskEntry, is_history: bool) -> TaskRow {
    let status = &entry.task.status;
    let error = error_text(&entry);
    TaskRow {
        id: entry.task.id.to_string(),
        is_history,
        place: entry.place(),
        image: entry.task.template.runtime.image(),
        node: entry.node_hostname.clone(),
        node_id: entry.task.node.map(|node| node.to_string()).unwrap_or_default(),
        service: entry.service_name.clone(),
        desired_state: entry.task.desired.to_string(),
        current_state: format!("{} {}{}", status.state, ago(status.since), health_text(&entry)),
        state: status.state.to_string(),
        since: status.since,
        error,
        health: status.health.clone(),
        outlook: entry.outlook,
        next_attempt_at: entry.next_attempt_at,
        pid: status.pid,
        exit_code: status.exit.and_then(|exit| exit.code),
        name: entry.name,
        note: entry.note,
    }
}

/// What went wrong, and what comes of it.
fn error_text(entry: &TaskEntry) -> String {
    let status = &entry.task.status;
    let error = match &status.health {
        _ if !status.error.is_empty() => status.error.clone(),
        Some(health) if !health.message.is_empty() && entry.task.is_active() => {
            health.message.clone()
        }
        Some(_) | None => exit_text(entry),
    };
    match (entry.outlook, entry.next_attempt_at) {
        (Outlook::Waits, Some(next)) => {
            let span = duration::in_words(next.since(now())).to_lowercase();
            format!("starts in {span}: {}", entry.note)
        }
        (Outlook::GivenUp, _) if error.is_empty() => entry.note.clone(),
        (Outlook::GivenUp, _) => format!("{error}; {}", entry.note),
        (Outlook::Waits | Outlook::Open | Outlook::Done, _) if entry.note.is_empty() => error,
        (Outlook::Waits | Outlook::Open | Outlook::Done, _) if error.is_empty() => {
            entry.note.clone()
        }
        (Outlook::Waits | Outlook::Open | Outlook::Done, _) => format!("{error}; {}", entry.note),
    }
}

/// What its probes say of a task that is not over.
fn health_text(entry: &TaskEntry) -> &'static str {
    let status = &entry.task.status;
    let Some(health) = status.health.as_ref().filter(|_| !status.state.is_terminal()) else {
        return "";
    };
    match (health.status, health.ready) {
        (HealthState::Starting, _) => "",
        (HealthState::Unhealthy, _) => " (unhealthy)",
        (HealthState::Healthy, true) => " (healthy)",
        (HealthState::None, true) => " (ready)",
        (HealthState::None | HealthState::Healthy, false) => " (not ready)",
    }
}

/// How a task ended, when that was not well and no error says it. Who was asked to end is fine.
fn exit_text(entry: &TaskEntry) -> String {
    if entry.task.status.state == ObservedState::Shutdown {
        return String::new();
    }
    match entry.task.status.exit {
        Some(exit) if exit.oom_killed => "out of memory".to_owned(),
        Some(exit) => match (exit.code, exit.signal) {
            (Some(code), _) if code != 0 => format!("exit code {code}"),
            (None, Some(signal)) if entry.task.status.state.is_terminal() => {
                format!("ended by signal {signal}")
            }
            _ => String::new(),
        },
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::list::{ShowOptions, render};
    use serde_json::json;

    fn task(slot: u32, id: u32, node: u32, state: &str, desired: &str) -> TaskEntry {
        serde_json::from_value(json!({
            "ID": format!("{id:025}"),
            "Meta": {
                "Version": 1, "CreatedAt": format!("2026-01-01T00:00:{id:02}Z"),
                "UpdatedAt": "2026-01-01T00:00:00Z"
            },
            "ServiceID": "0".repeat(25), "Slot": {"Replica": slot},
            "NodeID": format!("{node:025}"), "TemplateVersion": 1,
            "Template": {"Runtime": {"Process": {"Command": ["/bin/x"]}}}, "Desired": desired,
            "Status": {
                "State": state, "Since": now().to_string(), "Message": "",
                "Error": "", "PID": null, "Exit": {"Code": 3, "Signal": null, "OOMKilled": false}
            },
            "NotBefore": null, "Restart": {"Streak": 0, "Attempts": 0, "WindowStart": null},
            "Name": format!("web.{slot}"), "ServiceName": "web", "NodeHostname": "alpha",
            "Current": true
        }))
        .expect("is a task")
    }

    #[test]
    fn history_stands_below_its_slot_and_errors_are_said() {
        let tasks = vec![
            task(2, 4, 1, "Pending", "Running"),
            task(1, 1, 1, "Failed", "Shutdown"),
            task(1, 2, 1, "Shutdown", "Shutdown"),
            task(1, 3, 1, "Pending", "Running"),
        ];
        let rows = rows(tasks);
        let shown: Vec<_> = rows.iter().map(|row| (row.cell("Name"), row.error.as_str())).collect();
        let history = Some("\\_ web.1".to_owned());
        assert_eq!(rows[0].name, "web.1");
        assert_eq!(rows[0].state, "Pending");
        assert_eq!(shown[1], (history.clone(), ""), "asked to end: no error");
        assert_eq!(shown[2], (history, "exit code 3"));
        assert_eq!(rows[3].name, "web.2");
        let options =
            ShowOptions { format: Some("{{.Name}}".parse().expect("ok")), ..Default::default() };
        assert_eq!(render(&rows[1..2], &COLUMNS, &options), Ok("web.1".to_owned()));
    }

    #[test]
    fn nodes_that_share_a_host_name_show_their_ids() {
        let mut entry = task(1, 1, 1, "Pending", "Running");
        assert_eq!(rows(vec![entry.clone()])[0].cell("Node").as_deref(), Some("alpha"));
        entry.node_hostname_shared = true;
        let shown = rows(vec![entry]);
        assert_eq!(shown[0].cell("Node").as_deref(), Some("alpha (000000000000)"));
        assert_eq!(shown[0].node, "alpha");
    }

    #[test]
    fn what_probes_say_stands_beside_the_state() {
        let mut entry = task(1, 1, 1, "Running", "Running");
        let mut shown = |status, ready, message: &str| {
            let message = message.to_owned();
            entry.task.status.health = Some(Health { status, ready, message });
            let row = rows(vec![entry.clone()]).remove(0);
            (row.current_state.split_once(" (").map(|(_, text)| text.to_owned()), row.error)
        };
        let (state, _) = shown(HealthState::Healthy, true, "");
        assert_eq!(state.as_deref(), Some("healthy)"));
        let (state, error) = shown(HealthState::None, false, "port 80: connection refused");
        assert_eq!(state.as_deref(), Some("not ready)"));
        assert_eq!(error, "port 80: connection refused");
        entry.task.status.state = ObservedState::Failed;
        entry.task.status.error = "unhealthy: exit code 1 (3 times in a row)".to_owned();
        assert_eq!(error_text(&entry), entry.task.status.error);
        assert_eq!(health_text(&entry), "", "it is over");
    }

    #[test]
    fn the_error_says_what_comes_of_an_end() {
        let mut waits = task(1, 1, 1, "Ready", "Ready");
        waits.task.status.exit = None;
        waits.outlook = Outlook::Waits;
        waits.next_attempt_at = Some(now().after(std::time::Duration::from_millis(5900)));
        waits.note = "the last task ended with exit code 0".to_owned();
        let want = "starts in 5 seconds: the last task ended with exit code 0";
        assert_eq!(error_text(&waits), want);
        let mut given_up = task(1, 1, 1, "Failed", "Shutdown");
        given_up.outlook = Outlook::GivenUp;
        given_up.note = "not restarted: condition none".to_owned();
        assert_eq!(error_text(&given_up), "exit code 3; not restarted: condition none");
        let mut preempted = task(1, 1, 1, "Shutdown", "Shutdown");
        preempted.task.eviction =
            Some(swarm_model::task::Eviction::Preempted { by: preempted.task.id });
        preempted.note = "made room for db.1, which is more important".to_owned();
        assert_eq!(error_text(&preempted), preempted.note);
    }
}
