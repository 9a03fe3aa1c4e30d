//! Histories in short: `x w1 0-5 @3` writes 1 to x from 0 to 5 µs and is answered with revision 3,
//! `x r1 6-8 @3` reads it, `r-` reads that there is nothing, `-?` is never known, `-!` failed.

use crate::history::revisions::Written;
use crate::history::{History, Kind, Record};

/// A history of these operations, each by a process of its own.
pub(super) fn history(operations: &[&str]) -> History {
    let mut records = Vec::new();
    for (process, text) in operations.iter().enumerate() {
        records.extend(operation(u32::try_from(process).expect("few"), text));
    }
    History::new(&records).expect("a well-formed history")
}

fn operation(process: u32, text: &str) -> [Record; 2] {
    let words: Vec<&str> = text.split_whitespace().collect();
    let (key, (f, value)) = (words[0], words[1].split_at(1));
    let value = (value != "-").then(|| value.parse().expect("a value"));
    let (from, to) = words[2].split_once('-').expect("a span");
    let from = from.parse().expect("a time");
    let begin = match f {
        "w" => Record::write(from, process, key, value),
        _ => Record::read(from, process, key),
    };
    let end = match to {
        "?" => begin.ended(u64::MAX, Kind::Unknown),
        "!" => begin.ended(from + 1, Kind::Fail),
        to => {
            let end = begin.ended(to.parse().expect("a time"), Kind::Ok);
            let revision = words.get(3).map(|at| at[1..].parse().expect("a revision"));
            Record { value, revision, ..end }
        }
    };
    [begin, end]
}

/// A log of `x=1@3` each.
pub(super) fn log(writes: &[&str]) -> Vec<Written> {
    let written = |text: &&str| {
        let (key, rest) = text.split_once('=').expect("a key");
        let (value, revision) = rest.split_once('@').expect("a revision");
        let value = (value != "-").then(|| value.parse().expect("a value"));
        Written { key: key.to_owned(), value, revision: revision.parse().expect("a revision") }
    };
    writes.iter().map(written).collect()
}
