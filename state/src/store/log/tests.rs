//! The log's promises: by example here, against a model under crashes in `model`, and against
//! flipped bits in `damage`.

mod damage;
mod model;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use super::*;
use crate::store::disk::{Fault, FaultKind, MemDisk, RealDisk};
use crate::store::kv::Kv;
use crate::store::{DiskFault, Table};

/// Small, so that a few records already fill segments and outgrow the cache.
pub(super) const SMALL: LogOptions =
    LogOptions { segment_bytes: 2048, zero_step: 1024, cache_bytes: 1000 };

pub(super) fn try_open_in(disk: Arc<dyn Disk>, dir: &Path) -> Result<LogTable, Error> {
    let kv = Kv::open(disk.clone(), &dir.join("kv"), Table::Votes, DiskFault::default())?;
    LogTable::open(disk, &dir.join("log"), MetaTable::new(kv), SMALL)
}

pub(super) fn try_open(disk: &MemDisk) -> Result<LogTable, Error> {
    try_open_in(Arc::new(disk.clone()), Path::new("/data"))
}

pub(super) fn open(disk: &MemDisk) -> LogTable {
    try_open(disk).expect("an undamaged log opens")
}

pub(super) fn record(index: u64, term: u64, size: usize) -> Record {
    let byte = u8::try_from((index * 7 + term * 31) % 251).expect("below 251");
    Record { index, term, payload: Bytes::from(vec![byte; size]) }
}

pub(super) fn records(range: std::ops::Range<u64>, term: u64) -> Vec<Record> {
    range.map(|index| record(index, term, 100)).collect()
}

fn all(log: &LogTable) -> Vec<Record> {
    let end = log.last().map_or(0, |last| last.index + 1);
    log.read(log.first_index()..end, usize::MAX).expect("readable")
}

fn on_both_disks(check: impl Fn(Arc<dyn Disk>, &Path)) {
    check(Arc::new(MemDisk::new(1)), Path::new("/data"));
    let dir = tempfile::tempdir().expect("a temporary folder");
    check(Arc::new(RealDisk::new()), dir.path());
}

#[test]
fn appended_records_are_read_back_before_and_after_a_restart() {
    on_both_disks(|disk, dir| {
        let mut log = try_open_in(disk.clone(), dir).expect("a new log");
        assert_eq!((log.last(), log.first_index()), (None, 0));
        log.append(&records(0..10, 1)).expect("room");
        log.append(&records(10..60, 2)).expect("room");
        let expected = [records(0..10, 1), records(10..60, 2)].concat();
        assert_eq!(all(&log), expected);
        assert_eq!(log.sync().expect("a sound disk"), Some(Position { index: 59, term: 2 }));
        drop(log);
        let log = try_open_in(disk, dir).expect("the same log");
        assert_eq!(all(&log), expected);
        assert_eq!(log.last(), Some(Position { index: 59, term: 2 }));
        assert_eq!(log.sync_handle().durable_end(), 60);
    });
}

#[test]
fn read_stops_at_its_limits_and_gives_at_least_one_record() {
    let disk = MemDisk::new(1);
    let mut log = open(&disk);
    log.append(&records(0..50, 1)).expect("room");
    for start in [0, 20, 45] {
        let read = |end, bytes| log.read(start..end, bytes).expect("readable").len();
        assert_eq!(read(start + 5, usize::MAX), 5, "from {start}");
        assert_eq!(read(start + 5, 250), 2, "from {start}");
        assert_eq!(read(start + 5, 0), 1, "from {start}");
        assert_eq!(read(start, 100), 0, "from {start}");
    }
    assert_eq!(log.read(48..90, 10_000).expect("readable").len(), 2);
    assert_eq!(log.read(50..90, 10_000).expect("readable"), []);
}

#[test]
fn record_that_does_not_come_next_is_refused() {
    let disk = MemDisk::new(1);
    let mut log = open(&disk);
    log.append(&records(0..2, 1)).expect("room");
    for index in [0, 1, 3] {
        let error = log.append(&[record(index, 1, 1)]).expect_err("not next");
        assert!(matches!(error, Error::NotNext { expected: 2, .. }), "{error}");
    }
    let large = Record { index: 2, term: 1, payload: Bytes::from(vec![0; MAX_PAYLOAD + 1]) };
    assert!(matches!(log.append(&[large]), Err(Error::TooLarge { .. })));
    log.append(&records(2..3, 1)).expect("still usable");
}

#[test]
fn truncated_records_stay_gone_and_are_replaced() {
    for keep in [None, Some(0), Some(10), Some(33), Some(38), Some(39)] {
        let disk = MemDisk::new(1);
        let mut log = open(&disk);
        log.append(&records(0..40, 1)).expect("room");
        log.save_high_water().expect("a sound disk");
        log.truncate_after(keep).expect("cut");
        let end = keep.map_or(0, |index| index + 1);
        let kept = records(0..end, 1);
        assert_eq!(all(&log), kept);
        disk.crash();
        let mut log = open(&disk);
        assert_eq!(all(&log), kept, "after a crash");
        log.append(&records(end..end + 3, 5)).expect("room");
        log.sync().expect("a sound disk");
        disk.crash();
        assert_eq!(all(&open(&disk)), [kept, records(end..end + 3, 5)].concat());
    }
}

#[test]
fn purge_frees_whole_files_and_keeps_the_rest() {
    let disk = MemDisk::new(1);
    let mut log = open(&disk);
    log.append(&records(0..30, 1)).expect("room");
    log.append(&records(30..100, 1)).expect("room");
    log.append(&records(100..110, 1)).expect("room");
    log.sync().expect("a sound disk");
    let before = disk.files().len();
    log.purge_upto(Position { index: 50, term: 1 }).expect("purged");
    assert!(disk.files().len() < before);
    assert_eq!(log.first_index(), 51);
    assert_eq!(all(&log), records(51..110, 1));
    assert!(matches!(log.read(50..60, 100), Err(Error::Absent { index: 50 })));
    disk.crash();
    let mut log = open(&disk);
    assert_eq!(log.purged(), Some(Position { index: 50, term: 1 }));
    assert_eq!(all(&log), records(51..110, 1));
    log.purge_upto(Position { index: 109, term: 1 }).expect("purged");
    assert_eq!((log.last(), log.first_index()), (None, 110));
    log.append(&records(110..112, 2)).expect("room");
    log.sync().expect("a sound disk");
    disk.crash();
    assert_eq!(all(&open(&disk)), records(110..112, 2));
}

#[test]
fn purge_beyond_the_end_lets_the_log_go_on_after_the_gap() {
    let disk = MemDisk::new(1);
    let mut log = open(&disk);
    log.append(&records(0..10, 1)).expect("room");
    log.save_high_water().expect("a sound disk");
    log.purge_upto(Position { index: 500, term: 3 }).expect("purged");
    assert_eq!((log.last(), log.first_index()), (None, 501));
    disk.crash();
    let mut log = open(&disk);
    assert_eq!((log.last(), log.first_index()), (None, 501));
    log.append(&records(501..503, 3)).expect("room");
    log.truncate_after(Some(500)).expect("cut down to the purged one");
    log.append(&records(501..502, 4)).expect("room");
    log.save_high_water().expect("a sound disk");
    disk.crash();
    assert_eq!(all(&open(&disk)), records(501..502, 4));
}

#[test]
fn purge_beyond_the_end_that_fails_half_way_leaves_a_log_that_goes_on() {
    let disk = MemDisk::new(1);
    let mut log = open(&disk);
    log.append(&records(0..3, 1)).expect("room");
    disk.set_free(Some(100));
    let error = log.purge_upto(Position { index: 4, term: 2 }).expect_err("no room to go on");
    assert!(matches!(error, Error::DiskFull { .. }), "{error}");
    assert_eq!((log.last(), log.first_index()), (None, 5));
    disk.set_free(None);
    log.append(&records(5..8, 2)).expect("space is back");
    assert_eq!(all(&log), records(5..8, 2));
    log.sync().expect("a sound disk");
    disk.crash();
    assert_eq!(all(&open(&disk)), records(5..8, 2));
}

#[test]
fn full_disk_fails_the_append_and_later_ones_succeed() {
    let disk = MemDisk::new(3);
    let mut log = open(&disk);
    log.append(&records(0..3, 1)).expect("room");
    log.sync().expect("a sound disk");
    disk.set_free(Some(700));
    let error = loop {
        let end = log.last().map_or(0, |last| last.index + 1);
        if let Err(error) = log.append(&records(end..end + 2, 1)) {
            break error;
        }
    };
    assert!(matches!(error, Error::DiskFull { .. }), "{error}");
    let end = log.last().expect("some fitted").index + 1;
    assert!(log.append(&records(end..end + 2, 1)).is_err(), "still full");
    assert_eq!(all(&log), records(0..end, 1));
    disk.set_free(None);
    log.append(&records(end..end + 1, 2)).expect("space is back");
    log.sync().expect("a sound disk");
    disk.crash();
    assert_eq!(all(&open(&disk)), [records(0..end, 1), records(end..end + 1, 2)].concat());
}

#[test]
fn failed_write_leaves_no_half_record_behind_later_ones() {
    let disk = MemDisk::new(4);
    let mut log = open(&disk);
    log.append(&records(0..3, 1)).expect("room");
    disk.inject(Fault { kind: FaultKind::Write, after: 0 });
    let error = log.append(&records(3..9, 1)).expect_err("injected");
    assert!(matches!(error, Error::Io { .. }), "{error}");
    log.append(&records(3..4, 2)).expect("the disk works again");
    log.sync().expect("a sound disk");
    disk.crash();
    assert_eq!(all(&open(&disk)), [records(0..3, 1), records(3..4, 2)].concat());
}

#[test]
fn failed_sync_is_never_followed_by_success() {
    let disk = MemDisk::new(5);
    let mut log = open(&disk);
    log.append(&records(0..3, 1)).expect("room");
    disk.inject(Fault { kind: FaultKind::Sync, after: 0 });
    assert!(matches!(log.sync(), Err(Error::Poisoned { .. })));
    assert!(matches!(log.sync(), Err(Error::Poisoned { .. })), "not retried");
    assert!(matches!(log.append(&records(3..4, 1)), Err(Error::Poisoned { .. })));
    assert_eq!(log.sync_handle().durable_end(), 0);
    drop(log);
    // The kernel still shows the lost bytes: the next start must write them again.
    disk.kill();
    assert_eq!(all(&open(&disk)), records(0..3, 1));
    disk.crash();
    assert_eq!(all(&open(&disk)), records(0..3, 1));
}

#[test]
fn sync_from_another_thread_covers_what_was_appended_before() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let mut log = try_open_in(Arc::new(RealDisk::new()), dir.path()).expect("a new log");
    let handle = log.sync_handle();
    let (wake, woken) = std::sync::mpsc::sync_channel::<u64>(16);
    let syncing = std::thread::spawn(move || {
        for end in woken {
            let last = handle.sync().expect("a sound disk").expect("records are there");
            assert!(last.index + 1 >= end && handle.durable_end() >= end);
        }
        handle.durable_end()
    });
    for start in (0..300).step_by(3) {
        log.append(&records(start..start + 3, 1)).expect("room");
        wake.send(start + 3).expect("the thread lives");
    }
    drop(wake);
    assert_eq!(syncing.join().expect("no panic"), 300);
    assert_eq!(all(&log), records(0..300, 1));
}
