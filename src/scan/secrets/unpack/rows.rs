//! Rows of an `SQLite` database. In the file, columns follow each other without separators, and long rows are split.

use super::Unpack;
use crate::distro::sqlite;
use crate::scan::lookahead::Lookahead;
use crate::scan::secrets::text::{Window, search};

/// Maximum length of the name of a setting whose value is in the next column.
const MAX_NAME_BYTES: usize = 64;

impl Unpack {
    pub(super) fn search_rows(&self, path: &[u8], source: &mut Lookahead, depth: usize) -> bool {
        let Some(bytes) = self.read_rest(source) else {
            return false;
        };
        if depth > 0 {
            self.search_plain(path, &mut &bytes[..]);
        }
        let mut text = Vec::new();
        let most = bytes.len() * 2;
        sqlite::every_row(&bytes, &mut |columns| {
            if text.len() < most {
                write_row(columns, &mut text);
            }
        });
        let (mut found, complete) = search(path, &mut &text[..], Window::ALL);
        for secret in &mut found {
            secret.line = None;
            secret.inside = Some("a row".to_owned());
        }
        self.add(found, complete, path);
        false
    }
}

/// Writes each text on a line of its own; a text after a possible name becomes `name=text`.
fn write_row(columns: &[&[u8]], text: &mut Vec<u8>) {
    let is_text = |column: &[u8]| {
        !column.is_empty()
            && std::str::from_utf8(column)
                .is_ok_and(|text| !text.contains(|c: char| c.is_control() && !c.is_whitespace()))
    };
    let is_name = |column: &[u8]| {
        column.len() <= MAX_NAME_BYTES
            && column
                .iter()
                .all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(byte))
    };
    let mut before: Option<&[u8]> = None;
    for column in columns.iter().filter(|column| is_text(column)) {
        if let Some(name) = before.filter(|name| is_name(name)) {
            text.extend(name);
            text.push(b'=');
        }
        text.extend(*column);
        text.push(b'\n');
        before = Some(column);
    }
    text.push(b'\n');
}
