//! `--format table|json|'{{.Field}}'|'table {{.Field}}\t{{.Other}}'`.

use std::str::FromStr;

use super::template::{Template, TemplateError};

/// How objects are shown.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum Format {
    /// The command's own table.
    #[default]
    Table,
    /// One JSON object a line.
    Json,
    /// One line of the user's making for each object.
    Template(Template),
    /// A table of the user's making: headers from the field names.
    TemplateTable(Template),
}

impl FromStr for Format {
    type Err = TemplateError;

    fn from_str(text: &str) -> Result<Self, TemplateError> {
        match text {
            "table" => Ok(Self::Table),
            "json" => Ok(Self::Json),
            _ => match text.strip_prefix("table ") {
                Some(columns) => columns.trim_start().parse().map(Self::TemplateTable),
                None if text.contains("{{") => text.parse().map(Self::Template),
                None => Err(TemplateError::new(format!(
                    "\"{text}\" is no format: write table, json or a template like '{{{{.ID}}}}'"
                ))),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_told_apart() {
        assert_eq!("table".parse(), Ok(Format::Table));
        assert_eq!("json".parse(), Ok(Format::Json));
        assert!(matches!("{{.ID}}".parse(), Ok(Format::Template(_))));
        assert!(matches!("table {{.ID}}".parse(), Ok(Format::TemplateTable(_))));
        let error = "yaml".parse::<Format>().expect_err("is unknown").to_string();
        assert!(error.contains("{{.ID}}"), "{error}");
    }
}
