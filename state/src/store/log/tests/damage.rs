//! One flipped bit, one lost sector or an old copy: found, each time, or without any effect.

use super::*;

/// Three segments, all durable, mark saved as `save_mark` says.
fn small_log(save_mark: bool) -> (MemDisk, Vec<Record>) {
    let disk = MemDisk::new(9);
    let mut log = open(&disk);
    let written = records(0..36, 3);
    for part in written.chunks(4) {
        log.append(part).expect("room");
        log.sync().expect("a sound disk");
    }
    if save_mark {
        log.save_high_water().expect("a sound disk");
    }
    drop(log);
    disk.kill();
    (disk, written)
}

fn files_in(disk: &MemDisk, folder: &str) -> Vec<(PathBuf, usize)> {
    let mut files = disk.files();
    files.retain(|(path, _)| path.parent() == Some(Path::new(folder)));
    files
}

fn flip_each_byte(save_mark: bool, folder: &str) {
    let (disk, written) = small_log(save_mark);
    let mut refused = 0;
    for (path, length) in files_in(&disk, folder) {
        for offset in 0..length {
            let copy = disk.copy(1);
            assert!(copy.flip(&path, offset, 1 << (offset % 8)));
            match try_open(&copy) {
                Err(Error::Damaged { .. } | Error::OtherFormat { .. }) => refused += 1,
                Err(error) => panic!("{} byte {offset}: {error}", path.display()),
                Ok(log) => assert_eq!(all(&log), written, "{} byte {offset}", path.display()),
            }
        }
    }
    assert!(refused > 36 * 100, "only {refused} flips were refused");
}

#[test]
fn each_flipped_byte_of_the_log_is_found_or_without_effect() {
    flip_each_byte(true, "/data/log");
}

#[test]
fn flips_are_found_even_before_the_mark_was_saved() {
    flip_each_byte(false, "/data/log");
}

#[test]
fn sector_of_zeros_before_the_mark_is_found() {
    let (disk, written) = small_log(true);
    for (path, length) in files_in(&disk, "/data/log") {
        for sector in (0..length).step_by(512) {
            let copy = disk.copy(1);
            let file = copy.open(&path).expect("it is there");
            file.write_at(to_u64(sector), &vec![0; 512.min(length - sector)]).expect("room");
            if let Ok(log) = try_open(&copy) {
                assert_eq!(all(&log), written, "{} sector at {sector}", path.display());
            }
        }
    }
}

#[test]
fn missing_segment_is_found() {
    let (disk, _) = small_log(true);
    let files = files_in(&disk, "/data/log");
    assert!(files.len() >= 3, "{files:?}");
    for (path, _) in files {
        let copy = disk.copy(1);
        copy.remove(&path).expect("it is there");
        let error = try_open(&copy).expect_err("a hole");
        assert!(matches!(error, Error::Damaged { .. } | Error::RolledBack { .. }), "{error}");
    }
}

#[test]
fn old_copy_of_the_log_is_refused() {
    let disk = MemDisk::new(2);
    let mut log = open(&disk);
    log.append(&records(0..3, 1)).expect("room");
    log.save_high_water().expect("a sound disk");
    let old = disk.copy(1);
    log.append(&records(3..5, 1)).expect("room");
    log.save_high_water().expect("a sound disk");
    drop(log);
    // The log of then with the metadata of now.
    for (path, _) in files_in(&disk, "/data/log") {
        let file = old.open(&path).expect("it is there");
        let bytes = crate::store::disk::read_all(&*file).expect("readable");
        disk.create(&path).and_then(|file| file.write_at(0, &bytes)).expect("room");
    }
    disk.kill();
    let error = try_open(&disk).expect_err("an old copy");
    assert!(matches!(error, Error::RolledBack { .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains("4 (term 1)") && text.contains("2 (term 1)"), "{text}");
}

#[test]
fn emptied_log_is_refused() {
    let (disk, _) = small_log(true);
    for (path, _) in files_in(&disk, "/data/log") {
        disk.remove(&path).expect("it is there");
    }
    assert!(matches!(try_open(&disk), Err(Error::RolledBack { .. })));
}

#[test]
fn byte_that_rots_while_the_log_is_open_is_found_by_the_reader() {
    let disk = MemDisk::new(2);
    let mut log = open(&disk);
    log.append(&records(0..40, 1)).expect("room");
    let (path, _) = files_in(&disk, "/data/log").remove(0);
    assert!(disk.flip(&path, 300, 4));
    let error = log.read(0..10, usize::MAX).expect_err("rotten");
    assert!(matches!(error, Error::Damaged { .. }), "{error}");
}
