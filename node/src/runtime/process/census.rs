//! All processes of the machine at one moment, and which of them are a task's where no group tells.

use std::cell::OnceCell;
use std::collections::BTreeSet;
use std::fs;

use rustix::process::getpid;
use swarm_model::id::TaskId;

use super::processes::{ProcessRef, Stat, running};

/// The variable that names a process's task.
const MARK: &str = "SWARM_TASK_ID=";

/// Looks at nothing before it is asked, and at most once, for however many tasks.
#[derive(Debug, Default)]
pub(super) struct Census {
    all: OnceCell<Vec<Resident>>,
}

#[derive(Debug)]
struct Resident {
    stat: Stat,
    /// The tasks that its environment names; read when somebody wants to know.
    marks: OnceCell<Vec<String>>,
}

impl Census {
    /// What is in the session that `leader` began, or says in its environment that it is of `task`.
    pub(super) fn kin(&self, leader: ProcessRef, task: TaskId) -> BTreeSet<i32> {
        let (own, task) = (getpid().as_raw_pid(), task.to_string());
        let resident = |stat| Resident { stat, marks: OnceCell::new() };
        let all = self.all.get_or_init(|| running().into_iter().map(resident).collect());
        all.iter()
            .filter(|it| it.stat.pid != own && it.stat.start_ticks >= leader.start_ticks)
            .filter(|it| it.stat.session == leader.pid || it.marks().contains(&task))
            .map(|it| it.stat.pid)
            .collect()
    }
}

impl Resident {
    fn marks(&self) -> &[String] {
        self.marks.get_or_init(|| {
            let environment = fs::read(format!("/proc/{}/environ", self.stat.pid));
            let environment = environment.unwrap_or_default();
            let entries = environment.split(|byte| *byte == 0);
            let values = entries.filter_map(|entry| entry.strip_prefix(MARK.as_bytes()));
            values.map(|value| String::from_utf8_lossy(value).into_owned()).collect()
        })
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_process_is_a_task_s_by_its_environment_whichever_session_it_is_in() {
        let task = TaskId::from_raw(u128::from(getpid().as_raw_pid().unsigned_abs()) << 64 | 7);
        let mut child = Command::new("sleep")
            .arg("1000")
            .env("SWARM_TASK_ID", task.to_string())
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        // As a task's program that ended before, in another session.
        let leader = ProcessRef { pid: i32::MAX, start_ticks: 0 };
        let census = Census::default();
        let found = census.kin(leader, task);
        let others = census.kin(leader, TaskId::from_raw(8));
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(found, BTreeSet::from([pid]));
        assert_eq!(others, BTreeSet::new());
        let late = ProcessRef { start_ticks: u64::MAX, ..leader };
        assert_eq!(census.kin(late, task), BTreeSet::new(), "it began before the task");
    }
}
