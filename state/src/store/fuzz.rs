//! What the tables read from disk, for the fuzz driver: records, batches, values, whole directories.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use swarm_model::fuzz::Target;
use swarm_model::id::{ClusterId, NodeId, TaskId};

use super::codec::{self, Kind};
use super::disk::{Disk, MemDisk};
use super::kv::{self, Write};
use super::record::{self, HEADER, Header, Stored};
use super::{Identity, LogOptions, Record, Store};

const MAGIC: [u8; 8] = *b"swarmlog";
const EPOCH: u64 = 1;
const DIR: &str = "/data";

/// The bytes of a log segment as they are found.
pub(crate) const RECORDS: Target = Target::new("state.records", records, || vec![segment(3)]);
/// Records whose checksums are right, whatever their fields say.
pub(crate) const SEALED: Target = Target::new("state.sealed-records", sealed, || {
    vec![fields(0, b"abc"), [fields(1, b""), fields(u64::MAX, b"xyz")].concat()]
});
/// The payload of one record of the small tables' journal.
pub(crate) const BATCH: Target = Target::new("state.batch", kv::feed_batch, || {
    let put = |key: &[u8], value: &[u8]| Write::Put(key.to_vec(), value.to_vec());
    vec![kv::batch_bytes(&[put(b"v", b"vote"), Write::Remove(b"x".to_vec()), put(b"", b"")])]
});
/// One value of a small table.
pub(crate) const ENVELOPE: Target = Target::new("state.value", envelope, || {
    [Kind::Vote, Kind::Meta, Kind::Agent].map(|kind| codec::seal(kind, b"abc")).to_vec()
});
/// A data directory with one file replaced: its place in the list, then its bytes.
pub(crate) const FILES: Target = Target::new("state.directory", directory, || {
    let with_place = |(at, path): (usize, &PathBuf)| {
        let mut bytes = vec![u8::try_from(at).expect("are few")];
        bytes.extend(file(good(), path));
        bytes
    };
    files().iter().enumerate().map(with_place).collect()
});

fn header() -> Header {
    Header { magic: MAGIC, epoch: EPOCH, first: 0, durable_end: 0, prev: 0 }
}

fn segment(count: u64) -> Vec<u8> {
    let mut bytes = header().encode().to_vec();
    let mut prev = 0;
    for index in 0..count {
        prev = record::encode(&mut bytes, EPOCH, (index, 1), (index, prev), b"payload");
    }
    bytes.resize(bytes.len() + 100, 0);
    bytes
}

/// Walks as recovery does: as far as records go.
fn walk(bytes: &[u8]) -> usize {
    let (mut at, mut found) = (HEADER.min(bytes.len()), 0);
    while let Stored::Record(head) = record::decode(bytes, at, EPOCH) {
        assert!(at + head.size() <= bytes.len(), "a record ends behind its file");
        at += head.size();
        found += 1;
    }
    let _highest = record::evidence(bytes, at, EPOCH);
    found
}

fn records(bytes: &[u8]) -> bool {
    let _any = Header::decode(bytes, MAGIC, EPOCH);
    walk(bytes) > 0
}

/// Index, term, durable end, previous checksum, length of the payload, payload.
fn fields(index: u64, payload: &[u8]) -> Vec<u8> {
    let mut bytes = index.to_le_bytes().to_vec();
    bytes.extend([1, 0, 0, 0, 0, 0, 0, 0]);
    bytes.extend(index.to_le_bytes());
    bytes.extend([0; 4]);
    bytes.push(u8::try_from(payload.len()).expect("is short"));
    bytes.extend(payload);
    bytes
}

fn sealed(bytes: &[u8]) -> bool {
    let word = |at: usize| bytes.get(at..)?.first_chunk().map(|chunk| u64::from_le_bytes(*chunk));
    let (mut at, mut file) = (0, header().encode().to_vec());
    let mut count = 0;
    while let (Some(index), Some(term), Some(durable_end), Some(length)) =
        (word(at), word(at + 8), word(at + 16), bytes.get(at + 28))
    {
        let prev = word(at + 21).map_or(0, |word| u32::try_from(word >> 40).unwrap_or(0));
        let payload = &bytes[at + 29..(at + 29 + usize::from(*length)).min(bytes.len())];
        record::encode(&mut file, EPOCH, (index, term), (durable_end, prev), payload);
        at += 29 + usize::from(*length);
        count += 1;
    }
    assert_eq!(walk(&file), count, "a sealed record does not read back");
    let disk = MemDisk::new(1);
    put(&disk, &Path::new(DIR).join("store/log/0000000000000001.seg"), &file);
    let _log_or_error = open(&disk);
    count > 0
}

fn envelope(bytes: &[u8]) -> bool {
    [Kind::Vote, Kind::Meta, Kind::Agent].iter().any(|kind| codec::open(*kind, bytes).is_ok())
}

/// A directory with something in every table.
fn good() -> &'static MemDisk {
    static GOOD: OnceLock<MemDisk> = OnceLock::new();
    GOOD.get_or_init(|| {
        let disk = MemDisk::new(1);
        let mut store = open(&disk).expect("is empty");
        let (cluster, node) = (ClusterId::from_raw(1), NodeId::from_raw(2));
        store.meta.claim(Identity { cluster, node }).expect("has room");
        store.vote.save(b"vote").expect("has room");
        store.agent_tasks.put(TaskId::from_raw(3), b"task").expect("has room");
        let record = |index| Record { index, term: 1, payload: vec![7; 20].into() };
        let first = store.log.first_index();
        let records: Vec<_> = (first..first + 5).map(record).collect();
        store.log.append(&records).expect("has room");
        store.log.sync().expect("works");
        let mut snapshot = store.snapshots.create(b"meta").expect("has room");
        snapshot.write(&[5; 300]).expect("has room");
        snapshot.finish().expect("has room");
        store.close().expect("works");
        disk
    })
}

fn files() -> &'static [PathBuf] {
    static FILES: OnceLock<Vec<PathBuf>> = OnceLock::new();
    FILES.get_or_init(|| good().files().into_iter().map(|(path, _)| path).collect())
}

fn file(disk: &MemDisk, path: &Path) -> Vec<u8> {
    let file = disk.open(path).expect("is there");
    let mut bytes = super::disk::read_all(&*file).expect("is memory");
    // Zeros are what lies ahead of the records.
    let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 2);
    bytes.truncate(end);
    bytes
}

fn put(disk: &MemDisk, path: &Path, bytes: &[u8]) {
    let folder = path.parent().expect("is in a folder");
    let written = disk
        .create_dir(folder)
        .and_then(|()| disk.create(path))
        .and_then(|file| file.write_at(0, bytes));
    written.expect("is memory");
}

fn open(disk: &MemDisk) -> Result<Store, super::Error> {
    Store::open_on(Arc::new(disk.clone()), Path::new(DIR), LogOptions::default())
}

fn directory(bytes: &[u8]) -> bool {
    let Some((which, bytes)) = bytes.split_first() else { return false };
    let disk = good().copy(1);
    put(&disk, &files()[usize::from(*which) % files().len()], bytes);
    let Ok(store) = open(&disk) else { return false };
    let log = store.log.read(store.log.first_index()..u64::MAX, 1 << 20);
    let snapshot = store.snapshots.latest().map(|found| found.map(|found| found.read_all()));
    let others = [
        store.vote.read().is_ok(),
        store.agent_tasks.scan().is_ok(),
        store.meta.identity().is_ok(),
        store.meta.high_water().is_ok(),
        store.meta.committed().is_ok(),
    ];
    log.is_ok() && snapshot.is_ok() && others.iter().all(|read| *read)
}
