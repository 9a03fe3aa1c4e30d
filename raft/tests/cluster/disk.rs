//! Disks that fail, fill up or lose power under a group.

use std::time::Duration;

use swarm_raft::{Error, Part, Status};
use swarm_state::store::Store;
use swarm_state::store::disk::{Fault, FaultKind};

use crate::harness::{Cluster, PATIENCE, alone, command, config, has, wait_until};

#[tokio::test(start_paused = true)]
async fn write_whose_sync_fails_is_never_acknowledged() {
    let cluster = Cluster::of(1, 50).await;
    cluster.write(&[1], 1).await;
    cluster.disk(1).inject(Fault { kind: FaultKind::Sync, after: 0 });
    let answer = cluster.node(1).propose(&command(2)).await;
    assert!(matches!(answer, Err(Error::Stopped { .. } | Error::Unknown { .. })), "{answer:?}");
    let status = cluster.node(1);
    let stopped = wait_until("the node to stop", || {
        Some(status.status_now()).filter(|status| status.part == Part::Stopped)
    })
    .await;
    assert!(stopped.fault.is_some_and(|fault| fault.contains("sync")), "the fault is not named");
}

#[tokio::test(start_paused = true)]
async fn leader_whose_disk_fails_is_replaced() {
    let cluster = Cluster::of(3, 51).await;
    cluster.write(&[1, 2, 3], 1).await;
    cluster.disk(1).inject(Fault { kind: FaultKind::Sync, after: 0 });
    // The others may have it all the same, so the outcome is open; but nobody may be told "no".
    let answer = cluster.node(1).propose(&command(2)).await;
    assert!(!matches!(answer, Err(Error::NotLeader { .. } | Error::NoQuorum { .. })), "{answer:?}");
    cluster.write(&[2, 3], 3).await;
    assert!(has(&cluster.node(2), 1) && has(&cluster.node(3), 1));
}

#[tokio::test(start_paused = true)]
async fn full_disk_holds_a_node_up_until_there_is_room() {
    let cluster = Cluster::of(3, 52).await;
    cluster.disk(3).set_free(Some(0));
    // Follower: the others go on.
    for number in 1..=100 {
        cluster.node(1).propose(&config(number, 20_000)).await.expect("two of three have room");
    }
    assert!(!has(&cluster.node(3), 100), "the disk never filled up");
    cluster.disk(3).set_free(None);
    cluster.all_have(100).await;
    assert!(cluster.node(3).status_now().fault.is_none());
}

#[tokio::test(start_paused = true)]
async fn leader_with_a_full_disk_is_replaced_and_comes_back() {
    let cluster = Cluster::of(3, 53).await;
    cluster.disk(1).set_free(Some(0));
    let mut number = 0;
    while cluster.node(2).status_now().leader == cluster.node(1).status_now().leader {
        number += 1;
        let patience = Duration::from_secs(3);
        if cluster.node(1).propose_within(&config(number, 20_000), patience).await.is_err() {
            break;
        }
    }
    let leader = cluster.leader_among(&[2, 3]).await;
    assert_ne!(leader, 1);
    cluster.write(&[2, 3], 10_000).await;
    cluster.disk(1).set_free(None);
    cluster.all_have(10_000).await;
}

#[tokio::test(start_paused = true)]
async fn power_cuts_of_single_nodes_lose_nothing_acknowledged() {
    let mut cluster = Cluster::with_interval(3, 54, 40).await;
    let mut written = 0;
    for round in 0..30u128 {
        for _ in 0..7 {
            written += 1;
            cluster.write(&[1, 2, 3], written).await;
        }
        let victim = round % 3 + 1;
        cluster.kill(victim, true).await;
        let rest: Vec<_> = [1, 2, 3].into_iter().filter(|n| *n != victim).collect();
        written += 1;
        cluster.write(&rest, written).await;
        cluster.start(victim).await;
    }
    cluster.write(&[1, 2, 3], written + 1).await;
    cluster.all_have(written + 1).await;
    for consensus in cluster.running() {
        for number in 1..=written {
            assert!(has(&consensus, number), "config {number} was acknowledged and is lost");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn data_directory_is_free_and_complete_after_a_clean_stop() {
    let dir = tempfile::tempdir().expect("a folder for temporary files");
    for round in 1..=3u128 {
        let store = Store::open(dir.path()).expect("nobody has it");
        let (consensus, tasks) = alone(store).await;
        if round == 1 {
            consensus.bootstrap().await.expect("a fresh node");
        }
        let leads = consensus.wait_status("leading", PATIENCE, Status::is_leader);
        leads.await.expect("nobody else votes");
        consensus.propose(&command(round)).await.expect("it leads");
        assert!((1..=round).all(|number| has(&consensus, number)), "round {round}");
        consensus.shutdown().await;
        drop(consensus);
        tasks.shutdown(PATIENCE).await;
    }
}
