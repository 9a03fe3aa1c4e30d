//! The rolling update: how many slots with a running task of an older template are replaced at a
//! time.
//!
//! Keeps no state: what is in progress is read off the slots, so any leader goes on with it. A slot
//! whose new task does not come to run stays in progress; so a bad update stops at its first slot.

use super::slot::{Next, SlotPlan};

/// Slots replaced at a time.
const PARALLELISM: usize = 1;

/// Puts off all voluntary replacements but as many as may start now.
pub(super) fn allow<'p, 'a: 'p>(plans: impl Iterator<Item = &'p mut SlotPlan<'a>>) {
    let mut in_progress = 0;
    let mut candidates = Vec::new();
    for plan in plans {
        in_progress += usize::from(plan.in_progress());
        if let Next::Create { voluntary: true, .. } = plan.next {
            candidates.push(&mut plan.next);
        }
    }
    for next in candidates.into_iter().skip(PARALLELISM.saturating_sub(in_progress)) {
        *next = Next::Nothing;
    }
}
