//! What every `TaskRuntime` has to do, whatever it runs tasks as. A new runtime implements [`Bench`]
//! and calls [`conformance!`].

use std::sync::Arc;
use std::time::Duration;

use swarm_model::id::TaskId;
use swarm_model::probe::Check;
use swarm_model::runtime::Signal;
use swarm_node::runtime::{AdoptedState, Answer, Failure, Launch, TaskRuntime};

/// Nothing here may take longer.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);
const GRACE: Duration = Duration::from_secs(10);
/// For programs that do not care.
const SHORT_GRACE: Duration = Duration::from_millis(100);

/// One runtime with a machine of its own.
pub(crate) trait Bench {
    fn runtime(&self) -> Arc<dyn TaskRuntime>;
    /// The runtime as a restarted daemon makes it.
    fn restart(&mut self);
    /// Ids in the order of their numbers, which no other test draws.
    fn task(&self, number: u128) -> TaskId;
    /// A program that runs until it is asked to end.
    fn runs(&self) -> Vec<String>;
    /// A program that ends with this code at once.
    fn exits(&self, code: i32) -> Vec<String>;
    /// A program that runs until it is killed.
    fn stubborn(&self) -> Vec<String>;
    /// Waits until a task that runs it is deaf to other signals.
    async fn until_stubborn(&self, task: TaskId);
    /// A program that this machine does not have.
    fn missing(&self) -> Vec<String>;
}

pub(crate) async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, work).await.expect("done before the deadline")
}

/// Prepares and starts.
pub(crate) async fn begin(runtime: &dyn TaskRuntime, launch: Launch) -> Arc<Launch> {
    let launch = Arc::new(launch);
    within(runtime.prepare(Arc::clone(&launch))).await.expect("prepared");
    within(runtime.start(Arc::clone(&launch))).await.expect("started");
    launch
}

pub(crate) async fn a_program_that_ends_tells_its_code_to_everyone_who_waits(bench: impl Bench) {
    let runtime = bench.runtime();
    for (task, code) in [(bench.task(1), 0), (bench.task(2), 3)] {
        begin(&*runtime, Launch::new(task, bench.exits(code))).await;
        let (first, second) =
            within(async { futures::future::join(runtime.wait(task), runtime.wait(task)).await })
                .await;
        assert_eq!((first.code, first.signal, first.oom_killed), (Some(code), None, false));
        assert_eq!(first, second);
        assert_eq!(within(runtime.wait(task)).await, first, "later too");
    }
}

pub(crate) async fn a_stopped_program_ends_by_the_signal_within_its_grace(bench: impl Bench) {
    let runtime = bench.runtime();
    begin(&*runtime, Launch::new(bench.task(1), bench.runs())).await;
    let begun = tokio::time::Instant::now();
    within(runtime.stop(bench.task(1), Signal::TERM, GRACE)).await.expect("stopped");
    assert!(begun.elapsed() < GRACE, "not only after the grace period");
    assert_eq!(within(runtime.wait(bench.task(1))).await.signal, Some(Signal::TERM.number()));
    within(runtime.stop(bench.task(1), Signal::TERM, GRACE)).await.expect("stopping again is fine");
    within(runtime.signal(bench.task(1), Signal::TERM)).await.expect("a late signal is fine");
}

pub(crate) async fn a_stubborn_program_is_killed_after_its_grace(bench: impl Bench) {
    let runtime = bench.runtime();
    begin(&*runtime, Launch::new(bench.task(1), bench.stubborn())).await;
    bench.until_stubborn(bench.task(1)).await;
    within(runtime.stop(bench.task(1), Signal::TERM, SHORT_GRACE)).await.expect("killed");
    assert_eq!(within(runtime.wait(bench.task(1))).await.signal, Some(Signal::KILL.number()));
}

pub(crate) async fn a_task_runs_once(bench: impl Bench) {
    let runtime = bench.runtime();
    let launch = begin(&*runtime, Launch::new(bench.task(1), bench.runs())).await;
    let started_again = |failure| matches!(failure, Err(Failure::AlreadyStarted { .. }));
    assert!(started_again(within(runtime.start(launch.clone())).await.map(drop)));
    assert!(started_again(within(runtime.prepare(launch.clone())).await));
    within(runtime.stop(bench.task(1), Signal::TERM, GRACE)).await.expect("stopped");
    assert!(started_again(within(runtime.start(launch.clone())).await.map(drop)));
    assert!(started_again(within(runtime.prepare(launch)).await));
}

pub(crate) async fn only_prepared_tasks_start_and_only_ended_ones_are_removed(bench: impl Bench) {
    let runtime = bench.runtime();
    let launch = Arc::new(Launch::new(bench.task(1), bench.runs()));
    let unknown = |failure| matches!(failure, Err(Failure::UnknownTask { .. }));
    assert!(unknown(within(runtime.start(launch.clone())).await.map(drop)));
    assert!(unknown(within(runtime.stop(bench.task(1), Signal::TERM, GRACE)).await));
    within(runtime.remove(bench.task(1))).await.expect("nothing to remove is fine");
    begin(&*runtime, Launch::new(bench.task(1), bench.runs())).await;
    let refused = within(runtime.remove(bench.task(1))).await;
    assert!(matches!(refused, Err(Failure::StillRunning { .. })), "{refused:?}");
    within(runtime.stop(bench.task(1), Signal::TERM, GRACE)).await.expect("stopped");
    within(runtime.remove(bench.task(1))).await.expect("removed");
    assert!(unknown(within(runtime.signal(bench.task(1), Signal::TERM)).await));
    assert!(within(runtime.wait(bench.task(1))).await.is_lost(), "waiting for nobody ends at once");
}

pub(crate) async fn a_missing_program_is_refused_for_good_and_leaves_nothing(
    mut bench: impl Bench,
) {
    let refused =
        within(bench.runtime().prepare(Arc::new(Launch::new(bench.task(1), bench.missing()))))
            .await;
    assert!(refused.as_ref().is_err_and(Failure::is_permanent), "{refused:?}");
    let none = Arc::new(Launch::new(bench.task(2), Vec::<String>::new()));
    let refused = within(bench.runtime().prepare(none)).await;
    assert!(matches!(refused, Err(Failure::EmptyCommand)), "{refused:?}");
    bench.restart();
    assert_eq!(within(bench.runtime().adopt()).await.expect("adopted"), []);
}

pub(crate) async fn a_restarted_daemon_finds_what_runs_and_what_has_ended(mut bench: impl Bench) {
    let runtime = bench.runtime();
    begin(&*runtime, Launch::new(bench.task(1), bench.runs())).await;
    begin(&*runtime, Launch::new(bench.task(2), bench.exits(7))).await;
    let ended = within(runtime.wait(bench.task(2))).await;
    within(runtime.prepare(Arc::new(Launch::new(bench.task(3), bench.runs()))))
        .await
        .expect("prepared");
    bench.restart();
    let runtime = bench.runtime();
    let adopted = within(runtime.adopt()).await.expect("adopted");
    let tasks: Vec<_> = adopted.iter().map(|adopted| adopted.task).collect();
    assert_eq!(tasks, [bench.task(1), bench.task(2)], "what never started is forgotten");
    assert!(matches!(adopted[0].state, AdoptedState::Running { .. }), "{adopted:?}");
    assert_eq!(adopted[1].state, AdoptedState::Exited(ended));
    within(runtime.stop(bench.task(1), Signal::TERM, GRACE)).await.expect("stopped");
    assert_eq!(within(runtime.wait(bench.task(1))).await.signal, Some(Signal::TERM.number()));
    for task in [bench.task(1), bench.task(2)] {
        within(runtime.remove(task)).await.expect("removed");
    }
    assert_eq!(within(runtime.adopt()).await.expect("adopted"), []);
}

pub(crate) async fn a_running_task_is_asked_also_after_its_daemon_s_restart(mut bench: impl Bench) {
    let runtime = bench.runtime();
    begin(&*runtime, Launch::new(bench.task(1), bench.runs())).await;
    let check = Arc::new(Check::Command(bench.exits(0)));
    let answer = within(runtime.probe(bench.task(1), check.clone(), DEADLINE)).await;
    assert_eq!(answer, Answer::Passed);
    bench.restart();
    let runtime = bench.runtime();
    within(runtime.adopt()).await.expect("adopted");
    let both = futures::future::join(
        runtime.probe(bench.task(1), check.clone(), DEADLINE),
        runtime.probe(bench.task(1), check.clone(), DEADLINE),
    );
    assert_eq!(within(both).await, (Answer::Passed, Answer::Passed));
    within(runtime.stop(bench.task(1), Signal::TERM, GRACE)).await.expect("stopped");
    within(runtime.wait(bench.task(1))).await;
    within(runtime.remove(bench.task(1))).await.expect("removed");
    let answer = within(runtime.probe(bench.task(1), check, DEADLINE)).await;
    assert_ne!(answer, Answer::Passed, "it is gone");
}

/// Makes one test of each rule; `$bench` is an expression that makes a new [`Bench`].
#[macro_export]
macro_rules! conformance {
    ($bench:expr) => {
        $crate::conformance!(@ $bench;
            a_program_that_ends_tells_its_code_to_everyone_who_waits
            a_stopped_program_ends_by_the_signal_within_its_grace
            a_stubborn_program_is_killed_after_its_grace
            a_task_runs_once
            only_prepared_tasks_start_and_only_ended_ones_are_removed
            a_missing_program_is_refused_for_good_and_leaves_nothing
            a_restarted_daemon_finds_what_runs_and_what_has_ended
            a_running_task_is_asked_also_after_its_daemon_s_restart
        );
    };
    (@ $bench:expr; $($rule:ident)*) => {$(
        #[tokio::test]
        async fn $rule() {
            conformance::$rule($bench).await;
        }
    )*};
}
