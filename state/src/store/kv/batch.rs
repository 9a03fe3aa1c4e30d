//! A batch of writes as one record's payload. Pure.

use std::collections::BTreeMap;

use super::file::FoundJournal;
use crate::store::record::MAX_PAYLOAD;
use crate::store::{Error, Table};

/// Bytes of a write beside key and value.
const OVERHEAD: usize = 6;
const REMOVED: u32 = u32::MAX;

/// One change of the map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// Sets a key.
    Put(Vec<u8>, Vec<u8>),
    /// Removes a key; one that is absent is fine.
    Remove(Vec<u8>),
}

impl Write {
    pub(super) fn size(&self) -> usize {
        match self {
            Self::Put(key, value) => OVERHEAD + key.len() + value.len(),
            Self::Remove(key) => OVERHEAD + key.len(),
        }
    }
}

/// The bytes a pair takes in a journal.
pub(super) fn weight(key: &[u8], value: &[u8]) -> u64 {
    u64::try_from(OVERHEAD + key.len() + value.len()).expect("usize fits u64")
}

/// The fewest runs of writes of which each fits one record.
pub(super) fn split(mut writes: &[Write]) -> Vec<&[Write]> {
    let mut parts = Vec::new();
    while !writes.is_empty() {
        let mut size = 0;
        let fitting = writes.iter().take_while(|write| {
            size += write.size();
            size <= MAX_PAYLOAD
        });
        let (part, rest) = writes.split_at(fitting.count().max(1));
        parts.push(part);
        writes = rest;
    }
    parts
}

/// `key length u16, value length u32 or all ones, key, value` for each write.
pub(in crate::store) fn encode(writes: &[Write]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(writes.iter().map(Write::size).sum());
    for write in writes {
        match write {
            Write::Put(key, value) => put(&mut bytes, key, Some(value)),
            Write::Remove(key) => put(&mut bytes, key, None),
        }
    }
    bytes
}

/// The map as payloads of records of at most 1 MiB, or one pair each.
pub(super) fn image(map: &BTreeMap<Vec<u8>, Vec<u8>>) -> Vec<Vec<u8>> {
    let mut parts = vec![Vec::new()];
    for (key, value) in map {
        let part = parts.last_mut().expect("never empty");
        if part.is_empty() || part.len() + OVERHEAD + key.len() + value.len() <= 1 << 20 {
            put(part, key, Some(value));
        } else {
            let mut part = Vec::new();
            put(&mut part, key, Some(value));
            parts.push(part);
        }
    }
    parts
}

fn put(bytes: &mut Vec<u8>, key: &[u8], value: Option<&Vec<u8>>) {
    let key_length = u16::try_from(key.len()).expect("keys are a few bytes");
    let value_length = value.map_or(REMOVED, |value| {
        u32::try_from(value.len()).expect("values are checked against MAX_PAYLOAD")
    });
    bytes.extend_from_slice(&key_length.to_le_bytes());
    bytes.extend_from_slice(&value_length.to_le_bytes());
    bytes.extend_from_slice(key);
    bytes.extend_from_slice(value.map_or(&[], Vec::as_slice));
}

fn apply(mut bytes: &[u8], map: &mut BTreeMap<Vec<u8>, Vec<u8>>) -> Option<()> {
    while !bytes.is_empty() {
        let (head, rest) = bytes.split_at_checked(OVERHEAD)?;
        let key_length = usize::from(u16::from_le_bytes([head[0], head[1]]));
        let value_length = u32::from_le_bytes([head[2], head[3], head[4], head[5]]);
        let (key, rest) = rest.split_at_checked(key_length)?;
        if value_length == REMOVED {
            map.remove(key);
            bytes = rest;
        } else {
            let (value, rest) = rest.split_at_checked(usize::try_from(value_length).ok()?)?;
            map.insert(key.to_vec(), value.to_vec());
            bytes = rest;
        }
    }
    Some(())
}

/// For the fuzz driver: reads a batch of unknown origin; whether it is one.
pub(in crate::store) fn feed(bytes: &[u8]) -> bool {
    apply(bytes, &mut BTreeMap::new()).is_some()
}

/// Builds the map from a journal's batches.
pub(super) fn replay(
    found: &FoundJournal,
    table: Table,
    map: &mut BTreeMap<Vec<u8>, Vec<u8>>,
) -> Result<(), Error> {
    for payload in &found.payloads {
        apply(payload, map)
            .ok_or_else(|| Error::damaged(table, &found.path, 0, "a batch does not parse"))?;
    }
    Ok(())
}
