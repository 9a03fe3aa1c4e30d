//! How far this node's replica takes part in the group: a node whose replica may have forgotten
//! something must neither answer the others nor campaign until it was taken in again.
//!
//! Decides nothing: whoever knows how far the replica can be trusted moves it.

use std::sync::Arc;

use tokio::sync::watch;

/// What goes through. Clones share it.
#[derive(Debug, Clone)]
pub struct Gate(Arc<watch::Sender<Passage>>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Passage {
    /// Nothing: no call of the group is answered and no campaign begun.
    Shut,
    /// Records of the leader come in; nobody gets a vote, and no campaign is begun.
    Fed,
    /// Everything.
    Open,
}

impl Gate {
    /// An open one: the replica is what it was when this node last spoke.
    pub fn open_from_the_start() -> Self {
        Self::new(Passage::Open)
    }

    /// A shut one: to be opened when the replica is known to be sound.
    pub fn shut_at_first() -> Self {
        Self::new(Passage::Shut)
    }

    fn new(passage: Passage) -> Self {
        Self(Arc::new(watch::Sender::new(passage)))
    }

    /// Lets the replica take part.
    pub fn open(&self) {
        self.0.send_replace(Passage::Open);
    }

    /// Lets the leader's records in; votes for nobody.
    pub fn feed(&self) {
        self.0.send_replace(Passage::Fed);
    }

    /// Ends its part: what is under way is still answered.
    pub fn shut(&self) {
        self.0.send_replace(Passage::Shut);
    }

    /// Whether it takes part.
    pub fn is_open(&self) -> bool {
        *self.0.borrow() == Passage::Open
    }

    /// Whether the leader's records come in.
    pub fn lets_records_in(&self) -> bool {
        *self.0.borrow() != Passage::Shut
    }

    /// Waits until it takes part.
    pub async fn opened(&self) {
        let mut passage = self.0.subscribe();
        // Its sender lives as long as this.
        let _ = passage.wait_for(|passage| *passage == Passage::Open).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_waits_is_woken_when_the_gate_opens() {
        let gate = Gate::shut_at_first();
        assert!(!gate.is_open() && !gate.lets_records_in());
        let waiting = gate.opened();
        let opener = gate.clone();
        tokio::join!(waiting, async move {
            opener.feed();
            assert!(!opener.is_open() && opener.lets_records_in());
            opener.open();
        });
        assert!(gate.is_open() && gate.lets_records_in());
        gate.shut();
        assert!(!gate.is_open());
        assert!(Gate::open_from_the_start().is_open());
    }
}
