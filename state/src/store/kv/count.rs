//! How many batches were made durable in a map, as the map itself says and as the other one of its
//! store says. Pure.
//!
//! The other's number is written without a sync after each durable batch: it is never too high, a
//! power cut may take it back, and a killed process leaves it. So a batch that was durable and is not
//! there any more, whatever its bytes look like, shows at the next start.

use super::{Looked, Map, Write};
use crate::store::Error;

const OWN: &[u8] = b"n";
const PARTNER: &[u8] = b"o";

fn read(map: &Map, key: &[u8]) -> u64 {
    map.get(key).and_then(|bytes| bytes.first_chunk()).map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

/// The durable batches of this map.
pub(in crate::store) fn own(map: &Map) -> u64 {
    read(map, OWN)
}

/// The durable batches of the other one, or fewer.
pub(in crate::store) fn partner_of(map: &Map) -> u64 {
    read(map, PARTNER)
}

/// Sets the number of this map.
pub(in crate::store) fn write(count: u64) -> Write {
    Write::Put(OWN.to_vec(), count.to_le_bytes().to_vec())
}

/// Sets the number of the other one.
pub(super) fn partner_write(count: u64) -> Write {
    Write::Put(PARTNER.to_vec(), count.to_le_bytes().to_vec())
}

/// Refuses a map that has fewer batches than the other one knows of.
pub(in crate::store) fn check(one: &Looked, two: &Looked) -> Result<(), Error> {
    for (map, other) in [(one, two), (two, one)] {
        let (found, expected) = (own(&map.map), partner_of(&other.map));
        if found < expected {
            return Err(Error::RolledBack {
                table: map.table,
                file: map.dir.clone(),
                expected: format!("write {expected}"),
                found: format!("write {found}"),
            });
        }
    }
    Ok(())
}
