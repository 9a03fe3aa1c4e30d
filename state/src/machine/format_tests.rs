//! Stored snapshots of this format and the one before.

use swarm_model::command::{Command, Op};
use swarm_model::fuzz::sample;
use swarm_model::id::RequestId;
use swarm_model::meta::{Revision, Term};
use swarm_model::task::TaskStatus;

use super::Machine;

/// The state that the first sixteen samples of commands lead to.
fn sampled() -> Machine {
    let mut machine = Machine::new();
    for (at, mut op) in (1..).zip(sample::ops().into_iter().take(16)) {
        let request = Some(RequestId::from_raw(100 + u128::from(at)));
        if let Op::ApplyPlan { base, .. } = &mut op {
            *base = Revision(at - 1);
        }
        let command = Command { request, ..sample::command(op) };
        drop(machine.apply(Revision(at), Term(1), &command));
    }
    machine
}

fn from_hex(text: &str) -> Vec<u8> {
    let byte = |pair| u8::from_str_radix(str::from_utf8(pair).expect("text"), 16);
    text.trim().as_bytes().chunks(2).map(|pair| byte(pair).expect("hex")).collect()
}

#[test]
fn the_snapshot_is_written_as_it_was_laid_down() {
    let bytes = sampled().snapshot().expect("small");
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, include_str!("../../golden/snapshot-3.hex").trim());
}

#[test]
fn a_snapshot_that_says_nothing_new_is_written_as_the_format_before() {
    let golden = from_hex(include_str!("../../golden/snapshot-2.hex"));
    let old = Machine::restore(&golden).expect("is read");
    assert_eq!(old.snapshot().expect("small"), golden);
}

#[test]
fn the_snapshot_of_the_format_before_is_read() {
    let old = Machine::restore(&from_hex(include_str!("../../golden/snapshot-2.hex")));
    let (old, new) = (old.expect("is read"), sampled());
    let (old, new) = (old.view(), new.view());
    assert_eq!(old.revision, new.revision);
    assert!(old.tasks.keys().eq(new.tasks.keys()) && old.tasks.len() == 1, "{:?}", old.tasks);
    for (task, now) in old.tasks.values().zip(new.tasks.values()) {
        assert_eq!((task.eviction, task.restart.displaced), (None, false));
        assert_eq!(task.status, TaskStatus { health: None, ..now.status.clone() });
        assert_eq!((&task.template.health, task.template.drain_delay_ms), (&None, 0));
        assert_eq!(task.template.placement, now.template.placement);
        assert!(task.template.resources.reservations.generic.is_empty());
    }
    assert!(old.services.keys().eq(new.services.keys()) && old.services.len() == 1);
    for service in old.services.values() {
        assert_eq!(service.spec.priority, Default::default());
    }
    assert!(old.configs.keys().eq(new.configs.keys()) && old.configs.len() == 1);
    assert!(old.nodes.keys().eq(new.nodes.keys()));
}
