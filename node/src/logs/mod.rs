//! What tasks write to stdout and stderr: kept per task in a bounded compressed ring of files.
//!
//! One writer a task (inside its supervisor), any number of readers (in the daemon). Lines of
//! several nodes are not fetched here.

mod line;

pub use line::{LogLimits, LogLine, LogStream};
