//! A survivor founds a new group on its replica: what it keeps, and a crash at any moment of it.

use std::path::Path;
use std::sync::Arc;

use swarm_raft::{LEAP, Replica, Tables, found};
use swarm_state::machine::Machine;
use swarm_state::store::disk::{Fault, FaultKind, MemDisk};
use swarm_state::store::{LogOptions, Position, Store};

use crate::harness::{Cluster, has, id, ids};

/// More operations of either kind than founding does.
const STEPS: u32 = 24;

fn open(disk: &MemDisk) -> Tables {
    let disk = Arc::new(disk.clone());
    let store = Store::open_on(disk, Path::new("/data"), LogOptions::default());
    let store = store.expect("a sound disk");
    Tables { log: store.log, vote: store.vote, meta: store.meta, snapshots: store.snapshots }
}

/// The state that the new group begins with, and where.
fn beginning(replica: &Replica) -> (Machine, Position) {
    let (mut machine, at) = (replica.machine().clone(), replica.beyond());
    machine.advance(swarm_model::meta::Revision(at.index));
    (machine, at)
}

/// Three voters that took five writes; the first one's disk after its death.
async fn survivor() -> Cluster {
    let mut cluster = Cluster::of(3, 1).await;
    for number in 10..15 {
        cluster.write(&[1, 2, 3], number).await;
    }
    cluster.all_have(14).await;
    for number in 1..=3 {
        cluster.kill(number, false).await;
    }
    cluster
}

#[tokio::test(start_paused = true)]
async fn survivor_goes_on_alone_with_all_that_it_holds() {
    let mut cluster = survivor().await;
    {
        let mut tables = open(cluster.disk(1));
        let replica = Replica::read(&tables).expect("sound");
        assert_eq!(*replica.voters(), ids(&[1, 2, 3]));
        let (machine, at) = beginning(&replica);
        assert!(at.index >= replica.last().index + LEAP && at.term > replica.last().term);
        found(&mut tables, &machine, at, id(1)).expect("a working disk");
    }
    let node = cluster.start(1).await;
    assert!((10..15).all(|number| has(&node, number)));
    let applied = cluster.write(&[1], 20).await;
    assert!(applied.revision.0 > LEAP, "revisions of the lost are never used again");
    assert_eq!(node.status_now().voters, ids(&[1]));
    // An empty replica follows it.
    cluster.start(4).await;
    cluster.node(1).add_learner(id(4), None).await.expect("room");
    cluster.all_have(20).await;
    cluster.kill(1, true).await;
    let node = cluster.start(1).await;
    cluster.write(&[1], 21).await;
    assert!(has(&node, 20));
}

#[tokio::test(start_paused = true)]
async fn a_crash_at_any_step_leaves_the_old_group_or_the_new_one_and_repeats() {
    let cluster = survivor().await;
    let mut finished = 0;
    for (kind, after, seed) in [FaultKind::Write, FaultKind::Sync]
        .into_iter()
        .flat_map(|kind| (0..STEPS).map(move |after| (kind, after)))
        .flat_map(|(kind, after)| (0..4).map(move |seed| (kind, after, seed)))
    {
        let disk = cluster.disk(1).copy(seed);
        let mut tables = open(&disk);
        let replica = Replica::read(&tables).expect("sound");
        let (machine, at) = beginning(&replica);
        disk.inject(Fault { kind, after });
        finished += u32::from(found(&mut tables, &machine, at, id(1)).is_ok());
        drop(tables);
        disk.crash();
        let mut tables = open(&disk);
        let after_crash = Replica::read(&tables).expect("sound");
        if *after_crash.voters() == ids(&[1]) {
            assert_eq!(after_crash.view(), machine.view());
            continue;
        }
        assert_eq!(*after_crash.voters(), ids(&[1, 2, 3]), "{kind:?} {after}");
        assert_eq!(after_crash.view(), replica.view());
        let (machine, at) = beginning(&after_crash);
        found(&mut tables, &machine, at, id(1)).expect("a working disk");
        drop(tables);
        disk.crash();
        let replica = Replica::read(&open(&disk)).expect("sound");
        assert_eq!(*replica.voters(), ids(&[1]));
        assert_eq!(replica.view(), machine.view());
    }
    assert!(finished > 0, "some faults come after the end: all steps were tried");
}

#[tokio::test(start_paused = true)]
async fn an_empty_store_takes_a_state_from_elsewhere() {
    let cluster = survivor().await;
    let replica = Replica::read(&open(cluster.disk(1))).expect("sound");
    let (machine, at) = beginning(&replica);
    let disk = MemDisk::new(9);
    assert!(Replica::read(&open(&disk)).is_err(), "it holds nothing");
    found(&mut open(&disk), &machine, at, id(9)).expect("a working disk");
    let restored = Replica::read(&open(&disk)).expect("sound");
    assert_eq!(restored.view(), machine.view());
    assert_eq!(*restored.voters(), ids(&[9]));
}
