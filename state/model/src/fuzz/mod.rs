//! What a fuzz driver has to know of a decoder: its name, how to feed it, and bytes that it takes.
//!
//! Every crate that reads bytes of a peer, a disk or a client lists its decoders in a `fuzz` module of its
//! own; the driver is `chaos-tests/src/decoders/`. Nothing of the program calls any of it.

pub mod sample;
mod text;

pub use text::TARGETS;

/// One decoder.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// `crate.what`, as the driver lists it.
    pub name: &'static str,
    /// Feeds it: whether the bytes were taken as valid. Panics when a promise is broken, such as that
    /// what was read and written again reads the same.
    pub feed: fn(&[u8]) -> bool,
    /// Inputs that are valid, to be changed a little.
    pub samples: fn() -> Vec<Vec<u8>>,
}

impl Target {
    /// A decoder called `name`.
    pub const fn new(
        name: &'static str,
        feed: fn(&[u8]) -> bool,
        samples: fn() -> Vec<Vec<u8>>,
    ) -> Self {
        Self { name, feed, samples }
    }
}
