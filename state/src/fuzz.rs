//! The decoders of this crate, for the fuzz driver; see [`swarm_model::fuzz`].

use swarm_model::command::{Command, Op};
use swarm_model::fuzz::{Target, sample};
use swarm_model::meta::{Revision, Term};

use crate::codec;
use crate::machine::Machine;
use crate::store;

/// The decoders of this crate.
pub const TARGETS: &[Target] = &[
    Target::new("state.command", command, || {
        let encode = |op| codec::encode_command(&sample::command(op)).expect("is small");
        sample::ops().into_iter().map(encode).collect()
    }),
    Target::new("state.snapshot", snapshot, || vec![full().snapshot().expect("is small")]),
    store::fuzz::RECORDS,
    store::fuzz::SEALED,
    store::fuzz::BATCH,
    store::fuzz::ENVELOPE,
    store::fuzz::FILES,
];

/// A machine that has applied one of every op.
fn full() -> Machine {
    let mut machine = Machine::new();
    for (at, mut op) in (1..).zip(sample::ops()) {
        if let Op::ApplyPlan { base, .. } = &mut op {
            *base = Revision(at - 1);
        }
        let command = Command { request: None, ..sample::command(op) };
        let _outcome = machine.apply(Revision(at), Term(1), &command);
    }
    machine
}

fn command(bytes: &[u8]) -> bool {
    let Ok(command) = codec::decode_command(bytes) else { return false };
    let again = codec::encode_command(&command).expect("was as small before");
    assert_eq!(codec::decode_command(&again).ok(), Some(command));
    true
}

fn snapshot(bytes: &[u8]) -> bool {
    let Ok(machine) = Machine::restore(bytes) else { return false };
    let again = machine.snapshot().expect("was as small before");
    let restored = Machine::restore(&again).expect("was just written");
    assert!(restored.snapshot().is_ok_and(|third| third == again), "a snapshot is not stable");
    true
}
