//! Linearizable reads and waiting for a revision.

use std::time::Duration;

use swarm_raft::Error;

use crate::harness::{Cluster, PATIENCE, command, has, id};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn read_sees_every_write_acknowledged_before_it() {
    let cluster = Cluster::of(3, 30).await;
    for number in 1..=20 {
        let written = cluster.write(&[1, 2, 3], number).await;
        let leader = cluster.node(1);
        let revision = leader.read_index(SECOND).await.expect("a quiet network");
        assert!(revision >= written.revision);
        assert!(has(&leader, number));
        // Any node that has waited for that revision sees it, too.
        let follower = cluster.node(3);
        follower.wait_applied(revision, SECOND).await.expect("a quiet network");
        assert!(has(&follower, number));
    }
}

#[tokio::test(start_paused = true)]
async fn follower_sends_readers_to_the_leader() {
    let cluster = Cluster::of(3, 31).await;
    let answer = cluster.node(2).read_index(SECOND).await;
    assert!(matches!(answer, Err(Error::NotLeader { leader: Some(leader) }) if leader == id(1)));
}

#[tokio::test(start_paused = true)]
async fn leader_that_was_cut_off_answers_no_read() {
    let cluster = Cluster::of(3, 32).await;
    cluster.network.isolate(id(1));
    let leader = cluster.leader_among(&[2, 3]).await;
    cluster.node(leader).propose(&command(1)).await.expect("it has a majority");
    let answer = cluster.node(1).read_index(SECOND).await;
    assert!(matches!(answer, Err(Error::NoQuorum { .. } | Error::NotLeader { .. })), "{answer:?}");
}

#[tokio::test(start_paused = true)]
async fn concurrent_reads_are_all_answered() {
    let cluster = Cluster::of(3, 33).await;
    let leader = cluster.node(1);
    let reads = (0..200).map(|_| leader.read_index(SECOND));
    for read in futures::future::join_all(reads).await {
        read.expect("a quiet network");
    }
}

#[tokio::test(start_paused = true)]
async fn waiting_for_the_future_ends_at_the_deadline() {
    let cluster = Cluster::of(1, 34).await;
    let node = cluster.node(1);
    let next = swarm_model::meta::Revision(node.view().revision.0 + 1);
    let answer = node.wait_applied(next, SECOND).await;
    assert!(matches!(answer, Err(Error::Deadline { .. })), "{answer:?}");
    let (waited, written) = tokio::join!(node.wait_applied(next, PATIENCE), cluster.write(&[1], 1));
    waited.expect("written meanwhile");
    assert!(written.revision >= next);
}

#[tokio::test(start_paused = true)]
async fn deposed_leader_refuses_and_names_its_successor() {
    let cluster = Cluster::of(3, 35).await;
    cluster.node(1).transfer_leadership(Some(id(3))).await.expect("node 3 is up to date");
    assert_eq!(cluster.leader_among(&[1, 2, 3]).await, 3);
    let refused = cluster.node(1).propose(&command(1)).await;
    assert!(matches!(refused, Err(Error::NotLeader { leader: Some(leader) }) if leader == id(3)));
    cluster.node(3).propose(&command(2)).await.expect("it leads");
    assert!(!has(&cluster.node(3), 1));
}
