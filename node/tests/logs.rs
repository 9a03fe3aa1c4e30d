//! The log ring as its users see it: what a writer wrote, readers get, in order and in bounds.
#![expect(clippy::unwrap_used, reason = "tests end at the first surprise")]

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::StreamExt;
use proptest::prelude::*;
use swarm_model::clock::Clock;
use swarm_model::id::TaskId;
use swarm_model::units::{Bytes, Timestamp};
use swarm_node::logs::{LogLimits, LogLine, LogQuery, LogStore, LogStream, LogWriter, MAX_LINE};

const TASK: TaskId = TaskId::from_raw(7);
const DEADLINE: Duration = Duration::from_secs(20);

/// Each look is one millisecond later.
#[derive(Debug, Default)]
struct Ticking(AtomicU64);

impl Clock for Ticking {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.fetch_add(1, Ordering::Relaxed))
    }
}

struct Ring {
    _home: tempfile::TempDir,
    store: LogStore,
    clock: Arc<Ticking>,
}

impl Ring {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let store = LogStore::open(home.path().join("logs")).unwrap();
        Self { _home: home, store, clock: Arc::default() }
    }

    fn writer(&self, max_file: u64, max_files: u32) -> LogWriter {
        let limits = LogLimits { max_file: Bytes(max_file), max_files };
        LogWriter::open(self.store.ring(TASK), limits, self.clock.clone()).unwrap()
    }

    fn small(&self) -> LogWriter {
        self.writer(128 << 10, 3)
    }

    async fn lines(&self, query: LogQuery) -> Vec<LogLine> {
        let lines = self.store.query(TASK, query).map(Result::unwrap).collect();
        tokio::time::timeout(DEADLINE, lines).await.unwrap()
    }

    async fn texts(&self, query: LogQuery) -> Vec<String> {
        let lines = self.lines(query).await;
        lines.iter().map(|line| String::from_utf8_lossy(&line.text).into_owned()).collect()
    }

    fn path(&self) -> std::path::PathBuf {
        self.store.ring(TASK)
    }
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn number(writer: &mut LogWriter, numbers: std::ops::Range<u32>) {
    for number in numbers {
        writer.push(LogStream::Stdout, format!("{number:0>99}\n").as_bytes());
        if number % 100 == 0 {
            writer.flush();
        }
    }
    writer.flush();
}

#[tokio::test]
async fn lines_come_back_as_they_were_written() {
    let ring = Ring::new();
    let mut writer = ring.small();
    writer.push(LogStream::Stdout, b"one\ntw");
    writer.push(LogStream::Stderr, b"oops\n");
    writer.push(LogStream::Stdout, b"o\n\n\xff\xfe\nno end");
    writer.finish();
    let lines = ring.lines(LogQuery::default()).await;
    let got: Vec<_> = lines.iter().map(|line| (line.stream, &line.text[..])).collect();
    let expect: [(LogStream, &[u8]); 6] = [
        (LogStream::Stdout, b"one"),
        (LogStream::Stderr, b"oops"),
        (LogStream::Stdout, b"two"),
        (LogStream::Stdout, b""),
        (LogStream::Stdout, b"\xff\xfe"),
        (LogStream::Stdout, b"no end"),
    ];
    assert_eq!(got, expect);
    assert!(lines.is_sorted_by_key(|line| line.at));
}

#[tokio::test]
async fn a_task_that_never_wrote_has_no_lines() {
    let ring = Ring::new();
    assert_eq!(ring.lines(LogQuery::default()).await, []);
    assert_eq!(ring.lines(LogQuery { tail: Some(3), ..LogQuery::default() }).await, []);
    ring.small().finish();
    assert_eq!(ring.lines(LogQuery { follow: true, ..LogQuery::default() }).await, []);
}

#[tokio::test]
async fn who_does_not_follow_gets_nothing_that_is_written_while_he_reads() {
    for tail in [None, Some(1), Some(2)] {
        let ring = Ring::new();
        let mut writer = ring.small();
        writer.push(LogStream::Stdout, b"one\ntwo\n");
        writer.flush();
        let mut lines = ring.store.query(TASK, LogQuery { tail, ..LogQuery::default() });
        let mut texts = vec![lines.next().await.unwrap().unwrap().text];
        // Rotates, too: some of it in the same file, the rest in others.
        number(&mut writer, 0..3000);
        while let Some(line) = lines.next().await {
            texts.push(line.unwrap().text);
        }
        let want: &[&[u8]] = if tail == Some(1) { &[b"two"] } else { &[b"one", b"two"] };
        assert_eq!(texts, want, "{tail:?}");
    }
}

#[tokio::test]
async fn the_ring_is_bounded_and_keeps_the_newest_lines_over_rotations() {
    let ring = Ring::new();
    let mut writer = ring.small();
    number(&mut writer, 0..10_000);
    writer.finish();
    let texts = ring.texts(LogQuery::default()).await;
    let first: u32 = texts[0].parse().unwrap();
    assert!(first > 5_000, "old lines are dropped: {first}");
    let expect: Vec<String> = (first..10_000).map(|number| format!("{number:0>99}")).collect();
    assert_eq!(texts, expect);
    let names = names(&ring.path());
    assert_eq!(names.iter().filter(|name| name.ends_with(".gz")).count(), 2, "{names:?}");
    assert_eq!(names.len(), 4, "two compressed, one plain, the end mark: {names:?}");
    let usage = ring.store.usage().await.unwrap();
    assert!(usage[&TASK] < Bytes(3 * (128 << 10)), "{usage:?}");
}

#[tokio::test]
async fn tail_gives_the_last_lines_even_from_compressed_files() {
    let ring = Ring::new();
    let mut writer = ring.small();
    number(&mut writer, 0..3_000);
    for count in [0, 1, 10, 1_200, 2_500, 9_999] {
        let texts = ring.texts(LogQuery { tail: Some(count), ..LogQuery::default() }).await;
        let kept = ring.texts(LogQuery::default()).await.len();
        assert_eq!(texts.len(), count.min(kept), "tail {count}");
        assert_eq!(texts.last().is_some_and(|last| last.ends_with("2999")), count > 0);
    }
}

#[tokio::test]
async fn since_and_until_bound_the_lines() {
    let ring = Ring::new();
    let mut writer = ring.small();
    number(&mut writer, 0..100);
    let all = ring.lines(LogQuery::default()).await;
    let (since, until) = (Some(all[20].at), Some(all[30].at));
    let query = LogQuery { since, until, ..LogQuery::default() };
    assert_eq!(ring.lines(query).await, all[20..=30]);
    let query = LogQuery { tail: Some(2), ..query };
    assert_eq!(ring.lines(query).await, all[29..=30]);
}

#[tokio::test]
async fn a_follower_sees_every_line_over_rotations_and_ends_with_the_task() {
    let ring = Ring::new();
    let mut writer = ring.writer(128 << 10, 50);
    number(&mut writer, 0..10);
    let query = LogQuery { follow: true, tail: Some(5), ..LogQuery::default() };
    let mut lines = ring.store.query(TASK, query);
    let first = tokio::time::timeout(DEADLINE, lines.next()).await.unwrap().unwrap().unwrap();
    assert!(first.text.ends_with(b"05"));
    let writing = std::thread::spawn(move || {
        number(&mut writer, 10..10_000);
        writer.finish();
    });
    let rest: Vec<_> =
        tokio::time::timeout(DEADLINE, lines.map(Result::unwrap).collect()).await.unwrap();
    writing.join().unwrap();
    let texts: Vec<_> = rest.iter().map(|line| String::from_utf8_lossy(&line.text)).collect();
    let expect: Vec<String> = (6..10_000).map(|number| format!("{number:0>99}")).collect();
    assert_eq!(texts, expect);
}

#[tokio::test]
async fn a_torn_last_record_is_passed_over_and_a_second_life_goes_on_behind_it() {
    let ring = Ring::new();
    let mut writer = ring.small();
    number(&mut writer, 0..10);
    drop(writer);
    let file = ring.path().join("00000001.log");
    let length = fs::metadata(&file).unwrap().len();
    fs::OpenOptions::new().write(true).open(&file).unwrap().set_len(length - 5).unwrap();
    assert_eq!(ring.texts(LogQuery::default()).await.len(), 9);
    let mut writer = ring.small();
    number(&mut writer, 10..12);
    let texts = ring.texts(LogQuery::default()).await;
    assert_eq!(texts.len(), 11);
    assert!(texts[9].ends_with("10"));
}

#[tokio::test]
async fn damage_in_the_middle_costs_the_damaged_lines_only() {
    let ring = Ring::new();
    let mut writer = ring.small();
    number(&mut writer, 0..100);
    drop(writer);
    let file = ring.path().join("00000001.log");
    let mut bytes = fs::read(&file).unwrap();
    bytes[1_000..1_200].fill(0);
    bytes.splice(4_000..4_000, vec![0; 200_000]);
    fs::write(&file, bytes).unwrap();
    let texts = ring.texts(LogQuery::default()).await;
    assert!((95..100).contains(&texts.len()), "{}", texts.len());
    assert!(texts.last().unwrap().ends_with("99"));
}

#[tokio::test]
async fn a_removed_ring_is_gone() {
    let ring = Ring::new();
    ring.small().finish();
    ring.store.remove(TASK).await.unwrap();
    ring.store.remove(TASK).await.unwrap();
    assert_eq!(ring.store.usage().await.unwrap().len(), 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// However the output is cut into reads, the same bytes come back, long lines in marked parts.
    #[test]
    fn lines_do_not_depend_on_how_they_were_read(
        lines in proptest::collection::vec((0usize..3 * MAX_LINE, any::<u8>()), 1..6),
        cuts in proptest::collection::vec(1usize..90_000, 1..9),
    ) {
        let lines: Vec<Vec<u8>> = lines
            .into_iter()
            .map(|(length, byte)| vec![if byte == b'\n' { b'x' } else { byte }; length])
            .collect();
        let ring = Ring::new();
        let mut writer = ring.writer(10 << 20, 3);
        let bytes = lines.join(&b'\n');
        let mut rest = &bytes[..];
        for cut in cuts.into_iter().cycle() {
            let (now, later) = rest.split_at(cut.min(rest.len()));
            writer.push(LogStream::Stdout, now);
            writer.flush();
            rest = later;
            if rest.is_empty() {
                break;
            }
        }
        writer.push(LogStream::Stdout, b"\n");
        writer.finish();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let mut got = vec![Vec::new()];
        for line in runtime.block_on(ring.lines(LogQuery::default())) {
            prop_assert!(line.text.len() <= MAX_LINE);
            got.last_mut().unwrap().extend_from_slice(&line.text);
            if !line.partial {
                got.push(Vec::new());
            }
        }
        got.pop();
        prop_assert_eq!(got, lines);
    }
}
