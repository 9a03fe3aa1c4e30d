//! What follows a decoder: any command that reads well must be applied or refused, planned for and
//! written into a snapshot, on any state. A replica that panics there would do so again after each restart.

use swarm_control::{Scope, explain, reconcile};
use swarm_model::command::{Command, Op};
use swarm_model::fuzz::{Target, sample};
use swarm_model::id::IdSource;
use swarm_model::meta::{Revision, Term};
use swarm_state::codec;
use swarm_state::machine::Machine;

const TERM: Term = Term(1);

/// Commands, one after the other: `length (u16), bytes` of each.
pub(super) const TARGETS: &[Target] = &[Target::new("state.apply", apply, || {
    let framed = |op| {
        let command = Command { request: None, ..sample::command(op) };
        let bytes = codec::encode_command(&command).expect("is small");
        let length = u16::try_from(bytes.len()).expect("is short");
        [&length.to_be_bytes()[..], &bytes].concat()
    };
    let all: Vec<_> = sample::ops().into_iter().map(framed).collect();
    let mut samples = vec![all.concat()];
    samples.extend(all);
    samples
})];

struct Ids(u128);

impl IdSource for Ids {
    fn draw(&mut self) -> u128 {
        self.0 += 1;
        self.0
    }
}

/// A cluster with a service and its tasks.
fn start() -> Machine {
    let mut machine = Machine::new();
    for (at, op) in (1..).zip(sample::ops().into_iter().take(10)) {
        let command = Command { request: None, ..sample::command(op) };
        let _outcome = machine.apply(Revision(at), TERM, &command);
    }
    machine
}

fn apply(mut bytes: &[u8]) -> bool {
    thread_local!(static START: Machine = start());
    let mut machine = START.with(Machine::clone);
    let mut applied = 0;
    let mut now = sample::command(Op::RotateToken { role: swarm_model::node::Role::Worker }).at;
    while let [high, low, rest @ ..] = bytes {
        let length = usize::from(u16::from_be_bytes([*high, *low])).min(rest.len());
        let (command, behind) = rest.split_at(length);
        bytes = behind;
        let Ok(command) = codec::decode_command(command) else { continue };
        now = command.at;
        let at = Revision(machine.view().revision.0 + 1);
        let (outcome, events) = machine.apply(at, TERM, &command);
        applied += 1;
        if let Err(rejection) = outcome {
            assert!(!rejection.to_string().is_empty());
        }
        drop(format!("{events:?}"));
    }
    if applied == 0 {
        return false;
    }
    let plan = reconcile(machine.view(), &Scope::everything(), now, &mut Ids(1 << 64));
    let (base, at) = (machine.view().revision, Revision(machine.view().revision.0 + 1));
    let op = Op::ApplyPlan { term: TERM, base, changes: plan.changes };
    let command = Command { request: None, at: now, ..sample::command(op) };
    let _outcome = machine.apply(at, TERM, &command);
    let services: Vec<_> = machine.view().services.keys().copied().take(4).collect();
    for service in services {
        let _why = explain(machine.view(), service, now);
    }
    let snapshot = machine.snapshot().expect("is small");
    let restored = Machine::restore(&snapshot).expect("was just written");
    assert_eq!(restored.snapshot().ok(), Some(snapshot), "a snapshot is not stable");
    true
}
