//! Brings a data directory of an older format to the current one. A new one gets its format when it
//! is made, before anything else.
//!
//! Rule: a program reads format N and N-1. A step rewrites one table and then sets the format, so
//! that a crash in between repeats the step.

use super::kv::{Kv, Write};
use super::meta::{FORMAT, MetaTable};
use super::{Error, Table, agent_tasks};

/// Sets the current format.
pub(super) fn format() -> Write {
    MetaTable::format_write(FORMAT)
}

/// Checks the format, and brings an older one up to date.
pub(super) fn migrate(kv: &Kv, agent: &Kv, meta: &MetaTable) -> Result<(), Error> {
    match meta.format()? {
        Some(FORMAT) => Ok(()),
        Some(1) => move_agent_records(kv, agent),
        Some(found) => Err(Error::OtherFormat { path: kv.dir().to_owned(), found, known: FORMAT }),
        None => {
            let what = "the format of the data directory is missing";
            Err(Error::damaged(Table::Votes, kv.dir(), 0, what))
        }
    }
}

/// Format 1 kept the agent's records in the replica's map.
fn move_agent_records(kv: &Kv, agent: &Kv) -> Result<(), Error> {
    let records = kv.scan(&[agent_tasks::PREFIX]);
    let mut gone: Vec<_> = records.iter().map(|(key, _)| Write::Remove(key.clone())).collect();
    gone.push(format());
    let put = |(key, value)| Write::Put(key, value);
    agent.apply_durably(&records.into_iter().map(put).collect::<Vec<_>>())?;
    kv.apply_durably(&gone)
}
