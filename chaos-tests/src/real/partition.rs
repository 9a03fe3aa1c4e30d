//! Cuts the network between addresses of a cluster with nft; heals when dropped.
//!
//! Only packets between the given loopback addresses are touched, by rules in a table of our own.

use std::io::Write as _;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context as _, Result, bail};

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// Packets between two groups of addresses are dropped while this lives.
#[derive(Debug)]
pub struct Partition {
    table: String,
}

/// Whether this process may use nft.
pub fn can_partition() -> bool {
    rustix::process::geteuid().is_root() && nft("list tables").is_ok()
}

impl Partition {
    /// Cuts every address of `side` off from every address of `other`, both ways.
    ///
    /// # Errors
    /// When nft refuses.
    pub fn between(side: &[SocketAddr], other: &[SocketAddr]) -> Result<Self> {
        let pairs = side.iter().flat_map(|a| other.iter().map(move |b| (*a, *b)));
        Self::of(pairs.flat_map(|(a, b)| [(a, b), (b, a)]))
    }

    /// Drops what the first of each pair sends to the second.
    ///
    /// # Errors
    /// When nft refuses.
    pub fn of(links: impl IntoIterator<Item = (SocketAddr, SocketAddr)>) -> Result<Self> {
        Self::matching(links, "")
    }

    /// Drops those packets that the first of each pair sends to the second and that `filter`
    /// matches, in nft's words; an empty filter matches all.
    ///
    /// # Errors
    /// When nft refuses.
    pub fn matching(
        links: impl IntoIterator<Item = (SocketAddr, SocketAddr)>,
        filter: &str,
    ) -> Result<Self> {
        Self::with(links, &format!("{filter} counter drop"))
    }

    /// Overwrites four bytes in so many percent of the packets, within what QUIC protects.
    ///
    /// # Errors
    /// When nft refuses.
    pub fn corrupting(
        links: impl IntoIterator<Item = (SocketAddr, SocketAddr)>,
        percent: u32,
    ) -> Result<Self> {
        // In bits from the UDP header on: bytes 32 to 35 of the datagram.
        let change = "udp length > 60 @th,320,32 set 0x5a5a5a5a counter";
        Self::with(links, &format!("numgen random mod 100 < {percent} {change}"))
    }

    fn with(links: impl IntoIterator<Item = (SocketAddr, SocketAddr)>, rule: &str) -> Result<Self> {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let table = format!("swarm_chaos_{}_{number}", std::process::id());
        // At the receiver: a drop on the way out would be told to the sender as an error.
        let mut rules = format!(
            "table ip {table} {{ chain cut {{ type filter hook input priority 0; policy accept;\n"
        );
        for (from, to) in links {
            let (from, to) = (from.ip(), to.ip());
            rules += &format!("ip saddr {from} ip daddr {to} {rule}\n");
        }
        rules += "}\n}\n";
        nft(&rules)?;
        Ok(Self { table })
    }

    /// Packets dropped or changed so far: a cut that hit nothing was none.
    ///
    /// # Errors
    /// When nft refuses.
    pub fn hit(&self) -> Result<u64> {
        let rules = nft(&format!("list table ip {}", self.table))?;
        let packets = rules.split("packets ").skip(1);
        Ok(packets.filter_map(|rest| rest.split(' ').next()?.parse::<u64>().ok()).sum())
    }
}

impl Drop for Partition {
    fn drop(&mut self) {
        if let Err(error) = nft(&format!("delete table ip {}", self.table)) {
            tracing::error!(%error, "the partition may still be there");
        }
    }
}

/// Both directions of every link among `nodes`.
pub fn all_links(nodes: &[SocketAddr]) -> Vec<(SocketAddr, SocketAddr)> {
    let pairs = nodes.iter().flat_map(|a| nodes.iter().map(move |b| (*a, *b)));
    pairs.filter(|(a, b)| a != b).collect()
}

fn nft(rules: &str) -> Result<String> {
    let mut child = Command::new("nft")
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("run nft")?;
    child.stdin.take().context("nft's input")?.write_all(rules.as_bytes())?;
    let output = child.wait_with_output()?;
    if !output.status.success() {
        bail!("nft: {}", String::from_utf8_lossy(&output.stderr).trim_end());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
