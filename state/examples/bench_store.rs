//! Measures where the Raft log could live: a raw file, the log table, sled.
//!
//! `bench_store DIR [SECONDS]` prints the table of docs/design/storage.md: group-committed durable
//! appends of 256 bytes with 1, 8 and 64 waiting writers, each engine in a process of its own,
//! then what each engine says to single flipped bits. Bytes are the device's, so they are only exact
//! when DIR is a file system of its own. Speed is given as a ratio to a raw append
//! with `fdatasync` of the same minute, since a busy machine changes the absolute figures.
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
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use swarm_state::store::disk::RealDisk;
use swarm_state::store::{LogOptions, Record, Store};

const ENGINES: [&str; 4] = ["raw", "log", "log-unzeroed", "sled"];
const WRITERS: [usize; 3] = [1, 8, 64];
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

type Waiting = (Bytes, mpsc::SyncSender<()>);

fn commit_all(mut engine: Box<dyn Engine>, queue: &mpsc::Receiver<Waiting>) -> (u64, u64) {
    let (mut next, mut commits) = (0, 0);
    while let Ok(first) = queue.recv() {
        let mut batch = vec![first];
        batch.extend(queue.try_iter().take(1023));
        let payloads: Vec<_> = batch.iter().map(|(payload, _)| payload.clone()).collect();
        engine.commit(next, &payloads);
        next += batch.len() as u64;
        commits += 1;
        for (_, done) in batch {
            done.send(()).unwrap();
        }
    }
    (next, commits)
}

/// One engine, one number of writers: `entries/s p50 p99 commits/s bytes/entry rss`.
fn measure(engine: &str, writers: usize, seconds: u64, dir: &Path) {
    let engine = open(engine, dir);
    let before = device_bytes(dir);
    let (queue, queued) = mpsc::sync_channel::<Waiting>(1024);
    let stop = Arc::new(AtomicBool::new(false));
    let start = Instant::now();
    let committer = thread::spawn(move || commit_all(engine, &queued));
    let writing: Vec<_> = (0..writers as u64)
        .map(|writer| {
            let (queue, stop) = (queue.clone(), stop.clone());
            thread::spawn(move || {
                let (done, acknowledged) = mpsc::sync_channel(1);
                let mut latencies = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let start = Instant::now();
                    let seed = writer << 40 | latencies.len() as u64;
                    queue.send((payload(seed), done.clone())).unwrap();
                    acknowledged.recv().unwrap();
                    latencies.push(start.elapsed());
                }
                latencies
            })
        })
        .collect();
    drop(queue);
    thread::sleep(Duration::from_secs(seconds));
    stop.store(true, Ordering::Relaxed);
    let mut latencies: Vec<_> = writing.into_iter().flat_map(|w| w.join().unwrap()).collect();
    latencies.sort_unstable();
    let (entries, commits) = committer.join().unwrap();
    let elapsed = start.elapsed().as_secs_f64();
    let written = device_bytes(dir) - before;
    let at = |percent: usize| latencies[(latencies.len() - 1) * percent / 100].as_micros();
    println!(
        "{:.0} {} {} {:.0} {:.0} {}",
        entries as f64 / elapsed,
        at(50),
        at(99),
        commits as f64 / elapsed,
        written as f64 / entries as f64,
        proc_number("/proc/self/status", "VmHWM:") / 1024,
    );
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

fn compare(dir: &Path, seconds: &str) {
    println!(
        "engine        writers  entries/s  ratio  p50 us  p99 us  commits/s  bytes/entry  peak MiB"
    );
    for writers in WRITERS {
        let mut raw = 1.0;
        for engine in ENGINES {
            fresh(dir);
            let mut child = Command::new(std::env::current_exe().unwrap());
            let output = child
                .args(["one", engine, &writers.to_string(), seconds])
                .arg(dir)
                .output()
                .unwrap();
            let text = String::from_utf8(output.stdout).unwrap();
            let numbers: Vec<f64> =
                text.split_whitespace().map(|number| number.parse().unwrap()).collect();
            let [speed, p50, p99, commits, bytes, rss] = numbers[..] else {
                println!("{engine} failed: {}", String::from_utf8_lossy(&output.stderr));
                continue;
            };
            if engine == "raw" {
                raw = speed;
            }
            let ratio = speed / raw;
            println!(
                "{engine:12} {writers:8} {speed:10.0} {ratio:6.2} {p50:7.0} {p99:7.0} {commits:10.0} {bytes:12.0} {rss:9.0}"
            );
        }
    }
    for engine in ["log", "sled"] {
        flips(engine, dir);
    }
    fresh(dir);
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [_, "one", engine, writers, seconds, dir] => {
            measure(engine, writers.parse().unwrap(), seconds.parse().unwrap(), Path::new(dir));
        }
        [_, dir] => compare(&Path::new(dir).join("bench_store"), "5"),
        [_, dir, seconds] => compare(&Path::new(dir).join("bench_store"), seconds),
        _ => println!("usage: bench_store DIR [SECONDS]"),
    }
}
