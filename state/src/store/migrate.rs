//! Brings a data directory of an older format to the current one; today there is only one format.
//!
//! Rule: a program reads format N and N-1. A step rewrites one table and then sets the format, so
//! that a crash in between repeats the step.

use super::kv::Kv;
use super::meta::{FORMAT, MetaTable};
use super::{Error, Table};

/// Checks the format, and sets it in a new directory.
pub(super) fn migrate(kv: &Kv, meta: &MetaTable) -> Result<(), Error> {
    match meta.format()? {
        Some(FORMAT) => Ok(()),
        Some(found) => Err(Error::OtherFormat { path: kv.dir().to_owned(), found, known: FORMAT }),
        // Set before anything else is written: without it only an unfinished first start is here.
        None if kv.scan(b"").is_empty() => meta.set_format(FORMAT),
        None => Err(Error::damaged(
            Table::Votes,
            kv.dir(),
            0,
            "the format of the data directory is missing",
        )),
    }
}
