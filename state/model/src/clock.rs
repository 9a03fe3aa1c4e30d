//! The wall clock as a value that is handed in, so that a simulation owns time.

use std::fmt::Debug;

use crate::units::Timestamp;

/// Tells the wall-clock time. Spans are measured with the async runtime's own clock instead.
pub trait Clock: Debug + Send + Sync + 'static {
    /// The time now.
    fn now(&self) -> Timestamp;
}
