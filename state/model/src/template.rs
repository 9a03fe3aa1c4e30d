//! `{{.Service.Name}}` and its like in commands, environments and host names.

use std::collections::BTreeMap;

/// What a template can speak of.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Context {
    /// `.Service.ID`
    pub service_id: String,
    /// `.Service.Name`
    pub service_name: String,
    /// `.Service.Labels.KEY`
    pub service_labels: BTreeMap<String, String>,
    /// `.Task.ID`
    pub task_id: String,
    /// `.Task.Name`: service, slot and id with dots.
    pub task_name: String,
    /// `.Task.Slot`
    pub task_slot: String,
    /// `.Node.ID`
    pub node_id: String,
    /// `.Node.Hostname`
    pub node_hostname: String,
    /// `.Node.Labels.KEY`
    pub node_labels: BTreeMap<String, String>,
}

/// Why a text is not a template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// `{{` without `}}`.
    #[error("\"{{{{\" without \"}}}}\" in template \"{0}\"")]
    Unclosed(String),
    /// Not a known field.
    #[error(
        "template field \"{0}\" is unknown: use .Service.ID .Service.Name .Service.Labels.KEY \
         .Task.ID .Task.Name .Task.Slot .Node.ID .Node.Hostname .Node.Labels.KEY"
    )]
    UnknownField(String),
}

impl Context {
    fn lookup(&self, field: &str) -> Option<String> {
        let label = |labels: &BTreeMap<String, String>, key: &str| {
            Some(labels.get(key).cloned().unwrap_or_default())
        };
        match field {
            ".Service.ID" => Some(self.service_id.clone()),
            ".Service.Name" => Some(self.service_name.clone()),
            ".Task.ID" => Some(self.task_id.clone()),
            ".Task.Name" => Some(self.task_name.clone()),
            ".Task.Slot" => Some(self.task_slot.clone()),
            ".Node.ID" => Some(self.node_id.clone()),
            ".Node.Hostname" => Some(self.node_hostname.clone()),
            _ => {
                if let Some(key) = field.strip_prefix(".Service.Labels.") {
                    label(&self.service_labels, key)
                } else {
                    let key = field.strip_prefix(".Node.Labels.")?;
                    label(&self.node_labels, key)
                }
            }
        }
    }
}

/// Replaces every `{{field}}` of `text`. A label that is not set is empty.
///
/// # Errors
/// For an unclosed or unknown field.
pub fn expand(text: &str, context: &Context) -> Result<String, Error> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(open) = rest.find("{{") {
        out.push_str(&rest[..open]);
        let inside = &rest[open + 2..];
        let close = inside.find("}}").ok_or_else(|| Error::Unclosed(text.to_owned()))?;
        let field = inside[..close].trim();
        let value = context.lookup(field).ok_or_else(|| Error::UnknownField(field.to_owned()))?;
        out.push_str(&value);
        rest = &inside[close + 2..];
    }
    out.push_str(rest);
    Ok(out)
}

/// Whether `text` can be expanded.
///
/// # Errors
/// For an unclosed or unknown field.
pub fn check(text: &str) -> Result<(), Error> {
    if text.contains("{{") { expand(text, &Context::default()).map(drop) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_replaced() {
        let context = Context {
            service_name: "web".into(),
            task_slot: "3".into(),
            node_labels: BTreeMap::from([("zone".into(), "a".into())]),
            ..Context::default()
        };
        let expanded = expand(
            "{{.Service.Name}}-{{ .Task.Slot }}@{{.Node.Labels.zone}}{{.Node.Labels.none}}!",
            &context,
        );
        assert_eq!(expanded.as_deref(), Ok("web-3@a!"));
        assert_eq!(expand("plain } {", &context).as_deref(), Ok("plain } {"));
    }

    #[test]
    fn mistakes_are_named() {
        assert!(matches!(check("{{.Service.Nam}}"), Err(Error::UnknownField(_))));
        assert!(matches!(check("{{.Service.Name"), Err(Error::Unclosed(_))));
    }
}
