//! The merge join of two listings.

use std::cmp::Ordering;

use data_encoding::HEXLOWER;
use serde_json::{Map, Value};

use super::Listing;

/// A line of a listing.
#[derive(Clone, PartialEq, Debug)]
pub struct ListingLine {
    /// Path as raw bytes.
    pub path: Vec<u8>,
    /// Path as the line has it: in hexadecimal if it is not UTF-8.
    pub name: String,
    /// All keys of the line, the path included.
    pub keys: Map<String, Value>,
}

impl ListingLine {
    fn read(line: &str) -> Option<Self> {
        let Value::Object(keys) = serde_json::from_str(line).ok()? else {
            return None;
        };
        let text = |key| keys.get(key).and_then(Value::as_str).map(str::to_owned);
        let (path, name) = match (text("path"), text("path_hex")) {
            (Some(path), _) => (path.clone().into_bytes(), path),
            (None, Some(hex)) => (HEXLOWER.decode(hex.as_bytes()).ok()?, hex),
            (None, None) => return None,
        };
        Some(Self { path, name, keys })
    }
}

/// The lines of one path in two listings.
#[derive(Clone, PartialEq, Debug)]
pub enum ListingPair {
    /// Only the first has it.
    First(ListingLine),
    /// Only the second has it.
    Second(ListingLine),
    /// Both have it, with the same or with other keys.
    Both(ListingLine, ListingLine),
}

/// Joins two listings by path, in order. Both are sorted by the bytes of their paths, so that only two lines are in memory.
pub fn join_listings(first: &Listing, second: &Listing) -> impl Iterator<Item = ListingPair> {
    let (mut first, mut second) = (
        listing_lines(first).peekable(),
        listing_lines(second).peekable(),
    );
    std::iter::from_fn(move || {
        let order = match (first.peek(), second.peek()) {
            (None, None) => return None,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(one), Some(other)) => one.path.cmp(&other.path),
        };
        match order {
            Ordering::Less => first.next().map(ListingPair::First),
            Ordering::Greater => second.next().map(ListingPair::Second),
            Ordering::Equal => Some(ListingPair::Both(first.next()?, second.next()?)),
        }
    })
}

/// Reads the lines of a listing one by one.
pub fn listing_lines(listing: &Listing) -> impl Iterator<Item = ListingLine> {
    // Every listing was decompressed once when it was made, so no line is broken.

    let lines = listing.lines().map_while(Result::ok);
    lines.filter_map(|line| ListingLine::read(&line))
}
