//! Columns of text, aligned, without lines around them.

use comfy_table::{ContentArrangement, Table, presets};

/// Blanks between two columns.
const GAP: u16 = 3;

/// Lays out `rows` below `headers`; one string, without a line end at its end.
pub(crate) fn render(headers: &[&str], rows: &[Vec<String>]) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(headers.iter().copied());
    for row in rows {
        table.add_row(row.iter().map(|cell| printable(cell)));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, GAP));
    }
    let lines: Vec<_> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    lines.join("\n")
}

/// One line, without control characters: a cell must not move the cursor.
fn printable(cell: &str) -> String {
    cell.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_lines_end_without_blanks() {
        let rows = vec![
            vec!["1".to_owned(), "web".to_owned(), String::new()],
            vec!["22".to_owned(), "größer".to_owned(), "x\ny".to_owned()],
        ];
        let want = "ID   NAME     NOTE\n1    web\n22   größer   x y";
        assert_eq!(render(&["ID", "NAME", "NOTE"], &rows), want);
    }

    #[test]
    fn an_empty_table_is_its_header() {
        assert_eq!(render(&["ID", "NAME"], &[]), "ID   NAME");
    }
}
