//! The map's promises, by example and against a model under crashes.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::store::disk::{Fault, FaultKind, MemDisk, RealDisk};

const DIR: &str = "/data/kv";

fn try_open(disk: &MemDisk) -> Result<Kv, Error> {
    Kv::open(Arc::new(disk.clone()), Path::new(DIR), Table::Votes, DiskFault::default())
}

fn open(disk: &MemDisk) -> Kv {
    try_open(disk).expect("an undamaged map opens")
}

fn put(key: u8, value: &[u8]) -> Write {
    Write::Put(vec![key], value.to_vec())
}

#[test]
fn batch_is_read_back_before_and_after_a_restart_on_both_disks() {
    let check = |disk: Arc<dyn Disk>, dir: &Path| {
        let kv = Kv::open(disk.clone(), dir, Table::Votes, DiskFault::default()).expect("new");
        assert!(kv.is_fresh());
        kv.apply_durably(&[put(1, b"one"), put(2, b""), put(3, b"x")]).expect("room");
        kv.apply_durably(&[Write::Remove(vec![3]), Write::Remove(vec![9])]).expect("room");
        let expected = vec![(vec![1], b"one".to_vec()), (vec![2], Vec::new())];
        assert_eq!(kv.scan(&[]), expected);
        drop(kv);
        let kv = Kv::open(disk, dir, Table::Votes, DiskFault::default()).expect("the same");
        assert!(!kv.is_fresh());
        assert_eq!(kv.scan(&[]), expected);
        assert_eq!(kv.scan(&[2]), [(vec![2], Vec::new())]);
        assert_eq!((kv.get(&[1]), kv.get(&[3])), (Some(b"one".to_vec()), None));
    };
    check(Arc::new(MemDisk::new(1)), Path::new(DIR));
    let dir = tempfile::tempdir().expect("a temporary folder");
    check(Arc::new(RealDisk::new()), dir.path());
}

#[test]
fn journal_is_rewritten_before_it_grows_without_bound() {
    let disk = MemDisk::new(1);
    let kv = open(&disk);
    for round in 0..5000u32 {
        kv.apply_durably(&[put(1, &round.to_le_bytes()), put(2, &[7; 100])]).expect("room");
        assert!(kv.disk_bytes() < 2 * COMPACT_FLOOR);
    }
    assert_eq!(disk.files().len(), 1);
    disk.crash();
    assert_eq!(open(&disk).get(&[1]), Some(4999u32.to_le_bytes().to_vec()));
}

#[test]
fn batch_beyond_one_record_is_split_and_a_value_beyond_it_refused() {
    let disk = MemDisk::new(1);
    let kv = open(&disk);
    let value = vec![5; 3 << 20];
    kv.apply_durably(&[put(1, &value), put(2, &value), put(3, &value)]).expect("room");
    assert!(matches!(kv.apply(&[put(4, &vec![0; MAX_PAYLOAD])]), Err(Error::TooLarge { .. })));
    disk.crash();
    assert_eq!(open(&disk).scan(&[]).len(), 3);
}

#[test]
fn full_disk_changes_nothing_and_is_over_when_space_is_back() {
    let disk = MemDisk::new(1);
    let kv = open(&disk);
    kv.apply_durably(&[put(1, b"a")]).expect("room");
    disk.set_free(Some(100));
    let large = vec![1; 40_000];
    assert!(matches!(kv.apply(&[put(2, &large)]), Err(Error::DiskFull { .. })));
    assert!(kv.apply(&[put(2, b"x")]).is_err(), "no room for a new journal");
    assert_eq!(kv.get(&[2]), None);
    disk.set_free(None);
    kv.apply_durably(&[put(2, b"b")]).expect("room");
    disk.crash();
    assert_eq!(open(&disk).scan(&[]).len(), 2);
}

#[test]
fn failed_sync_stops_the_map_for_good() {
    let disk = MemDisk::new(1);
    let kv = open(&disk);
    disk.inject(Fault { kind: FaultKind::Sync, after: 0 });
    assert!(matches!(kv.apply_durably(&[put(1, b"a")]), Err(Error::Poisoned { .. })));
    assert!(matches!(kv.sync(), Err(Error::Poisoned { .. })));
    assert!(matches!(kv.apply(&[put(1, b"b")]), Err(Error::Poisoned { .. })));
}

#[test]
fn each_flipped_byte_is_found_or_without_effect() {
    let disk = MemDisk::new(1);
    let kv = open(&disk);
    for key in 0..6 {
        kv.apply_durably(&[put(key, &[key; 20])]).expect("room");
    }
    let (expected, used) = (kv.scan(&[]), kv.disk_bytes());
    drop(kv);
    let (path, length) = disk.files().remove(0);
    let mut refused = 0;
    for offset in 0..length {
        let copy = disk.copy(1);
        copy.flip(&path, offset, 1 << (offset % 8));
        match try_open(&copy) {
            Ok(kv) => assert_eq!(kv.scan(&[]), expected, "byte {offset}"),
            Err(Error::Damaged { .. } | Error::OtherFormat { .. }) => refused += 1,
            Err(error) => panic!("byte {offset}: {error}"),
        }
    }
    assert!(refused >= used, "{refused} of {used} bytes");
}

proptest! {
    #[test]
    fn what_was_synced_survives_crashes_and_batches_are_whole(
        seed: u64,
        rounds in prop::collection::vec((0..8u8, 0..30_000usize, 0..6u8), 1..40),
    ) {
        let disk = MemDisk::new(seed);
        let mut kv = open(&disk);
        // Every state since the last sync is a possible one after a crash.
        let mut states: Vec<BTreeMap<Vec<u8>, Vec<u8>>> = vec![BTreeMap::new()];
        // So are those with a failed batch, until a later one succeeds.
        let mut ghosts = Vec::new();
        for (round, (key, size, what)) in rounds.into_iter().enumerate() {
            let mark = vec![u8::try_from(round).expect("few rounds"); size];
            match what {
                0 => {
                    disk.crash();
                    kv = open(&disk);
                    let now: BTreeMap<_, _> = kv.scan(&[]).into_iter().collect();
                    prop_assert!(states.contains(&now) || ghosts.contains(&now));
                    (states, ghosts) = (vec![now], Vec::new());
                }
                1 => {
                    kv.sync().expect("sound");
                    states = states.split_off(states.len() - 1);
                }
                2 => disk.inject(Fault { kind: FaultKind::Write, after: 0 }),
                _ => {
                    let gone = Write::Remove(vec![key + 1]);
                    let batch = [put(key, &mark), put(key + 100, &mark), gone];
                    let mut next = states.last().expect("never empty").clone();
                    next.insert(vec![key], mark.clone());
                    next.insert(vec![key + 100], mark);
                    next.remove(&vec![key + 1]);
                    if kv.apply(&batch).is_ok() {
                        states.push(next);
                        ghosts.clear();
                    } else {
                        ghosts.push(next);
                    }
                }
            }
            let now: BTreeMap<_, _> = kv.scan(&[]).into_iter().collect();
            prop_assert_eq!(Some(&now), states.last());
        }
    }
}
