//! The envelope of every value in the small tables: what it is, its format, its length, its CRC32C.
//!
//! The journal below has checksums of its own; this one ties a value to its table and says by
//! which format to read it.

use crc32c::{crc32c, crc32c_append};

/// The newest format of an envelope.
pub(crate) const FORMAT: u8 = 1;
/// Bytes before the payload.
pub(crate) const OVERHEAD: usize = 10;

/// The table that a value belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Vote = 1,
    Meta = 2,
    Agent = 3,
}

/// Wraps `payload` for `kind`.
pub(crate) fn seal(kind: Kind, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("values are limited well below 4 GiB");
    let mut bytes = Vec::with_capacity(OVERHEAD + payload.len());
    bytes.push(FORMAT);
    bytes.push(kind as u8);
    bytes.extend_from_slice(&length.to_le_bytes());
    let crc = crc32c_append(crc32c(&bytes), payload);
    bytes.extend_from_slice(&crc.to_le_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// Unwraps a value of `kind`.
///
/// # Errors
/// What does not fit.
pub(crate) fn open(kind: Kind, bytes: &[u8]) -> Result<&[u8], String> {
    let Some((head, payload)) = bytes.split_at_checked(OVERHEAD) else {
        return Err(format!("{} bytes are too few for a value", bytes.len()));
    };
    if head[0] != FORMAT {
        return Err(format!("format {} is not known (newest: {FORMAT})", head[0]));
    }
    if head[1] != kind as u8 {
        return Err(format!("a value of table {} stands in table {}", head[1], kind as u8));
    }
    let word = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    if usize::try_from(word(2)) != Ok(payload.len()) {
        return Err(format!("{} bytes of payload instead of {}", payload.len(), word(2)));
    }
    if word(6) != crc32c_append(crc32c(&head[..6]), payload) {
        return Err("the checksum does not fit".to_owned());
    }
    Ok(payload)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn envelope_keeps_its_golden_bytes() {
        let golden = [1, 3, 3, 0, 0, 0, 0x17, 0xd0, 0xb5, 0x7a, b'a', b'b', b'c'];
        assert_eq!(seal(Kind::Agent, b"abc"), golden);
        assert_eq!(open(Kind::Agent, &golden), Ok(&b"abc"[..]));
    }

    #[test]
    fn value_of_another_table_is_refused() {
        let error = open(Kind::Vote, &seal(Kind::Agent, b"x")).expect_err("another kind");
        assert!(error.contains("table 3"), "{error}");
    }

    proptest! {
        #[test]
        fn each_flipped_bit_is_found(payload: Vec<u8>, at: prop::sample::Index, bit in 0..8u8) {
            let mut bytes = seal(Kind::Meta, &payload);
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            prop_assert!(open(Kind::Meta, &bytes).is_err());
        }

        #[test]
        fn foreign_bytes_never_panic(bytes: Vec<u8>) {
            let _ = open(Kind::Vote, &bytes);
        }
    }
}
