//! What tasks write to stdout and stderr: kept per task in a bounded compressed ring of files.
//!
//! One writer a task (inside its supervisor), any number of readers (in the daemon). Fetching lines
//! from other nodes is not done here; [`merge_by_time`] merges what was fetched.

mod cursor;
pub(crate) mod fuzz;
mod line;
mod merge;
mod query;
mod ring;
mod store;
mod writer;

pub use line::{LogLimits, LogLine, LogStream, MAX_LINE};
pub use merge::merge_by_time;
pub use query::LogQuery;
pub use store::{Error, LogStore};
pub use writer::LogWriter;
