//! What cannot be injected from outside on one machine, and where it is tested instead.

use super::{Run, Scenario};

const SIMULATION: &str = "the simulation does it (`fuzz --seeds N`, docs/design/simulation.md)";
const STORE: &str = "tests of state/src/store and chaos-tests/tests/real/bad_data_dir.rs";
const DECODERS: &str = "the fuzz targets of the decoders";

const fn entry(
    number: u8,
    name: &'static str,
    injects: &'static str,
    place: &'static str,
) -> Scenario {
    Scenario { number, name, injects, figure: "", needs: &[], run: Run::Elsewhere(place) }
}

pub(super) const ALL: [Scenario; 21] = [
    entry(9, "delay", "200±100 ms one way", SIMULATION),
    entry(10, "reorder", "reordered and replayed packets", SIMULATION),
    entry(11, "corruption", "1 % of the bits wrong", SIMULATION),
    entry(
        15,
        "lanes",
        "gossip cut only, Raft cut only",
        "all lanes share one encrypted UDP flow: only the simulation can tell them apart",
    ),
    entry(23, "out-of-memory", "out of memory during a snapshot", SIMULATION),
    entry(35, "torn-tail", "a torn tail of the log", STORE),
    entry(36, "flips-in-log", "bit flips in the log", STORE),
    entry(37, "flips-elsewhere", "bit flips in vote and snapshot", STORE),
    entry(38, "old-copy", "an old copy of the data directory", STORE),
    entry(39, "wiped-disk", "a wiped disk", STORE),
    entry(40, "crash-points", "killed at every write, sync, rename", STORE),
    entry(46, "started-twice", "a copied data directory started twice", STORE),
    entry(47, "foreign-identity", "the identity of another cluster", STORE),
    entry(49, "snapshot-members", "snapshots, membership changes and partitions", SIMULATION),
    entry(
        50,
        "force-new-cluster",
        "two of three lost, recovered, back",
        "tests of `swarm recover`",
    ),
    entry(51, "restored", "backup restored while old nodes return", "tests of `swarm backup`"),
    entry(55, "monotonic-offsets", "offsets of the monotonic clock", SIMULATION),
    entry(56, "short-certificates", "two-minute certificates", SIMULATION),
    entry(60, "slow-loris", "streams that trickle", DECODERS),
    entry(61, "hostile-frames", "hostile frames, 10 M cases", DECODERS),
    entry(62, "status-flood", "a flood of statuses", DECODERS),
];
