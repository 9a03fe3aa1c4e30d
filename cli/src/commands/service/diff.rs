//! `swarm service diff`.

use clap::Args;
use serde_json::Value;
use swarm_node::api::types::SpecDiff;

use super::path;
use crate::client::Client;
use crate::exit::Failure;
use crate::output::format::Format;
use crate::output::{inspect, line};

/// Show how two versions of a service differ
///
/// Without versions, what the last change changed; with one, how that one differs from what the service
/// is now.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    swarm service diff web\n  \
    swarm service diff web 42\n  \
    swarm service diff web 42 57")]
pub(crate) struct Diff {
    /// Name or id
    service: String,
    /// A version of `swarm service history`
    #[arg(value_name = "VERSION")]
    from: Option<u64>,
    /// Another one [default: the current one]
    #[arg(value_name = "VERSION")]
    to: Option<u64>,
    /// json (one line) or a template like '{{.Differences}}'
    #[arg(long, value_name = "FORMAT")]
    format: Option<Format>,
}

impl Diff {
    /// Shows the fields that differ.
    ///
    /// # Errors
    /// When there is no such service or version.
    pub(super) async fn run(self, client: &Client) -> Result<(), Failure> {
        let target = format!("{}/diff", path(&self.service));
        let text = |version: Option<u64>| version.map(|version| version.to_string());
        let (from, to) = (text(self.from), text(self.to));
        let given = [("from", &from), ("to", &to)];
        let query: Vec<_> = given
            .iter()
            .filter_map(|(key, version)| version.as_deref().map(|version| (*key, version)))
            .collect();
        let object: Value = client.get(&target, &query).await?;
        if let Some(format) = &self.format
            && *format != Format::Table
        {
            return inspect::one(&object, format);
        }
        let diff: SpecDiff = serde_json::from_value(object).map_err(|error| {
            Failure::failed(format!("the node's answer is not understood: {error}"))
        })?;
        line(&text_of(&diff))
    }
}

fn text_of(diff: &SpecDiff) -> String {
    let mut lines = vec![format!("--- version {}", diff.from), format!("+++ version {}", diff.to)];
    for difference in &diff.differences {
        let field = &difference.field;
        lines.extend(difference.from.iter().map(|value| format!("- {field}: {value}")));
        lines.extend(difference.to.iter().map(|value| format!("+ {field}: {value}")));
    }
    if diff.differences.is_empty() {
        lines.push("no difference".to_owned());
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn differences_are_shown_line_by_line() {
        let diff = serde_json::from_value(json!({"From": 3, "To": 7, "Differences": [
            {"Field": "Labels.a", "From": null, "To": "1"},
            {"Field": "Mode.Replicated.Replicas", "From": 2, "To": 3}
        ]}));
        let expect = "--- version 3\n+++ version 7\n+ Labels.a: \"1\"\n\
            - Mode.Replicated.Replicas: 2\n+ Mode.Replicated.Replicas: 3";
        assert_eq!(text_of(&diff.expect("is a diff")), expect);
    }
}
