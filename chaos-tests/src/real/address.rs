//! Loopback addresses that no other test process and no other cluster of this process uses.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Result, ensure};

/// Addresses of one block.
const BLOCK: u32 = 16;
/// Blocks in the addresses of one process: 127.x.y.0 to 127.x.y.255.
const BLOCKS: u32 = 16;
/// The port of nodes, as in production.
const PORT: u16 = 2377;

static TAKEN: AtomicU32 = AtomicU32::new(0);

/// A few addresses of this process.
#[derive(Debug, Clone, Copy)]
pub struct Block {
    base: u32,
}

impl Block {
    /// The next block.
    pub fn take() -> Self {
        let pid = std::process::id();
        // 127.0 to 127.15 stay free for people.
        let (high, low) = (16 + (pid / 256) % 239, pid % 256);
        let number = TAKEN.fetch_add(1, Ordering::Relaxed) % BLOCKS;
        Self { base: (127 << 24) + (high << 16) + (low << 8) + number * BLOCK }
    }

    /// The `number`-th address, from 0.
    ///
    /// # Errors
    /// Beyond the end of the block.
    pub fn ip(&self, number: usize) -> Result<Ipv4Addr> {
        let number = u32::try_from(number)?;
        // The first one would be a network's own address in the first block.
        ensure!(number + 1 < BLOCK, "a block has {} addresses", BLOCK - 1);
        Ok(Ipv4Addr::from_bits(self.base + number + 1))
    }

    /// The address of the `number`-th node.
    ///
    /// # Errors
    /// Beyond the end of the block.
    pub fn node(&self, number: usize) -> Result<SocketAddr> {
        Ok(SocketAddr::from((self.ip(number)?, PORT)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_do_not_overlap() {
        let (a, b) = (Block::take(), Block::take());
        let all = |block: Block| (0..15).map(move |number| block.ip(number).expect("in it"));
        assert!(all(a).all(|ip| ip.is_loopback() && all(b).all(|other| other != ip)));
        assert!(a.ip(15).is_err());
    }
}
