//! Listings of trees: one canonical JSON line for each path, sorted by bytes. A listing records the contents of an image even
//! after the image is gone; its digest is the digest of the tree.

use std::io::{self, BufRead as _, BufReader, Write as _};

use data_encoding::HEXLOWER;
use miette::Diagnostic;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};
use thiserror::Error;

use super::{Content, Contents, File, Tree};
use crate::digest::Digest;
use crate::disk::read::FileType;
use crate::os::hash_stream::{self, Stop};
use crate::record::canonical::{self, Unrepresentable};

/// Compression level. Higher ones take tens of megabytes of memory for a few percent.
const LEVEL: i32 = 6;

/// The listing of a tree, compressed: the text of half a million files has a hundred megabytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Listing {
    digest: Digest,
    packed: Vec<u8>,
}

/// A tree that cannot be listed.
#[derive(Debug, Error, Diagnostic)]
#[expect(missing_docs, reason = "the messages document the variants")]
pub enum ListingError {
    #[error(transparent)]
    #[diagnostic(transparent)]
    Unrepresentable(#[from] Unrepresentable),
    #[error("cannot compress the listing of files")]
    Pack(#[from] io::Error),
}

impl Listing {
    /// Lists a tree.
    ///
    /// # Errors
    /// See [`ListingError`].
    pub fn of(tree: &Tree, contents: &Contents) -> Result<Self, ListingError> {
        let mut hasher = Sha256::new();
        let mut encoder = zstd::Encoder::new(Vec::new(), LEVEL)?;
        lines(tree, contents, |line| {
            hasher.update(line);
            encoder.write_all(line)?;
            Ok(())
        })?;
        let mut packed = encoder.finish()?;
        packed.shrink_to_fit();
        Ok(Self {
            digest: Digest::from_hasher(hasher),
            packed,
        })
    }

    /// Parses a listing as it is stored.
    ///
    /// # Errors
    /// The listing cannot be decompressed.
    pub fn from_packed(packed: Vec<u8>) -> io::Result<Self> {
        let text = zstd::Decoder::new(packed.as_slice())?;
        let (digest, _) = hash_stream::digest(text, &Stop::default(), |_| {})?;
        Ok(Self { digest, packed })
    }

    #[cfg(test)]
    pub(crate) fn of_text(text: &str) -> Self {
        Self::from_packed(zstd::encode_all(text.as_bytes(), LEVEL).unwrap()).unwrap()
    }

    /// Returns the SHA-256 of the text: the digest of the tree.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Returns the compressed text, as it is stored.
    #[must_use]
    pub fn packed(&self) -> &[u8] {
        &self.packed
    }

    /// Decompresses the lines one by one.
    pub fn lines(&self) -> impl Iterator<Item = io::Result<String>> {
        let text = zstd::Decoder::new(self.packed.as_slice());
        let (text, broken) = match text {
            Ok(text) => (Some(BufReader::new(text).lines()), None),
            Err(error) => (None, Some(Err(error))),
        };
        broken.into_iter().chain(text.into_iter().flatten())
    }
}

/// Returns the lines of a tree as text. Properties that a file does not have are omitted. Bytes that are not UTF-8 are in
/// hexadecimal, under a key that ends in `_hex`.
///
/// # Errors
/// A number is beyond 2^53.
pub fn listing(tree: &Tree, contents: &Contents) -> Result<Vec<u8>, ListingError> {
    let mut text = Vec::new();
    lines(tree, contents, |line| {
        text.extend(line);
        Ok(())
    })?;
    Ok(text)
}

fn lines(
    tree: &Tree,
    contents: &Contents,
    mut take: impl FnMut(&[u8]) -> Result<(), ListingError>,
) -> Result<(), ListingError> {
    let mut first_names: Vec<Option<&[u8]>> = vec![None; tree.files().len()];
    for (path, index) in tree.paths() {
        let first = *first_names[index].get_or_insert(path);
        let mut line = line(&tree.files()[index], path);
        if let Some(digest) = contents.digest(index) {
            line.insert("sha256".into(), digest.hex().into());
        }
        if first != path {
            put_text(&mut line, "same_as", first);
        }
        let mut text = canonical::value_to_bytes(&Value::Object(line))?;
        text.push(b'\n');
        take(&text)?;
    }
    Ok(())
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
        content if file.kind == FileType::File => {
            line.insert("size".into(), content.size().into());
        }
        _ => {}
    }
    if let Some((major, minor)) = file.rdev {
        line.insert("device".into(), format!("{major}:{minor}").into());
    }
    let flags = file.flags.letters();
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

fn kind(kind: FileType) -> &'static str {
    match kind {
        FileType::File => "file",
        FileType::Directory => "directory",
        FileType::Link => "link",
        FileType::CharDevice => "char-device",
        FileType::BlockDevice => "block-device",
        FileType::Fifo => "fifo",
        FileType::Socket => "socket",
    }
}
