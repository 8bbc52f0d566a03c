use std::io::Write as _;

use super::*;
use crate::scan::cpio::testing;
use crate::scan::secrets::tests::{UPPER, checked, gzip};

/// Returns the path within the archive of each secret, and the reasons why the search is incomplete.
fn search_in(bytes: &[u8]) -> (Vec<Option<String>>, Vec<Stop>) {
    let unpacked = Unpack::search(b"/opt/x", &mut { bytes }, MAX_UNPACKED_BYTES);
    let mut inside: Vec<_> = unpacked
        .found
        .into_iter()
        .map(|found| found.inside)
        .collect();
    inside.sort();
    (inside, unpacked.stops.into_iter().collect())
}

fn xz(bytes: &[u8]) -> Vec<u8> {
    let options = lzma_rust2::XzOptions::with_preset(1);
    let mut writer = lzma_rust2::XzWriter::new(Vec::new(), options).unwrap();
    writer.write_all(bytes).unwrap();
    writer.finish().unwrap()
}

fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(0o600);
        builder.append_data(&mut header, name, *content).unwrap();
    }
    builder.into_inner().unwrap()
}

fn cpio(files: &[(&str, &[u8])]) -> Vec<u8> {
    let entries = files.iter();
    let entries: Vec<_> = entries
        .map(|(name, content)| (*name, 0, *content, 0, 1))
        .collect();
    testing::cpio(&entries)
}

/// One file of a zip archive: stored, deflated, or deflated with its length after it.
fn zip(name: &str, content: &[u8], method: u16, flags: u16) -> Vec<u8> {
    let packed = if method == 8 {
        let mut encoder =
            flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    } else {
        content.to_vec()
    };
    let behind = flags & 8 != 0;
    let lengths = [packed.len(), content.len()].map(|length| u32::try_from(length).unwrap());
    let mut all = b"PK\x03\x04\x14\0".to_vec();
    all.extend(flags.to_le_bytes());
    all.extend(method.to_le_bytes());
    all.extend([0; 8]);
    for length in lengths {
        all.extend(if behind { 0_u32 } else { length }.to_le_bytes());
    }
    all.extend(u16::try_from(name.len()).unwrap().to_le_bytes());
    all.extend([0; 2]);
    all.extend(name.bytes());
    all.extend(packed);
    if behind {
        all.extend(b"PK\x07\x08\0\0\0\0");
        all.extend(lengths.iter().flat_map(|length| length.to_le_bytes()));
    }
    all
}

#[test]
fn archives_within_archives_are_looked_into_and_their_paths_count() {
    let token = format!("x {}\n", checked("ghp_"));
    let token = token.as_bytes();
    let pass = b"db.corp.test:5432:app:app:f00lish\n";
    let files = [
        ("./root/.pgpass", &pass[..]),
        ("opt/t", token),
        ("etc/ok", b"no"),
    ];
    let list = b"PK\x01\x02".to_vec();
    let both = &["opt/t", "root/.pgpass"][..];
    let initramfs = [
        cpio(&[("kernel/x", b"y")]),
        vec![0; 512],
        gzip(cpio(&files)),
    ];
    let later = [
        zip("a/ok", b"no", 8, 8),
        zip("a/t", token, 8, 8),
        list.clone(),
    ];
    for (name, bytes, expected) in [
        ("tar", tar(&files), both),
        ("tar.gz", gzip(tar(&files)), both),
        ("tar.xz", xz(&tar(&files)), both),
        (
            "tar.zst",
            zstd::bulk::compress(&tar(&files), 1).unwrap(),
            both,
        ),
        (
            "gz in tar.gz",
            gzip(tar(&[("a/log.gz", &gzip(token))])),
            &["a/log.gz"],
        ),
        (
            "two parts of gzip",
            [gzip(b"a"), gzip(token)].concat(),
            &[""],
        ),
        ("cpio", cpio(&files), both),
        (
            "an initramfs: cpio, zeros, compressed cpio",
            initramfs.concat(),
            both,
        ),
        (
            "zip, stored",
            [zip("a/t", token, 0, 0), list.clone()].concat(),
            &["a/t"],
        ),
        (
            "zip, deflated",
            [zip("a/t", token, 8, 0), list.clone()].concat(),
            &["a/t"],
        ),
        ("zip, deflated, lengths after it", later.concat(), &["a/t"]),
    ] {
        let (inside, stops) = search_in(&bytes);
        let inside: Vec<_> = inside
            .iter()
            .map(|path| path.as_deref().unwrap_or(""))
            .collect();
        assert_eq!((&inside[..], stops), (expected, Vec::new()), "{name}");
    }
}

#[test]
fn what_is_not_looked_at_is_said() {
    let token = checked("ghp_");
    let mut cut = gzip(token.repeat(100).as_bytes());
    cut.truncate(cut.len() - 9);
    let mut deep = token.clone().into_bytes();
    for _ in 0..=MAX_DEPTH {
        deep = gzip(&deep);
    }
    let large = gzip(vec![b'.'; usize::try_from(MAX_UNPACKED_BYTES).unwrap() + 1]);
    let mut many = String::new();
    for number in 1..=12_000_u64 {
        let mut bits = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        many.push_str("AKIA");
        for _ in 0..16 {
            bits = bits.rotate_left(5);
            many.push(char::from(UPPER[usize::try_from(bits % 32).unwrap()]));
        }
        many.push('\n');
    }
    let mut short = tar(&[("a", &[b'.'; 4096])]);
    short.truncate(2048);
    for (name, bytes, expected) in [
        ("gzip, cut", cut, Stop::Damaged),
        ("no gzip", b"\x1f\x8b\x08junk".to_vec(), Stop::Damaged),
        (
            "no zstd",
            b"\x28\xb5\x2f\xfdjunk and more junk".to_vec(),
            Stop::Damaged,
        ),
        (
            "no xz",
            b"\xfd7zXZ\0junk and more junk".to_vec(),
            Stop::Damaged,
        ),
        ("tar, cut", short, Stop::Damaged),
        (
            "zip, cut",
            zip("a", &[7; 99], 0, 0)[..60].to_vec(),
            Stop::Damaged,
        ),
        (
            "zip, encrypted",
            [zip("a", b"x", 8, 1), b"PK\x01\x02".to_vec()].concat(),
            Stop::Encrypted,
        ),
        (
            "cpio, cut",
            cpio(&[("a", &[7; 99])])[..150].to_vec(),
            Stop::Damaged,
        ),
        ("deep", deep, Stop::TooDeep),
        ("large", large, Stop::TooLarge(MAX_UNPACKED_BYTES)),
        ("many", gzip(many.as_bytes()), Stop::TooMany),
        ("bzip2", b"BZh91AY&SYjunk".to_vec(), Stop::Unknown("bzip2")),
        (
            "LZ4",
            b"\x04\x22\x4d\x18junk".to_vec(),
            Stop::Unknown("LZ4"),
        ),
    ] {
        let (_, stops) = search_in(&bytes);
        assert_eq!(stops, [expected], "{name}");
        assert!(
            stops.iter().all(|stop| !stop.to_string().is_empty()),
            "{name}"
        );
    }
}

#[test]
fn every_way_to_compress_a_field_of_a_journal_is_known() {
    let field = format!(
        "MESSAGE={} {}",
        "starting unit; ".repeat(40),
        checked("ghp_")
    );
    // Literals only.
    let mut block = vec![0xf0];
    let mut rest = field.len() - 15;
    while rest >= 255 {
        block.push(255);
        rest -= 255;
    }
    block.push(u8::try_from(rest).unwrap());
    block.extend(field.bytes());
    let object = |header: usize| {
        let mut object = vec![1, 2, 0, 0, 0, 0, 0, 0];
        let size = header + 8 + block.len();
        object.extend((size as u64).to_le_bytes());
        object.resize(header, 0);
        object.extend((field.len() as u64).to_le_bytes());
        object.extend(&block);
        object
    };
    for (name, packed) in [
        ("zstd", zstd::bulk::compress(field.as_bytes(), 3).unwrap()),
        ("xz", xz(field.as_bytes())),
        ("LZ4", object(64)),
        ("LZ4, compact", object(72)),
    ] {
        let journal = [b"LPKSHHRH\0\0\0\0", &[0; 200][..], &packed, &[0; 100]].concat();
        let (found, stops) = search_in(&journal);
        assert_eq!((found.len(), stops), (1, Vec::new()), "{name}");
        let (found, _) = search_in(&gzip(&journal));
        assert!(!found.is_empty(), "{name} in an archive");
    }
}

#[test]
fn the_start_of_a_file_says_how_it_hides_its_text() {
    for (head, expected) in [
        (&b"\x1f\x8b\x08\0"[..], Some(Hidden::Gzip)),
        (b"\x28\xb5\x2f\xfd\0", Some(Hidden::Zstd)),
        (b"\xfd7zXZ\0", Some(Hidden::Xz)),
        (b"LPKSHHRH", Some(Hidden::Journal)),
        (b"SQLite format 3\0", Some(Hidden::Sqlite)),
        (b"\xff\xfeA\0", Some(Hidden::Utf16 { low_first: true })),
        (b"\xfe\xff\0A", Some(Hidden::Utf16 { low_first: false })),
        (
            b"p\0a\0s\0s\0w\0o\0r\0d\0",
            Some(Hidden::Utf16 { low_first: true }),
        ),
        (
            b"\0p\0a\0s\0s\0w\0o\0r\0d",
            Some(Hidden::Utf16 { low_first: false }),
        ),
        (b"PATH=/bin\0A=b\0", None),
        (&[0; 64], None),
        (b"", None),
    ] {
        assert_eq!(Hidden::detect(head), expected, "{head:?}");
    }
}

/// Fails on the first read, and panics on the second.
struct Failing(bool);

impl Read for Failing {
    fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
        assert!(!self.0, "asked again");
        self.0 = true;
        Err(std::io::ErrorKind::InvalidData.into())
    }
}

#[test]
fn a_decoder_that_has_failed_is_not_asked_again() {
    let unpack = Unpack {
        most: 99,
        left: Cell::new(99),
        found: RefCell::default(),
        stops: RefCell::default(),
    };
    assert!(!unpack.search_decoded(b"/a", Failing(false), 0));
    assert_eq!(unpack.stops.into_inner(), BTreeSet::from([Stop::Damaged]));
}

proptest::proptest! {
    /// Any bytes after the signatures of the formats, also whole files with some bytes changed, are searched to their end.
    #[test]
    fn no_bytes_make_it_panic(
        form in 0..8_usize,
        junk in proptest::collection::vec(proptest::num::u8::ANY, 0..600),
        at in 0..600_usize,
    ) {
        let text = b"x".repeat(99);
        let whole = [
            gzip(&text),
            xz(&text),
            zstd::bulk::compress(&text, 1).unwrap(),
            tar(&[("a", &text)]),
            cpio(&[("a", &text)]),
            zip("a", &text, 8, 8),
            [&b"LPKSHHRH"[..], &[1, 2, 0, 0, 0, 0, 0, 0], &text].concat(),
            [&b"SQLite format 3\0\x02\0\x01\x01\0\x40\x20\x20"[..], &[0; 76], b"\x0d\0\0\0\x02", &text.repeat(20)].concat(),
        ];
        let mut bytes = whole[form].clone();
        for (place, byte) in junk.into_iter().enumerate() {
            match bytes.get_mut(at + place) {
                Some(old) => *old = byte,
                None => bytes.push(byte),
            }
        }
        search_in(&bytes);
    }
}
