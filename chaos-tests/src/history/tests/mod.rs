//! Histories that are right and histories that are wrong, made by hand and by chance.

mod generated;
mod hand;
mod notation;

use super::History;
use super::revisions::{Evidence, Written};
use super::{blind, revisions};

/// What the check by revisions says, without a log.
fn by_revision(history: &History) -> Result<(), String> {
    revisions::check(history, Evidence::Nothing).map(drop)
}

/// What the check by revisions says, with the whole log.
fn by_log(history: &History, writes: &[Written]) -> Result<(), String> {
    revisions::check(history, Evidence::Log { from: 0, writes }).map(drop)
}

/// What the blind check says.
fn blindly(history: &History) -> Result<(), String> {
    let checked = blind::check(history)?;
    assert_eq!(checked.given_up, 0, "small histories are judged");
    Ok(())
}
