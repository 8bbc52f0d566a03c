//! Renders a difference as Markdown.

use std::fmt::Write as _;

use super::tables::{Page, Table};

/// Renders a heading and a table for each kind of difference.
pub(super) fn render(page: &Page) -> String {
    let mut text = format!("### {}\n", escaped(&page.title));
    for table in &page.tables {
        render_table(table, &mut text);
    }
    if !page.notes.is_empty() {
        text.push('\n');
    }
    for note in &page.notes {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "- not compared: {}", escaped(note));
    }
    text
}

fn render_table(table: &Table, text: &mut String) {
    let count = match table.count.as_str() {
        "" => String::new(),
        count => format!(" ({count})"),
    };
    let _ = writeln!(text, "\n#### {}{count}\n", escaped(&table.title));
    let row = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
    text.push_str(&row(table
        .columns
        .iter()
        .map(|column| (*column).to_owned())
        .collect()));
    text.push_str(&row(table
        .columns
        .iter()
        .map(|_| "---".to_owned())
        .collect()));
    for cells in &table.rows {
        text.push_str(&row(cells.iter().map(|cell| escaped(cell)).collect()));
    }
}

/// Escapes markup, HTML and the ends of cells, and keeps `@` from notifying a user.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for character in text.chars() {
        if r"\`*_[]<|~&".contains(character) {
            escaped.push('\\');
        }
        escaped.push(character);
        if character == '@' {
            escaped.push_str("<!-- -->");
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_a_manifest_stays_text() {
        for (text, expected) in [
            ("a | b", r"a \| b"),
            ("`<b>`", r"\`\<b>\`"),
            (r"\|", r"\\\|"),
            ("__init__", r"\_\_init\_\_"),
            ("[x](y) &amp;", r"\[x\](y) \&amp;"),
            ("@team", "@<!-- -->team"),
        ] {
            assert_eq!(escaped(text), expected);
        }
    }
}
