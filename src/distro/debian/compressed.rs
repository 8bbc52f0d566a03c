//! Decompression by file name extension.

use std::io::{self, Read};

/// Extensions that [`reader`] decompresses.
pub const EXTENSIONS: [&str; 3] = ["gz", "xz", "zst"];

/// Decompresses a file with this extension; any other extension stands for plain bytes.
pub fn reader<'a>(packed: impl Read + 'a, extension: &str) -> io::Result<Box<dyn Read + 'a>> {
    Ok(match extension {
        "gz" => Box::new(flate2::read::MultiGzDecoder::new(packed)),
        "xz" => Box::new(lzma_rust2::XzReader::new(packed, true)),
        "zst" => Box::new(zstd::Decoder::new(packed)?),
        _ => Box::new(packed),
    })
}
