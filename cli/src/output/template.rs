//! The subset of Go templates that `--format` takes: `{{.A.B}}`, `{{json .A}}`, `{{.A | upper}}`.
//!
//! No conditions and no loops: who needs them uses `--format json` and a JSON tool.

use std::str::FromStr;

use serde_json::Value;

/// Objects whose keys are free: an absent key is empty, not a mistake.
const FREE_KEYS: [&str; 4] = ["Labels", "Env", "Attributes", "EngineLabels"];

/// Whether the keys of the object in `field` are people's own.
pub(crate) fn has_free_keys(field: &str) -> bool {
    FREE_KEYS.contains(&field)
}

/// Why a text is no template, or does not fit the object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TemplateError(String);

impl TemplateError {
    /// With its reason.
    pub(crate) fn new(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }
}

impl std::fmt::Display for TemplateError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for TemplateError {}

/// What is done with a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Function {
    Json,
    Upper,
    Lower,
    Len,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Field { path: Vec<String>, functions: Vec<Function> },
}

/// A parsed template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Template {
    parts: Vec<Part>,
}

impl FromStr for Template {
    type Err = TemplateError;

    fn from_str(text: &str) -> Result<Self, TemplateError> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(open) = rest.find("{{") {
            parts.push(Part::Text(unescaped(&rest[..open])));
            let inside = &rest[open + 2..];
            let close = inside.find("}}").ok_or_else(|| {
                TemplateError::new(format!("\"{{{{\" without \"}}}}\" in {text}"))
            })?;
            parts.push(expression(&inside[..close])?);
            rest = &inside[close + 2..];
        }
        parts.push(Part::Text(unescaped(rest)));
        parts.retain(|part| !matches!(part, Part::Text(text) if text.is_empty()));
        Ok(Self { parts })
    }
}

impl Template {
    /// The text for one object.
    ///
    /// # Errors
    /// For a field that the object does not have; names those it has.
    pub(crate) fn render(&self, object: &Value) -> Result<String, TemplateError> {
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Part::Text(part) => text.push_str(part),
                Part::Field { path, functions } => {
                    let mut value = lookup(object, path)?.clone();
                    for function in functions {
                        value = function.of(&value);
                    }
                    text.push_str(&plain(&value));
                }
            }
        }
        Ok(text)
    }

    /// The last name of each field, as column headers are made from it.
    pub(crate) fn header(&self) -> String {
        let part = |part: &Part| match part {
            Part::Text(text) => text.clone(),
            Part::Field { path, .. } => header_of(path.last().map_or("", String::as_str)),
        };
        self.parts.iter().map(part).collect()
    }
}

/// `DesiredState` → `DESIRED STATE`, `ID` → `ID`.
fn header_of(field: &str) -> String {
    let mut header = String::new();
    let mut lower_before = false;
    for c in field.chars() {
        if c.is_uppercase() && lower_before {
            header.push(' ');
        }
        lower_before = c.is_lowercase();
        header.extend(c.to_uppercase());
    }
    header
}

fn unescaped(text: &str) -> String {
    text.replace("\\t", "\t").replace("\\n", "\n")
}

/// Reads what stands between the braces: `.A.B`, `json .A`, `.A | json | upper`.
fn expression(text: &str) -> Result<Part, TemplateError> {
    let mut stages = text.trim().trim_matches('-').split('|').map(str::trim);
    let mut words: Vec<_> = stages.next().unwrap_or_default().split_whitespace().collect();
    let path = words.pop().unwrap_or_default();
    let Some(path) = path.strip_prefix('.') else {
        let reason = format!(
            "\"{{{{{text}}}}}\": write {{{{.Field}}}}, {{{{json .Field}}}} or \
             {{{{.Field | upper}}}} (json, upper, lower, len)"
        );
        return Err(TemplateError::new(reason));
    };
    let functions =
        words.into_iter().rev().chain(stages).map(function).collect::<Result<_, _>>()?;
    let path = path.split('.').filter(|name| !name.is_empty()).map(str::to_owned).collect();
    Ok(Part::Field { path, functions })
}

fn function(name: &str) -> Result<Function, TemplateError> {
    match name {
        "json" => Ok(Function::Json),
        "upper" => Ok(Function::Upper),
        "lower" => Ok(Function::Lower),
        "len" => Ok(Function::Len),
        _ => {
            let reason = format!("\"{name}\" is none of the functions json, upper, lower, len");
            Err(TemplateError::new(reason))
        }
    }
}

impl Function {
    fn of(self, value: &Value) -> Value {
        match self {
            Self::Json => Value::String(value.to_string()),
            Self::Upper => Value::String(plain(value).to_uppercase()),
            Self::Lower => Value::String(plain(value).to_lowercase()),
            Self::Len => Value::from(match value {
                Value::Array(items) => items.len(),
                Value::Object(fields) => fields.len(),
                Value::String(text) => text.chars().count(),
                Value::Null | Value::Bool(_) | Value::Number(_) => 0,
            }),
        }
    }
}

/// A value as text: strings bare, what is absent as nothing, the rest as JSON.
pub(crate) fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}

fn lookup<'a>(object: &'a Value, path: &[String]) -> Result<&'a Value, TemplateError> {
    let mut value = object;
    let mut parent = "";
    for name in path {
        let Value::Object(fields) = value else { return Ok(&Value::Null) };
        value = match fields.get(name) {
            Some(value) => value,
            None if FREE_KEYS.contains(&parent) => return Ok(&Value::Null),
            None => {
                let known: Vec<_> = fields.keys().map(|key| format!(".{key}")).collect();
                let reason = format!("there is no field .{name}; there are {}", known.join(" "));
                return Err(TemplateError::new(reason));
            }
        };
        parent = name;
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn check(template: &str, want: &str) {
        let object = json!({
            "ID": "abc", "Spec": {"Name": "web", "Labels": {"zone": "a"}}, "Count": 3,
            "Drain": null, "List": ["x", "y"]
        });
        let rendered = template.parse::<Template>().and_then(|template| template.render(&object));
        assert_eq!(rendered, Ok(want.to_owned()), "{template}");
    }

    #[test]
    fn fields_are_replaced() {
        check("{{.ID}}", "abc");
        check("{{ .Spec.Name }}: {{.Count}}", "web: 3");
        check(r"{{.ID}}\t{{.Spec.Labels.zone}}", "abc\ta");
        check("no fields", "no fields");
    }

    #[test]
    fn functions_stand_before_or_behind() {
        check("{{json .Spec.Labels}}", r#"{"zone":"a"}"#);
        check("{{.Spec.Name | upper}}", "WEB");
        check("{{upper .ID}}", "ABC");
        check("{{len .List}} {{.List | len}}", "2 2");
        check("{{json .ID}}", r#""abc""#);
    }

    #[test]
    fn absent_labels_and_fields_of_nothing_are_empty() {
        check("<{{.Spec.Labels.rack}}{{.Drain.Since}}>", "<>");
    }

    #[test]
    fn mistakes_are_named() {
        let error = |text: &str| match text.parse::<Template>() {
            Ok(template) => template.render(&json!({"ID": 1})).expect_err(text).to_string(),
            Err(error) => error.to_string(),
        };
        assert_eq!(error("{{.Id}}"), "there is no field .Id; there are .ID");
        assert!(error("{{.ID").contains("without"));
        assert!(error("{{ID}}").contains("{{.Field}}"));
        assert!(error("{{reverse .ID}}").contains("reverse"));
    }

    #[test]
    fn headers_come_from_field_names() {
        let template: Template = r"{{.ID}}\t{{.Spec.DesiredState}}".parse().expect("is valid");
        assert_eq!(template.header(), "ID\tDESIRED STATE");
    }
}
