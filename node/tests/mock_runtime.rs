//! The mock runtime obeys the rules of all runtimes, and what is its own.

mod conformance;

use std::sync::Arc;
use std::time::Duration;

use conformance::{Bench, begin, within};
use swarm_model::clock::Clock;
use swarm_model::id::TaskId;
use swarm_model::units::Timestamp;
use swarm_node::runtime::{
    AdoptedState, Behaviour, Failure, Launch, MockEventKind, MockRuntime, TaskRuntime,
};
use tokio::time::Instant;

/// Tokio's clock as wall clock.
#[derive(Debug)]
struct Simulated(Instant);

impl Clock for Simulated {
    fn now(&self) -> Timestamp {
        Timestamp::default().after(self.0.elapsed())
    }
}

fn id(raw: u128) -> TaskId {
    TaskId::from_raw(raw)
}

fn machine() -> MockRuntime {
    MockRuntime::new(Arc::new(Simulated(Instant::now())), Duration::from_millis(5))
}

struct MockBench(MockRuntime);

impl MockBench {
    fn new() -> Self {
        let machine = machine();
        machine.program("stubborn", Behaviour::Stubborn);
        for code in [0, 3, 7] {
            let after = Duration::from_millis(1);
            machine.program(&format!("exit{code}"), Behaviour::Exits { after, code });
        }
        let program = "missing".to_owned();
        let hint = String::new();
        machine.program("missing", Behaviour::Rejected(Failure::NotFound { program, hint }));
        Self(machine)
    }
}

impl Bench for MockBench {
    fn runtime(&self) -> Arc<dyn TaskRuntime> {
        Arc::new(self.0.clone())
    }
    fn restart(&mut self) {}
    fn task(&self, number: u128) -> TaskId {
        id(number)
    }
    fn runs(&self) -> Vec<String> {
        vec!["runs".into()]
    }
    fn exits(&self, code: i32) -> Vec<String> {
        vec![format!("exit{code}")]
    }
    fn stubborn(&self) -> Vec<String> {
        vec!["stubborn".into()]
    }
    async fn until_stubborn(&self, _task: TaskId) {}
    fn missing(&self) -> Vec<String> {
        vec!["missing".into()]
    }
}

conformance!(MockBench::new());

#[tokio::test(start_paused = true)]
async fn programs_end_in_simulated_time() {
    let machine = machine();
    machine.program("job", Behaviour::Exits { after: Duration::from_secs(3600), code: 0 });
    begin(&machine, Launch::new(id(1), ["job"])).await;
    assert_eq!(machine.running().len(), 1);
    let exit = machine.wait(id(1)).await;
    assert_eq!((exit.code, exit.at), (Some(0), Timestamp::from_millis(3_600_005)));
    assert_eq!(machine.running().len(), 0);
    let kinds: Vec<_> = machine.events().iter().map(|event| event.what).collect();
    let expect = [MockEventKind::Prepared, MockEventKind::Started, MockEventKind::Exited(exit)];
    assert_eq!(kinds, expect);
}

#[tokio::test(start_paused = true)]
async fn lost_power_ends_everything_and_waiters_hear_of_it() {
    let machine = machine();
    begin(&machine, Launch::new(id(1), ["runs"])).await;
    let waiting = machine.wait(id(1));
    machine.lose_power();
    assert!(within(waiting).await.is_lost());
    let adopted = machine.adopt().await.unwrap();
    assert_eq!(adopted[0].state, AdoptedState::Lost { rebooted: true });
    machine.remove(id(1)).await.unwrap();
    begin(&machine, Launch::new(id(1), ["runs"])).await;
}

#[tokio::test(start_paused = true)]
async fn a_crash_is_an_exit() {
    let machine = machine();
    begin(&machine, Launch::new(id(1), ["runs"])).await;
    let waiting = machine.wait(id(1));
    machine.crash(id(1), 9);
    assert_eq!(within(waiting).await.code, Some(9));
}
