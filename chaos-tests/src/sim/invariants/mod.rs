//! What must hold at every moment of a run, one file each. Pure: fed with what was seen, they say
//! what is wrong with it. Letters as in the list of invariants of the fault catalogue.

mod agreement;
mod health;
mod leaders;
mod progress;
mod slots;
mod tasks;

pub use agreement::Agreement;
pub use health::runs_only_when_well;
pub use leaders::Leaders;
pub use progress::{Progress, Seen};
pub use slots::{Running, Slots};
pub use tasks::Tasks;

/// What is wrong, in words.
pub type Verdict = Result<(), String>;
