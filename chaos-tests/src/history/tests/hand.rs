//! By hand: every kind of wrong answer that is known, and right ones that look wrong.

use super::notation::{history, log};
use super::{blindly, by_log, by_revision};
use crate::history::{History, Kind, Record, blind};

/// Both checks agree.
fn check(operations: &[&str], linearizable: bool) {
    let history = history(operations);
    let (ordered, blind) = (by_revision(&history), blindly(&history));
    assert_eq!(ordered.is_ok(), linearizable, "by revision: {operations:?}: {ordered:?}");
    assert_eq!(blind.is_ok(), linearizable, "blindly: {operations:?}: {blind:?}");
}

#[test]
fn answers_of_one_copy_pass() {
    check(&[], true);
    check(&["x r- 0-1 @1"], true);
    check(&["x w1 0-5 @3", "x r1 6-8 @3", "x w2 9-12 @4", "x r2 13-14 @9"], true);
    check(&["x w1 0-5 @3", "x w- 6-8 @4", "x r- 9-10 @4"], true);
    check(&["x w1 0-5 @3", "y w1 0-5 @4", "y r1 6-8 @4", "x r1 6-8 @4"], true);
}

#[test]
fn a_concurrent_write_may_or_may_not_be_seen() {
    check(&["x w1 0-5 @3", "x w2 6-20 @4", "x r1 7-8 @3", "x r2 9-10 @4"], true);
    check(&["x w1 0-20 @3", "x r- 1-2 @2", "x r1 3-4 @3"], true);
    check(&["x w1 0-5 @3", "x w2 0-5 @2", "x r1 6-7 @3"], true);
}

#[test]
fn a_stale_read_is_found() {
    check(&["x w1 0-5 @3", "x w2 6-8 @4", "x r1 9-10 @3"], false);
    check(&["x w1 0-5 @3", "x r- 6-7 @2"], false);
}

#[test]
fn reads_that_go_back_are_found() {
    check(&["x w1 0-1 @3", "x w2 2-30 @4", "x r2 3-4 @4", "x r1 5-6 @3"], false);
    check(&["x w1 0-1 @3", "x w2 2-?", "x r2 3-4 @4", "x r1 5-6 @5"], false);
}

#[test]
fn a_lost_write_is_found() {
    check(&["x w1 0-5 @3", "x w2 6-8 @4", "x r1 9-10 @7"], false);
    check(&["x w1 0-5 @3", "x r- 6-7 @9"], false);
}

#[test]
fn a_value_that_nobody_wrote_is_found() {
    check(&["x w1 0-5 @3", "x r7 6-8 @3"], false);
    check(&["x w7 0-!", "x r7 6-8 @3"], false);
    check(&["y w7 0-5 @3", "x r7 6-8 @3"], false);
    check(&["x w7 9-12 @3", "x r7 6-8 @3"], false);
    check(&["x w7 9-?", "x r7 6-8 @3"], false);
}

#[test]
fn a_write_of_which_nobody_knows_may_take_effect_late_once_or_never() {
    check(&["x w1 0-5 @3", "x w2 6-?", "x r1 7-8 @3", "x r2 90-91 @9", "x r2 95-96 @9"], true);
    check(&["x w1 0-5 @3", "x w2 6-?", "x r1 90-91 @9"], true);
    check(&["x w1 0-5 @3", "x w2 6-?", "x w3 8-9 @5", "x r2 90-91 @9"], true);
    check(&["x w1 0-5 @3", "x w2 6-?", "x r2 8-9 @4", "x w3 10-11 @5", "x r2 90-91 @9"], false);
    check(&["x w1 0-?", "x w2 0-?", "x r2 8-9 @4", "x r1 10-11 @5"], true);
    check(&["x w1 0-?", "x w2 0-?", "x r2 8-9 @4", "x r1 10-11 @5", "x r2 12-13 @6"], false);
    check(&["x w1 0-2 @1", "x w- 3-?", "x r1 4-5 @1", "x r- 8-9 @4"], true);
}

#[test]
fn revisions_that_contradict_real_time_are_found() {
    let wrong = |operations: &[&str]| {
        assert!(by_revision(&history(operations)).is_err(), "{operations:?}");
    };
    wrong(&["x w1 0-5 @3", "y w1 6-8 @2"]);
    wrong(&["x w1 0-5 @3", "y w1 6-8 @3"]);
    wrong(&["x w1 0-5 @3", "y w1 0-5 @3"]);
    wrong(&["x r- 0-5 @3", "y r- 6-8 @2"]);
    wrong(&["x r- 0-5 @3", "y w1 6-8 @3"]);
    wrong(&["x r- 0-9 @3", "x w1 0-?", "x r1 10-11 @3"]);
    // Seen at a revision that was history when the write was asked for.
    wrong(&["y r- 0-1 @7", "x w1 2-?", "x r1 0-9 @5"]);
}

#[test]
fn the_log_tells_of_lost_invented_and_doubled_writes() {
    let two = history(&["x w1 0-5 @3", "x w2 6-8 @4"]);
    assert_eq!(by_log(&two, &log(&["x=1@3", "x=2@4"])), Ok(()));
    for (wrong, why) in [
        (log(&["x=1@3"]), "lost"),
        (log(&["x=1@3", "x=2@5"]), "elsewhere"),
        (log(&["x=1@3", "x=2@4", "x=1@5"]), "applied twice"),
        (log(&["x=1@3", "x=2@4", "x=9@5"]), "invented"),
    ] {
        assert!(by_log(&two, &wrong).is_err(), "{why}");
    }
    let failed = history(&["x w1 0-!"]);
    assert!(by_log(&failed, &log(&["x=1@3"])).is_err(), "failed and yet applied");
}

#[test]
fn the_log_settles_what_nobody_knew() {
    let seen = history(&["x w1 0-5 @3", "x w2 6-?", "x r2 9-10 @8"]);
    assert_eq!(by_log(&seen, &log(&["x=1@3", "x=2@7"])), Ok(()));
    assert!(by_log(&seen, &log(&["x=1@3", "x=2@9"])).is_err(), "seen before it happened");
    assert!(by_log(&seen, &log(&["x=1@3"])).is_err(), "seen and never happened");
    let unseen = history(&["x w1 0-5 @3", "x w2 6-?", "x r1 9-10 @8"]);
    assert!(by_log(&unseen, &log(&["x=1@3", "x=2@7"])).is_err(), "happened and was not seen");
    let early = history(&["x w1 0-5 @3", "x w2 6-?"]);
    assert!(by_log(&early, &log(&["x=1@3", "x=2@2"])).is_err(), "happened before it was asked");
}

#[test]
fn records_that_are_no_history_are_refused() {
    let read = Record::read(1, 1, "x");
    assert!(History::new(&[read.clone(), Record { t_us: 2, ..read.clone() }]).is_err());
    assert!(History::new(&[read.ended(2, Kind::Ok)]).is_err());
    let other = Record { key: "y".to_owned(), ..read.answered(2, None, 1) };
    assert!(History::new(&[read, other]).is_err());
    let twice = history(&["x w1 0-5 @3", "x w1 6-8 @4"]);
    assert!(by_revision(&twice).is_err(), "values must tell writes apart");
}

#[test]
fn a_register_with_too_many_operations_is_not_judged() {
    let mut records = Vec::new();
    for at in 0..1001_u32 {
        let read = Record::read(u64::from(at) * 2, at, "x");
        records.extend([read.clone(), read.answered(u64::from(at) * 2 + 1, None, 1)]);
    }
    let history = History::new(&records).expect("a history");
    assert_eq!(blind::check(&history).map(|checked| checked.given_up), Ok(1));
    assert_eq!(by_revision(&history), Ok(()));
}

#[test]
fn a_file_of_a_history_reads_back() {
    let write = Record::write(1, 2, "x", Some(7));
    let records = [write.clone(), write.answered(5, Some(7), 3)];
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("history");
    crate::history::write(&path, &records).expect("written");
    assert_eq!(crate::history::read(&path).expect("read"), records);
    let text = std::fs::read_to_string(&path).expect("text");
    let first = r#"{"t":1,"process":2,"type":"invoke","f":"write","key":"x","val":7,"#;
    assert!(text.starts_with(first), "{text}");
}
