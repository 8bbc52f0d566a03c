//! The rows of a database of `SQLite`: in the file one column follows the other without anything between them, and long
//! rows are torn apart.

use super::Unpack;
use super::source::Source;
use crate::distro::sqlite;
use crate::scan::secrets::text::{Part, search};

/// What may be the name of a setting, whose value is in the next column.
const LONGEST_NAME: usize = 64;

impl Unpack {
    pub(super) fn rows(&self, path: &[u8], source: &mut Source, depth: usize) -> bool {
        let Some(bytes) = self.whole(source) else {
            return false;
        };
        if depth > 0 {
            self.plain(path, &mut &bytes[..]);
        }
        let mut text = Vec::new();
        let most = bytes.len() * 2;
        sqlite::every_row(&bytes, &mut |columns| {
            if text.len() < most {
                write(columns, &mut text);
            }
        });
        let (mut found, all) = search(path, &mut &text[..], Part::ALL);
        for one in &mut found {
            one.line = None;
            one.inside = Some("a row".to_owned());
        }
        self.add(found, all, path);
        false
    }
}

/// Each text on a line, and what may be a setting with its name.
fn write(columns: &[&[u8]], text: &mut Vec<u8>) {
    let is_text = |column: &[u8]| {
        !column.is_empty()
            && std::str::from_utf8(column)
                .is_ok_and(|text| !text.contains(|c: char| c.is_control() && !c.is_whitespace()))
    };
    let is_name = |column: &[u8]| {
        column.len() <= LONGEST_NAME
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
