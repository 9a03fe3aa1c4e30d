//! Whole objects: pretty JSON, JSON lines, a template, or an outline for people.

use clap::Args;
use serde_json::Value;

use super::format::Format;
use super::{line, template};
use crate::exit::Failure;

/// The options of every inspection.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct InspectOptions {
    /// json (one object a line) or a template like '{{.Spec.Name}}'
    #[arg(long, value_name = "FORMAT")]
    pub(crate) format: Option<Format>,
    /// Show an outline for people instead of JSON
    #[arg(long, conflicts_with = "format")]
    pub(crate) pretty: bool,
    /// Read this node's own copy at once, without asking the leader
    #[arg(long)]
    pub(crate) stale: bool,
}

/// Shows whole objects on stdout; without a format as one JSON array.
///
/// # Errors
/// For a template that does not fit, or when nobody reads.
pub(crate) fn show(objects: &[Value], options: &InspectOptions) -> Result<(), Failure> {
    if options.pretty {
        for object in objects {
            line(outline(object).trim_end())?;
        }
        return Ok(());
    }
    match &options.format {
        None | Some(Format::Table) => line(&format!("{:#}", Value::Array(objects.to_vec()))),
        Some(format) => objects.iter().try_for_each(|object| one(object, format)),
    }
}

/// Shows one object on stdout: as pretty JSON, or by `format`.
///
/// # Errors
/// For a template that does not fit, or when nobody reads.
pub(crate) fn one(object: &Value, format: &Format) -> Result<(), Failure> {
    let usage = |error: template::TemplateError| Failure::usage(format!("--format: {error}"));
    match format {
        Format::Table => line(&format!("{object:#}")),
        Format::Json => line(&object.to_string()),
        Format::Template(template) | Format::TemplateTable(template) => {
            line(&template.render(object).map_err(usage)?)
        }
    }
}

/// An object as indented `Some Key: value` lines; what is empty is left out.
pub(crate) fn outline(object: &Value) -> String {
    let mut text = String::new();
    write_fields(object, 0, false, &mut text);
    text
}

/// The words of a field's name: `NodeID` is `Node ID`.
fn words(field: &str) -> String {
    let chars: Vec<char> = field.chars().collect();
    let mut text = String::new();
    for (at, char) in chars.iter().enumerate() {
        let before = at.checked_sub(1).and_then(|at| chars.get(at));
        let after = chars.get(at + 1);
        let begins = char.is_uppercase()
            && before.is_some_and(|before| {
                !before.is_uppercase() || after.is_some_and(|after| after.is_lowercase())
            });
        if begins {
            text.push(' ');
        }
        text.push(*char);
    }
    text
}

/// `free` says that the keys are no field names but people's own.
fn write_fields(value: &Value, depth: usize, free: bool, text: &mut String) {
    let Value::Object(fields) = value else { return };
    let indent = "  ".repeat(depth);
    for (field, value) in fields {
        let key = if free { field.clone() } else { words(field) };
        let free = template::has_free_keys(field);
        match value {
            Value::Null => {}
            Value::Object(inner) if inner.is_empty() => {}
            Value::Object(_) => {
                text.push_str(&format!("{indent}{key}:\n"));
                write_fields(value, depth + 1, free, text);
            }
            Value::Array(items) if items.iter().any(Value::is_object) => {
                text.push_str(&format!("{indent}{key}:\n"));
                for item in items {
                    text.push_str(&format!("{indent}  -\n"));
                    write_fields(item, depth + 2, free, text);
                }
            }
            Value::Array(items) => {
                let items: Vec<_> = items.iter().map(template::plain).collect();
                if !items.is_empty() {
                    text.push_str(&format!("{indent}{key}: {}\n", items.join(" ")));
                }
            }
            Value::String(inner) if inner.is_empty() => {}
            Value::String(_) | Value::Bool(_) | Value::Number(_) => {
                text.push_str(&format!("{indent}{key}: {}\n", template::plain(value)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn outlines_leave_out_what_is_empty() {
        let object = json!({
            "ID": "x", "Empty": "", "None": null,
            "Spec": {"Command": ["sh", "-c"], "Env": {}, "Labels": {"myKey": "1"}},
            "ForceUpdates": [{"OOMKilled": 1, "NodeID": "n"}]
        });
        let want = "Force Updates:\n  -\n    Node ID: n\n    OOM Killed: 1\nID: x\nSpec:\n  \
                    Command: sh -c\n  Labels:\n    myKey: 1\n";
        assert_eq!(outline(&object), want);
    }
}
