//! What reconcile does, told by example; `property` lets chance choose the examples.

mod arbitrary;
mod budgets;
mod choosing;
mod forecasting;
mod global;
mod jobs;
mod jobs_property;
mod lost;
mod moving;
mod placing;
mod preempting;
mod preferring;
mod property;
mod rebalancing;
mod restarting;
mod room;
mod scaling;
mod scheduled;
mod scheduled_property;
mod steering;
mod twice;
mod updating;
mod updating_faults;
mod updating_property;
