//! `--label-add` and `--label-rm` of nodes, services and configs.
//!
//! Does not know whose labels they are.

use std::collections::BTreeMap;

use clap::Args;

use crate::parse::key_value;

/// Changes of labels; removing comes first.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct LabelChanges {
    /// Set a label; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value::label)]
    pub(crate) label_add: Vec<(String, String)>,
    /// Remove a label; may be repeated
    #[arg(long, value_name = "KEY")]
    pub(crate) label_rm: Vec<String>,
}

impl LabelChanges {
    /// Whether nothing was asked for.
    pub(crate) fn is_empty(&self) -> bool {
        self.label_add.is_empty() && self.label_rm.is_empty()
    }

    /// Changes `labels`; gives a warning for each label to remove that is not there.
    pub(crate) fn apply(self, labels: &mut BTreeMap<String, String>) -> Vec<String> {
        let mut warnings = Vec::new();
        for key in self.label_rm {
            if labels.remove(&key).is_none() {
                warnings.push(format!("label {key} was not set"));
            }
        }
        labels.extend(self.label_add);
        warnings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_removed_then_set_and_absent_ones_warned_of() {
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let mut labels = BTreeMap::from([pair("a", "1"), pair("b", "2")]);
        let changes = LabelChanges {
            label_add: vec![pair("a", "3")],
            label_rm: vec!["a".to_owned(), "c".to_owned()],
        };
        assert_eq!(changes.apply(&mut labels), ["label c was not set"]);
        assert_eq!(labels, BTreeMap::from([pair("a", "3"), pair("b", "2")]));
    }
}
