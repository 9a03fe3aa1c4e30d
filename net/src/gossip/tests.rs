//! Gossip finds the dead quickly, slanders nobody, and tells everyone everything.

mod live;
mod mesh;
mod world;

use std::time::Duration;

use bytes::Bytes;
use swarm_model::id::TaskId;

use super::members::Liveness;
use super::packet::Packet;
use super::status::StatusKey;
use crate::frame;
use world::{World, addr, node};

const SECOND: Duration = Duration::from_secs(1);
const SEEDS: u64 = 10;

/// A cluster that has come up.
fn up(size: usize, seed: u64) -> World {
    let mut world = World::new(size, seed);
    let took = world.run_until(5 * SECOND, World::all_alive);
    assert!(took < SECOND, "seed {seed}: {size} nodes took {took:?} to find each other");
    world.run(10 * SECOND);
    assert!(world.downs.is_empty(), "seed {seed}: {:?}", world.downs);
    world
}

#[test]
fn a_killed_node_is_found_by_everybody_in_one_to_three_seconds() {
    for size in [2, 3, 5, 9, 30] {
        let mut times = Vec::new();
        for seed in 0..SEEDS {
            let mut world = up(size, seed);
            world.kill(0);
            let killed = world.now;
            world.run_until(8 * SECOND, |world| world.downs.len() == size - 1);
            assert_eq!(world.downs.len(), size - 1, "seed {seed}: {size} nodes");
            assert!(world.downs.iter().all(|(_, _, dead)| *dead == node(0)), "seed {seed}");
            times.extend(world.downs.iter().map(|(at, _, _)| *at - killed));
        }
        times.sort_unstable();
        let (first, median, last) = (times[0], times[times.len() / 2], times[times.len() - 1]);
        println!("{size} nodes: first {first:?}, median {median:?}, last {last:?}");
        assert!(first >= SECOND, "{size} nodes: {first:?}");
        assert!(median <= 5 * SECOND / 2, "{size} nodes: {median:?}");
        assert!(last <= 4 * SECOND, "{size} nodes: {last:?}");
    }
}

#[test]
fn two_nodes_killed_at_once_are_found() {
    for seed in 0..SEEDS {
        let mut world = up(5, seed);
        world.kill(0);
        world.kill(1);
        let took = world.run_until(20 * SECOND, |world| world.downs.len() == 6);
        assert!(took < 5 * SECOND, "seed {seed}: {took:?}");
    }
}

#[test]
fn nobody_is_slandered_on_a_lossy_or_slow_network() {
    let ms = Duration::from_millis;
    let cases = [
        (0.05, ms(1), ms(1)),
        (0.2, ms(1), ms(20)),
        (0.0, ms(100), ms(200)),
        (0.1, ms(50), ms(50)),
    ];
    for (loss, delay, jitter) in cases {
        for seed in 0..SEEDS / 2 {
            let mut world = up(7, seed);
            (world.loss, world.delay, world.jitter) = (loss, delay, jitter);
            world.run(60 * SECOND);
            assert!(world.downs.is_empty(), "seed {seed}, {loss} {delay:?}: {:?}", world.downs);
        }
    }
}

#[test]
fn a_node_that_runs_in_short_bursts_is_not_slandered_and_slanders_nobody() {
    for seed in 0..SEEDS {
        let mut world = up(5, seed);
        for _ in 0..60 {
            for starved in [0, 1] {
                world.freeze(starved);
            }
            world.run(Duration::from_millis(700));
            for starved in [0, 1] {
                world.thaw(starved);
            }
            world.run(Duration::from_millis(100));
        }
        assert!(world.downs.is_empty(), "seed {seed}: {:?}", world.downs);
    }
}

#[test]
fn a_process_that_was_stopped_for_long_blames_nobody_and_returns_at_once() {
    for seed in 0..SEEDS {
        let mut world = up(5, seed);
        world.freeze(0);
        world.run(20 * SECOND);
        assert_eq!(world.downs.len(), 4, "seed {seed}: {:?}", world.downs);
        world.thaw(0);
        let took = world.run_until(10 * SECOND, World::all_alive);
        assert!(took < 4 * SECOND, "seed {seed}: {took:?}");
        world.run(20 * SECOND);
        let by_it = world.downs.iter().filter(|(_, by, of)| *by == node(0) || *of != node(0));
        assert_eq!(by_it.count(), 0, "seed {seed}: {:?}", world.downs);
    }
}

#[test]
fn a_restarted_node_is_itself_again_at_once_whatever_number_it_drew() {
    for seed in 0..SEEDS {
        let mut world = up(4, seed);
        for _ in 0..3 {
            let before = world.view(1)[&node(0)].incarnation;
            world.kill(0);
            world.run(Duration::from_millis(300));
            world.start(0);
            let back = |world: &World| {
                let fresh =
                    |by| world.view(by).get(&node(0)).is_some_and(|i| i.incarnation != before);
                (1..4).all(fresh) && world.all_alive()
            };
            let took = world.run_until(5 * SECOND, back);
            assert!(took < SECOND, "seed {seed}: {took:?}");
        }
        world.run(10 * SECOND);
        assert!(world.downs.is_empty(), "seed {seed}: {:?}", world.downs);
    }
}

#[test]
fn a_node_that_restarts_over_and_over_never_has_to_catch_up_with_its_past() {
    let mut world = up(4, 1);
    for _ in 0..60 {
        world.kill(0);
        world.run(Duration::from_millis(50));
        world.start(0);
        let took = world.run_until(5 * SECOND, World::all_alive);
        assert!(took < SECOND / 2, "{took:?}");
    }
}

#[test]
fn a_restarted_node_that_knows_nobody_is_found_by_its_peers() {
    let mut world = up(3, 1);
    world.sync_fails = true;
    world.kill(0);
    world.start_alone(0);
    assert!(world.run_until(5 * SECOND, World::all_alive) < 3 * SECOND);
    assert!(world.downs.is_empty(), "{:?}", world.downs);
}

#[test]
fn a_node_that_pauses_for_a_second_objects_in_time_in_a_large_cluster() {
    for seed in 0..SEEDS / 2 {
        let mut world = up(20, seed);
        world.loss = 0.2;
        for paused in 0..3 {
            world.freeze(paused);
            world.run(6 * SECOND / 5);
            world.thaw(paused);
            world.run(5 * SECOND);
        }
        assert!(world.downs.is_empty(), "seed {seed}: {:?}", world.downs);
    }
}

#[test]
fn a_suspect_is_accused_to_its_face() {
    let mut world = up(5, 1);
    world.freeze(0);
    world.run_until(5 * SECOND, |world| world.liveness(1, 0) == Some(Liveness::Suspect));
    world.run(SECOND / 2);
    let accused = |packet: &Packet| matches!(packet, Packet::Suspected { .. });
    assert!(world.waiting(0).iter().any(accused));
}

#[test]
fn a_judge_that_was_stopped_listens_before_it_decides() {
    for seed in 0..SEEDS {
        let mut world = up(5, seed);
        world.freeze(1);
        world.run_until(5 * SECOND, |world| world.liveness(0, 1) == Some(Liveness::Suspect));
        world.freeze(0);
        world.thaw(1);
        world.run(3 * SECOND);
        world.thaw(0);
        world.run(5 * SECOND);
        let judged = world.downs.iter().any(|(_, by, _)| *by == node(0));
        assert!(!judged, "seed {seed}: {:?}", world.downs);
    }
}

#[test]
fn a_death_that_is_only_hearsay_is_a_suspicion() {
    let mut mourning = up(4, 1);
    mourning.kill(2);
    mourning.run(8 * SECOND);
    assert_eq!(mourning.liveness(0, 2), Some(Liveness::Down));
    let hearsay = frame::encode(&mourning.core(0).sync_request());
    // The same seed has the same lives: there, node 2 lives on.
    let mut world = up(4, 1);
    let heard = world.step(node(1), |core, now| core.handle_sync(now, node(0), &hearsay));
    heard.expect("sound");
    assert_eq!(world.liveness(1, 2), Some(Liveness::Suspect));
    world.run(5 * SECOND);
    assert!(world.all_alive());
    assert!(world.downs.is_empty(), "{:?}", world.downs);
}

#[test]
fn after_a_partition_all_are_alive_again_within_seconds() {
    for seed in 0..SEEDS {
        let mut world = up(5, seed);
        world.partition(&[0, 1], &[2, 3, 4]);
        world.run(30 * SECOND);
        assert_eq!(world.downs.len(), 12, "seed {seed}");
        world.heal();
        let took = world.run_until(20 * SECOND, World::all_alive);
        assert!(took < 5 * SECOND, "seed {seed}: {took:?}");
        let downs = world.downs.len();
        world.run(20 * SECOND);
        assert_eq!(world.downs.len(), downs, "seed {seed}: calm after the storm");
    }
}

#[test]
fn a_node_that_was_cut_off_does_not_spread_its_opinion_of_the_others() {
    for seed in 0..SEEDS {
        let mut world = up(5, seed);
        world.partition(&[0], &[1, 2, 3, 4]);
        world.run(60 * SECOND);
        world.heal();
        world.run(30 * SECOND);
        assert!(world.all_alive(), "seed {seed}");
        let slander = world.downs.iter().filter(|(_, by, of)| *by != node(0) && *of != node(0));
        assert_eq!(slander.count(), 0, "seed {seed}: {:?}", world.downs);
    }
}

#[test]
fn two_nodes_that_cannot_see_each_other_believe_the_others_that_both_live() {
    for seed in 0..SEEDS {
        let mut world = up(5, seed);
        world.partition(&[0], &[1]);
        world.run(60 * SECOND);
        assert!(world.downs.is_empty(), "seed {seed}: {:?}", world.downs);
    }
}

#[test]
fn an_idle_cluster_sends_a_few_datagrams_a_second() {
    for size in [3, 30] {
        let mut world = up(size, 1);
        (world.sent, world.sent_bytes, world.syncs) = (0, 0, 0);
        world.run(100 * SECOND);
        let per_node_second = |count: u64| count as f64 / (size as f64 * 100.0);
        let (sent, bytes) = (per_node_second(world.sent), per_node_second(world.sent_bytes));
        println!("{size} nodes: {sent:.1} datagrams, {bytes:.0} bytes a second and node");
        assert!(sent < 4.5, "{sent}");
        assert!(bytes < 600.0, "{bytes}");
        assert!(per_node_second(world.syncs) < 0.13);
    }
}

#[test]
fn an_expected_node_that_never_shows_up_is_down() {
    let mut world = World::new(3, 1);
    world.kill(2);
    world.run(4 * SECOND);
    assert_eq!(world.liveness(0, 2), Some(Liveness::Down));
    assert_eq!(world.liveness(0, 1), Some(Liveness::Alive));
    world.start(2);
    assert!(world.run_until(5 * SECOND, World::all_alive) < SECOND);
}

#[test]
fn a_forgotten_node_does_not_come_back_by_hearsay() {
    let mut world = up(4, 1);
    world.kill(3);
    world.step(node(0), |core, now| core.forget(now, node(3)));
    world.run(60 * SECOND);
    assert_eq!(world.liveness(0, 3), None);
    assert_eq!(world.liveness(1, 3), Some(Liveness::Down));
    assert!(world.downs.iter().all(|(_, by, _)| *by != node(0)));
}

#[test]
fn a_node_that_moved_is_known_by_its_new_address() {
    let mut world = up(4, 1);
    world.step(node(0), |core, now| core.relocate(now, addr(100)));
    let moved = |world: &World| (1..4).all(|by| world.view(by)[&node(0)].addr == addr(100));
    assert!(world.run_until(5 * SECOND, moved) < SECOND);
    world.run(5 * SECOND);
    assert!(world.downs.is_empty(), "{:?}", world.downs);
}

fn publish(world: &mut World, by: usize, task: u128, value: &'static [u8]) {
    let key = StatusKey::Task(TaskId::from_raw(task));
    world
        .step(node(by), |core, now| core.write(now, key, Some(Bytes::from_static(value))))
        .expect("small");
}

fn knows(world: &mut World, reader: usize, writer: usize, task: u128) -> Option<Bytes> {
    let key = StatusKey::Task(TaskId::from_raw(task));
    world.core(reader).status(node(writer)).get(&key).cloned()
}

#[test]
fn a_published_status_is_everywhere_in_moments_even_when_datagrams_are_lost() {
    for (size, loss, limit) in [(5, 0.0, 200), (40, 0.0, 15_000), (5, 0.3, 8000)] {
        for seed in 0..SEEDS / 2 {
            let mut world = up(size, seed);
            world.loss = loss;
            for task in 0..20 {
                publish(&mut world, 0, task, b"running");
            }
            world.run(Duration::from_millis(limit));
            for reader in 1..size {
                let known = (0..20).filter(|task| knows(&mut world, reader, 0, *task).is_some());
                assert_eq!(known.count(), 20, "seed {seed}: {size} nodes, reader {reader}");
            }
        }
    }
}

#[test]
fn a_status_too_large_for_datagrams_arrives_too() {
    let mut world = up(3, 1);
    publish(&mut world, 0, 1, &[7; 20_000]);
    world.run(SECOND);
    assert_eq!(knows(&mut world, 2, 0, 1).map(|value| value.len()), Some(20_000));
}

#[test]
fn a_restarted_node_replaces_all_it_said_before() {
    let mut world = up(3, 1);
    publish(&mut world, 0, 1, b"old");
    world.run(SECOND);
    world.kill(0);
    world.start(0);
    publish(&mut world, 0, 2, b"new");
    world.run(SECOND);
    for reader in 1..3 {
        assert_eq!(knows(&mut world, reader, 0, 1), None);
        assert_eq!(knows(&mut world, reader, 0, 2), Some(Bytes::from_static(b"new")));
    }
}

#[test]
fn hostile_datagrams_and_syncs_change_nothing() {
    let mut world = up(3, 1);
    let mut noise: Vec<u8> = vec![1];
    for byte in 0..=255u8 {
        noise.push(byte);
        let bytes = noise.clone();
        world.step(node(0), |core, now| {
            core.handle_datagram(now, node(1), &bytes);
            drop(core.handle_sync(now, node(1), &bytes));
            drop(core.sync_answer(now, node(1), &bytes));
        });
    }
    world.run(20 * SECOND);
    assert!(world.downs.is_empty(), "{:?}", world.downs);
    assert!(world.all_alive());
}
