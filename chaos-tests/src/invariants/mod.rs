//! What must hold of a cluster whatever happens to it: one property a file.

mod acknowledged;
mod forward;
mod leaders;
mod observer;
mod orphans;
mod removed;
mod slots;
mod strays;

pub use acknowledged::acknowledged_writes_are_kept;
pub use forward::StatesGoForward;
pub use leaders::OneLeaderATerm;
pub use observer::{Look, Observer};
pub use orphans::no_orphans;
pub use removed::removed_services_are_gone;
pub use slots::{Program, at_most_one_task_a_slot, every_program, programs};
pub use strays::programs_are_tasks;
