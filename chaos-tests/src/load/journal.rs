//! Where the records of a run go: into memory for the checks, and as JSON lines into a file.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::Done;
use crate::history::{F, Kind, Record};
use crate::real::Stopwatch;

/// Collects records.
#[derive(Debug)]
pub struct Journal {
    watch: Stopwatch,
    path: PathBuf,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    records: Vec<Record>,
    file: BufWriter<File>,
    broken: Option<std::io::Error>,
    ran: Option<Duration>,
}

/// Begin and end of an operation, in microseconds since the load began.
pub type Span = (u64, u64);

impl Journal {
    /// An empty journal that is written to `path`.
    ///
    /// # Errors
    /// When the file cannot be made.
    pub fn create(path: &Path) -> Result<Self> {
        let file = File::create(path).with_context(|| format!("create {}", path.display()))?;
        let inner =
            Inner { records: Vec::new(), file: BufWriter::new(file), broken: None, ran: None };
        Ok(Self { watch: Stopwatch::start(), path: path.to_owned(), inner: Mutex::new(inner) })
    }

    /// Time since the beginning, in microseconds.
    pub fn now_us(&self) -> u64 {
        u64::try_from(self.watch.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// The load ends now; what comes later are looks at what it left.
    pub(super) fn closing(&self) {
        self.lock().ran = Some(self.watch.elapsed());
    }

    /// Every register of which there is a record.
    pub fn keys(&self) -> BTreeSet<String> {
        self.lock().records.iter().map(|record| record.key.clone()).collect()
    }

    /// How the operations of this kind that ended between the two times ended.
    pub fn ends(&self, f: F, from_us: u64, to_us: u64) -> Vec<Kind> {
        let inner = self.lock();
        let within = |it: &&Record| it.f == f && (from_us..to_us).contains(&it.t_us);
        let records = inner.records.iter().filter(within).map(|record| record.kind);
        records.filter(|kind| *kind != Kind::Invoke).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a record and sets its time.
    pub fn note(&self, mut record: Record) {
        let mut inner = self.lock();
        // Under the lock: records are in the order of their times, and no two have the same.
        let last = inner.records.last().map_or(0, |last| last.t_us);
        record.t_us = self.now_us().max(last + 1);
        let written = serde_json::to_writer(&mut inner.file, &record)
            .map_err(std::io::Error::from)
            .and_then(|()| inner.file.write_all(b"\n"));
        if let Err(error) = written {
            inner.broken.get_or_insert(error);
        }
        inner.records.push(record);
    }

    /// Acknowledged writes that were asked for at or after `from_us`.
    pub fn writes_since(&self, from_us: u64) -> Vec<Span> {
        let inner = self.lock();
        let first = inner.records.partition_point(|record| record.t_us < from_us);
        spans(&inner.records[first..])
    }

    /// All of it; the file is complete.
    ///
    /// # Errors
    /// When the file could not be written.
    pub fn done(&self) -> Result<Done> {
        let mut inner = self.lock();
        if let Some(error) = inner.broken.take() {
            return Err(error).context("the history could not be written");
        }
        inner.file.flush().context("write the history")?;
        let records = std::mem::take(&mut inner.records);
        let ran = inner.ran.unwrap_or_else(|| self.watch.elapsed());
        Ok(Done { records, path: self.path.clone(), ran })
    }
}

/// Begin and end of the acknowledged writes whose beginning is among the records.
pub(super) fn spans(records: &[Record]) -> Vec<Span> {
    let mut open = BTreeMap::new();
    let mut spans = Vec::new();
    for record in records.iter().filter(|record| record.f == F::Write) {
        match record.kind {
            Kind::Invoke => {
                open.insert(record.process, record.t_us);
            }
            Kind::Ok => {
                let begun = open.remove(&record.process);
                spans.extend(begun.map(|begun| (begun, record.t_us)));
            }
            Kind::Fail | Kind::Unknown => {
                open.remove(&record.process);
            }
        }
    }
    spans
}
