//! Files of a real file system, damaged one at a time: each damage is without effect or refused by
//! name, at every start; what is whole stays; nothing changes silently.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use swarm_state::store::disk::RealDisk;
use swarm_state::store::{Error, Harm, Store, Table};

use crate::ledger::{Content, Ledger, Random};
use crate::{open, seeds};

/// Damages of each table and seed.
const TRIALS: u64 = 60;

/// Every file of a data directory, and what the store says is in them.
struct Original {
    files: Vec<(PathBuf, Vec<u8>)>,
    content: Content,
}

fn start(dir: &Path) -> Result<Store, Error> {
    open(Arc::new(RealDisk::new()), dir)
}

/// A life with everything in it; it ends with a clean stop, or the process is killed.
fn live(seed: u64, clean: bool) -> Original {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let mut store = start(dir.path()).expect("room");
    let mut ledger = Ledger::new(seed);
    ledger.go(&mut store, 100).expect("a sound disk");
    while Content::read(&store).expect("sound").snapshot.is_none() {
        ledger.go(&mut store, 10).expect("a sound disk");
    }
    let last = ledger.append();
    ledger.run(&mut store, &last).expect("a sound disk");
    store.log.sync().expect("a sound disk");
    if clean {
        store.close().expect("a sound disk");
    }
    let content = Content::read(&store).expect("sound");
    drop(store);
    let mut files = Vec::new();
    for folder in ["kv", "agent", "log", "snapshots"] {
        let folder = Path::new("store").join(folder);
        for entry in std::fs::read_dir(dir.path().join(&folder)).expect("a folder") {
            let entry = entry.expect("a file");
            let bytes = std::fs::read(entry.path()).expect("readable");
            files.push((folder.join(entry.file_name()), bytes));
        }
    }
    files.sort();
    Original { files, content }
}

impl Original {
    fn write(&self, dir: &Path) {
        for (path, bytes) in &self.files {
            let path = dir.join(path);
            std::fs::create_dir_all(path.parent().expect("in a folder")).expect("room");
            std::fs::write(path, bytes).expect("room");
        }
    }
}

/// Damages a file's bytes, where there are any; `None` removes the file. Says what it did.
fn damage(random: &mut Random, bytes: &[u8]) -> (String, Option<Vec<u8>>) {
    let used = bytes.iter().rposition(|&byte| byte != 0).map_or(1, |last| last + 1);
    let mut bytes = bytes.to_vec();
    // Half of them near the end, where a damage is most like an unfinished write.
    let near = if random.below(2) == 0 { used.min(120) } else { used };
    let back = usize::try_from(random.below(near.try_into().expect("small"))).expect("small");
    let at = used - 1 - back;
    let what = match random.below(20) {
        0..10 => {
            let bit = random.below(8);
            bytes[at] ^= 1 << bit;
            format!("bit {bit} of byte {at} flipped")
        }
        10..13 => {
            let (from, to) = (at - at % 512, bytes.len().min(at - at % 512 + 512));
            bytes[from..to].fill(0);
            format!("bytes {from} to {to} zeroed")
        }
        13..15 => {
            bytes[at..].fill(0);
            format!("zeros from byte {at} on")
        }
        15..18 => {
            bytes.truncate(at);
            format!("cut to {at} bytes")
        }
        18 => {
            let end = bytes.len().min(at + 16);
            bytes[at..end].fill_with(|| u8::try_from(1 + random.below(255)).expect("a byte"));
            format!("junk at byte {at}")
        }
        _ => return ("removed".to_owned(), None),
    };
    (what, Some(bytes))
}

/// Whether it was refused, and rightly; else it must be without effect.
fn is_refused(dir: &Path, original: &Content, table: Table, folder: &str, what: &str) -> bool {
    let mut refused = false;
    for start_again in 0..2 {
        match start(dir).and_then(|store| Content::read(&store)) {
            Ok(found) => {
                assert!(!refused, "{what}: refused once only");
                assert!(&found == original, "{what}: changed silently");
            }
            Err(error) => {
                assert!(refused || start_again == 0, "{what}: refused at the second start only");
                refused = true;
                assert_eq!(error.harm(), table.harm(), "{what}: {error}");
                let text = error.to_string();
                assert!(text.contains(&format!("store/{folder}")), "{what}: {text}");
                let told = ["damaged at byte", "old copy"].iter().any(|words| text.contains(words));
                assert!(told && text.contains("nothing was changed"), "{what}: {text}");
            }
        }
    }
    refused
}

/// The store begins again without what was lost, and has the rest.
fn check_rest(dir: &Path, original: &Content, table: Table, what: &str) {
    let disk: Arc<dyn swarm_state::store::disk::Disk> = Arc::new(RealDisk::new());
    Store::set_aside_on(&disk, dir, table).unwrap_or_else(|error| panic!("{what}: {error}"));
    let store = start(dir).unwrap_or_else(|error| panic!("{what}: {error}"));
    let found = Content::read(&store).expect("sound");
    let expected = match table.harm() {
        Harm::Replica => Content { agent: original.agent.clone(), ..Content::default() },
        _agent => Content { agent: Content::default().agent, ..original.clone() },
    };
    assert!(found == expected, "{what}: not what must be left");
}

#[test]
fn damaged_file_is_refused_by_name_or_without_effect_never_silent() {
    let tables = [
        (Table::Log, "log"),
        (Table::Votes, "kv"),
        (Table::Snapshots, "snapshots"),
        (Table::Agent, "agent"),
    ];
    for seed in seeds(1) {
        let mut random = Random(seed);
        let originals = [live(seed, false), live(seed, true)];
        let mut found = 0;
        for (table, folder) in tables {
            for trial in 0..TRIALS {
                let original = &originals[usize::from(trial % 2 == 1)];
                let mut files: Vec<_> = original.files.iter().collect();
                files.retain(|(path, _)| path.starts_with(Path::new("store").join(folder)));
                let chosen = random.below(files.len().try_into().expect("a few"));
                let (path, bytes) = files[usize::try_from(chosen).expect("a few")];
                let dir = tempfile::tempdir().expect("a temporary folder");
                original.write(dir.path());
                let (what, damaged) = damage(&mut random, bytes);
                let what = format!("seed {seed}, trial {trial}, {}: {what}", path.display());
                match damaged {
                    Some(bytes) => std::fs::write(dir.path().join(path), bytes),
                    None => std::fs::remove_file(dir.path().join(path)),
                }
                .expect("room");
                if is_refused(dir.path(), &original.content, table, folder, &what) {
                    check_rest(dir.path(), &original.content, table, &what);
                    found += 1;
                }
            }
        }
        assert!(found >= 200, "only {found} damages had an effect");
    }
}
