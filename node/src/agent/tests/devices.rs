//! Devices of a machine go from task to task.

use super::*;

/// A machine with devices, which are plain files.
struct Lab {
    machine: Machine,
    dir: tempfile::TempDir,
}

impl Lab {
    fn new(cameras: &[&str]) -> Self {
        let dir = tempfile::tempdir().expect("temp dir");
        let mut lab = Self { machine: Machine::new(), dir };
        cameras.iter().for_each(|name| lab.plug(name));
        let paths = cameras.iter().map(|name| lab.path(name)).collect();
        lab.machine.devices = Devices::from([("camera".to_owned(), paths)]);
        lab
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    fn plug(&self, name: &str) {
        std::fs::write(self.path(name), "").expect("writable");
    }

    fn unplug(&self, name: &str) {
        std::fs::remove_file(self.path(name)).expect("was there");
    }

    /// What a task was told of its cameras.
    fn told(&self, task: u128) -> Option<String> {
        self.machine.runtime.variable(id(task), "SWARM_DEVICE_CAMERA")
    }
}

fn needs_cameras(task: u128, count: u64, desired: DesiredState) -> Assignment {
    let mut assignment = assignment(task, "web", desired);
    let mut template = TaskTemplate::clone(&assignment.template);
    template.resources.reservations.generic.insert("device/camera".to_owned(), count);
    assignment.template = Arc::new(template);
    assignment
}

#[tokio::test(start_paused = true)]
async fn a_device_is_one_task_s_until_that_has_ended() {
    let lab = Lab::new(&["a", "b"]);
    let mut daemon = lab.machine.boot().await;
    let two = [1, 2].map(|task| needs_cameras(task, 1, DesiredState::Running));
    daemon.assign(two.to_vec()).await;
    daemon.until(1, RUNNING).await;
    daemon.until(2, RUNNING).await;
    assert_eq!((lab.told(1), lab.told(2)), (Some(lab.path("a")), Some(lab.path("b"))));
    daemon.assign(vec![needs_cameras(3, 1, DesiredState::Running)]).await;
    let refused = daemon.until(3, Some(ObservedState::Rejected)).await.expect("a status");
    assert!(refused.error.contains("needs 1, has 0"), "{}", refused.error);
    assert_eq!(lab.machine.starts(3), 0);
    daemon.assign(vec![needs_cameras(1, 1, DesiredState::Shutdown)]).await;
    daemon.until(1, SHUTDOWN).await;
    daemon.assign(vec![needs_cameras(4, 1, DesiredState::Running)]).await;
    daemon.until(4, RUNNING).await;
    assert_eq!(lab.told(4), Some(lab.path("a")));
}

#[tokio::test(start_paused = true)]
async fn a_restart_forgets_no_device_and_no_refusal() {
    let mut lab = Lab::new(&["a", "b"]);
    let mut daemon = lab.machine.boot().await;
    daemon.assign(vec![needs_cameras(1, 1, DesiredState::Running)]).await;
    daemon.until(1, RUNNING).await;
    daemon.assign(vec![needs_cameras(2, 2, DesiredState::Running)]).await;
    daemon.until(2, Some(ObservedState::Rejected)).await;
    daemon.stop().await;
    // What was changed meanwhile is for new tasks.
    let paths = ["b", "a"].map(|name| lab.path(name)).to_vec();
    lab.machine.devices.insert("camera".to_owned(), paths);
    let mut daemon = lab.machine.boot().await;
    daemon.until(1, RUNNING).await;
    daemon.until(2, Some(ObservedState::Rejected)).await;
    daemon.assign(vec![needs_cameras(3, 1, DesiredState::Running)]).await;
    daemon.until(3, RUNNING).await;
    assert_eq!(lab.told(3), Some(lab.path("b")));
    assert_eq!(lab.machine.starts(2), 0);
}

#[tokio::test(start_paused = true)]
async fn what_was_pulled_out_is_not_handed_out() {
    let lab = Lab::new(&["a", "b"]);
    lab.unplug("a");
    let mut daemon = lab.machine.boot().await;
    daemon.assign(vec![needs_cameras(1, 1, DesiredState::Running)]).await;
    daemon.until(1, RUNNING).await;
    assert_eq!(lab.told(1), Some(lab.path("b")));
    daemon.assign(vec![needs_cameras(2, 1, DesiredState::Running)]).await;
    let refused = daemon.until(2, Some(ObservedState::Rejected)).await.expect("a status");
    let why = format!("{} is not there", lab.path("a"));
    assert!(refused.error.contains(&why), "{}", refused.error);
    lab.plug("a");
    daemon.assign(vec![needs_cameras(3, 1, DesiredState::Running)]).await;
    daemon.until(3, RUNNING).await;
    assert_eq!(lab.told(3), Some(lab.path("a")));
}

#[tokio::test(start_paused = true)]
async fn after_a_reboot_a_task_gets_what_it_had() {
    let lab = Lab::new(&["a", "b"]);
    let mut daemon = lab.machine.boot().await;
    let two = [1, 2].map(|task| needs_cameras(task, 1, DesiredState::Running));
    daemon.assign(two.to_vec()).await;
    daemon.until(2, RUNNING).await;
    daemon.stop().await;
    lab.machine.runtime.lose_power();
    let daemon = lab.machine.boot().await;
    daemon.until(2, RUNNING).await;
    assert_eq!((lab.machine.starts(2), lab.told(2)), (2, Some(lab.path("b"))));
}
