//! What must hold at every moment of a run, one file each. Pure: fed with what was seen, they say
//! what is wrong with it. Letters as in the list of invariants of the fault catalogue.

mod agreement;
mod leaders;
mod progress;
mod slots;
mod tasks;

pub use agreement::Agreement;
pub use leaders::Leaders;
pub use progress::{Progress, Seen};
pub use slots::{Running, Slots};
pub use tasks::Tasks;

/// What is wrong, in words.
pub type Verdict = Result<(), String>;
