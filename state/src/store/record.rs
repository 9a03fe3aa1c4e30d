//! One stored record as bytes, and the header of the file it stands in. Pure: no I/O.
//!
//! Every file of the log and of the key-value journal is a [`Header`] and then records until the
//! first zero byte. A record carries its length, index, term and the checksum of the record before
//! it, and is sealed by two CRC32Cs (over its head, so that a length can be trusted, and over all).
//! Both are seeded with the file's epoch, so bytes of another file never pass. Head and record end
//! with a byte that is not zero: on a file of zeros, a write that was cut short shows.

use crc32c::{crc32c, crc32c_append};

/// Bytes of a file's header; records follow.
pub(crate) const HEADER: usize = 64;
/// Bytes of a record before its payload.
pub(crate) const HEAD: usize = 37;
/// Bytes of a record beside its payload.
pub(crate) const OVERHEAD: usize = HEAD + 1;
/// The largest payload.
pub(crate) const MAX_PAYLOAD: usize = 4 << 20;

/// The newest file format known here.
pub(crate) const FORMAT: u32 = 1;
const TAG: u8 = 0xe1;
const MARK: u8 = 0x5a;
const SECTOR: usize = 512;

/// What a file's header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    /// Which table the file belongs to.
    pub(crate) magic: [u8; 8],
    /// Grows with each file of a folder; a file never gets another one's.
    pub(crate) epoch: u64,
    /// Index of its first record. Records of older files from here on do not count.
    pub(crate) first: u64,
    /// Records below this index were durable when the file was made.
    pub(crate) durable_end: u64,
    /// Checksum of the record before `first`; 0 if there is none.
    pub(crate) prev: u32,
}

/// What the first bytes of a file are.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum HeaderBytes {
    Valid(Header),
    /// Never written to the end.
    Torn,
    OtherFormat(u32),
    Damaged(&'static str),
}

impl Header {
    pub(crate) fn encode(&self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        bytes[..8].copy_from_slice(&self.magic);
        bytes[8..16].copy_from_slice(&self.epoch.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.first.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.durable_end.to_le_bytes());
        bytes[32..36].copy_from_slice(&self.prev.to_le_bytes());
        bytes[36..40].copy_from_slice(&FORMAT.to_le_bytes());
        let crc = crc32c(&bytes[..59]);
        bytes[59..63].copy_from_slice(&crc.to_le_bytes());
        bytes[63] = MARK;
        bytes
    }

    /// Reads the header of the file that should be `magic`'s and `epoch`'s.
    pub(crate) fn decode(file: &[u8], magic: [u8; 8], epoch: u64) -> HeaderBytes {
        let Some(bytes) = file.first_chunk::<HEADER>() else { return HeaderBytes::Torn };
        if bytes[63] == 0 {
            return HeaderBytes::Torn;
        }
        if bytes[63] != MARK || u32_at(bytes, 59) != crc32c(&bytes[..59]) {
            return HeaderBytes::Damaged("the header's checksum does not fit");
        }
        let format = u32_at(bytes, 36);
        if format != FORMAT {
            return HeaderBytes::OtherFormat(format);
        }
        if bytes[..8] != magic || u64_at(bytes, 8) != epoch {
            return HeaderBytes::Damaged("the header belongs to another file");
        }
        HeaderBytes::Valid(Self {
            magic,
            epoch,
            first: u64_at(bytes, 16),
            durable_end: u64_at(bytes, 24),
            prev: u32_at(bytes, 32),
        })
    }
}

/// A record's fields beside its payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) index: u64,
    pub(crate) term: u64,
    /// Records below this index were durable when this one was written.
    pub(crate) durable_end: u64,
    /// Checksum of the record before.
    pub(crate) prev: u32,
    /// Checksum over all of this record.
    pub(crate) crc: u32,
    /// Bytes of payload.
    pub(crate) length: usize,
}

impl Head {
    /// Bytes of the whole record.
    pub(crate) fn size(&self) -> usize {
        self.length + OVERHEAD
    }
}

/// What stands at a place in a file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Stored {
    Record(Head),
    /// Zeros, or the end of the file: nothing was written here.
    Nothing,
    /// The start of a write that was cut short.
    Torn,
    Damaged(&'static str),
}

/// Appends a record to `buf` and returns its checksum. The payload is within [`MAX_PAYLOAD`].
pub(crate) fn encode(
    buf: &mut Vec<u8>,
    epoch: u64,
    (index, term): (u64, u64),
    (durable_end, prev): (u64, u32),
    payload: &[u8],
) -> u32 {
    let length = u32::try_from(payload.len()).expect("payloads are checked against MAX_PAYLOAD");
    let lag = u32::try_from(index.saturating_sub(durable_end)).unwrap_or(u32::MAX);
    let mut head = [0; HEAD];
    head[0] = TAG;
    head[1..4].copy_from_slice(&length.to_le_bytes()[..3]);
    head[4..12].copy_from_slice(&index.to_le_bytes());
    head[12..20].copy_from_slice(&term.to_le_bytes());
    head[20..24].copy_from_slice(&lag.to_le_bytes());
    head[24..28].copy_from_slice(&prev.to_le_bytes());
    let crc = checksum(epoch, &head, payload);
    head[28..32].copy_from_slice(&crc.to_le_bytes());
    let head_crc = crc32c_append(seed(epoch), &head[..32]);
    head[32..36].copy_from_slice(&head_crc.to_le_bytes());
    head[36] = MARK;
    buf.extend_from_slice(&head);
    buf.extend_from_slice(payload);
    buf.push(MARK);
    crc
}

/// Reads the head at the start of `bytes`, without looking at the payload.
pub(crate) fn decode_head(bytes: &[u8], epoch: u64) -> Option<Head> {
    let head = bytes.first_chunk::<HEAD>()?;
    if head[0] != TAG || head[36] != MARK {
        return None;
    }
    if crc32c_append(seed(epoch), &head[..32]) != u32_at(head, 32) {
        return None;
    }
    let length = u32::from_le_bytes([head[1], head[2], head[3], 0]);
    let index = u64_at(head, 4);
    Some(Head {
        index,
        term: u64_at(head, 12),
        durable_end: index.saturating_sub(u32_at(head, 20).into()),
        prev: u32_at(head, 24),
        crc: u32_at(head, 28),
        length: usize::try_from(length).ok()?,
    })
}

/// Judges what stands at `at` in `file`. A cut write leaves zeros at the end of a record or head,
/// or sectors of zeros in it; complete bytes that do not fit their checksum are damage (etcd's
/// log tells them apart in the same way).
pub(crate) fn decode(file: &[u8], at: usize, epoch: u64) -> Stored {
    let bytes = file.get(at..).unwrap_or_default();
    if bytes.iter().take(HEAD).all(|&byte| byte == 0) {
        return Stored::Nothing;
    }
    let Some(head) = decode_head(bytes, epoch) else {
        let torn = is_torn(file, at, HEAD);
        return if torn { Stored::Torn } else { Stored::Damaged("a record's head is not valid") };
    };
    let whole = bytes.get(HEAD..head.size());
    let fits = whole.is_some_and(|rest| {
        let (payload, mark) = rest.split_at(head.length);
        let mut zeroed = [0; HEAD];
        zeroed.copy_from_slice(&bytes[..HEAD]);
        mark == [MARK] && checksum(epoch, &zeroed, payload) == head.crc
    });
    if fits {
        return Stored::Record(head);
    }
    let torn = is_torn(file, at, head.size());
    if torn { Stored::Torn } else { Stored::Damaged("a record's checksum does not fit") }
}

/// The highest `durable_end` that any record head from `at` on tells of.
pub(crate) fn evidence(file: &[u8], at: usize, epoch: u64) -> u64 {
    let mut found = 0;
    let mut rest = file.get(at..).unwrap_or_default();
    while let Some(next) = rest.iter().position(|&byte| byte == TAG) {
        rest = &rest[next..];
        found = found.max(decode_head(rest, epoch).map_or(0, |head| head.durable_end));
        rest = &rest[1..];
    }
    found
}

fn is_torn(file: &[u8], at: usize, size: usize) -> bool {
    let end = at + size;
    if file.get(end - 1).is_none_or(|&last| last == 0) {
        return true;
    }
    let mut from = at;
    while from < end {
        let to = end.min(from + SECTOR - from % SECTOR);
        if file[from..to].iter().all(|&byte| byte == 0) {
            return true;
        }
        from = to;
    }
    false
}

fn seed(epoch: u64) -> u32 {
    crc32c(&epoch.to_le_bytes())
}

/// Over the epoch, the head's fields before the checksums, and the payload.
fn checksum(epoch: u64, head: &[u8; HEAD], payload: &[u8]) -> u32 {
    crc32c_append(crc32c_append(seed(epoch), &head[..28]), payload)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes[at..].first_chunk().map_or(0, |chunk| u32::from_le_bytes(*chunk))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes[at..].first_chunk().map_or(0, |chunk| u64::from_le_bytes(*chunk))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HEADER_1: Header =
        Header { magic: *b"swarmlog", epoch: 2, first: 3, durable_end: 1, prev: 0x0403_0201 };

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn formats_keep_their_golden_bytes() {
        let mut bytes = Vec::new();
        encode(&mut bytes, 2, (3, 4), (1, 0x0403_0201), b"abc");
        assert_eq!(hex(&bytes), GOLDEN_RECORD);
        assert_eq!(hex(&HEADER_1.encode()), GOLDEN_HEADER);
    }

    const GOLDEN_RECORD: &str =
        "e103000003000000000000000400000000000000020000000102030420d0d91aaba6f72b5a6162635a";
    const GOLDEN_HEADER: &str = "737761726d6c6f6702000000000000000300000000000000\
        010000000000000001020304010000000000000000000000000000000000000000000005f8ffc75a";

    fn file(payloads: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = HEADER_1.encode().to_vec();
        for payload in payloads {
            encode(&mut bytes, 2, (3, 4), (1, 5), payload);
        }
        bytes.resize(bytes.len() + 700, 0);
        bytes
    }

    proptest! {
        #[test]
        fn record_round_trips(
            epoch: u64, index: u64, term: u64, lag in 0..u64::from(u32::MAX), prev: u32,
            payload: Vec<u8>,
        ) {
            let mut bytes = Vec::new();
            let durable_end = index.saturating_sub(lag);
            let crc = encode(&mut bytes, epoch, (index, term), (durable_end, prev), &payload);
            let length = payload.len();
            let head = Head { index, term, durable_end, prev, crc, length };
            prop_assert_eq!(decode(&bytes, 0, epoch), Stored::Record(head));
            prop_assert_eq!(head.size(), bytes.len());
            prop_assert!(decode(&bytes, 0, epoch.wrapping_add(1)) != Stored::Record(head));
        }

        #[test]
        fn write_that_was_cut_at_any_byte_is_torn(payload: Vec<u8>, cut: prop::sample::Index) {
            let mut bytes = file(std::slice::from_ref(&payload));
            let cut = HEADER + cut.index(payload.len() + OVERHEAD);
            bytes[cut..].fill(0);
            let stored = decode(&bytes, HEADER, 2);
            prop_assert!(matches!(stored, Stored::Torn | Stored::Nothing), "{stored:?}");
        }

        #[test]
        fn write_that_lost_a_sector_is_torn(
            size in 0..3000usize, at in 0..600usize, sector: prop::sample::Index,
        ) {
            let mut bytes = file(&[vec![1; at], vec![2; size]]);
            let start = HEADER + at + OVERHEAD;
            let end = start + size + OVERHEAD;
            let (first, last) = (start / SECTOR, (end - 1) / SECTOR);
            let lost = (first + sector.index(last - first + 1)) * SECTOR;
            bytes[lost.max(start)..(lost + SECTOR).min(end)].fill(0);
            let stored = decode(&bytes, start, 2);
            prop_assert!(matches!(stored, Stored::Torn | Stored::Nothing), "{stored:?}");
        }

        #[test]
        fn flipped_bit_in_a_whole_record_is_damage(
            payload in prop::collection::vec(1..255u8, 0..900),
            at: prop::sample::Index,
            bit in 0..8u8,
        ) {
            let mut bytes = file(std::slice::from_ref(&payload));
            bytes[HEADER + at.index(payload.len() + OVERHEAD)] ^= 1 << bit;
            let stored = decode(&bytes, HEADER, 2);
            prop_assert!(matches!(stored, Stored::Damaged(_)), "{stored:?}");
        }

        #[test]
        fn foreign_bytes_never_panic(bytes: Vec<u8>, at in 0..100usize) {
            let _ = decode(&bytes, at, 1);
            let _ = Header::decode(&bytes, *b"swarmlog", 1);
            prop_assert_eq!(evidence(&bytes, at, 1), 0);
        }
    }
}
