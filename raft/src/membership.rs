//! Who votes: a pure choice over the managers, made again whenever one of them comes or goes.
//!
//! It proposes nothing and talks to nobody; the leader compares the answer with the voters it has
//! and starts a membership change when they differ.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use swarm_model::id::NodeId;
use swarm_model::node::Role;

/// The most voters a cluster may have.
pub const MAX_VOTERS: usize = 7;
/// How many vote when nobody asked for another number.
pub const DEFAULT_VOTERS: usize = 5;
/// How long a voter must be gone before another manager takes its place.
pub const REPLACE_AFTER: Duration = Duration::from_secs(30);

/// What is known of one node that might vote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The node.
    pub node: NodeId,
    /// Workers never vote.
    pub role: Role,
    /// Whether it answers now.
    pub reachable: bool,
    /// The failure domain it is in, if its labels say one.
    pub zone: Option<String>,
    /// Whether it votes now.
    pub is_voter: bool,
    /// How long it has not answered; of no meaning while it is reachable.
    pub unreachable_for: Duration,
}

impl Candidate {
    /// A voter that is given up: gone for so long that another one should vote instead.
    fn is_gone(&self) -> bool {
        !self.reachable && self.unreachable_for >= REPLACE_AFTER
    }
}

/// The nodes that should vote: an odd number of managers, at most `max` (and [`MAX_VOTERS`]).
///
/// Voters stay until they are gone for [`REPLACE_AFTER`] and a reachable manager can take over; a
/// manager that does not answer is never made a voter. Free seats go to the zone that has the
/// fewest voters. The number never falls because voters are unreachable: a smaller set would
/// survive less. Empty only if no manager could vote; then keep the voters there are.
pub fn choose_voters(candidates: &[Candidate], max: usize) -> BTreeSet<NodeId> {
    let managers = candidates.iter().filter(|candidate| match candidate.role {
        Role::Manager => true,
        Role::Worker => false,
    });
    let (voters, others): (Vec<_>, Vec<_>) = managers.partition(|manager| manager.is_voter);
    let (gone, steady): (Vec<_>, Vec<_>) = voters.into_iter().partition(|voter| voter.is_gone());
    // Of the steady ones those that answer come first: they matter when the set must shrink.
    let (answering, silent): (Vec<_>, Vec<_>) =
        steady.into_iter().partition(|voter| voter.reachable);
    let fresh: Vec<_> = others.into_iter().filter(|manager| manager.reachable).collect();

    let available = answering.len() + silent.len() + fresh.len() + gone.len();
    let mut seats = Seats::new(largest_odd(available.min(max.clamp(1, MAX_VOTERS))));
    for group in [answering, silent, fresh, gone] {
        seats.fill(group);
    }
    seats.taken
}

/// The largest odd number up to `limit`; zero for zero.
fn largest_odd(limit: usize) -> usize {
    if limit == 0 { 0 } else { limit - (limit + 1) % 2 }
}

/// The voters chosen so far and how many each zone has.
struct Seats<'a> {
    free: usize,
    taken: BTreeSet<NodeId>,
    zones: BTreeMap<Option<&'a str>, usize>,
}

impl<'a> Seats<'a> {
    fn new(free: usize) -> Self {
        Self { free, taken: BTreeSet::new(), zones: BTreeMap::new() }
    }

    /// Seats as many of `group` as there is room for, emptiest zone first, then by id.
    fn fill(&mut self, group: Vec<&'a Candidate>) {
        let mut group: BTreeMap<NodeId, &Candidate> =
            group.into_iter().map(|candidate| (candidate.node, candidate)).collect();
        while self.free > 0 {
            let voters_of = |zone: &Option<String>| {
                self.zones.get(&zone.as_deref()).copied().unwrap_or_default()
            };
            let next = group.values().min_by_key(|next| (voters_of(&next.zone), next.node));
            let Some(next) = next.map(|next| next.node).and_then(|node| group.remove(&node)) else {
                return;
            };
            self.free -= 1;
            self.taken.insert(next.node);
            *self.zones.entry(next.zone.as_deref()).or_default() += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn manager(id: u128) -> Candidate {
        Candidate {
            node: NodeId::from_raw(id),
            role: Role::Manager,
            reachable: true,
            zone: None,
            is_voter: false,
            unreachable_for: Duration::ZERO,
        }
    }

    fn voter(id: u128) -> Candidate {
        Candidate { is_voter: true, ..manager(id) }
    }

    fn silent(candidate: Candidate, seconds: u64) -> Candidate {
        let unreachable_for = Duration::from_secs(seconds);
        Candidate { reachable: false, unreachable_for, ..candidate }
    }

    fn in_zone(candidate: Candidate, zone: &str) -> Candidate {
        Candidate { zone: Some(zone.into()), ..candidate }
    }

    fn check(candidates: &[Candidate], max: usize, expect: &[u128]) {
        let expect: BTreeSet<_> = expect.iter().map(|id| NodeId::from_raw(*id)).collect();
        assert_eq!(choose_voters(candidates, max), expect, "of {candidates:#?}");
    }

    #[test]
    fn number_of_voters_is_odd() {
        check(&[], 5, &[]);
        check(&[voter(1)], 5, &[1]);
        check(&[voter(1), manager(2)], 5, &[1]);
        check(&[voter(1), manager(2), manager(3)], 5, &[1, 2, 3]);
        check(&[voter(1), voter(2), voter(3), manager(4)], 5, &[1, 2, 3]);
        check(&[voter(1), voter(2), voter(3), manager(4)], 2, &[1]);
        let many: Vec<_> = (1..=20).map(manager).collect();
        assert_eq!(choose_voters(&many, DEFAULT_VOTERS).len(), 5);
        assert_eq!(choose_voters(&many, 100).len(), MAX_VOTERS);
        assert_eq!(choose_voters(&many, 0).len(), 1);
    }

    #[test]
    fn silent_voter_keeps_its_vote_for_thirty_seconds() {
        let others = [voter(2), voter(3), manager(4)];
        let with = |first| [&[first], &others[..]].concat();
        check(&with(silent(voter(1), 29)), 3, &[1, 2, 3]);
        check(&with(silent(voter(1), 30)), 3, &[2, 3, 4]);
    }

    #[test]
    fn gone_voter_without_a_replacement_keeps_its_vote() {
        check(&[silent(voter(1), 999), voter(2), voter(3)], 5, &[1, 2, 3]);
        let silent_spare = silent(manager(4), 1);
        check(&[silent(voter(1), 999), voter(2), voter(3), silent_spare], 3, &[1, 2, 3]);
    }

    #[test]
    fn free_seats_are_spread_over_zones() {
        let zoned = [
            in_zone(voter(1), "a"),
            in_zone(manager(2), "a"),
            in_zone(manager(3), "a"),
            in_zone(manager(4), "b"),
            in_zone(manager(5), "c"),
        ];
        check(&zoned, 3, &[1, 4, 5]);
    }

    fn candidate() -> impl Strategy<Value = Candidate> {
        let zones = prop_oneof![Just(None), "[abc]".prop_map(Some)];
        (0..30u128, any::<bool>(), any::<bool>(), any::<bool>(), zones, 0..60u64).prop_map(
            |(id, worker, reachable, is_voter, zone, seconds)| Candidate {
                node: NodeId::from_raw(id),
                role: if worker { Role::Worker } else { Role::Manager },
                reachable,
                zone,
                is_voter,
                unreachable_for: Duration::from_secs(seconds),
            },
        )
    }

    fn candidates() -> impl Strategy<Value = Vec<Candidate>> {
        prop::collection::vec(candidate(), 0..20).prop_map(|all| {
            let by_id: BTreeMap<_, _> = all.into_iter().map(|one| (one.node, one)).collect();
            by_id.into_values().collect()
        })
    }

    proptest! {
        #[test]
        fn voters_are_an_odd_number_of_managers(all in candidates(), max in 0..10usize) {
            let chosen = choose_voters(&all, max);
            prop_assert!(chosen.is_empty() || chosen.len() % 2 == 1);
            prop_assert!(chosen.len() <= max.clamp(1, MAX_VOTERS));
            for node in &chosen {
                let one = all.iter().find(|one| one.node == *node).expect("chosen from these");
                prop_assert_eq!(one.role, Role::Manager);
                prop_assert!(one.reachable || one.is_voter, "an unreachable node got a vote");
            }
        }

        #[test]
        fn steady_voter_is_dropped_only_for_lack_of_seats(all in candidates(), max in 1..8usize) {
            let chosen = choose_voters(&all, max);
            let dropped = all.iter().any(|one| {
                one.is_voter
                    && one.role == Role::Manager
                    && !one.is_gone()
                    && !chosen.contains(&one.node)
            });
            let stayed = all.iter().filter(|one| chosen.contains(&one.node));
            prop_assert!(!dropped || stayed.clone().all(|one| one.is_voter && !one.is_gone()));
        }

        #[test]
        fn choice_is_stable(all in candidates(), max in 1..8usize) {
            let chosen = choose_voters(&all, max);
            prop_assume!(!chosen.is_empty());
            let after: Vec<_> = all
                .iter()
                .map(|one| Candidate { is_voter: chosen.contains(&one.node), ..one.clone() })
                .collect();
            prop_assert_eq!(choose_voters(&after, max), chosen);
        }

        #[test]
        fn order_of_candidates_does_not_matter(all in candidates(), max in 1..8usize) {
            let mut reversed = all.clone();
            reversed.reverse();
            prop_assert_eq!(choose_voters(&all, max), choose_voters(&reversed, max));
        }
    }
}
