//! How busy processes were between two looks, and how many of them an answer has room for.

use std::cmp::Reverse;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use swarm_model::id::TaskId;

use crate::runtime::ProcessSample;

/// Processes of one task that are told.
const PROCESSES_MAX: usize = 1000;
/// Bytes of all processes that are told: with why others are not known it fits into a frame.
const ANSWER_MAX: usize = 2 << 20;

/// A process, and how busy it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Busy {
    /// The process.
    pub process: ProcessSample,
    /// Thousandths of one processor that it used in the last moment.
    pub cpu_milli: u64,
}

/// The processes of one task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskTop {
    /// The task.
    pub task: TaskId,
    /// Its processes, by id.
    pub processes: Vec<Busy>,
    /// Why they are not known, or not all there.
    pub error: Option<String>,
}

/// What a process did since the look before, which found `earlier`.
pub(super) fn busy(process: ProcessSample, earlier: &[ProcessSample], window: Duration) -> Busy {
    let window_us = u64::try_from(window.as_micros()).unwrap_or(u64::MAX).max(1);
    let before = earlier.binary_search_by_key(&process.pid, |it| it.pid).map(|at| &earlier[at]);
    let used_us = match before {
        Ok(before) => process.cpu_us.saturating_sub(before.cpu_us),
        // It began since then: all that it ever did.
        Err(_new) if process.age_ms.saturating_mul(1000) <= window_us => process.cpu_us,
        // It was not looked at, whyever: nobody knows.
        Err(_unseen) => 0,
    };
    Busy { cpu_milli: used_us.saturating_mul(1000) / window_us, process }
}

/// Leaves as much as an answer can carry: an equal share to each task, what some do not need to the others,
/// and of each task what is busiest and largest.
pub(super) fn shorten(all: &mut [TaskTop]) {
    let mut by_need: Vec<&mut TaskTop> = all.iter_mut().collect();
    by_need.sort_by_key(|top| top.processes.iter().map(weight).sum::<usize>());
    let (mut left, mut open) = (ANSWER_MAX, by_need.len());
    for top in by_need {
        let share = left / open;
        top.processes
            .sort_by_key(|it| (Reverse((it.cpu_milli, it.process.memory)), it.process.pid));
        let mut taken = 0;
        let fits = |busy: &&Busy| {
            taken += weight(busy);
            taken <= share
        };
        let count = top.processes.iter().take(PROCESSES_MAX).take_while(fits).count();
        let more = top.processes.len() - count;
        if more > 0 {
            top.error = Some(format!("{more} more processes, which use less"));
        }
        top.processes.truncate(count);
        top.processes.sort_by_key(|it| it.process.pid);
        left -= top.processes.iter().map(weight).sum::<usize>();
        open -= 1;
    }
}

/// About how many bytes of an answer a process takes.
fn weight(busy: &Busy) -> usize {
    size_of::<Busy>() + busy.process.command.len() + busy.process.user.len()
}

#[cfg(test)]
mod tests {
    use swarm_net::frame;

    use super::*;

    fn process(pid: u32, cpu_us: u64, age_ms: u64) -> ProcessSample {
        let (user, command) = ("web".to_owned(), "x".repeat(500));
        ProcessSample { pid, parent: 1, user, cpu_us, memory: 4096, age_ms, command }
    }

    #[test]
    fn a_process_counts_from_the_look_before_or_from_its_begin() {
        let window = Duration::from_millis(500);
        let milli = |earlier: &[ProcessSample], now| busy(now, earlier, window).cpu_milli;
        let before = [process(6, 0, 0), process(7, 1_000_000, 9_000), process(9, 0, 0)];
        assert_eq!(milli(&before, process(7, 1_250_000, 9_500)), 500);
        assert_eq!(milli(&before, process(8, 250_000, 300)), 500, "it began meanwhile");
        // A whole life is not the last moment, whatever became of the look before.
        assert_eq!(milli(&[], process(7, 3_600_000_000, 86_400_000)), 0);
    }

    #[test]
    fn an_answer_has_what_fits_of_each_task_and_says_how_much_does_not() {
        let top = |task, count: u32| {
            let busy = |pid| Busy { cpu_milli: u64::from(pid), process: process(pid, 0, 0) };
            let (task, processes) = (TaskId::from_raw(task), (0..count).map(busy).collect());
            TaskTop { task, processes, error: None }
        };
        let mut all = vec![top(1, 5_000), top(2, 3), top(3, 2_000), top(4, 100_000), top(5, 0)];
        shorten(&mut all);
        assert!(frame::encode(&all).len() < 3 << 20, "it is no frame");
        let [a, b, c, d, e] = &all[..] else { panic!("five tasks") };
        assert_eq!((b.processes.len(), b.error.as_deref()), (3, None));
        assert_eq!((e.processes.len(), e.error.as_deref()), (0, None));
        for (top, count) in [(a, 5_000), (c, 2_000), (d, 100_000)] {
            let shown = top.processes.len();
            assert!((500..=PROCESSES_MAX).contains(&shown), "{shown}");
            assert_eq!(
                top.error,
                Some(format!("{} more processes, which use less", count - shown))
            );
            assert!(top.processes.iter().all(|it| it.process.pid as usize >= count - shown));
            assert!(top.processes.is_sorted_by_key(|it| it.process.pid));
        }
    }
}
