//! The store as a whole: whose directory it is, that it is taken once, and that no table lies.

use std::path::PathBuf;

use bytes::Bytes;
use swarm_model::id::{ClusterId, NodeId, TaskId};

use super::disk::MemDisk;
use super::*;

fn identity(cluster: u128, node: u128) -> Identity {
    Identity { cluster: ClusterId::from_raw(cluster), node: NodeId::from_raw(node) }
}

fn task(raw: u128) -> TaskId {
    TaskId::from_raw(raw)
}

fn open(disk: &MemDisk) -> Result<Store, Error> {
    let options = LogOptions { zero_step: 4096, ..LogOptions::default() };
    Store::open_on(Arc::new(disk.clone()), Path::new("/data"), options)
}

fn fill(store: &mut Store) {
    store.meta.claim(identity(1, 2)).expect("free");
    store.vote.save(b"term 3 for 2").expect("room");
    store.agent_tasks.put(task(7), b"assignment").expect("room");
    let records: Vec<_> = (0..5)
        .map(|index| Record { index, term: 3, payload: Bytes::from_static(b"command") })
        .collect();
    store.log.append(&records).expect("room");
    store.meta.note_committed(b"4");
    let mut snapshot = store.snapshots.create(b"at 2").expect("room");
    snapshot.write(b"state").expect("room");
    snapshot.finish().expect("room");
    store.log.purge_upto(Position { index: 2, term: 3 }).expect("room");
    store.close().expect("a sound disk");
}

fn check_filled(store: &Store) {
    assert_eq!(store.meta.identity().expect("readable"), Some(identity(1, 2)));
    assert_eq!(store.vote.read().expect("readable").as_deref(), Some(&b"term 3 for 2"[..]));
    let tasks = store.agent_tasks.scan().expect("readable");
    assert_eq!(tasks, [(task(7), b"assignment".to_vec())]);
    assert_eq!(store.log.last(), Some(Position { index: 4, term: 3 }));
    assert_eq!(store.log.first_index(), 3);
    assert_eq!(store.meta.committed().expect("readable").as_deref(), Some(&b"4"[..]));
    let snapshot = store.snapshots.latest().expect("readable").expect("there");
    assert_eq!(snapshot.read_all().expect("readable"), b"state");
}

#[test]
fn every_table_is_back_after_a_clean_stop_and_after_a_power_cut() {
    for crash in [false, true] {
        let disk = MemDisk::new(4);
        fill(&mut open(&disk).expect("new"));
        if crash {
            disk.crash()
        } else {
            disk.kill()
        }
        check_filled(&open(&disk).expect("the same"));
    }
}

#[test]
fn directory_in_use_is_refused_until_the_last_table_is_dropped() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let Store { vote, log, .. } = Store::open(dir.path()).expect("new");
    assert!(matches!(Store::open(dir.path()), Err(Error::InUse { .. })));
    assert!(matches!(Store::wipe(dir.path()), Err(Error::InUse { .. })));
    drop(vote);
    assert!(matches!(Store::open(dir.path()), Err(Error::InUse { .. })));
    drop(log);
    Store::open(dir.path()).expect("free");
}

#[test]
fn directory_of_another_cluster_or_node_is_refused() {
    let disk = MemDisk::new(1);
    let store = open(&disk).expect("new");
    assert_eq!(store.meta.identity().expect("readable"), None);
    store.meta.claim(identity(1, 2)).expect("free");
    store.meta.claim(identity(1, 2)).expect("ours");
    assert!(matches!(store.meta.claim(identity(9, 2)), Err(Error::OtherCluster { .. })));
    assert!(matches!(store.meta.claim(identity(1, 9)), Err(Error::OtherNode { .. })));
}

#[test]
fn directory_of_a_newer_format_is_refused() {
    let disk = MemDisk::new(1);
    let store = open(&disk).expect("new");
    store.meta.write_format(FORMAT + 1).expect("room");
    drop(store);
    disk.kill();
    let error = open(&disk).expect_err("newer");
    assert!(error.to_string().contains("use a newer swarm"), "{error}");
}

#[test]
fn wiped_directory_is_a_new_one_and_keeps_foreign_files() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    fill(&mut Store::open(dir.path()).expect("new"));
    std::fs::write(dir.path().join("mine"), b"x").expect("room");
    Store::wipe(dir.path()).expect("wiped");
    Store::wipe(dir.path()).expect("again");
    assert!(dir.path().join("mine").exists());
    let store = Store::open(dir.path()).expect("new");
    assert_eq!((store.meta.identity().expect("readable"), store.log.last()), (None, None));
}

#[test]
fn each_lost_table_is_found() {
    for lost in ["kv", "log", "snapshots"] {
        let disk = MemDisk::new(1);
        fill(&mut open(&disk).expect("new"));
        let folder = PathBuf::from("/data/store").join(lost);
        for (path, _) in disk.files() {
            if path.parent() == Some(&folder) {
                disk.remove(&path).expect("there");
            }
        }
        disk.kill();
        let error = open(&disk).expect_err(lost);
        let refused = matches!(error, Error::Damaged { .. } | Error::RolledBack { .. });
        assert!(refused, "{lost}: {error}");
    }
}

#[test]
fn each_flipped_byte_of_a_store_is_found_or_without_effect() {
    let disk = MemDisk::new(1);
    fill(&mut open(&disk).expect("new"));
    let mut refused = 0;
    for (path, length) in disk.files() {
        // Beyond lies only room for later records.
        for offset in 0..length.min(1500) {
            let copy = disk.copy(1);
            copy.flip(&path, offset, 0x10);
            let opened = open(&copy).and_then(|store| {
                store.snapshots.latest()?;
                Ok(store)
            });
            match opened {
                Ok(store) => check_filled(&store),
                Err(Error::Damaged { .. } | Error::OtherFormat { .. }) => refused += 1,
                Err(error) => panic!("{} byte {offset}: {error}", path.display()),
            }
        }
    }
    assert!(refused > 700, "only {refused} flips were refused");
}

#[test]
fn agent_batch_is_all_or_nothing_and_removal_forgets() {
    for seed in 0..50 {
        let disk = MemDisk::new(seed);
        let store = open(&disk).expect("new");
        let put = |raw| AgentWrite::Put(task(raw), vec![1; 3000]);
        store.agent_tasks.apply(&[put(1), put(2)]).expect("room");
        store.agent_tasks.apply(&[AgentWrite::Remove(task(1)), put(3)]).expect("room");
        let large = AgentWrite::Put(task(4), vec![0; MAX_VALUE + 1]);
        assert!(matches!(store.agent_tasks.apply(&[large]), Err(Error::TooLarge { .. })));
        disk.crash();
        let store = open(&disk).expect("the same");
        let ids: Vec<_> =
            store.agent_tasks.scan().expect("readable").into_iter().map(|(id, _)| id).collect();
        assert_eq!(ids, [task(2), task(3)]);
        store.agent_tasks.remove(task(2)).expect("room");
        assert_eq!(store.agent_tasks.get(task(2)).expect("readable"), None);
    }
}

#[test]
fn idle_store_writes_nothing() {
    let disk = MemDisk::new(1);
    let mut store = open(&disk).expect("new");
    fill(&mut store);
    let before = disk.traffic();
    for _ in 0..100 {
        store.close().expect("a sound disk");
        store.log.sync().expect("a sound disk");
    }
    assert_eq!(disk.traffic(), before);
}

#[test]
fn caller_can_tell_what_an_error_means_for_the_node_however_it_is_wrapped() {
    let file = Path::new("/data/store/x");
    let harm = |error: Error| {
        let wrapped = io::Error::other(io::Error::from(error));
        Error::find(&wrapped).expect("it is in there").harm()
    };
    for table in [Table::Log, Table::Votes, Table::Snapshots] {
        assert_eq!(harm(Error::damaged(table, file, 7, "x")), Harm::Replica);
    }
    assert_eq!(harm(Error::damaged(Table::Agent, file, 7, "x")), Harm::Agent);
    let disk = |code| harm(Error::io("read", file)(io::Error::from_raw_os_error(code)));
    assert_eq!([5, 28, 13].map(disk), [Harm::Disk, Harm::Full, Harm::Nothing]);
    assert!(Error::find(&io::Error::other("something else")).is_none());
}

#[test]
fn directory_of_the_format_before_is_brought_up_to_date_also_after_a_crash_on_the_way() {
    let old = MemDisk::new(1);
    {
        // Format 1: one map for all.
        let disk: Arc<dyn Disk> = Arc::new(old.clone());
        let fault = DiskFault::default();
        let kv = Kv::open(disk, Path::new("/data/store/kv"), Table::Votes, fault).expect("new");
        let mut key = vec![agent_tasks::PREFIX];
        key.extend_from_slice(&task(7).raw().to_be_bytes());
        let record = codec::seal(codec::Kind::Agent, b"assignment");
        let vote = codec::seal(codec::Kind::Vote, b"term 3");
        let writes = [MetaTable::format_write(1), Write::Put(key, record)];
        kv.apply_durably(&writes).expect("room");
        kv.apply_durably(&[Write::Put(b"v".to_vec(), vote)]).expect("room");
    }
    for cut in 0..40 {
        let disk = old.copy(cut);
        disk.cut_power_at(cut);
        drop(open(&disk));
        disk.crash();
        let store = open(&disk).unwrap_or_else(|error| panic!("cut at {cut}: {error}"));
        assert_eq!(store.vote.read().expect("readable").as_deref(), Some(&b"term 3"[..]));
        let tasks = store.agent_tasks.scan().expect("readable");
        assert_eq!(tasks, [(task(7), b"assignment".to_vec())], "cut at {cut}");
        assert_eq!(store.meta.format().expect("readable"), Some(FORMAT));
    }
}

#[test]
fn refused_start_does_not_make_the_next_one_pass() {
    for lost in ["kv", "agent"] {
        let disk = MemDisk::new(1);
        fill(&mut open(&disk).expect("new"));
        disk.kill();
        for (path, _) in disk.files() {
            if path.parent() == Some(&Path::new("/data/store").join(lost)) {
                disk.remove(&path).expect("there");
            }
        }
        for start in 1..4 {
            let error = open(&disk).expect_err("a table is gone");
            let expected = if lost == "kv" { Harm::Replica } else { Harm::Agent };
            assert_eq!(error.harm(), expected, "{lost}, start {start}: {error}");
        }
    }
}

#[test]
fn old_copy_of_one_table_beside_the_others_is_found() {
    let disk = MemDisk::new(1);
    let mut store = open(&disk).expect("new");
    fill(&mut store);
    drop(store);
    disk.kill();
    let old = disk.copy(1);
    // One more life with a vote, some records and an assignment.
    let mut store = open(&disk).expect("sound");
    store.vote.save(b"term 4 for 2").expect("room");
    store.vote.witness().expect("room");
    store.agent_tasks.put(task(8), b"another").expect("room");
    let payload = Bytes::from_static(b"more");
    store.log.append(&[Record { index: 5, term: 4, payload }]).expect("room");
    store.close().expect("a sound disk");
    drop(store);
    disk.kill();
    for (folder, table) in [("kv", Table::Votes), ("agent", Table::Agent), ("log", Table::Log)] {
        let mixed = disk.copy(1);
        let dir = Path::new("/data/store").join(folder);
        for name in mixed.list(&dir).expect("a folder") {
            mixed.remove(&dir.join(name)).expect("there");
        }
        for name in old.list(&dir).expect("a folder") {
            let file = old.open(&dir.join(&name)).expect("there");
            let bytes = disk::read_all(&*file).expect("readable");
            mixed.create(&dir.join(&name)).and_then(|f| f.write_at(0, &bytes)).expect("room");
        }
        match open(&mixed) {
            Err(Error::RolledBack { table: found, .. }) => assert_eq!(found, table),
            other => panic!("{folder}: {other:?}"),
        }
    }
}
