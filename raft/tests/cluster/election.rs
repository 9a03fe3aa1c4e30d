//! Who leads, and how soon.

use std::time::Duration;

use swarm_raft::{Error, Part};
use tokio::time::Instant;

use crate::harness::{Cluster, command, has, id, wait_until};

#[tokio::test(start_paused = true)]
async fn killed_leader_is_replaced_within_a_second() {
    let mut took = Vec::new();
    for seed in 0..10 {
        let mut cluster = Cluster::of(3, seed).await;
        cluster.write(&[1, 2, 3], 1).await;
        tokio::time::sleep(Duration::from_millis(37 * seed)).await;
        cluster.kill(1, false).await;
        let killed = Instant::now();
        cluster.write(&[2, 3], 2).await;
        took.push(killed.elapsed());
    }
    took.sort_unstable();
    println!("killed leader → next accepted write: {took:?}");
    assert!(took[5] <= Duration::from_millis(800), "median of {took:?}");
    assert!(took[9] <= Duration::from_millis(1200), "worst of {took:?}");
}

#[tokio::test(start_paused = true)]
async fn leader_keeps_leading_while_it_can_be_heard() {
    let cluster = Cluster::of(3, 7).await;
    let term = cluster.node(1).status_now().term;
    tokio::time::sleep(Duration::from_secs(600)).await;
    let status = cluster.node(1).status_now();
    assert_eq!((status.part, status.term), (Part::Leader, term));
}

#[tokio::test(start_paused = true)]
async fn isolated_follower_that_returns_deposes_nobody() {
    let cluster = Cluster::of(3, 8).await;
    let term = cluster.node(1).status_now().term;
    cluster.network.isolate(id(3));
    tokio::time::sleep(Duration::from_secs(60)).await;
    cluster.network.heal_all();
    cluster.write(&[1, 2], 1).await;
    cluster.all_have(1).await;
    let status = cluster.node(1).status_now();
    assert_eq!((status.part, status.term), (Part::Leader, term));
}

#[tokio::test(start_paused = true)]
async fn leader_in_the_minority_is_replaced_and_its_writes_fail() {
    let cluster = Cluster::of(5, 9).await;
    cluster.network.partition(&[&[id(1), id(2)], &[id(3), id(4), id(5)]]);
    let old = cluster.node(1);
    let command_lost = command(1);
    let (lost, ()) = tokio::join!(old.propose(&command_lost), async {
        let leader = cluster.leader_among(&[3, 4, 5]).await;
        assert_ne!(leader, 1);
        cluster.write(&[3, 4, 5], 2).await;
    });
    assert!(matches!(lost, Err(Error::Unknown { .. })), "{lost:?}");
    // A leader without a majority does not even try.
    let refused = cluster.node(1).propose(&command(3)).await;
    assert!(
        matches!(refused, Err(Error::NoQuorum { .. } | Error::NotLeader { .. })),
        "{refused:?}"
    );

    cluster.network.heal_all();
    cluster.all_have(2).await;
    let leader = cluster.leader_among(&[1, 2, 3, 4, 5]).await;
    assert!(leader >= 3);
    for consensus in cluster.running() {
        assert!(!has(&consensus, 3), "a refused write was applied");
    }
}

#[tokio::test(start_paused = true)]
async fn leader_that_nobody_answers_goes_silent_and_is_replaced() {
    let cluster = Cluster::of(3, 10).await;
    // One-way links: the leader is heard, but hears nobody.
    cluster.network.cut(id(2), id(1));
    cluster.network.cut(id(3), id(1));
    wait_until("a leader that is heard and hears", || {
        let leads = |n| cluster.node(n).status_now().is_leader();
        (leads(2) || leads(3)).then_some(())
    })
    .await;
    cluster.write(&[2, 3], 1).await;
}

#[tokio::test(start_paused = true)]
async fn all_nodes_restart_and_go_on() {
    for power_cut in [false, true] {
        let mut cluster = Cluster::of(3, 11).await;
        for number in 1..=20 {
            cluster.write(&[1, 2, 3], number).await;
        }
        for number in [1, 2, 3] {
            cluster.kill(number, power_cut).await;
        }
        for number in [1, 2, 3] {
            cluster.start(number).await;
        }
        cluster.write(&[1, 2, 3], 21).await;
        cluster.all_have(21).await;
        for consensus in cluster.running() {
            for number in 1..=21 {
                assert!(has(&consensus, number), "config {number} was acknowledged and is lost");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn single_node_leads_again_at_once_after_a_restart() {
    let mut cluster = Cluster::of(1, 12).await;
    cluster.write(&[1], 1).await;
    cluster.kill(1, true).await;
    let since = Instant::now();
    cluster.start(1).await;
    cluster.write(&[1], 2).await;
    assert!(since.elapsed() < Duration::from_millis(300), "{:?}", since.elapsed());
    assert!(has(&cluster.node(1), 1));
}

#[tokio::test(start_paused = true)]
async fn stopping_leader_hands_over_first() {
    let cluster = Cluster::of(3, 13).await;
    let since = Instant::now();
    cluster.node(1).shutdown().await;
    cluster.write(&[2, 3], 1).await;
    assert!(since.elapsed() < Duration::from_millis(300), "{:?}", since.elapsed());
}

#[tokio::test(start_paused = true)]
async fn lost_majority_fails_writes_within_ten_seconds() {
    let mut cluster = Cluster::of(3, 14).await;
    cluster.kill(2, false).await;
    cluster.kill(3, false).await;
    for number in 1..=2 {
        let since = Instant::now();
        let answer = cluster.node(1).propose(&command(number)).await;
        assert!(
            matches!(answer, Err(Error::Unknown { .. } | Error::NoQuorum { .. })),
            "{answer:?}"
        );
        assert!(since.elapsed() < Duration::from_secs(10), "{:?}", since.elapsed());
    }
    // What is known can still be read, and the group goes on once a majority is back.
    assert!(cluster.node(1).view().revision.0 > 0);
    cluster.start(2).await;
    cluster.write(&[1, 2], 3).await;
}
