//! Lists: rows as a table, as JSON lines, by a template, or as ids only.

use clap::Args;
use serde::Serialize;
use serde_json::Value;

use super::format::Format;
use super::{line, table, template};
use crate::exit::Failure;
use crate::parse::key_value;

/// Characters of an id that tables show.
const SHORT_ID: usize = 12;
/// Characters of an error text that tables show.
const SHORT_TEXT: usize = 70;

/// The options of every list.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct ListOptions {
    /// Show only what matches KEY=VALUE; may be repeated (same key: any value matches)
    #[arg(short, long = "filter", value_name = "KEY=VALUE", value_parser = key_value::filter)]
    pub(crate) filters: Vec<(String, String)>,
    #[command(flatten)]
    pub(crate) show: ShowOptions,
    /// Read this node's own copy at once, without asking the leader
    #[arg(long)]
    pub(crate) stale: bool,
}

/// How rows are shown.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct ShowOptions {
    /// table, json (one object a line) or a template like '{{.ID}} {{.Name}}'
    #[arg(long, value_name = "FORMAT")]
    pub(crate) format: Option<Format>,
    /// Show ids only
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Do not shorten ids and texts
    #[arg(long)]
    pub(crate) no_trunc: bool,
}

/// How a column is cut in a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    /// An id: its first characters.
    Id,
    /// A long text: cut with an ellipsis.
    Text,
    /// Never.
    No,
}

/// A row: its JSON is what formats and templates see.
pub(crate) trait Row: Serialize {
    /// What a table shows instead of a field's own value.
    fn cell(&self, _field: &str) -> Option<String> {
        None
    }
}

/// One column of a table: the row's field, the header, the cut.
pub(crate) type Column = (&'static str, &'static str, Cut);

impl ListOptions {
    /// The filters as the API takes them; `None` when there are none.
    pub(crate) fn query(&self) -> Option<String> {
        filters_json(&self.filters)
    }
}

/// Filters as the API takes them: `{"name":["web"]}`; `None` when there are none.
pub(crate) fn filters_json(filters: &[(String, String)]) -> Option<String> {
    let mut map = std::collections::BTreeMap::<&str, Vec<&str>>::new();
    for (key, value) in filters {
        map.entry(key).or_default().push(value);
    }
    let json = serde_json::json!(map).to_string();
    (!map.is_empty()).then_some(json)
}

/// The text of a whole list; empty when there is nothing to show.
///
/// # Errors
/// For a template that names a field which rows do not have.
pub(crate) fn render<R: Row>(
    rows: &[R],
    columns: &[Column],
    options: &ShowOptions,
) -> Result<String, Failure> {
    let objects: Vec<Value> = rows
        .iter()
        .map(serde_json::to_value)
        .collect::<Result<_, _>>()
        .map_err(|error| Failure::failed(format!("cannot show the answer: {error}")))?;
    if options.quiet {
        let ids: Vec<_> = objects.iter().map(|object| template::plain(&object["ID"])).collect();
        return Ok(ids.join("\n"));
    }
    let usage = |error: template::TemplateError| Failure::usage(format!("--format: {error}"));
    match options.format.clone().unwrap_or_default() {
        Format::Table => {
            let headers: Vec<_> = columns.iter().map(|(_, header, _)| *header).collect();
            let cells = |(row, object): (&R, &Value)| {
                let text = |field: &str| {
                    row.cell(field).unwrap_or_else(|| template::plain(&object[field]))
                };
                columns.iter().map(|(field, _, cut)| cut.apply(text(field), options)).collect()
            };
            let cells: Vec<_> = rows.iter().zip(&objects).map(cells).collect();
            Ok(table::render(&headers, &cells))
        }
        Format::Json => {
            let lines: Result<Vec<_>, _> = rows.iter().map(serde_json::to_string).collect();
            let lines = lines.map_err(|error| Failure::failed(error.to_string()))?;
            Ok(lines.join("\n"))
        }
        Format::Template(template) => {
            let lines: Result<Vec<_>, _> = objects.iter().map(|o| template.render(o)).collect();
            Ok(lines.map_err(usage)?.join("\n"))
        }
        Format::TemplateTable(template) => {
            let header = template.header();
            let headers: Vec<_> = header.split('\t').collect();
            let mut rows = Vec::new();
            for object in &objects {
                let text = template.render(object).map_err(usage)?;
                rows.push(text.split('\t').map(str::to_owned).collect());
            }
            Ok(table::render(&headers, &rows))
        }
    }
}

/// Shows a list on stdout.
///
/// # Errors
/// For a template that does not fit, or when nobody reads.
pub(crate) fn show<R: Row>(
    rows: &[R],
    columns: &[Column],
    options: &ShowOptions,
) -> Result<(), Failure> {
    let text = render(rows, columns, options)?;
    if text.is_empty() { Ok(()) } else { line(&text) }
}

impl Cut {
    fn apply(self, text: String, options: &ShowOptions) -> String {
        match self {
            Self::No => text,
            Self::Id | Self::Text if options.no_trunc => text,
            Self::Id => {
                let (id, mark) = text.split_once(' ').unwrap_or((&text, ""));
                let short: String = id.chars().take(SHORT_ID).collect();
                if mark.is_empty() { short } else { format!("{short} {mark}") }
            }
            Self::Text if text.chars().count() <= SHORT_TEXT => text,
            Self::Text => text.chars().take(SHORT_TEXT - 1).chain(['…']).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    impl Row for Value {}

    const COLUMNS: [Column; 2] = [("ID", "ID", Cut::Id), ("Error", "ERROR", Cut::Text)];

    #[track_caller]
    fn check(options: &ShowOptions, want: &str) {
        let rows = [json!({"ID": "0123456789abcdef", "Error": "x".repeat(80)})];
        assert_eq!(render(&rows, &COLUMNS, options), Ok(want.to_owned()));
    }

    fn formatted(format: &str) -> ShowOptions {
        ShowOptions { format: Some(format.parse().expect("is valid")), ..Default::default() }
    }

    #[test]
    fn tables_shorten_and_no_trunc_does_not() {
        let cut = "x".repeat(69);
        check(&ShowOptions::default(), &format!("ID             ERROR\n0123456789ab   {cut}…"));
        let full = "x".repeat(80);
        check(
            &ShowOptions { no_trunc: true, ..Default::default() },
            &format!("ID                 ERROR\n0123456789abcdef   {full}"),
        );
    }

    #[test]
    fn quiet_shows_whole_ids_only() {
        check(&ShowOptions { quiet: true, ..Default::default() }, "0123456789abcdef");
    }

    #[test]
    fn templates_see_whole_values() {
        check(&formatted("<{{.ID}}>"), "<0123456789abcdef>");
        check(&formatted("table {{.ID}}"), "ID\n0123456789abcdef");
    }

    #[test]
    fn a_wrong_field_is_a_usage_error() {
        let failure = render(&[json!({"ID": 1})], &COLUMNS, &formatted("{{.Nope}}"));
        assert_eq!(failure.expect_err("no such field").exit, crate::exit::Exit::Usage);
    }

    #[test]
    fn filters_of_one_key_are_gathered() {
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let filters = [pair("name", "a"), pair("name", "b"), pair("role", "c")];
        assert_eq!(filters_json(&filters).as_deref(), Some(r#"{"name":["a","b"],"role":["c"]}"#));
        assert_eq!(filters_json(&[]), None);
    }
}
