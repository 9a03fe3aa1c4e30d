//! What was lost is kept aside, and the store begins again without it.

use swarm_model::id::TaskId;

use super::*;
use crate::store::disk::MemDisk;
use crate::store::{LogOptions, Position, Record};

fn open(disk: &MemDisk) -> Result<Store, Error> {
    let options = LogOptions { zero_step: 4096, ..LogOptions::default() };
    Store::open_on(Arc::new(disk.clone()), Path::new("/data"), options)
}

fn filled() -> MemDisk {
    let disk = MemDisk::new(1);
    let mut store = open(&disk).expect("new");
    store.vote.save(b"term 3").expect("room");
    store.agent_tasks.put(TaskId::from_raw(7), b"assignment").expect("room");
    let payload = bytes::Bytes::from_static(b"command");
    store.log.append(&[Record { index: 0, term: 3, payload }]).expect("room");
    store.close().expect("a sound disk");
    drop(store);
    disk.kill();
    disk
}

fn set_aside(disk: &MemDisk, lost: Table) -> PathBuf {
    let on: Arc<dyn Disk> = Arc::new(disk.clone());
    Store::set_aside_on(&on, Path::new("/data"), lost).expect("a sound disk")
}

#[test]
fn replica_begins_again_empty_beside_the_agents_table() {
    let disk = filled();
    let turn = open(&disk).expect("sound").turn();
    let kept = set_aside(&disk, Table::Log);
    assert!(!disk.list(&kept.join("log")).expect("a folder").is_empty());
    let store = open(&disk).expect("empty");
    assert_eq!((store.vote.read().expect("readable"), store.log.last()), (None, None));
    assert_eq!(store.agent_tasks.scan().expect("readable").len(), 1);
    assert!(store.turn() > turn, "the number goes on");
}

#[test]
fn agents_table_begins_again_empty_beside_the_replica() {
    let disk = filled();
    let kept = set_aside(&disk, Table::Agent);
    assert!(!disk.list(&kept.join("agent")).expect("a folder").is_empty());
    let store = open(&disk).expect("the rest is whole");
    assert_eq!(store.vote.read().expect("readable").as_deref(), Some(&b"term 3"[..]));
    assert_eq!(store.log.last(), Some(Position { index: 0, term: 3 }));
    assert!(store.agent_tasks.scan().expect("readable").is_empty());
}

#[test]
fn both_parts_can_be_lost_one_after_the_other() {
    let disk = filled();
    for (path, _) in disk.files() {
        disk.flip(&path, 20, 1);
    }
    let mut lost = Vec::new();
    while let Err(error) = open(&disk) {
        let Error::Damaged { table, .. } = error else { panic!("{error}") };
        lost.push(table);
        set_aside(&disk, table);
        assert!(lost.len() < 4, "{lost:?}");
    }
    assert_eq!(lost, [Table::Votes, Table::Agent]);
}

#[test]
fn crash_on_the_way_is_repeated_and_never_opens_half_a_store() {
    for at in 0..40 {
        let disk = filled();
        let on: Arc<dyn Disk> = Arc::new(disk.clone());
        disk.cut_power_at(at);
        let done = Store::set_aside_on(&on, Path::new("/data"), Table::Votes).is_ok();
        disk.crash();
        match open(&disk) {
            // Not begun, or done.
            Ok(store) => {
                let whole = store.vote.read().expect("readable").is_some();
                assert_eq!(whole, store.log.last().is_some(), "cut at {at}");
                assert!(!whole || !done, "cut at {at}");
            }
            Err(error) => assert_eq!(error.harm(), Harm::Replica, "cut at {at}: {error}"),
        }
        set_aside(&disk, Table::Votes);
        let store = open(&disk).expect("empty");
        assert_eq!((store.vote.read().expect("readable"), store.log.last()), (None, None));
        assert_eq!(store.agent_tasks.scan().expect("readable").len(), 1);
    }
}
