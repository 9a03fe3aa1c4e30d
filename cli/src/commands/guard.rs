//! `--if-revision`: changes that hold only as long as what was seen before them does.
//!
//! The node compares; this only says what was seen.

use clap::Args;
use swarm_node::api::types::Written;

/// What the change was decided on.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Guard {
    /// Only if specs, nodes and configs are as at that revision, which `swarm plan` shows
    #[arg(long, value_name = "REVISION")]
    if_revision: Option<u64>,
}

impl Guard {
    /// The value of the query parameter.
    pub(crate) fn text(&self) -> Option<String> {
        self.if_revision.map(|revision| revision.to_string())
    }

    /// After one's own change, which the next one of the same command builds on.
    pub(crate) fn follow(&mut self, written: &Written) {
        self.if_revision = self.if_revision.map(|_| written.revision.0);
    }
}

/// `text` as a query parameter, behind `query`.
pub(crate) fn query<'a>(
    text: Option<&'a str>,
    query: &[(&'a str, &'a str)],
) -> Vec<(&'a str, &'a str)> {
    query.iter().copied().chain(text.map(|text| ("if-revision", text))).collect()
}
