//! What was not packed though nothing went wrong.

use std::path::Path;

use super::error::plain;

/// Sockets that are named; of more only the number is told.
const NAMED_MAX: usize = 100;

/// Sockets: nobody could connect to their copies.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LeftOut {
    named: Vec<String>,
    more: u64,
}

impl LeftOut {
    pub(super) fn add(&mut self, socket: &Path) {
        if self.named.len() < NAMED_MAX {
            self.named.push(plain(socket));
        } else {
            self.more += 1;
        }
    }

    /// Whether all was packed.
    pub fn is_empty(&self) -> bool {
        self.named.is_empty()
    }

    /// For a person, a sentence each.
    pub fn sentences(&self) -> impl Iterator<Item = String> {
        let named = self.named.iter().map(|name| format!("{name} is a socket and was left out"));
        let more = (self.more > 0).then(|| format!("so were {} more sockets", self.more));
        named.chain(more)
    }
}
