//! The bytes of an archive on their way to the `tar` crate, which reads names of any length into memory and
//! takes the end of the bytes for that of the archive: here the one is bounded, and the other is told.

use std::cell::Cell;
use std::io::{self, Read};

/// Bytes between the contents of two entries: heads, long names, attributes, what of contents nobody read.
const HEADS_MAX: u64 = 1 << 20;

/// Looks on while an archive is read.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// What may still be read.
    left: Cell<u64>,
    is_over: Cell<bool>,
}

impl Watch {
    /// `inner` under this watch.
    pub(super) fn over<R: Read>(&self, inner: R) -> Watched<'_, R> {
        Watched { watch: self, inner }
    }

    /// From here on the head of an entry is read.
    pub(super) fn head(&self) {
        self.left.set(HEADS_MAX);
    }

    /// From here on what an entry has is read; it goes to the disk.
    pub(super) fn contents(&self) {
        self.left.set(u64::MAX);
    }

    /// Whether there were no more bytes before the archive said that there would be none.
    pub(super) fn is_cut(&self) -> bool {
        self.is_over.get()
    }
}

/// Bytes under a watch.
#[derive(Debug)]
pub(super) struct Watched<'a, R> {
    watch: &'a Watch,
    inner: R,
}

impl<R: Read> Read for Watched<'_, R> {
    fn read(&mut self, part: &mut [u8]) -> io::Result<usize> {
        let left = self.watch.left.get();
        let room = part.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        if room == 0 && !part.is_empty() {
            let most = HEADS_MAX >> 20;
            return Err(io::Error::other(format!("names in it take more than {most} MiB")));
        }
        let count = self.inner.read(&mut part[..room])?;
        self.watch.left.set(left - count as u64);
        self.watch.is_over.set(count == 0 && room > 0);
        Ok(count)
    }
}
