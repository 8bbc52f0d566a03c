//! A reader of `SQLite` tables. Each page is read at most once and all sizes are bounded: a hostile file yields an
//! error, never a hang.

use std::convert::Infallible;

const MAGIC: &[u8; 16] = b"SQLite format 3\0";
/// Size of the file header, which precedes the B-tree of the first page.
const FILE_HEADER: usize = 100;
const LEAF: u8 = 0x0d;
const INNER: u8 = 0x05;
/// RPM headers of packages with very many files have some MiB.
const MAX_PAYLOAD_BYTES: u64 = 64 << 20;

/// Failure to read a table; `E` is the error of the bytes' source.
#[derive(Debug)]
pub enum SqliteError<E> {
    Read(E),
    /// The file is not a database, or invalid.
    Damaged(&'static str),
}

impl<E> From<&'static str> for SqliteError<E> {
    fn from(problem: &'static str) -> Self {
        Self::Damaged(problem)
    }
}

/// Reads bytes at an offset; fewer only at the end of the file.
pub type Fetch<'a, E> = dyn Fn(u64, &mut [u8]) -> Result<usize, E> + 'a;

/// Receives the payload or last column of a row.
pub type Take<'a> = dyn FnMut(&[u8]) -> Result<(), &'static str> + 'a;

/// Passes the last column of each row of a table to `take`.
pub fn rows<E>(
    fetch: &Fetch<'_, E>,
    size: u64,
    table: &str,
    take: &mut Take<'_>,
) -> Result<(), SqliteError<E>> {
    let file = File::open(fetch, size)?;
    let mut root = None;
    file.walk(1, &mut |payload| {
        let columns = columns(payload).ok_or("invalid table list")?;
        if let [kind, name, _, page, ..] = columns[..]
            && kind == b"table"
            && name.eq_ignore_ascii_case(table.as_bytes())
        {
            root = Some(integer(page));
        }
        Ok(())
    })?;
    let root = root.ok_or("no package table")?;
    file.walk(root, &mut |payload| {
        let columns = columns(payload).ok_or("invalid row")?;
        take(columns.last().copied().unwrap_or_default())
    })
}

/// Passes the columns of every row of a database in memory to `take`, in the order of the file's pages. Damaged rows
/// are left out.
pub fn every_row(bytes: &[u8], take: &mut dyn FnMut(&[&[u8]])) {
    let fetch = |at: u64, buffer: &mut [u8]| {
        let rest = usize::try_from(at)
            .ok()
            .and_then(|at| bytes.get(at..))
            .unwrap_or_default();
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok::<_, Infallible>(count)
    };
    let Ok(file) = File::open(&fetch, bytes.len() as u64) else {
        return;
    };
    for number in 1..=file.pages {
        let Ok(page) = file.read(number) else {
            continue;
        };
        let start = if number == 1 { FILE_HEADER } else { 0 };
        let Some(node) = Node::read(&page, start).filter(|node| node.is_leaf) else {
            continue;
        };
        for cell in node.cells {
            let payload = file.payload(&page, usize::from(cell));
            if let Ok(payload) = payload
                && let Some(columns) = columns(&payload)
            {
                take(&columns);
            }
        }
    }
}

struct File<'a, E> {
    fetch: &'a Fetch<'a, E>,
    page: usize,
    /// Size of a page without the bytes reserved at its end.
    usable: usize,
    pages: u64,
}

impl<'a, E> File<'a, E> {
    fn open(fetch: &'a Fetch<'a, E>, size: u64) -> Result<Self, SqliteError<E>> {
        let mut header = [0; FILE_HEADER];
        let filled = fetch(0, &mut header).map_err(SqliteError::Read)?;
        if filled < FILE_HEADER || !header.starts_with(MAGIC) {
            return Err("not a SQLite database".into());
        }
        let page = match u16::from_be_bytes([header[16], header[17]]) {
            1 => 1 << 16,
            size => usize::from(size),
        };
        let usable = page.saturating_sub(usize::from(header[20]));
        if !page.is_power_of_two() || page < 512 || usable < 480 {
            return Err("invalid page size".into());
        }
        let stated = u32::from_be_bytes([header[28], header[29], header[30], header[31]]);
        let pages = size / page as u64;
        if u64::from(stated) > pages {
            return Err("truncated file".into());
        }
        Ok(Self {
            fetch,
            page,
            usable,
            pages,
        })
    }

    fn read(&self, number: u64) -> Result<Vec<u8>, SqliteError<E>> {
        if number == 0 || number > self.pages {
            return Err("reference to a missing page".into());
        }
        let mut page = vec![0; self.page];
        let at = (number - 1) * self.page as u64;
        let filled = (self.fetch)(at, &mut page).map_err(SqliteError::Read)?;
        if filled < page.len() {
            return Err("truncated file".into());
        }
        page.truncate(self.usable);
        Ok(page)
    }

    /// Passes the payload of each row to `take`, in row order.
    fn walk(&self, root: u64, take: &mut Take<'_>) -> Result<(), SqliteError<E>> {
        let (mut todo, mut visited) = (vec![root], 0);
        while let Some(number) = todo.pop() {
            visited += 1;
            if visited > self.pages {
                return Err("page loop".into());
            }
            let page = self.read(number)?;
            let start = if number == 1 { FILE_HEADER } else { 0 };
            let node = Node::read(&page, start).ok_or("invalid page")?;
            if node.is_leaf {
                for cell in &node.cells {
                    let payload = self.payload(&page, usize::from(*cell))?;
                    take(&payload)?;
                }
            } else {
                todo.extend(node.children(&page).ok_or("invalid page")?);
            }
        }
        Ok(())
    }

    /// Returns the payload of a cell, including overflow pages.
    fn payload(&self, page: &[u8], cell: usize) -> Result<Vec<u8>, SqliteError<E>> {
        let broken = || SqliteError::Damaged("row outside of its page");
        let mut rest = page.get(cell..).ok_or_else(broken)?;
        let size = varint(&mut rest).ok_or_else(broken)?;
        varint(&mut rest).ok_or_else(broken)?;
        if size > MAX_PAYLOAD_BYTES.min(self.pages * self.page as u64) {
            return Err("row too large".into());
        }
        let size = usize::try_from(size).map_err(|_| broken())?;
        let local = self.local(size);
        let mut payload = rest.get(..local).ok_or_else(broken)?.to_vec();
        let mut next = (local < size)
            .then(|| word(rest, local).ok_or_else(broken))
            .transpose()?
            .unwrap_or(0);
        // Each page adds bytes, so a loop ends, too.
        while payload.len() < size {
            let page = self.read(next)?;
            next = word(&page, 0).ok_or_else(broken)?;
            let count = (size - payload.len()).min(page.len() - 4);
            payload.extend(&page[4..4 + count]);
        }
        Ok(payload)
    }

    /// Returns the part of a payload that is stored in its row's page, by the rule of the file format.
    fn local(&self, size: usize) -> usize {
        let most = self.usable - 35;
        if size <= most {
            return size;
        }
        let least = (self.usable - 12) * 32 / 255 - 23;
        let wanted = least + (size - least) % (self.usable - 4);
        if wanted <= most { wanted } else { least }
    }
}

struct Node {
    is_leaf: bool,
    cells: Vec<u16>,
    /// Last child of an inner page.
    last: u64,
}

impl Node {
    fn read(page: &[u8], start: usize) -> Option<Self> {
        let header = page.get(start..)?;
        let is_leaf = match *header.first()? {
            LEAF => true,
            INNER => false,
            _ => return None,
        };
        let count = usize::from(half(header, 3)?);
        let first = if is_leaf { 8 } else { 12 };
        let last = if is_leaf { 0 } else { word(header, 8)? };
        let cells = (0..count).map(|cell| half(header, first + cell * 2));
        Some(Self {
            is_leaf,
            cells: cells.collect::<Option<_>>()?,
            last,
        })
    }

    /// Returns the child pages, last one first.
    fn children(&self, page: &[u8]) -> Option<Vec<u64>> {
        let below = self.cells.iter().rev();
        let below = below.map(|cell| word(page, usize::from(*cell)));
        std::iter::once(Some(self.last)).chain(below).collect()
    }
}

/// Returns the stored values of a row's columns.
fn columns(payload: &[u8]) -> Option<Vec<&[u8]>> {
    let mut rest = payload;
    let size = usize::try_from(varint(&mut rest)?).ok()?;
    let taken = payload.len() - rest.len();
    let mut kinds = payload.get(taken..size)?;
    let mut values = payload.get(size..)?;
    let mut columns = Vec::new();
    while !kinds.is_empty() {
        let length = match varint(&mut kinds)? {
            0 | 8 | 9 => 0,
            kind @ 1..=4 => kind,
            5 => 6,
            6 | 7 => 8,
            10 | 11 => return None,
            kind => (kind - 12) / 2,
        };
        let (value, more) = values.split_at_checked(usize::try_from(length).ok()?)?;
        columns.push(value);
        values = more;
    }
    Some(columns)
}

/// Decodes a big-endian number of up to 8 bytes; page numbers are never negative.
fn integer(bytes: &[u8]) -> u64 {
    let take = bytes.iter().take(8);
    take.fold(0, |value, byte| value << 8 | u64::from(*byte))
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for number in 0..9 {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        if number == 8 {
            return Some(value << 8 | u64::from(byte));
        }
        value = value << 7 | u64::from(byte & 0x7f);
        if byte < 0x80 {
            break;
        }
    }
    Some(value)
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    let bytes = bytes.get(at..at + 2)?;
    Some(u16::from_be_bytes(bytes.try_into().ok()?))
}

fn word(bytes: &[u8], at: usize) -> Option<u64> {
    let bytes = bytes.get(at..at + 4)?;
    Some(u32::from_be_bytes(bytes.try_into().ok()?).into())
}
