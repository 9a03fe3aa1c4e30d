//! How one direction between two nodes behaves. Cuts are not here: a cut link has no behaviour.

use std::time::Duration;

use rand::RngExt;
use rand::rngs::StdRng;

/// Waited before a lost packet is sent again; doubles each time, as QUIC's probe time-out does.
const RETRANSMIT: Duration = Duration::from_millis(30);
/// A packet lost so often in a row is as good as delivered late.
const MAX_RETRANSMITS: u32 = 8;

/// Delay and loss of one direction.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Link {
    /// The least time a packet takes.
    pub delay: Duration,
    /// Up to this much more, drawn evenly for each packet; datagrams overtake each other by it.
    pub jitter: Duration,
    /// The part of packets that is lost, 0.0 to 1.0. Datagrams vanish; calls and streams get late.
    pub loss: f64,
    /// The part of datagrams that arrive a second time, 0.0 to 1.0.
    pub replay: f64,
}

impl Link {
    /// A quiet local network.
    pub const LAN: Self = Self {
        delay: Duration::from_micros(200),
        jitter: Duration::from_micros(300),
        loss: 0.0,
        replay: 0.0,
    };

    /// What a packet takes on average.
    pub(crate) fn mean(&self) -> Duration {
        self.delay + self.jitter / 2
    }

    fn transit(&self, rng: &mut StdRng) -> Duration {
        self.delay + self.jitter.mul_f64(rng.random_range(0.0..=1.0))
    }

    /// How long a datagram takes, if it arrives.
    pub(crate) fn datagram(&self, rng: &mut StdRng) -> Option<Duration> {
        let transit = self.transit(rng);
        (!self.loses(rng)).then_some(transit)
    }

    /// How long after its sending a datagram that arrived arrives again, if it does.
    pub(crate) fn echo(&self, rng: &mut StdRng) -> Option<Duration> {
        let again = self.replay > 0.0 && rng.random_range(0.0..1.0) < self.replay;
        again.then(|| self.transit(rng))
    }

    /// How long a message takes that is sent until it arrives.
    pub(crate) fn message(&self, rng: &mut StdRng) -> Duration {
        let mut late = Duration::ZERO;
        for attempt in 0..MAX_RETRANSMITS {
            if !self.loses(rng) {
                break;
            }
            late += RETRANSMIT * (1 << attempt) + self.delay;
        }
        late + self.transit(rng)
    }

    fn loses(&self, rng: &mut StdRng) -> bool {
        self.loss > 0.0 && rng.random_range(0.0..1.0) < self.loss
    }
}

impl Default for Link {
    fn default() -> Self {
        Self::LAN
    }
}
