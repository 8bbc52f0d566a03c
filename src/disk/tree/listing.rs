//! A tree as text: one canonical JSON line a path, sorted by bytes. Years later it says what was in an image, without the
//! image; its digest is the tree's.

use std::collections::HashMap;

use data_encoding::HEXLOWER;
use serde_json::{Map, Value, json};

use super::{Content, Contents, File, Tree};
use crate::disk::read::{Flags, Kind};
use crate::manifest::canonical::{self, Unrepresentable};

/// The lines of a tree. What a file does not have is left out of its line: times before the epoch and sizes beyond 2^53 are
/// numbers all the same, bytes that are no UTF-8 are a key of their own that ends in `_hex`.
///
/// # Errors
/// A number is beyond 2^53.
pub fn listing(tree: &Tree, contents: &Contents) -> Result<Vec<u8>, Unrepresentable> {
    let mut first_names = HashMap::new();
    let mut text = Vec::new();
    for (path, index) in tree.paths() {
        let first = *first_names.entry(index).or_insert(path);
        let mut line = line(&tree.files()[index], path);
        if let Some(contents) = contents.of(index) {
            line.insert("sha256".into(), contents.digest.hex().into());
        }
        if first != path {
            put_text(&mut line, "same_as", first);
        }
        text.extend(canonical::to_bytes(&Value::Object(line))?);
        text.push(b'\n');
    }
    Ok(text)
}

fn line(file: &File, path: &[u8]) -> Map<String, Value> {
    let mut line = Map::new();
    put_text(&mut line, "path", path);
    line.insert("kind".into(), kind(file.kind).into());
    line.insert("mode".into(), format!("{:04o}", file.mode).into());
    line.insert("uid".into(), file.uid.into());
    line.insert("gid".into(), file.gid.into());
    line.insert("mtime".into(), file.mtime.seconds.into());
    if file.mtime.nanoseconds != 0 {
        line.insert("mtime_ns".into(), file.mtime.nanoseconds.into());
    }
    match &file.content {
        Content::Link(target) => put_text(&mut line, "target", target),
        content if file.kind == Kind::File => {
            line.insert("size".into(), content.size().into());
        }
        _ => {}
    }
    if let Some((major, minor)) = file.rdev {
        line.insert("device".into(), format!("{major}:{minor}").into());
    }
    let flags = flags(file.flags);
    if !flags.is_empty() {
        line.insert("flags".into(), flags.into());
    }
    if !file.xattrs.is_empty() {
        let xattrs = file.xattrs.iter().map(|xattr| {
            let mut entry = Map::new();
            put_text(&mut entry, "name", &xattr.name);
            entry.insert("value_hex".into(), HEXLOWER.encode(&xattr.value).into());
            Value::Object(entry)
        });
        line.insert("xattrs".into(), xattrs.collect());
    }
    line
}

fn put_text(line: &mut Map<String, Value>, key: &str, bytes: &[u8]) {
    match str::from_utf8(bytes) {
        Ok(text) => line.insert(key.to_owned(), json!(text)),
        Err(_) => line.insert(format!("{key}_hex"), HEXLOWER.encode(bytes).into()),
    };
}

fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::File => "file",
        Kind::Directory => "directory",
        Kind::Link => "link",
        Kind::CharDevice => "char-device",
        Kind::BlockDevice => "block-device",
        Kind::Fifo => "fifo",
        Kind::Socket => "socket",
    }
}

/// The letters of `chattr`.
fn flags(flags: Flags) -> String {
    [
        (flags.append, 'a'),
        (flags.no_atime, 'A'),
        (flags.no_dump, 'd'),
        (flags.dir_sync, 'D'),
        (flags.casefold, 'F'),
        (flags.immutable, 'i'),
        (flags.journal_data, 'j'),
        (flags.project_inherit, 'P'),
        (flags.sync, 'S'),
        (flags.no_tail, 't'),
        (flags.top_dir, 'T'),
        (flags.verity, 'V'),
        (flags.dax, 'x'),
    ]
    .into_iter()
    .filter_map(|(set, letter)| set.then_some(letter))
    .collect()
}
