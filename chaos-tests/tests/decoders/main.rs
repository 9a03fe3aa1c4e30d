//! Hostile bytes for every decoder, in a short form, and again every input that ever broke one.

use swarm_chaos::decoders::meter::{Meter, measure};
use swarm_chaos::decoders::{corpus, feed, run, targets};

#[global_allocator]
static METER: Meter = Meter;

/// Cases of each target: a few seconds in all.
const CASES: u64 = 400;

#[test]
fn every_sample_is_taken_and_no_mutant_panics_or_takes_memory_it_does_not_pay_for() {
    assert!(measure(|| vec![1u8; 9]).1 >= 9, "the allocator does not count");
    let mut findings = Vec::new();
    for target in targets() {
        assert!(!(target.samples)().is_empty(), "{} has no samples", target.name);
        let report = run(&target, CASES, 1);
        let found = report.findings.into_iter();
        findings.extend(found.map(|found| format!("{}: {}", found.target, found.what)));
    }
    assert!(findings.is_empty(), "decoders broke:\n  {}", findings.join("\n  "));
}

#[test]
fn samples_read_as_what_they_are() {
    for target in targets() {
        let taken = (target.samples)().iter().filter(|input| (target.feed)(input)).count();
        assert!(taken > 0, "{} takes none of its samples", target.name);
    }
}

#[test]
fn what_once_broke_a_decoder_does_not_any_more() {
    let names = corpus::names().expect("the folder is there");
    assert!(names.len() >= 4, "inputs are missing: {names:?}");
    for name in names {
        let all = targets();
        let target = all.iter().find(|target| target.name == name);
        let target = target.unwrap_or_else(|| panic!("{name}.hex is of no target"));
        let inputs = corpus::found(&name);
        assert!(!inputs.is_empty(), "{name}.hex is empty");
        for input in inputs {
            let fed = feed(target, &input);
            assert!(fed.is_ok(), "{}: {fed:?} of {input:02x?}", target.name);
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_run() {
    for name in ["state.command", "raft.append", "cli.duration"] {
        let target = targets().into_iter().find(|target| target.name == name).expect(name);
        let (one, two) = (run(&target, 2000, 7), run(&target, 2000, 7));
        assert_eq!((one.taken, one.kept), (two.taken, two.kept), "{name}");
    }
}

#[test]
fn each_target_has_a_name_of_its_own() {
    let mut names: Vec<_> = targets().iter().map(|target| target.name).collect();
    let all = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), all);
}
