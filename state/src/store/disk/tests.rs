//! Both disks behave alike; the one in memory forgets as it says.

use std::path::PathBuf;

use super::*;

fn on_both(check: impl Fn(&dyn Disk, &Path)) {
    check(&MemDisk::new(7), Path::new("/top"));
    let dir = tempfile::tempdir().expect("a temporary folder");
    check(&RealDisk::new(), dir.path());
}

#[test]
fn files_are_written_read_renamed_and_removed() {
    on_both(|disk, top| {
        let dir = top.join("a/b");
        assert_eq!(disk.list(&dir).expect("a missing folder is empty"), Vec::<String>::new());
        assert!(disk.create(&dir.join("x")).is_err(), "no folder yet");
        disk.create_dir(&dir).expect("made");
        disk.create_dir(&dir).expect("again");
        let file = disk.create(&dir.join("x")).expect("created");
        file.write_at(3, b"abc").expect("room");
        file.write_at(0, b"12").expect("room");
        file.sync().expect("a sound disk");
        assert_eq!(file.size().expect("open"), 6);
        let mut buf = [9; 8];
        assert_eq!(file.read_at(1, &mut buf).expect("readable"), 5);
        assert_eq!(buf, *b"2\0abc\x09\x09\x09");
        assert_eq!(file.read_at(10, &mut buf).expect("nothing there"), 0);
        disk.create(&dir.join("y")).expect("created").write_at(0, b"old").expect("room");
        disk.rename(&dir.join("x"), &dir.join("y")).expect("renamed");
        assert_eq!(disk.list(&dir).expect("readable"), ["y"]);
        let reopened = disk.open(&dir.join("y")).expect("there");
        assert_eq!(read_all(&*reopened).expect("readable"), b"12\0abc");
        disk.remove(&dir.join("y")).expect("removed");
        assert_eq!(read_all(&*reopened).expect("still open"), b"12\0abc");
        assert!(disk.open(&dir.join("y")).is_err() && disk.remove(&dir.join("y")).is_err());
        disk.create(&dir.join("z")).expect("created").write_at(0, b"long").expect("room");
        assert_eq!(disk.create(&dir.join("z")).expect("emptied").size().expect("open"), 0);
        disk.sync_dir(&dir).expect("a sound disk");
    });
}

fn one_file(seed: u64) -> (MemDisk, Arc<dyn DiskFile>, PathBuf) {
    let disk = MemDisk::new(seed);
    let path = PathBuf::from("/d/f");
    disk.create_dir(Path::new("/d")).expect("made");
    let file = disk.create(&path).expect("created");
    (disk, file, path)
}

#[test]
fn crash_keeps_what_was_synced_and_loses_some_of_the_rest() {
    let mut kept = std::collections::BTreeSet::new();
    for seed in 0..200 {
        let (disk, file, path) = one_file(seed);
        file.write_at(0, b"synced").expect("room");
        file.sync().expect("sound");
        disk.sync_dir(Path::new("/d")).expect("sound");
        file.write_at(6, b"maybe").expect("room");
        disk.crash();
        assert!(file.size().is_err(), "handles die with the machine");
        let bytes = read_all(&*disk.open(&path).expect("its name was synced")).expect("readable");
        assert!(bytes.starts_with(b"synced") && b"syncedmaybe".starts_with(&bytes[..]));
        kept.insert(bytes.len());
    }
    assert_eq!(kept, (6..=11).collect(), "each cut happens");
}

#[test]
fn name_that_was_not_synced_may_be_lost() {
    let survived = (0..50).filter(|&seed| {
        let (disk, file, path) = one_file(seed);
        file.sync().expect("sound");
        disk.crash();
        disk.open(&path).is_ok()
    });
    assert!((1..50).contains(&survived.count()));
}

#[test]
fn same_seed_leaves_the_same_disk() {
    let after = |seed| {
        let (disk, file, _) = one_file(seed);
        for at in 0..20 {
            file.write_at(at * 700, &[7; 900]).expect("room");
        }
        disk.sync_dir(Path::new("/d")).expect("sound");
        disk.crash();
        disk.files()
    };
    assert_eq!(after(5), after(5));
    assert!((0..20).any(|seed| after(seed) != after(5)));
}

#[test]
fn injected_faults_hit_once_and_a_full_disk_takes_nothing() {
    let (disk, file, _) = one_file(1);
    disk.inject(Fault { kind: FaultKind::Sync, after: 1 });
    assert!(file.sync().is_ok() && file.sync().is_err() && file.sync().is_ok());
    disk.inject(Fault { kind: FaultKind::Read, after: 0 });
    assert!(file.read_at(0, &mut [0]).is_err() && file.read_at(0, &mut [0]).is_ok());
    disk.set_free(Some(4));
    let full = file.write_at(0, b"123456").expect_err("two bytes too many");
    assert_eq!(full.kind(), io::ErrorKind::StorageFull);
    assert_eq!(file.size().expect("open"), 4, "what fitted is there");
    file.write_at(0, b"abcd").expect("no growth");
    disk.set_free(None);
    file.write_at(0, b"123456").expect("room again");
}

#[test]
fn second_lock_on_a_directory_names_the_holder() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let first = RealDisk::locked(dir.path()).expect("free");
    assert!(first.is_locked());
    let error = RealDisk::locked(dir.path()).expect_err("taken");
    let pid = std::process::id();
    assert!(error.to_string().contains(&format!("process {pid}")), "{error}");
    drop(first);
    RealDisk::locked(dir.path()).expect("free again");
}
