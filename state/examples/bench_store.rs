//! Measures where the Raft log could live: a raw file, the log table, sled.
//!
//! `bench_store DIR [ROUNDS]` prints the table of docs/design/storage.md: durable commits of 1, 8
//! and 64 entries of 256 bytes, as a group commit makes them for that many waiting writers, the engines
//! taking turns; then what each engine says to single flipped bits. Bytes are the device's, so they
//! are only exact when DIR is a file system of its own. The ratio is to a raw append + `fdatasync`.
#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a measuring tool: it prints, reads the clock, and stops at the first surprise"
)]

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use swarm_state::store::disk::RealDisk;
use swarm_state::store::{LogOptions, Record, Store};

const ENGINES: [&str; 4] = ["raw", "log", "log-unzeroed", "sled"];
/// Entries a commit: what a group commit gathers from that many waiting writers.
const BATCHES: [u64; 3] = [1, 8, 64];
/// Commits of one engine before the next one's turn.
const TURNS: u64 = 10;
const PAYLOAD: usize = 256;
const FLIPS: u64 = 200;

trait Engine: Send {
    /// Durable when it returns.
    fn commit(&mut self, first: u64, payloads: &[Bytes]);
}

struct Raw(File, Vec<u8>);

impl Engine for Raw {
    fn commit(&mut self, first: u64, payloads: &[Bytes]) {
        self.1.clear();
        for (index, payload) in (first..).zip(payloads) {
            self.1.extend_from_slice(&index.to_le_bytes());
            self.1.extend_from_slice(payload);
        }
        self.0.write_all(&self.1).unwrap();
        self.0.sync_data().unwrap();
    }
}

impl Engine for Store {
    fn commit(&mut self, first: u64, payloads: &[Bytes]) {
        let record = |(index, payload): (u64, &Bytes)| {
            let payload = payload.clone();
            Record { index, term: 1, payload }
        };
        let records: Vec<_> = (first..).zip(payloads).map(record).collect();
        self.log.append(&records).unwrap();
        self.log.sync().unwrap();
    }
}

/// sled as it would have to be used: `flush` alone does not reach the disk.
struct Sled(sled::Db, File);

impl Sled {
    fn open(dir: &Path) -> sled::Result<Self> {
        let config = sled::Config::new().path(dir).flush_every_ms(None).cache_capacity(8 << 20);
        let db = config.mode(sled::Mode::LowSpace).open()?;
        let file = File::open(dir.join("db")).unwrap();
        Ok(Self(db, file))
    }
}

impl Engine for Sled {
    fn commit(&mut self, first: u64, payloads: &[Bytes]) {
        let mut batch = sled::Batch::default();
        for (index, payload) in (first..).zip(payloads) {
            batch.insert(&index.to_be_bytes(), &payload[..]);
        }
        self.0.apply_batch(batch).unwrap();
        self.0.flush().unwrap();
        self.1.sync_data().unwrap();
    }
}

fn open(engine: &str, dir: &Path) -> Box<dyn Engine> {
    let store = |options| Store::open_on(Arc::new(RealDisk::new()), dir, options).unwrap();
    match engine {
        "raw" => {
            let file = File::options().create(true).append(true).open(dir.join("raw")).unwrap();
            Box::new(Raw(file, Vec::new()))
        }
        "log" => Box::new(store(LogOptions::default())),
        "log-unzeroed" => Box::new(store(LogOptions { zero_step: 1, ..LogOptions::default() })),
        _ => Box::new(Sled::open(&dir.join("sled")).unwrap()),
    }
}

/// Bytes that do not compress.
fn payload(seed: u64) -> Bytes {
    let mut x = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(PAYLOAD);
    while bytes.len() < PAYLOAD {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        bytes.extend_from_slice(&x.to_le_bytes());
    }
    Bytes::from(bytes)
}

/// Bytes that the block device below `dir` has written, the file system's own included. Only what
/// this program wrote if the file system is its own, such as ext4 on a loop device. (The counter
/// of the process will not do: it takes a whole large folio for each small write.)
fn device_bytes(dir: &Path) -> u64 {
    let device = fs::metadata(dir).unwrap().dev();
    let (major, minor) = ((device >> 8) & 0xfff, (device & 0xff) | ((device >> 12) & 0xf_ff00));
    let text = fs::read_to_string(format!("/sys/dev/block/{major}:{minor}/stat")).unwrap();
    text.split_whitespace().nth(6).unwrap().parse::<u64>().unwrap() * 512
}

fn proc_number(file: &str, key: &str) -> u64 {
    let text = fs::read_to_string(file).unwrap();
    let line = text.lines().find(|line| line.starts_with(key)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn payloads(seed: u64, count: u64) -> Vec<Bytes> {
    (0..count).map(|at| payload(seed << 20 | at)).collect()
}

/// Device bytes an entry and peak memory of one engine, printed for the parent.
fn measure(engine: &str, batch: u64, dir: &Path) {
    let mut engine = open(engine, dir);
    let before = device_bytes(dir);
    let commits = (20_000 / batch).min(2_000);
    for commit in 0..commits {
        engine.commit(commit * batch, &payloads(commit, batch));
    }
    let written = device_bytes(dir) - before;
    let memory = proc_number("/proc/self/status", "VmHWM:") / 1024;
    println!("{} {memory}", written / (commits * batch));
}

/// Times of commits in microseconds, sorted, for each engine. The engines take turns every few
/// milliseconds, so that all meet the same machine.
fn race(batch: u64, rounds: u64, dir: &Path) -> Vec<Vec<u128>> {
    let mut engines = Vec::new();
    for engine in ENGINES {
        let dir = dir.join(engine);
        fresh(&dir);
        engines.push((open(engine, &dir), Vec::new()));
    }
    for round in 0..rounds {
        for (engine, times) in &mut engines {
            for turn in 0..TURNS {
                let commit = round * TURNS + turn;
                let payloads = payloads(commit, batch);
                let start = Instant::now();
                engine.commit(commit * batch, &payloads);
                times.push(start.elapsed().as_micros());
            }
        }
    }
    engines.iter_mut().for_each(|(_, times)| times.sort_unstable());
    engines.into_iter().map(|(_, times)| times).collect()
}

fn fresh(dir: &Path) {
    let _ = fs::remove_dir_all(dir);
    fs::create_dir_all(dir).unwrap();
}

fn flip(file: &Path, turn: u64) -> (u64, Vec<u8>) {
    let bytes = fs::read(file).unwrap();
    let used = bytes.len() - bytes.iter().rev().take_while(|&&byte| byte == 0).count();
    let at = turn.wrapping_mul(0x9e37_79b9_7f4a_7c15) % used as u64;
    let mut flipped = bytes.clone();
    flipped[usize::try_from(at).unwrap()] ^= 1 << (turn % 8);
    fs::write(file, flipped).unwrap();
    (at, bytes)
}

/// Flips one bit in a small closed store: how often was it refused, lost silently, or harmless?
fn flips(engine: &str, dir: &Path) {
    fresh(dir);
    let payloads: Vec<_> = (0..400).map(payload).collect();
    let file = match engine {
        "sled" => {
            let mut sled = Sled::open(&dir.join("sled")).unwrap();
            sled.commit(0, &payloads);
            dir.join("sled/db")
        }
        _ => {
            let mut store =
                Store::open_on(Arc::new(RealDisk::new()), dir, LogOptions::default()).unwrap();
            store.commit(0, &payloads);
            store.close().unwrap();
            dir.join("store/log/0000000000000001.seg")
        }
    };
    let (mut refused, mut silent, mut harmless) = (0, 0, 0);
    for turn in 0..FLIPS {
        let (_, original) = flip(&file, turn);
        let read: Option<Vec<Vec<u8>>> = match engine {
            "sled" => std::panic::catch_unwind(|| {
                let sled = Sled::open(&dir.join("sled")).ok()?;
                sled.0.iter().map(|pair| Some(pair.ok()?.1.to_vec())).collect()
            })
            .unwrap_or(None),
            _ => Store::open_on(Arc::new(RealDisk::new()), dir, LogOptions::default())
                .and_then(|store| store.log.read(0..400, usize::MAX))
                .map(|records| records.iter().map(|record| record.payload.to_vec()).collect())
                .ok(),
        };
        match read {
            None => refused += 1,
            Some(read) if read.iter().eq(payloads.iter()) => harmless += 1,
            Some(_) => silent += 1,
        }
        if engine == "sled" {
            // It may have written; start over.
            fresh(dir);
            let mut sled = Sled::open(&dir.join("sled")).unwrap();
            sled.commit(0, &payloads);
        } else {
            fs::write(&file, original).unwrap();
        }
    }
    println!("{engine:12} {FLIPS} flips: {refused} refused, {silent} SILENT, {harmless} harmless");
}

fn compare(dir: &Path, rounds: u64) {
    println!("engine         batch   p50 us   p99 us  entries/s  ratio  bytes/entry  peak MiB");
    for batch in BATCHES {
        let times = race(batch, rounds, dir);
        let middle = |times: &[u128]| times[times.len() / 2].max(1);
        for (engine, mine) in ENGINES.iter().zip(&times) {
            let one = dir.join("one");
            fresh(&one);
            let mut child = Command::new(std::env::current_exe().unwrap());
            let output =
                child.args(["one", engine, &batch.to_string()]).arg(&one).output().unwrap();
            let text = String::from_utf8(output.stdout).unwrap();
            let (bytes, memory) = text.trim().split_once(' ').unwrap();
            let (p50, p99) = (middle(mine), mine[mine.len() * 99 / 100]);
            let speed = u128::from(batch) * 1_000_000 / p50;
            let ratio = middle(&times[0]) as f64 / p50 as f64;
            println!(
                "{engine:12} {batch:7} {p50:8} {p99:8} {speed:10} {ratio:6.2} \
                 {bytes:>12} {memory:>9}"
            );
        }
    }
    for engine in ["log", "sled"] {
        flips(engine, &dir.join("flips"));
    }
    fs::remove_dir_all(dir).unwrap();
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [_, "one", engine, batch, dir] => measure(engine, batch.parse().unwrap(), Path::new(dir)),
        [_, dir] => compare(&Path::new(dir).join("bench_store"), 60),
        [_, dir, rounds] => compare(&Path::new(dir).join("bench_store"), rounds.parse().unwrap()),
        _ => println!("usage: bench_store DIR [ROUNDS]"),
    }
}
