//! Histories: what clients asked, when, and what they were answered; and whether some single copy of
//! the state could have answered so.
//!
//! Two checks that share nothing but the records. [`revisions`] believes the revisions that answers
//! carry and needs O(n log n); [`blind`] looks at times and values alone. How a client comes by its
//! answers is none of this module's business.

pub mod blind;
mod history_file;
mod operation;
mod record;
mod recorder;
pub mod revisions;
#[cfg(test)]
mod tests;

pub use history_file::{read, write};
pub use operation::{History, Operation, Outcome};
pub use record::{F, Kind, Record};
pub use recorder::Recorder;
