//! The promises of the snapshot table.

use super::*;
use crate::store::disk::{Fault, FaultKind, MemDisk, RealDisk};

const DIR: &str = "/data/snapshots";

fn open(disk: &MemDisk) -> SnapshotTable {
    SnapshotTable::open(Arc::new(disk.clone()), Path::new(DIR), DiskFault::default())
        .expect("opens")
}

fn write(table: &SnapshotTable, meta: &[u8], parts: &[&[u8]]) -> Result<SnapshotReader, Error> {
    let mut writer = table.create(meta)?;
    for part in parts {
        writer.write(part)?;
    }
    writer.finish()
}

fn latest(table: &SnapshotTable) -> Option<(Vec<u8>, Vec<u8>)> {
    let reader = table.latest().expect("undamaged")?;
    Some((reader.meta().to_vec(), reader.read_all().expect("undamaged")))
}

#[test]
fn snapshot_is_streamed_in_and_out_on_both_disks() {
    let check = |disk: Arc<dyn Disk>, dir: &Path| {
        let table = SnapshotTable::open(disk.clone(), dir, DiskFault::default()).expect("new");
        assert!(table.is_empty() && table.latest().expect("nothing").is_none());
        let body: Vec<u8> =
            (0..700_000u32).map(|at| u8::try_from(at % 253).expect("small")).collect();
        let parts: Vec<&[u8]> = body.chunks(100_001).collect();
        let reader = write(&table, b"meta", &parts).expect("room");
        assert_eq!((reader.length(), reader.meta()), (700_000, &b"meta"[..]));
        assert_eq!(reader.crc(), crc32c(&body));
        assert_eq!(reader.read(699_990, 100).expect("there"), body[699_990..]);
        assert!(reader.read(700_000, 100).expect("the end").is_empty());
        let table = SnapshotTable::open(disk, dir, DiskFault::default()).expect("the same");
        assert_eq!(latest(&table), Some((b"meta".to_vec(), body)));
    };
    check(Arc::new(MemDisk::new(1)), Path::new(DIR));
    let dir = tempfile::tempdir().expect("a temporary folder");
    check(Arc::new(RealDisk::new()), dir.path());
}

#[test]
fn newer_snapshot_replaces_the_older_which_stays_readable_while_open() {
    let disk = MemDisk::new(1);
    let table = open(&disk);
    let old = write(&table, b"1", &[b"old"]).expect("room");
    write(&table, b"2", &[b"new"]).expect("room");
    assert_eq!(disk.files().len(), 1);
    assert_eq!(old.read_all().expect("still open"), b"old");
    assert_eq!(latest(&open(&disk)), Some((b"2".to_vec(), b"new".to_vec())));
}

#[test]
fn dropped_or_failed_snapshot_leaves_the_older_one() {
    let disk = MemDisk::new(1);
    let table = open(&disk);
    write(&table, b"1", &[b"old"]).expect("room");
    let mut dropped = table.create(b"2").expect("room");
    dropped.write(b"half").expect("room");
    drop(dropped);
    assert_eq!(disk.files().len(), 1);
    disk.set_free(Some(3));
    assert!(matches!(write(&table, b"3", &[b"abc"]), Err(Error::DiskFull { .. })));
    disk.set_free(None);
    for fault in [FaultKind::Write, FaultKind::Sync] {
        for after in 0..3 {
            let table = open(&disk);
            disk.inject(Fault { kind: fault, after });
            let failed = write(&table, b"2", &[b"a", b"b"]).is_err();
            let refuses = matches!(table.create(b"3"), Err(Error::Poisoned { .. }));
            assert_eq!(refuses, failed && fault == FaultKind::Sync, "nothing after a failed sync");
            disk.forgive();
        }
    }
    assert!(latest(&open(&disk)).is_some_and(|(meta, _)| meta == b"1" || meta == b"2"));
}

#[test]
fn crash_at_any_moment_leaves_the_older_or_the_newer_one() {
    for seed in 0..300 {
        let disk = MemDisk::new(seed);
        let table = open(&disk);
        write(&table, b"1", &[b"old"]).expect("room");
        let finished = seed % 3 == 0;
        if finished {
            write(&table, b"2", &[&[2; 1000]]).expect("room");
        } else {
            let mut unfinished = table.create(b"2").expect("room");
            unfinished.write(&[2; 1000]).expect("room");
            std::mem::forget(unfinished);
        }
        disk.crash();
        let (meta, _) = latest(&open(&disk)).expect("one of them");
        assert_eq!(meta, if finished { b"2" } else { b"1" }, "seed {seed}");
    }
}

#[test]
fn each_flipped_byte_and_each_lost_tail_is_found() {
    let disk = MemDisk::new(1);
    write(&open(&disk), b"meta", &[b"some body", &[0; 50]]).expect("room");
    let (path, length) = disk.files().remove(0);
    for offset in 0..length {
        let copy = disk.copy(1);
        copy.flip(&path, offset, 1 << (offset % 8));
        let error = open(&copy).latest().expect_err("flipped");
        assert!(matches!(error, Error::Damaged { .. }), "byte {offset}: {error}");
        assert!(error.to_string().contains("0000000000000001.snap"), "{error}");
        let short = disk.copy(1);
        let bytes = super::super::disk::read_all(&*short.open(&path).expect("there"));
        let file = short.create(&path).expect("emptied");
        file.write_at(0, &bytes.expect("readable")[..offset]).expect("room");
        assert!(matches!(open(&short).latest(), Err(Error::Damaged { .. })), "cut at {offset}");
    }
}
