//! Whether the wall clock has been set, and agrees with the other members'.

use std::time::Duration;

use swarm_model::units::Timestamp;

use super::Finding;
use crate::clocks::PeerClock;
use crate::join::CLOCK_TOLERANCE;

/// 2025-01-01: boards without a battery wake up long before it.
const NOT_SET: Timestamp = Timestamp::from_millis(1_735_689_600_000);
/// Beyond this, logs of several nodes are not in order, and schedules fire at another moment.
const NOTABLE: Duration = Duration::from_secs(1);

const FIX: &str = "keep the clocks by NTP: systemd-timesyncd, chrony, or ntpd";

pub(super) fn check(now: Timestamp, peers: &[PeerClock]) -> Vec<Finding> {
    let set = match now < NOT_SET {
        true => {
            let found = format!("it is {now} here: this clock was never set");
            Finding::bad("clock", found, FIX)
        }
        false => Finding::ok("clock", format!("it is {now} here")),
    };
    [Some(set), apart(peers)].into_iter().flatten().collect()
}

/// How far the clocks are from the other members', when these could be asked.
fn apart(peers: &[PeerClock]) -> Option<Finding> {
    const CHECK: &str = "clocks";
    // What the network may have added is in the clock's favour.
    let off = |peer: &PeerClock| {
        let apart = peer.ahead_ms.unsigned_abs();
        Duration::from_millis(apart.saturating_sub(peer.round_trip_ms / 2))
    };
    let worst = peers.iter().max_by_key(|peer| off(peer))?;
    let direction = if worst.ahead_ms < 0 { "behind" } else { "ahead of" };
    let found = format!("{} is {:.1?} {direction} this node", worst.hostname, off(worst));
    Some(match off(worst) {
        off if off >= CLOCK_TOLERANCE => {
            let found = format!(
                "{found}: one of the two could not join, and certificates begin late or end early"
            );
            Finding::bad(CHECK, found, FIX)
        }
        off if off >= NOTABLE => Finding::warn(CHECK, found, FIX),
        _ => Finding::ok(CHECK, format!("within {NOTABLE:.0?} of {} other members", peers.len())),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Verdict;
    use swarm_model::id::NodeId;

    fn peer(ahead_ms: i64, round_trip_ms: u64) -> PeerClock {
        PeerClock { node_id: NodeId::from_raw(1), hostname: "n1".into(), ahead_ms, round_trip_ms }
    }

    #[test]
    fn the_farthest_clock_counts_and_slow_links_are_no_fault() {
        let verdict = |peers: &[PeerClock]| apart(peers).map(|it| it.verdict);
        assert_eq!(verdict(&[]), None);
        assert_eq!(verdict(&[peer(400, 10), peer(-900, 10)]), Some(Verdict::Ok));
        assert_eq!(verdict(&[peer(400, 10), peer(-2000, 10)]), Some(Verdict::Warn));
        assert_eq!(verdict(&[peer(-2000, 3000)]), Some(Verdict::Ok));
        assert_eq!(verdict(&[peer(400_000, 10)]), Some(Verdict::Bad));
        let behind = apart(&[peer(-2000, 0)]).expect("one peer");
        assert!(behind.found.contains("n1 is 2.0s behind this node"), "{behind:?}");
    }

    #[test]
    fn a_clock_before_this_program_was_never_set() {
        assert_eq!(check(Timestamp::from_millis(86_400_000), &[])[0].verdict, Verdict::Bad);
        assert_eq!(check(NOT_SET, &[])[0].verdict, Verdict::Ok);
    }
}
