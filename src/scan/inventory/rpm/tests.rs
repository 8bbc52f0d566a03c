use super::*;
use crate::distro::rpm::header;
use crate::scan::testing::Planted;

pub enum Value<'a> {
    Text(&'a str),
    Texts(&'a [&'a str]),
    Numbers(&'a [u32]),
    Bytes(&'a [u8]),
}

/// Encodes a header as RPM stores it.
pub fn header_of(values: &[(u32, Value<'_>)]) -> Vec<u8> {
    let (mut index, mut data) = (Vec::new(), Vec::new());
    for (tag, value) in values {
        if matches!(value, Value::Numbers(_)) {
            data.resize(data.len().next_multiple_of(4), 0);
        }
        let offset = data.len();
        let (kind, count) = match value {
            Value::Text(text) => {
                data.extend(text.as_bytes());
                data.push(0);
                (6, 1)
            }
            Value::Texts(texts) => {
                for text in *texts {
                    data.extend(text.as_bytes());
                    data.push(0);
                }
                (8, texts.len())
            }
            Value::Numbers(numbers) => {
                data.extend(numbers.iter().flat_map(|number| number.to_be_bytes()));
                (4, numbers.len())
            }
            Value::Bytes(bytes) => {
                data.extend(*bytes);
                (1, bytes.len())
            }
        };
        let [offset, count] = [offset, count].map(|number| u32::try_from(number).unwrap());
        for number in [*tag, kind, offset, count] {
            index.extend(number.to_be_bytes());
        }
    }
    let counts = [index.len() / 16, data.len()].map(|count| u32::try_from(count).unwrap());
    let mut bytes: Vec<u8> = counts
        .iter()
        .flat_map(|count| count.to_be_bytes())
        .collect();
    bytes.extend(index);
    bytes.extend(data);
    bytes
}

fn put_varint(bytes: &mut Vec<u8>, value: usize) {
    assert!(value < 1 << 21);
    for shift in [14, 7] {
        if value >> shift > 0 {
            bytes.push(u8::try_from(value >> shift & 0x7f).unwrap() | 0x80);
        }
    }
    bytes.push(u8::try_from(value & 0x7f).unwrap());
}

const PAGE: usize = 4096;

/// Encodes a leaf page.
fn leaf(start: usize, cells: &[Vec<u8>]) -> Vec<u8> {
    let mut page = vec![0; PAGE];
    page[start] = 0x0d;
    page[start + 4] = u8::try_from(cells.len()).unwrap();
    let mut end = PAGE;
    for (number, cell) in cells.iter().enumerate() {
        end -= cell.len();
        page[end..end + cell.len()].copy_from_slice(cell);
        let at = start + 8 + number * 2;
        page[at..at + 2].copy_from_slice(&u16::try_from(end).unwrap().to_be_bytes());
    }
    page
}

/// Encodes a record of columns with their types.
fn record(columns: &[(usize, &[u8])]) -> Vec<u8> {
    let mut kinds = Vec::new();
    for (kind, _) in columns {
        put_varint(&mut kinds, *kind);
    }
    let mut bytes = vec![u8::try_from(kinds.len() + 1).unwrap()];
    bytes.extend(kinds);
    for (_, value) in columns {
        bytes.extend(*value);
    }
    bytes
}

fn text(text: &str) -> (usize, &[u8]) {
    (13 + 2 * text.len(), text.as_bytes())
}

/// Encodes a database of two headers, the second with some 5,000 bytes. Pages: 1 table list, 2 inner node, 3 leaf,
/// 4 overflow.
pub fn database(small: &[u8], large: &[u8]) -> Vec<u8> {
    let tables = record(&[
        text("table"),
        text("Packages"),
        text("Packages"),
        (1, &[2]),
        text("CREATE TABLE Packages (hnum INTEGER PRIMARY KEY, blob BLOB)"),
    ]);
    let cell = |number: u8, record: &[u8]| {
        let mut cell = Vec::new();
        put_varint(&mut cell, record.len());
        cell.push(number);
        cell.extend(record);
        cell
    };
    let mut first = leaf(100, &[cell(1, &tables)]);
    first[..16].copy_from_slice(b"SQLite format 3\0");
    first[16..18].copy_from_slice(&4096u16.to_be_bytes());
    first[28..32].copy_from_slice(&4u32.to_be_bytes());

    let mut inner = vec![0; PAGE];
    inner[0] = 0x05;
    inner[8..12].copy_from_slice(&3u32.to_be_bytes());

    let row = |blob: &[u8]| record(&[(0, &[]), (12 + 2 * blob.len(), blob)]);
    let (small, large) = (row(small), row(large));
    // By the rule of the format: the overflow fills whole pages.
    let least = (PAGE - 12) * 32 / 255 - 23;
    let local = least + (large.len() - least) % (PAGE - 4);
    assert!(large.len() > PAGE - 35 && local <= PAGE - 35);
    let mut long = Vec::new();
    put_varint(&mut long, large.len());
    long.push(2);
    long.extend(&large[..local]);
    long.extend(4u32.to_be_bytes());
    let mut overflow = vec![0; PAGE];
    overflow[4..4 + large.len() - local].copy_from_slice(&large[local..]);

    [first, inner, leaf(0, &[cell(1, &small), long]), overflow].concat()
}

pub fn sample_header() -> Vec<u8> {
    header_of(&[
        (header::NAME, Value::Text("bash")),
        (header::VERSION, Value::Text("5.1.8")),
        (header::RELEASE, Value::Text("9.el9")),
        (header::LICENSE, Value::Text("GPLv3+")),
        (header::ARCHITECTURE, Value::Text("x86_64")),
        (header::SOURCE, Value::Text("bash-5.1.8-9.el9.src.rpm")),
        (header::DIRECTORIES, Value::Texts(&["/usr/bin/", "/etc/"])),
        (header::BASE_NAMES, Value::Texts(&["bash", "bashrc"])),
        (header::DIRECTORY_INDICES, Value::Numbers(&[0, 1])),
        (header::FILE_DIGESTS, Value::Texts(&["00", ""])),
        (header::FILE_FLAGS, Value::Numbers(&[0, 1])),
        (header::FILE_STATES, Value::Bytes(&[0, 0])),
        (header::PROVIDES, Value::Texts(&["bash", "/bin/sh"])),
        (header::REQUIRES, Value::Texts(&["libc.so.6"])),
    ])
}

pub fn large_header() -> Vec<u8> {
    header_of(&[
        (header::NAME, Value::Text("openssl-libs")),
        (1005, Value::Text(&"x".repeat(5000))),
        (header::VERSION, Value::Text("3.0.7")),
        (header::RELEASE, Value::Text("27.el9")),
        (header::SOURCE, Value::Text("openssl-3.0.7-27.el9.src.rpm")),
        (header::EPOCH, Value::Numbers(&[1])),
    ])
}

pub fn sample() -> Vec<u8> {
    database(&sample_header(), &large_header())
}

#[test]
fn packages_are_read_from_every_page_of_their_table() {
    let tree = Planted::default().file("/var/lib/rpm/rpmdb.sqlite", 0o644, sample());
    let packages = read(&tree.root()).unwrap().unwrap();
    let shown: Vec<_> = packages
        .iter()
        .map(|one| [&one.name, &one.version, &one.source, &one.source_version].map(String::as_str))
        .collect();
    assert_eq!(
        shown,
        [
            ["bash", "5.1.8-9.el9", "bash", "5.1.8-9.el9"],
            [
                "openssl-libs",
                "1:3.0.7-27.el9",
                "openssl",
                "1:3.0.7-27.el9"
            ],
        ]
    );
    assert_eq!(
        (
            packages[0].architecture.as_str(),
            packages[0].license.as_str()
        ),
        ("x86_64", "GPLv3+")
    );
}

#[test]
fn a_database_that_cannot_be_read_whole_is_an_error() {
    let whole = sample();
    let at = |path: &str, bytes: &[u8]| {
        let tree = Planted::default().file(path, 0o644, bytes);
        read(&tree.root()).map_err(|error| error.to_string())
    };
    let changed = |at: usize, byte: u8| {
        let mut bytes = whole.clone();
        bytes[at] = byte;
        bytes
    };
    let path = "/usr/lib/sysimage/rpm/rpmdb.sqlite";
    for (bytes, problem) in [
        (whole[..3 * PAGE].to_vec(), "truncated file"),
        (whole[..50].to_vec(), "not a SQLite database"),
        (Vec::new(), "not a SQLite database"),
        (changed(17, 1), "invalid page size"),
        (changed(PAGE + 11, 2), "page loop"),
        (changed(PAGE + 11, 9), "reference to a missing page"),
        (changed(2 * PAGE, 2), "invalid page"),
    ] {
        let error = at(path, &bytes).unwrap_err();
        assert_eq!(error, format!("{path}: {problem}"));
    }
    assert!(
        at("/var/lib/rpm/Packages", b"")
            .unwrap_err()
            .contains("unsupported database format")
    );
    let tree = Planted::default()
        .file(path, 0o644, whole)
        .file(&format!("{path}-wal"), 0o644, "x");
    assert!(
        read(&tree.root())
            .unwrap_err()
            .to_string()
            .contains("uncommitted changes")
    );
    assert_eq!(read(&Planted::default().root()).unwrap(), None);
}

proptest::proptest! {
    #[test]
    fn no_damage_panics(at in 0usize..4 * PAGE, byte in 0u8.., more in 0usize..4 * PAGE, other in 0u8..) {
        let mut bytes = sample();
        bytes[at] = byte;
        bytes[more] = other;
        let tree = Planted::default().file("/var/lib/rpm/rpmdb.sqlite", 0o644, bytes);
        let _ = read(&tree.root());
    }
}
