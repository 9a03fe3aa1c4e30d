//! Tasks that are asked how they are: when they count as running, what follows when they are ill, and
//! how they are drained.

use swarm_model::probe::{Check, HealthState, Probe};

use super::*;
use crate::runtime::Condition;

const STARTING: Option<ObservedState> = Some(ObservedState::Starting);

fn probe() -> Probe {
    let probe = Probe::new(Check::Tcp { port: 80 });
    Probe { interval_ms: 1000, timeout_ms: 500, ..probe }
}

/// An assignment whose template is changed.
fn with(program: &str, change: impl FnOnce(&mut TaskTemplate)) -> Assignment {
    let mut asked = assignment(1, program, DesiredState::Running);
    change(Arc::make_mut(&mut asked.template));
    asked
}

fn watched(program: &str) -> Assignment {
    with(program, |template| template.health = Some(probe()))
}

fn wanted(mut assignment: Assignment, desired: DesiredState) -> Assignment {
    assignment.desired = desired;
    assignment
}

impl Daemon {
    fn health(&self) -> Option<(HealthState, bool)> {
        let status = self.board.status(id(1))?;
        status.health.map(|health| (health.status, health.ready))
    }

    /// Waits until the task's status is like that.
    async fn sees(&self, what: &str, like: impl Fn(&TaskStatus) -> bool) -> TaskStatus {
        let seen = async {
            loop {
                if let Some(status) = self.board.status(id(1)).filter(&like) {
                    return status;
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let seen = tokio::time::timeout(Duration::from_secs(600), seen).await;
        seen.unwrap_or_else(|_| panic!("not {what}: {:?}", self.board.status(id(1))))
    }
}

fn signals(machine: &Machine) -> usize {
    let is_signal =
        |event: &&crate::runtime::MockEvent| matches!(event.what, MockEventKind::Signalled(_));
    machine.runtime.events().iter().filter(is_signal).count()
}

#[tokio::test(start_paused = true)]
async fn a_task_runs_from_its_first_success_on() {
    let machine = Machine::new();
    machine.runtime.condition("web", Condition::WellAfter(Duration::from_secs(2)));
    let mut daemon = machine.boot().await;
    let began = Instant::now();
    daemon.assign(vec![watched("web")]).await;
    daemon.until(1, STARTING).await;
    let waits = daemon
        .sees("told why", |it| it.health.as_ref().is_some_and(|health| !health.message.is_empty()));
    let waits = waits.await.health.expect("has one");
    assert_eq!((waits.status, waits.ready), (HealthState::Starting, false));
    assert_eq!(waits.message, "it is not up yet");
    let running = daemon.until(1, RUNNING).await.expect("a status");
    assert!((2000..3100).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
    assert_eq!(daemon.health(), Some((HealthState::Healthy, true)));
    assert!(running.since >= Timestamp::default().after(Duration::from_secs(2)));
}

#[tokio::test(start_paused = true)]
async fn a_task_that_never_gets_well_fails_and_is_ended() {
    let machine = Machine::new();
    machine.runtime.condition("web", Condition::Ill);
    let mut daemon = machine.boot().await;
    let began = Instant::now();
    daemon.assign(vec![watched("web")]).await;
    let end = daemon.until(1, FAILED).await.expect("a status");
    assert_eq!(end.error, "unhealthy: it is ill (3 times in a row)");
    assert_eq!(end.health.map(|health| health.status), Some(HealthState::Unhealthy));
    assert!((3000..6000).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
    assert!(machine.runtime.running().is_empty(), "it was not stopped");
}

#[tokio::test(start_paused = true)]
async fn a_program_that_ends_well_before_it_was_found_well_has_succeeded() {
    let machine = Machine::new();
    let half_a_second = Duration::from_millis(500);
    machine.runtime.program("job", Behaviour::Exits { after: half_a_second, code: 0 });
    machine.runtime.condition("job", Condition::Ill);
    let mut daemon = machine.boot().await;
    daemon.assign(vec![watched("job")]).await;
    let end = daemon.until(1, Some(ObservedState::Complete)).await.expect("a status");
    assert_eq!((end.error.as_str(), end.health), ("", None));
}

#[tokio::test(start_paused = true)]
async fn failures_in_the_start_period_do_not_count() {
    let machine = Machine::new();
    machine.runtime.condition("web", Condition::WellAfter(Duration::from_secs(50)));
    let mut daemon = machine.boot().await;
    let patient = |template: &mut TaskTemplate| {
        template.health = Some(Probe { start_period_ms: 60_000, ..probe() });
    };
    daemon.assign(vec![with("web", patient)]).await;
    daemon.until(1, RUNNING).await;
}

#[tokio::test(start_paused = true)]
async fn one_that_falls_ill_is_taken_out_then_killed_if_it_must_be() {
    let machine = Machine::new();
    machine.runtime.program("web", Behaviour::Stubborn);
    machine.runtime.condition("web", Condition::WellFor(Duration::from_secs(30)));
    let mut daemon = machine.boot().await;
    daemon.assign(vec![watched("web")]).await;
    daemon.until(1, RUNNING).await;
    let ill = daemon.sees("unhealthy", |it| {
        it.health.as_ref().is_some_and(|health| health.status == HealthState::Unhealthy)
    });
    let ill = ill.await;
    assert_eq!((ill.state, ill.is_ready()), (ObservedState::Running, false));
    daemon.until(1, FAILED).await;
    assert_eq!(signals(&machine), 2, "its stop signal, then the end of its grace");
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_hangs_fails_and_one_that_could_not_be_made_does_not() {
    let machine = Machine::new();
    let mut daemon = machine.boot().await;
    daemon.assign(vec![watched("web")]).await;
    daemon.until(1, RUNNING).await;
    machine.runtime.condition("web", Condition::Unknown);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(daemon.health(), Some((HealthState::Healthy, true)));
    machine.runtime.condition("web", Condition::Hangs);
    let end = daemon.until(1, FAILED).await.expect("a status");
    assert_eq!(end.error, "unhealthy: no answer within 500ms (3 times in a row)");
}

#[tokio::test(start_paused = true)]
async fn readiness_gates_traffic_and_nothing_else() {
    let machine = Machine::new();
    machine.runtime.condition("web", Condition::Ill);
    let mut daemon = machine.boot().await;
    daemon.assign(vec![with("web", |template| template.ready = Some(probe()))]).await;
    daemon.until(1, RUNNING).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    let status = daemon.board.status(id(1)).expect("known");
    let said = status.health.clone().expect("has a probe");
    assert_eq!((status.state, said.ready), (ObservedState::Running, false));
    assert_eq!((said.status, said.message.as_str()), (HealthState::None, "it is ill"));
    machine.runtime.condition("web", Condition::Well);
    daemon.sees("ready", TaskStatus::is_ready).await;
    machine.runtime.condition("web", Condition::Ill);
    let turned = Instant::now();
    daemon.sees("not ready", |it| !it.is_ready()).await;
    assert!(turned.elapsed() >= Duration::from_secs(2), "three failures, a second apart");
    assert_eq!(machine.starts(1), 1);
}

#[tokio::test(start_paused = true)]
async fn only_a_ready_task_is_drained_before_its_signal() {
    let drained = |template: &mut TaskTemplate| template.drain_delay_ms = 5000;
    let machine = Machine::new();
    let mut daemon = machine.boot().await;
    daemon.assign(vec![with("web", drained)]).await;
    daemon.until(1, RUNNING).await;
    assert_eq!(daemon.health(), None, "without probes there is nothing to tell");
    let began = Instant::now();
    daemon.assign(vec![wanted(with("web", drained), DesiredState::Shutdown)]).await;
    daemon.sees("drained", |it| !it.is_ready()).await;
    assert_eq!((signals(&machine), machine.runtime.running().len()), (0, 1));
    daemon.until(1, SHUTDOWN).await;
    assert!((5000..5100).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());

    let machine = Machine::new();
    machine.runtime.condition("web", Condition::Ill);
    let mut daemon = machine.boot().await;
    let unready = |template: &mut TaskTemplate| {
        template.drain_delay_ms = 5000;
        template.ready = Some(probe());
    };
    daemon.assign(vec![with("web", unready)]).await;
    daemon.until(1, RUNNING).await;
    let began = Instant::now();
    daemon.assign(vec![wanted(with("web", unready), DesiredState::Shutdown)]).await;
    daemon.until(1, SHUTDOWN).await;
    assert!(began.elapsed() < Duration::from_secs(1), "nobody sent it anything");
}

#[tokio::test(start_paused = true)]
async fn an_end_of_its_own_while_it_drains_is_told_at_once() {
    let drained = |template: &mut TaskTemplate| template.drain_delay_ms = 60_000;
    let machine = Machine::new();
    let mut daemon = machine.boot().await;
    daemon.assign(vec![with("web", drained)]).await;
    daemon.until(1, RUNNING).await;
    daemon.assign(vec![wanted(with("web", drained), DesiredState::Shutdown)]).await;
    daemon.sees("drained", |it| !it.is_ready()).await;
    let began = Instant::now();
    machine.runtime.crash(id(1), 3);
    daemon.until(1, FAILED).await;
    assert!(began.elapsed() < Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn a_stop_does_not_wait_for_a_probe_nor_for_a_first_success() {
    let machine = Machine::new();
    machine.runtime.condition("web", Condition::Hangs);
    let mut daemon = machine.boot().await;
    daemon.assign(vec![watched("web")]).await;
    daemon.until(1, STARTING).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(machine.runtime.probes(id(1)), 1);
    let began = Instant::now();
    daemon.assign(vec![wanted(watched("web"), DesiredState::Shutdown)]).await;
    daemon.until(1, SHUTDOWN).await;
    assert!(began.elapsed() < Duration::from_millis(100), "{:?}", began.elapsed());
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(machine.runtime.probes(id(1)), 1, "nobody asks an ended task");
}

#[tokio::test(start_paused = true)]
async fn an_end_in_the_middle_of_a_probe_is_an_end_of_its_own() {
    let machine = Machine::new();
    machine.runtime.condition("web", Condition::Hangs);
    let mut daemon = machine.boot().await;
    daemon.assign(vec![watched("web")]).await;
    daemon.until(1, STARTING).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    machine.runtime.crash(id(1), 7);
    let end = daemon.until(1, FAILED).await.expect("a status");
    assert_eq!((end.error.as_str(), end.health), ("exit code 7", None));
}

#[tokio::test(start_paused = true)]
async fn an_adopted_task_goes_on_being_asked_and_gets_its_time_again() {
    let machine = Machine::new();
    let mut daemon = machine.boot().await;
    daemon.assign(vec![watched("web")]).await;
    daemon.until(1, RUNNING).await;
    daemon.stop().await;
    machine.runtime.condition("web", Condition::Ill);
    tokio::time::sleep(Duration::from_secs(3600)).await;
    let began = Instant::now();
    let daemon = machine.boot().await;
    daemon.until(1, STARTING).await;
    daemon.until(1, FAILED).await;
    assert!((3000..6000).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
    assert_eq!(machine.starts(1), 1);
    // A well one is back at once.
    let machine = Machine::new();
    let mut daemon = machine.boot().await;
    daemon.assign(vec![watched("web")]).await;
    daemon.until(1, RUNNING).await;
    daemon.stop().await;
    let daemon = machine.boot().await;
    let began = Instant::now();
    let adopted = daemon.until(1, RUNNING).await.expect("a status");
    assert_eq!((adopted.message.as_str(), machine.starts(1)), ("adopted", 1));
    assert!(began.elapsed() < Duration::from_millis(200), "{:?}", began.elapsed());
}

/// A daemon that was started again beside a task that is ready.
async fn started_again(machine: &Machine, change: impl Fn(&mut TaskTemplate)) -> Daemon {
    let mut daemon = machine.boot().await;
    daemon.assign(vec![with("web", change)]).await;
    daemon.sees("ready", TaskStatus::is_ready).await;
    daemon.stop().await;
    machine.boot().await
}

#[tokio::test(start_paused = true)]
async fn an_adopted_task_is_not_called_unready_before_it_was_asked() {
    let ready_only = |template: &mut TaskTemplate| template.ready = Some(probe());
    let both = |template: &mut TaskTemplate| {
        template.health = Some(probe());
        template.ready = Some(Probe { start_interval_ms: 1000, ..probe() });
    };
    let machine = Machine::new();
    let daemon = started_again(&machine, ready_only).await;
    let first = daemon.sees("adopted", |_any| true).await;
    assert_eq!((first.state, first.is_ready()), (ObservedState::Running, true));
    let machine = Machine::new();
    let daemon = started_again(&machine, both).await;
    let first = daemon.sees("adopted", |it| it.state == ObservedState::Running).await;
    assert!(first.is_ready(), "{first:?}");
    // Its first answer counts, whatever it was before.
    let machine = Machine::new();
    let mut daemon = machine.boot().await;
    daemon.assign(vec![with("web", ready_only)]).await;
    daemon.sees("ready", TaskStatus::is_ready).await;
    daemon.stop().await;
    machine.runtime.condition("web", Condition::Ill);
    let daemon = machine.boot().await;
    let first = daemon.sees("adopted", |_any| true).await;
    assert_eq!((first.state, first.is_ready()), (ObservedState::Running, false));
}

#[tokio::test(start_paused = true)]
async fn an_adopted_task_that_was_not_asked_yet_is_drained() {
    let drained = |template: &mut TaskTemplate| {
        template.ready = Some(probe());
        template.drain_delay_ms = 5000;
    };
    let machine = Machine::new();
    let mut daemon = started_again(&machine, drained).await;
    let began = Instant::now();
    daemon.assign(vec![wanted(with("web", drained), DesiredState::Shutdown)]).await;
    daemon.until(1, SHUTDOWN).await;
    assert!(began.elapsed() >= Duration::from_secs(5), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn the_same_answer_again_is_no_news() {
    let machine = Machine::new();
    let mut daemon = machine.boot().await;
    daemon.assign(vec![watched("web")]).await;
    daemon.until(1, RUNNING).await;
    daemon.board.take(10);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(machine.runtime.probes(id(1)) >= 60);
    assert!(daemon.board.take(10).is_empty(), "each would be a change of the replicated state");
}
