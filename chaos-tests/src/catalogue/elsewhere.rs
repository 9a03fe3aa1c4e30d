//! Entries of the catalogue that are not injected into real clusters here, and what tests them instead.
//! Each place is real: a test below looks for it.

use std::fmt;

use super::{Run, Scenario};

/// Where something is tested.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// A test: its file, from the repository's root, and its name.
    Test(&'static str, &'static str),
    /// A scripted run of the simulation (`fuzz --scenario NAME`).
    Simulated(&'static str),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Test(file, name) => write!(f, "{name} in {file}"),
            Self::Simulated(name) => write!(f, "fuzz --scenario {name}"),
        }
    }
}

/// Places as one text.
pub(super) fn told(places: &[Place]) -> String {
    let places: Vec<_> = places.iter().map(Place::to_string).collect();
    places.join("; ")
}

const DAMAGE: &str = "state/tests/disk/damage.rs";
const POWER: &str = "state/tests/disk/power.rs";
const BAD_DATA_DIR: &str = "chaos-tests/tests/real/bad_data_dir.rs";
const LOST_REPLICA: &str = "chaos-tests/tests/real/lost_replica.rs";
const ADMISSION: &str = "net/src/quic/tests/admission.rs";
const HOSTILE: &str = "net/src/quic/tests/hostile.rs";
const TRICKLE: &str = "net/src/quic/tests/trickle.rs";
const SESSION: &str = "node/src/dispatch/session.rs";

const DAMAGED_FILE: Place =
    Place::Test(DAMAGE, "damaged_file_is_refused_by_name_or_without_effect_never_silent");
const CUT_ANYWHERE: Place =
    Place::Test(POWER, "power_cut_at_any_change_loses_nothing_that_was_answered");

/// What is in no entry, and why.
pub const OPEN: [(u8, &str); 3] = [
    (52, "rolling upgrade: there is one version so far"),
    (57, "back after expiry: of certificates only (56), never with a whole node"),
    (58, "CA rotated during a partition: the CA does not rotate"),
];

/// An entry that other tests cover.
const fn tested(
    number: u8,
    name: &'static str,
    injects: &'static str,
    figure: &'static str,
    places: &'static [Place],
) -> Scenario {
    Scenario { number, name, injects, figure, needs: &[], run: Run::Elsewhere(places) }
}

pub(super) const ALL: [Scenario; 20] = [
    tested(
        9,
        "delay",
        "200±100 ms one way",
        "converges, no acknowledged write lost",
        &[Place::Simulated("slow-links")],
    ),
    tested(
        10,
        "reorder",
        "reordered and replayed packets",
        "taken once each",
        &[Place::Simulated("replayed-datagrams")],
    ),
    tested(
        15,
        "lanes",
        "gossip cut only, Raft cut only",
        "tasks stay while one lane is heard",
        &[Place::Simulated("gossip-lane-cut"), Place::Simulated("raft-lane-cut")],
    ),
    tested(
        23,
        "out-of-memory",
        "killed while it writes a snapshot, as for want of memory",
        "starts again from what it had",
        &[Place::Simulated("killed-while-taking-a-snapshot")],
    ),
    tested(
        35,
        "torn-tail",
        "a torn tail of the log",
        "what was acknowledged is there",
        &[CUT_ANYWHERE, DAMAGED_FILE],
    ),
    tested(
        36,
        "flips-in-log",
        "bit flips in the log",
        "0 silent",
        &[DAMAGED_FILE, Place::Test(BAD_DATA_DIR, "flipped_byte_in_the_log_is_found_and_named")],
    ),
    tested(37, "flips-elsewhere", "bit flips in vote and snapshot", "0 silent", &[DAMAGED_FILE]),
    tested(
        38,
        "old-copy",
        "an old copy of the data directory",
        "does not vote before it has what it had",
        &[
            Place::Test(LOST_REPLICA, "old_copy_of_a_data_directory_knows_that_it_is_one"),
            Place::Simulated("old-copy"),
        ],
    ),
    tested(
        39,
        "wiped-disk",
        "a wiped disk",
        "refused as that node",
        &[
            Place::Test(LOST_REPLICA, "wiped_disk_is_refused_as_that_node"),
            Place::Test(LOST_REPLICA, "emptied_store_is_no_new_node_and_comes_back"),
        ],
    ),
    tested(
        40,
        "crash-points",
        "killed at every write, sync, rename",
        "at every change: nothing acknowledged lost",
        &[CUT_ANYWHERE],
    ),
    tested(
        46,
        "started-twice",
        "a copied data directory started twice",
        "the earlier process gives way; what is in use is refused",
        &[
            Place::Test(
                "chaos-tests/tests/real/doubles.rs",
                "earlier_of_two_processes_of_one_node_gives_way",
            ),
            Place::Test(ADMISSION, "a_copy_of_the_node_itself_is_not_let_in"),
            Place::Test(
                "state/src/store/tests.rs",
                "directory_in_use_is_refused_until_the_last_table_is_dropped",
            ),
        ],
    ),
    tested(
        47,
        "foreign-identity",
        "the identity of another cluster",
        "refused",
        &[
            Place::Test(BAD_DATA_DIR, "tables_or_identity_of_another_cluster_are_refused"),
            Place::Test(ADMISSION, "a_node_of_another_cluster_is_not_let_in"),
        ],
    ),
    tested(
        49,
        "snapshot-members",
        "snapshots, membership changes and partitions",
        "the usual checks",
        &[Place::Simulated("members-change-under-partitions")],
    ),
    tested(
        50,
        "force-new-cluster",
        "two of three lost, recovered, back",
        "the old ones are fenced",
        &[
            Place::Simulated("majority-lost-and-recovered"),
            Place::Test(
                "chaos-tests/tests/real/recovery.rs",
                "survivor_goes_on_alone_restarts_no_task_and_fences_the_old_ones",
            ),
        ],
    ),
    tested(
        51,
        "restored",
        "backup restored while old nodes return",
        "the old ones are fenced",
        &[Place::Test(
            "chaos-tests/tests/real/recovery.rs",
            "backup_begins_the_cluster_anew_and_fences_its_managers",
        )],
    ),
    tested(
        55,
        "monotonic-offsets",
        "offsets of the monotonic clock: apart in every simulated run",
        "the usual checks",
        &[Place::Simulated("wall-clocks-apart")],
    ),
    tested(
        56,
        "short-certificates",
        "certificates that end after a short time",
        "renewed before it ends, refused afterwards",
        &[
            Place::Test(ADMISSION, "a_renewed_certificate_is_shown_before_the_old_one_expires"),
            Place::Test(ADMISSION, "an_expired_certificate_is_refused_until_it_is_renewed"),
        ],
    ),
    tested(
        60,
        "slow-loris",
        "streams that announce much and go on by a byte a second",
        "each ends at its deadline, no small call waits",
        &[
            Place::Test(
                TRICKLE,
                "requests_that_trickle_are_refused_at_their_deadline_and_nobody_waits",
            ),
            Place::Test(
                TRICKLE,
                "messages_that_trickle_end_their_streams_at_their_deadline_and_nobody_waits",
            ),
            Place::Test(
                HOSTILE,
                "a_member_that_announces_much_fills_its_own_budget_and_no_small_call_waits",
            ),
        ],
    ),
    tested(
        61,
        "hostile-frames",
        "hostile frames (10 M cases: `decoders --cases 10000000`)",
        "0 panics",
        &[
            Place::Test(
                "chaos-tests/tests/decoders/main.rs",
                "every_sample_is_taken_and_no_mutant_panics_or_takes_memory_it_does_not_pay_for",
            ),
            Place::Test(
                "chaos-tests/tests/real/hostile_peer.rs",
                "garbage_of_a_member_is_refused_and_the_cluster_goes_on",
            ),
        ],
    ),
    tested(
        62,
        "status-flood",
        "a flood of statuses",
        "slowed to the rate, and nobody else by it",
        &[
            Place::Test(SESSION, "a_flood_of_reports_waits_in_its_stream_and_holds_up_nobody_else"),
            Place::Test(
                "node/src/dispatch/pace.rs",
                "a_burst_passes_and_a_flood_is_slowed_to_the_rate",
            ),
        ],
    ),
];

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::sim::scenarios;

    #[test]
    fn every_place_is_there() {
        let own = Path::new(env!("CARGO_MANIFEST_DIR"));
        let root = own.parent().expect("the crate lies in the workspace");
        for entry in ALL {
            let Run::Elsewhere(places) = entry.run else { continue };
            assert!(!places.is_empty(), "{} is tested nowhere", entry.name);
            for place in places {
                let found = match place {
                    Place::Test(file, name) => std::fs::read_to_string(root.join(file))
                        .is_ok_and(|text| text.contains(&format!("fn {name}("))),
                    Place::Simulated(name) => scenarios::ALL.iter().any(|it| it.name == *name),
                };
                assert!(found, "{} {}: there is no {place}", entry.number, entry.name);
            }
        }
    }
}
