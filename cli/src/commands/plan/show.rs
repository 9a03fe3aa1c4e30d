//! A forecast as text.

use std::time::Duration;

use swarm_node::api::types::{Forecast, Place, RunForecast, ServiceForecast, Step, StepKind};

use super::places::Places;
use crate::output::table;
use crate::parse::duration;

/// The word for it, as a column of a table has it.
fn word(kind: StepKind) -> &'static str {
    match kind {
        StepKind::Preempt => "preempt",
        StepKind::Stop => "stop",
        StepKind::Start => "start",
        StepKind::Replace => "replace",
        StepKind::Move => "move",
        StepKind::Wait => "wait",
    }
}

/// The same with a number before it.
fn counted(kind: StepKind, count: u64) -> String {
    let word = match kind {
        StepKind::Preempt => "preempted",
        StepKind::Stop => "stopped",
        StepKind::Start => "started",
        StepKind::Replace => "replaced",
        StepKind::Move => "moved",
        StepKind::Wait => "waiting",
    };
    format!("{count} {word}")
}

fn after(millis: u64) -> String {
    duration::format(Duration::from_millis(millis))
}

/// What happens to each service and each task, and how to make it happen.
pub(super) fn text(forecast: &Forecast, apply: &str) -> String {
    let mut parts: Vec<String> = Vec::new();
    let lines: Vec<_> =
        forecast.services.iter().map(|service| summary(service, forecast)).collect();
    if !lines.is_empty() {
        parts.push(lines.join("\n"));
    }
    if forecast.steps.is_empty() {
        parts.push("No task would be touched.".to_owned());
    } else {
        let both = forecast.steps.iter().flat_map(|step| [&step.from, &step.to]);
        let places = Places::new(both.flatten());
        let rows: Vec<_> = forecast.steps.iter().map(|step| row(step, &places)).collect();
        let headers = ["AFTER", "BATCH", "CHANGE", "TASK", "FROM", "TO", "REASON"];
        parts.push(table::render(&headers, &rows));
    }
    if forecast.left_out > 0 {
        parts.push(format!("and {} more", forecast.left_out));
    }
    if !forecast.finished {
        parts.push("This is how it begins; the rest took too long to look at.".to_owned());
    }
    let revision = forecast.revision;
    parts.push(format!("Made at revision {revision}. To do this, and nothing else:\n{apply}"));
    parts.join("\n\n")
}

fn summary(service: &ServiceForecast, forecast: &Forecast) -> String {
    let mut said: Vec<_> =
        service.steps.iter().map(|(kind, count)| counted(*kind, *count)).collect();
    let own = forecast.steps.iter().filter(|step| step.service == service.id);
    let batches = own.map(|step| step.batch).max().unwrap_or_default();
    if batches > 1 {
        said.push(format!("in {batches} batches"));
    }
    said.push(format!("{} unchanged", service.unchanged));
    let mut line = format!("service {}: {}", service.name, said.join(", "));
    if !service.update.is_empty() {
        line.push_str(&format!("; update: {}", service.update));
    }
    if !service.reason.is_empty() {
        line.push_str(&format!(" ({})", service.reason));
    }
    if let Some(run) = &service.run {
        line.push_str(&format!("; run {}", progress(run)));
    }
    if let Some(at) = service.next_run_at {
        line.push_str(&format!("; due next at {at}"));
    }
    line
}

/// How a job's run would stand.
fn progress(run: &RunForecast) -> String {
    let RunForecast { number, state, reason, completions, succeeded } = run;
    let why = if reason.is_empty() { "" } else { ": " };
    format!("{number}: {state}, {succeeded} of {completions} succeeded{why}{reason}")
}

fn row(step: &Step, places: &Places<'_>) -> Vec<String> {
    let place =
        |place: &Option<Place>| place.as_ref().map_or_else(String::new, |place| places.name(place));
    let batch = if step.batch == 0 { String::new() } else { step.batch.to_string() };
    vec![
        after(step.after_ms),
        batch,
        word(step.kind).to_owned(),
        step.name.clone(),
        place(&step.from),
        place(&step.to),
        step.reason.clone(),
    ]
}

/// What would not be as it should.
pub(super) fn verdict(forecast: &Forecast) -> String {
    if !forecast.finished {
        return "whether everything would run is not known: it took too long".to_owned();
    }
    let mut said = Vec::new();
    for service in &forecast.services {
        let name = &service.name;
        if service.turns_back {
            said.push(format!("the update of {name} would turn back"));
        } else if service.named
            && !matches!(
                service.update.as_str(),
                "" | "completed" | "canary" | "rollback_completed"
            )
        {
            said.push(format!("the update of {name} would be left {}", service.update));
        }
        if let Some(run) = service.run.as_ref().filter(|run| run.state != "complete") {
            said.push(format!("run {} of {name} would be left {}", run.number, run.state));
        }
        match service.waiting {
            0 => {}
            1 => said.push(format!("a task of {name} would wait")),
            count => said.push(format!("{count} tasks of {name} would wait")),
        }
    }
    format!("not everything would run: {}", said.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forecast() -> Forecast {
        serde_json::from_value(serde_json::json!({
            "Revision": 42, "Finished": true, "LastsMs": 5000, "LeftOut": 0,
            "Services": [{
                "ID": "0000000000000000000000007", "Name": "web", "Named": true,
                "Steps": {"replace": 2, "wait": 1}, "Unchanged": 1, "Waiting": 1,
                "Update": "paused", "Reason": "1 of 4 tasks failed", "TurnsBack": false
            }],
            "Steps": [
                {"AfterMs": 0, "Batch": 1, "Kind": "replace", "Name": "web.1", "Reason": "",
                 "ServiceID": "0000000000000000000000007", "Slot": {"Replica": 1},
                 "TaskID": null, "From": {"ID": "0000000000000000000000001", "Hostname": "n1"},
                 "To": {"ID": "0000000000000000000000002", "Hostname": "n2"}},
                {"AfterMs": 5000, "Batch": 2, "Kind": "replace", "Name": "web.2", "Reason": "",
                 "ServiceID": "0000000000000000000000007", "Slot": {"Replica": 2},
                 "TaskID": null, "From": null, "To": null},
                {"AfterMs": 5000, "Batch": 0, "Kind": "wait", "Name": "web.3", "Reason": "no room",
                 "ServiceID": "0000000000000000000000007", "Slot": {"Replica": 3},
                 "TaskID": null, "From": null, "To": null}
            ]
        }))
        .expect("is a forecast")
    }

    #[test]
    fn each_step_is_a_line_and_the_last_line_does_it() {
        let want = "\
service web: 2 replaced, 1 waiting, in 2 batches, 1 unchanged; update: paused (1 of 4 tasks failed)

AFTER   BATCH   CHANGE    TASK    FROM   TO   REASON
0s      1       replace   web.1   n1     n2
5s      2       replace   web.2
5s              wait      web.3               no room

Made at revision 42. To do this, and nothing else:
swarm it";
        assert_eq!(text(&forecast(), "swarm it"), want);
    }

    #[test]
    fn what_would_not_run_is_said() {
        let forecast = forecast();
        assert!(!forecast.is_well());
        let said = "not everything would run: the update of web would be left paused; \
                    a task of web would wait";
        assert_eq!(verdict(&forecast), said);
        let mut other = forecast;
        other.services[0].named = false;
        let said = "not everything would run: a task of web would wait";
        assert_eq!(verdict(&other), said, "its update was paused before");
    }

    #[test]
    fn nothing_to_do_is_said() {
        let none = Forecast { services: Vec::new(), steps: Vec::new(), ..forecast() };
        assert!(none.is_well());
        let cut_off = Forecast { finished: false, ..none.clone() };
        assert!(!cut_off.is_well());
        assert_eq!(
            verdict(&cut_off),
            "whether everything would run is not known: it took too long"
        );
        assert!(text(&none, "x").starts_with("No task would be touched."));
    }
}
