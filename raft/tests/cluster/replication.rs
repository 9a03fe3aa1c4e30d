//! Records and snapshots reach every member, whatever the network does.

use std::time::Duration;

use futures::future::join_all;
use swarm_net::sim::Link;
use swarm_raft::Error;
use tokio::time::sleep;

use crate::harness::{Cluster, command, config, has, id, wait_until};

#[tokio::test(start_paused = true)]
async fn concurrent_proposals_all_arrive_in_one_order() {
    let cluster = Cluster::of(3, 20).await;
    let leader = cluster.node(1);
    let commands: Vec<_> = (1..=500).map(command).collect();
    let applied = join_all(commands.iter().map(|command| leader.propose(command))).await;
    let mut revisions: Vec<_> =
        applied.into_iter().map(|applied| applied.expect("a quiet network").revision).collect();
    revisions.sort_unstable();
    revisions.dedup();
    assert_eq!(revisions.len(), 500);
    cluster.all_have(500).await;
    let views: Vec<_> = cluster.running().iter().map(|consensus| consensus.view()).collect();
    assert!(views.windows(2).all(|pair| pair[0].configs == pair[1].configs));
}

#[tokio::test(start_paused = true)]
async fn records_survive_a_lossy_flapping_link() {
    let cluster = Cluster::of(3, 21).await;
    cluster.network.set_default_link(Link {
        delay: Duration::from_millis(5),
        jitter: Duration::from_millis(20),
        loss: 0.1,
        ..Link::LAN
    });
    for number in 1..=60 {
        if number % 10 == 0 {
            cluster.network.isolate(id(3));
        }
        if number % 10 == 5 {
            cluster.network.heal_all();
        }
        cluster.write(&[1, 2], number).await;
    }
    cluster.network.heal_all();
    cluster.all_have(60).await;
    for consensus in cluster.running() {
        assert!((1..=60).all(|number| has(&consensus, number)));
    }
}

#[tokio::test(start_paused = true)]
async fn follower_that_was_away_is_caught_up_soon_after_its_return() {
    let cluster = Cluster::of(3, 22).await;
    cluster.network.isolate(id(3));
    for number in 1..=50 {
        cluster.write(&[1, 2], number).await;
    }
    sleep(Duration::from_secs(30)).await;
    cluster.network.heal_all();
    let healed = tokio::time::Instant::now();
    cluster.all_have(50).await;
    assert!(healed.elapsed() < Duration::from_secs(3), "took {:?}", healed.elapsed());
}

#[tokio::test(start_paused = true)]
async fn far_behind_learner_gets_a_snapshot_in_chunks() {
    let mut cluster = Cluster::with_interval(3, 23, 50).await;
    for number in 1..=120 {
        let leader = cluster.node(1);
        leader.propose(&config(number, 20_000)).await.expect("a quiet network");
    }
    let node = cluster.node(1);
    wait_until("a snapshot", || node.status_now().snapshot).await;
    let late = cluster.start(4).await;
    node.add_learner(id(4), None).await.expect("room for a learner");
    cluster.all_have(120).await;
    assert_eq!(late.view().configs, node.view().configs);
    assert!(late.status_now().snapshot.is_some(), "it was fed records one by one");

    // What it got is on its disk, too.
    cluster.kill(4, true).await;
    let again = cluster.start(4).await;
    assert!(has(&again, 1), "the snapshot was acknowledged and is lost");
    cluster.write(&[1, 2, 3], 121).await;
    cluster.all_have(121).await;
}

#[tokio::test(start_paused = true)]
async fn node_restarts_from_its_snapshot_and_the_log_after_it() {
    let mut cluster = Cluster::with_interval(1, 24, 20).await;
    for number in 1..=70 {
        cluster.write(&[1], number).await;
    }
    let node = cluster.node(1);
    wait_until("a snapshot", || node.status_now().snapshot).await;
    drop(node);
    cluster.kill(1, true).await;
    cluster.start(1).await;
    cluster.write(&[1], 71).await;
    let node = cluster.node(1);
    assert!((1..=71).all(|number| has(&node, number)));
}

#[tokio::test(start_paused = true)]
async fn too_large_command_is_refused_before_anything_happens() {
    let cluster = Cluster::of(1, 25).await;
    let before = cluster.node(1).status_now().last_log;
    let refused = cluster.node(1).propose(&config(1, 3 << 20)).await;
    assert!(matches!(refused, Err(Error::TooLarge { .. })), "{refused:?}");
    assert_eq!(cluster.node(1).status_now().last_log, before);
}

#[tokio::test(start_paused = true)]
async fn retried_command_is_applied_once() {
    let cluster = Cluster::of(3, 26).await;
    let first = cluster.write(&[1, 2, 3], 1).await;
    let again = cluster.write(&[1, 2, 3], 1).await;
    assert_eq!(first.outcome, again.outcome);
    assert_eq!(cluster.node(1).view().configs.len(), 1);
}
