//! Changes of the group: learners, voters, removals, hand-overs.

use swarm_raft::{Error, Part};

use crate::harness::{Cluster, PATIENCE, command, has, id, ids, wait_until};

#[tokio::test(start_paused = true)]
async fn learner_follows_without_a_vote_until_it_gets_one() {
    let mut cluster = Cluster::of(3, 40).await;
    cluster.write(&[1, 2, 3], 1).await;
    cluster.start(4).await;
    cluster.node(1).add_learner(id(4), None).await.expect("room for a learner");
    cluster.all_have(1).await;
    let status = cluster.node(4).status_now();
    assert_eq!(status.part, Part::Learner);
    assert_eq!((status.voters, status.learners), (ids(&[1, 2, 3]), ids(&[4])));

    cluster.node(1).set_voters(ids(&[1, 2, 4])).await.expect("node 4 is a learner");
    let status = cluster.node(1).status_now();
    assert_eq!((status.voters, status.learners), (ids(&[1, 2, 4]), ids(&[3])));
    assert!(!status.joint);
    // The demoted one still follows.
    cluster.write(&[1, 2, 4], 2).await;
    cluster.all_have(2).await;
}

#[tokio::test(start_paused = true)]
async fn group_grows_and_shrinks_under_load() {
    let mut cluster = Cluster::of(1, 41).await;
    let mut written = 0;
    for size in 2..=7u128 {
        cluster.start(size).await;
        cluster.node(1).add_learner(id(size), None).await.expect("room for a learner");
        written += 1;
        cluster.write(&[1], written).await;
    }
    for voters in [&[1, 2, 3][..], &[1, 2, 3, 4, 5], &[1, 2, 3, 4, 5, 6, 7], &[1, 4, 7], &[1]] {
        let leader = cluster.node(1);
        let writing = async {
            for number in 1..=5 {
                leader.propose(&command(written + number)).await.expect("it leads throughout");
            }
        };
        let (changed, ()) = tokio::join!(leader.set_voters(ids(voters)), writing);
        changed.expect("all can be reached");
        written += 5;
        assert_eq!(leader.status_now().voters, ids(voters));
    }
    cluster.all_have(written).await;
}

#[tokio::test(start_paused = true)]
async fn leader_that_loses_its_vote_hands_over_first() {
    let cluster = Cluster::of(3, 42).await;
    let answer = cluster.node(1).set_voters(ids(&[2, 3])).await;
    assert!(matches!(answer, Err(Error::NotLeader { .. })), "{answer:?}");
    let leader = cluster.leader_among(&[1, 2, 3]).await;
    assert_ne!(leader, 1);
    cluster.node(leader).set_voters(ids(&[leader])).await.expect("it leads and stays");
    assert_eq!(cluster.node(leader).status_now().voters, ids(&[leader]));
}

#[tokio::test(start_paused = true)]
async fn removed_voter_is_out_and_the_rest_go_on() {
    let cluster = Cluster::of(3, 43).await;
    cluster.node(1).remove(id(3)).await.expect("two of three agree");
    let status = cluster.node(1).status_now();
    assert_eq!((status.voters, status.learners), (ids(&[1, 2]), ids(&[])));
    cluster.write(&[1, 2], 1).await;
    cluster.node(1).remove(id(3)).await.expect("again is no error");
    // It may campaign as much as it likes.
    tokio::time::sleep(std::time::Duration::from_secs(30)).await;
    assert!(cluster.node(1).status_now().is_leader());
}

#[tokio::test(start_paused = true)]
async fn voter_must_be_a_learner_first() {
    let cluster = Cluster::of(1, 44).await;
    let answer = cluster.node(1).set_voters(ids(&[1, 9])).await;
    assert!(matches!(answer, Err(Error::NotMember { node }) if node == id(9)), "{answer:?}");
    assert_eq!(cluster.node(1).status_now().voters, ids(&[1]));
}

#[tokio::test(start_paused = true)]
async fn second_bootstrap_is_refused() {
    let cluster = Cluster::of(1, 45).await;
    let answer = cluster.node(1).bootstrap().await;
    assert!(matches!(answer, Err(Error::AlreadyBootstrapped)), "{answer:?}");
}

#[tokio::test(start_paused = true)]
async fn half_done_change_of_voters_is_finished_by_the_next_leader() {
    let mut cluster = Cluster::of(3, 46).await;
    for number in [4, 5] {
        cluster.start(number).await;
        cluster.node(1).add_learner(id(number), None).await.expect("room for a learner");
    }
    cluster.write(&[1, 2, 3], 1).await;
    cluster.all_have(1).await;
    // The leader dies somewhere in the middle of the change.
    let leader = cluster.node(1);
    let follower = cluster.node(2);
    tokio::select! {
        biased;
        joint = follower.wait_status("a joint membership", PATIENCE, |status| status.joint) => {
            joint.expect("the change begins");
        }
        changed = leader.set_voters(ids(&[1, 2, 3, 4, 5])) => panic!("too late: {changed:?}"),
    }
    drop(leader);
    cluster.kill(1, false).await;
    wait_until("one set of voters", || {
        let settled = |n| {
            let status = cluster.node(n).status_now();
            !status.joint && status.leader.is_some()
        };
        [2, 3, 4, 5].into_iter().all(settled).then_some(())
    })
    .await;
    cluster.write(&[2, 3, 4, 5], 2).await;
    assert!(has(&cluster.node(4), 1));
}
