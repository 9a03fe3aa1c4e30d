//! How far the other members' wall clocks are from this node's, asked for `swarm doctor`.
//!
//! Nothing is decided by it.

use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use serde::{Deserialize, Serialize};
use swarm_model::id::NodeId;
use swarm_model::units::Timestamp;
use swarm_net::frame;
use swarm_net::rpc::Method;
use tokio::time::Instant;
use utoipa::ToSchema;

use crate::core::Core;

/// How long a member may take to say what time it is.
const DEADLINE: Duration = Duration::from_secs(2);

/// One member's clock, seen from here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct PeerClock {
    /// The member.
    #[serde(rename = "NodeID")]
    pub node_id: NodeId,
    /// Its host name.
    pub hostname: String,
    /// By how much its clock is ahead of this node's, in milliseconds; negative: behind.
    pub ahead_ms: i64,
    /// How long the question took: the answer may be wrong by half of it.
    pub round_trip_ms: u64,
}

/// Answers [`Method::Clock`].
pub(crate) fn serve(core: &Core) -> Bytes {
    frame::encode(&core.clock.now())
}

/// Asks all members at once; who does not answer is left out.
pub(crate) async fn ask(core: &Core) -> Vec<PeerClock> {
    let view = core.consensus.view();
    let others = view.nodes.values().filter(|node| node.id != core.id);
    let asked = others.map(|node| async {
        let (sent, began) = (core.clock.now(), Instant::now());
        let answer = core.transport.call(node.id, Method::Clock, Bytes::new(), DEADLINE).await;
        let theirs: Timestamp = frame::decode(&answer.ok()?).ok()?;
        let (node_id, hostname) = (node.id, node.description.hostname.clone());
        Some(compare(node_id, hostname, sent, began.elapsed(), theirs))
    });
    join_all(asked).await.into_iter().flatten().collect()
}

/// The answer was given in the middle of the round trip, as far as one can tell.
fn compare(
    node_id: NodeId,
    hostname: String,
    sent: Timestamp,
    took: Duration,
    theirs: Timestamp,
) -> PeerClock {
    let millis = |at: Timestamp| i64::try_from(at.as_millis()).unwrap_or(i64::MAX);
    let round_trip_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    let half = i64::try_from(round_trip_ms / 2).unwrap_or(i64::MAX);
    let ahead_ms = millis(theirs).saturating_sub(millis(sent).saturating_add(half));
    PeerClock { node_id, hostname, ahead_ms, round_trip_ms }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_round_trip_is_not_held_against_a_clock() {
        let ahead = |theirs| {
            let (sent, theirs) = (Timestamp::from_millis(1000), Timestamp::from_millis(theirs));
            let took = Duration::from_millis(40);
            compare(NodeId::from_raw(1), String::new(), sent, took, theirs).ahead_ms
        };
        assert_eq!((ahead(1020), ahead(1000), ahead(2020)), (0, -20, 1000));
        assert_eq!(ahead(u64::MAX), i64::MAX - 1020);
    }
}
