//! Renders a difference for a terminal.

use std::fmt::Write as _;

use super::tables::{Page, Table};

/// Renders a block with aligned columns for each table.
pub(super) fn render(page: &Page) -> String {
    let mut text = format!("{}\n", page.title);
    for table in &page.tables {
        render_table(table, &mut text);
    }
    if !page.notes.is_empty() {
        text.push('\n');
    }
    for note in &page.notes {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "not compared: {note}");
    }
    text
}

fn render_table(table: &Table, text: &mut String) {
    let title = table.title.to_uppercase();
    let title = match table.count.as_str() {
        "" => title,
        count => format!("{title} ({count})"),
    };
    let _ = writeln!(text, "\n{title}\n");
    let width = |column: usize| {
        let widths = table.rows.iter().map(|row| row[column].chars().count());
        widths.max().unwrap_or(0)
    };
    let widths: Vec<_> = (0..table.columns.len()).map(width).collect();
    let mut previous = "";
    for row in &table.rows {
        let cells = row.iter().zip(&widths).enumerate();
        let cells = cells.filter(|(_, (_, width))| **width > 0);
        let cells: Vec<_> = cells
            .map(|(column, (cell, width))| {
                let is_repeated = table.is_grouped && column == 0 && cell == previous;
                format!("{:width$}", if is_repeated { "" } else { cell.as_str() })
            })
            .collect();
        let _ = writeln!(text, "  {}", cells.join("  ").trim_end());
        previous = &row[0];
    }
}
