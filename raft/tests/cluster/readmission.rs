//! A member whose replica is lost: out of the group, and in again under a vote that is safe.

use std::time::Duration;

use swarm_raft::{Error, Gate, Part};

use crate::harness::{Cluster, id, wait_until};

#[tokio::test(start_paused = true)]
async fn emptied_voter_comes_back_as_a_learner_and_nothing_is_lost() {
    let mut cluster = Cluster::of(3, 1).await;
    cluster.write(&[1, 2, 3], 1).await;
    let old = cluster.leader_among(&[1, 2, 3]).await;
    cluster.kill(old, true).await;
    cluster.wipe(old);
    let rest: Vec<u128> = [1, 2, 3].into_iter().filter(|number| *number != old).collect();
    let gate = Gate::shut_at_first();
    let lost = cluster.start_behind(old, gate.clone()).await;
    cluster.write(&rest, 2).await;
    assert_eq!(lost.status_now().last_log.0, 0, "behind a shut gate it gets nothing");
    assert_eq!(lost.status_now().part, Part::Learner);

    let leader = cluster.leader_among(&rest).await;
    let grounds = cluster.node(leader).expel(id(old)).await.expect("the others are a majority");
    let status = cluster.node(leader).status_now();
    assert!(!status.voters.contains(&id(old)) && !status.learners.contains(&id(old)));
    assert_eq!(status.term, grounds.term);
    // Again is no error, and rests on a record of its own.
    let again = cluster.node(leader).expel(id(old)).await.expect("nothing to do");
    assert!(again.record > grounds.record, "{again:?} after {grounds:?}");

    lost.adopt_vote(id(leader), again.term).await.expect("nothing was promised before");
    assert_eq!(lost.status_now().term, again.term);
    cluster.node(leader).add_learner(id(old), None).await.expect("room for a learner");
    lost.catch_up(again).await.expect("it is fed");
    assert!(lost.status_now().last_log >= again.record && !gate.is_open());
    gate.open();
    cluster.all_have(2).await;
    let voters = [1, 2, 3].into_iter().map(id).collect();
    cluster.node(leader).set_voters(voters).await.expect("all can be reached");
    cluster.write(&[1, 2, 3], 3).await;
    cluster.all_have(3).await;
}

#[tokio::test(start_paused = true)]
async fn adopted_vote_survives_a_restart() {
    let mut cluster = Cluster::of(3, 2).await;
    let leader = cluster.leader_among(&[1, 2, 3]).await;
    let lost = (1..=3).find(|number| *number != leader).expect("three nodes");
    cluster.kill(lost, true).await;
    cluster.wipe(lost);
    let node = cluster.start_behind(lost, Gate::shut_at_first()).await;
    let term = cluster.node(leader).expel(id(lost)).await.expect("the others are a majority").term;
    node.adopt_vote(id(leader), term).await.expect("nothing was promised before");
    cluster.kill(lost, true).await;
    let node = cluster.start_behind(lost, Gate::shut_at_first()).await;
    assert_eq!(node.status_now().term, term);
    // Whoever asks in the name of an older term gets nothing.
    let older = swarm_model::meta::Term(term.0 - 1);
    assert!(matches!(node.adopt_vote(id(leader), older).await, Err(Error::Unknown { .. })));
}

#[tokio::test(start_paused = true)]
async fn without_a_majority_of_the_others_nobody_is_expelled() {
    let mut cluster = Cluster::of(3, 3).await;
    let leader = cluster.leader_among(&[1, 2, 3]).await;
    let others: Vec<u128> = (1..=3).filter(|number| *number != leader).collect();
    cluster.kill(others[0], true).await;
    cluster.kill(others[1], true).await;
    let refused = cluster.node(leader).expel(id(others[0])).await;
    assert!(
        matches!(refused, Err(Error::NoQuorum { .. } | Error::NotLeader { .. })),
        "{refused:?}"
    );
    cluster.start(others[0]).await;
    cluster.start(others[1]).await;
    let all = cluster.leader_among(&[1, 2, 3]).await;
    wait_until("three voters", || (cluster.node(all).status_now().voters.len() == 3).then_some(()))
        .await;
}

/// Node 2 was cut off before the group changed, so by its own records it still votes with 1 and 3.
/// Node 3 lost its replica: with it in hand, node 2 would be a majority of a group that is gone.
#[tokio::test(start_paused = true)]
async fn member_that_was_not_fed_yet_helps_nobody_who_lacks_what_it_had() {
    let mut cluster = Cluster::of(3, 4).await;
    cluster.write(&[1, 2, 3], 1).await;
    cut(&cluster, 2, &[1, 3, 4], true);
    let leader = cluster.leader_among(&[1, 3]).await;
    cluster.start(4).await;
    cluster.node(leader).add_learner(id(4), None).await.expect("room for a learner");
    let voters = [1, 3, 4].into_iter().map(id).collect();
    cluster.node(leader).set_voters(voters).await.expect("two of three, twice");
    cluster.write(&[1, 3], 2).await;

    let (lost, keeper) = if leader == 1 { (3, 1) } else { (1, 3) };
    cluster.kill(lost, true).await;
    cluster.wipe(lost);
    let gate = Gate::shut_at_first();
    let node = cluster.start_behind(lost, gate.clone()).await;
    let grounds = cluster.node(keeper).expel(id(lost)).await.expect("1 or 3, and 4");
    node.adopt_vote(id(keeper), grounds.term).await.expect("nothing was promised before");
    // Nothing of the new group reaches it any more, only who was cut off.
    cut(&cluster, lost, &[keeper, 4], true);
    cut(&cluster, 2, &[lost], false);
    let feeding = {
        let node = node.clone();
        async move { node.catch_up(grounds).await }
    };
    let waited = tokio::time::timeout(Duration::from_secs(60), feeding).await;
    assert!(waited.is_err(), "it was fed by nobody");
    assert_ne!(cluster.node(2).status_now().part, Part::Leader);
    assert_ne!(node.status_now().part, Part::Leader);
}

fn cut(cluster: &Cluster, one: u128, others: &[u128], cut: bool) {
    for other in others {
        if cut {
            cluster.network.cut(id(one), id(*other));
            cluster.network.cut(id(*other), id(one));
        } else {
            cluster.network.heal(id(one), id(*other));
            cluster.network.heal(id(*other), id(one));
        }
    }
}
