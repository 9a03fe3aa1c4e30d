//! Changes valid inputs a little, by seed: flips, cuts, repeats, splices, numbers at their edges.

/// Numbers that decoders have trouble with.
const EDGES: [u64; 12] = [
    0,
    1,
    0x7f,
    0xff,
    0x7fff,
    0xffff,
    0x7fff_ffff,
    0xffff_ffff,
    1 << 32,
    u64::MAX >> 1,
    u64::MAX - 1,
    u64::MAX,
];
/// Bytes that mean something to one of the formats: bincode's widths, tags, ASN.1, JSON, templates.
const TOKENS: [&[u8]; 24] = [
    &[251, 255, 255],
    &[252, 255, 255, 255, 255],
    &[253, 255, 255, 255, 255, 255, 255, 255, 255],
    &[254, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255],
    &[255],
    &[0, 0, 0, 0],
    &[0x30, 0x84, 0xff, 0xff, 0xff, 0xff],
    &[0x30, 0x80],
    b"{{",
    b"}}",
    b"[[[[[[[[[[[[[[[[",
    b"{\"a\":",
    b"null",
    b"-1",
    b"1e999",
    b"18446744073709551616",
    b"9999999999999999999h",
    b".",
    b"==",
    b"\xc3\xa4",
    b"\xf0\x9f\x98\x80",
    b"\0",
    b"\\u0000",
    b"\n",
];
/// The longest input.
const LONGEST: usize = 1 << 16;

/// Draws of SplitMix64 (Steele et al. 2014): quick, and the same for ever.
#[derive(Debug, Clone)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Below `end`, which is not 0.
    pub(super) fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end.max(1)).unwrap_or(u64::MAX);
        usize::try_from(self.next() % end).unwrap_or(0)
    }

    fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[0]
    }

    fn range(&mut self, length: usize) -> std::ops::Range<usize> {
        let (one, other) = (self.below(length + 1), self.below(length + 1));
        one.min(other)..one.max(other)
    }
}

/// A changed copy of one of `pool`.
pub(super) fn mutant(random: &mut Random, pool: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = pool.get(random.below(pool.len())).cloned().unwrap_or_default();
    for _ in 0..=random.below(4) {
        change(random, &mut bytes, pool);
    }
    bytes.truncate(LONGEST);
    bytes
}

fn change(random: &mut Random, bytes: &mut Vec<u8>, pool: &[Vec<u8>]) {
    let length = bytes.len();
    let at = random.below(length);
    match random.below(13) {
        0 if length > 0 => bytes[at] ^= 1 << random.below(8),
        1 if length > 0 => bytes[at] = random.byte(),
        2 => bytes.truncate(at),
        3 => drop(bytes.drain(random.range(length))),
        4 => insert(bytes, at, TOKENS[random.below(TOKENS.len())]),
        5 => overwrite(bytes, at, TOKENS[random.below(TOKENS.len())]),
        6 => {
            let edge = EDGES[random.below(EDGES.len())];
            let width = 1 << random.below(4);
            let number = if random.below(2) == 0 { edge.to_le_bytes() } else { edge.to_be_bytes() };
            let part = if random.below(2) == 0 { &number[..width] } else { &number[8 - width..] };
            overwrite(bytes, at, part);
        }
        7 => {
            // A part again and again: where a few bytes become much memory.
            let range = random.range(length.min(64));
            let times = 1 << random.below(12);
            let part = bytes[range].repeat(times);
            insert(bytes, at, &part[..part.len().min(LONGEST)]);
        }
        8 => {
            let Some(other) = pool.get(random.below(pool.len())) else { return };
            let range = random.range(other.len());
            insert(bytes, at, &other[range]);
        }
        9 if length > 0 => {
            // A number of one byte becomes a wide one.
            let wide = TOKENS[random.below(5)];
            bytes.splice(at..=at, wide.iter().copied());
        }
        11 if length > 0 => bytes[at] = bytes[at].wrapping_add(1),
        10 if length > 0 => bytes[at] = bytes[at].wrapping_sub(1),
        _ => {
            let noise: Vec<u8> = (0..random.below(32)).map(|_| random.byte()).collect();
            insert(bytes, at, &noise);
        }
    }
}

fn insert(bytes: &mut Vec<u8>, at: usize, part: &[u8]) {
    if bytes.len() + part.len() <= LONGEST {
        bytes.splice(at..at, part.iter().copied());
    }
}

fn overwrite(bytes: &mut [u8], at: usize, part: &[u8]) {
    for (to, from) in bytes.iter_mut().skip(at).zip(part) {
        *to = *from;
    }
}
