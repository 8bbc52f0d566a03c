//! The control file of a `.deb`: an `ar` archive that holds a compressed `tar` archive.

use std::io::{self, Read};

use super::compressed;

const MAGIC: &[u8] = b"!<arch>\n";

/// Larger than any control member; the largest of Debian are lists of a million digests.
const MAX_CONTROL_BYTES: u64 = 256 << 20;

/// Reads the control file; its fields are those of the package's paragraph in an index.
pub fn control(mut deb: impl Read) -> io::Result<String> {
    let mut magic = [0; MAGIC.len()];
    deb.read_exact(&mut magic)?;
    if magic != MAGIC {
        return Err(invalid("not an ar archive"));
    }
    loop {
        let mut head = [0; 60];
        deb.read_exact(&mut head)?;
        let name = text(&head[..16])?;
        let size: u64 = text(&head[48..58])?
            .parse()
            .map_err(|_| invalid("invalid size of an archive member"))?;
        let mut member = (&mut deb).take(size);
        if let Some(extension) = name.trim_end_matches('/').strip_prefix("control.tar") {
            let extension = extension.strip_prefix('.').unwrap_or(extension);
            if !extension.is_empty() && !compressed::EXTENSIONS.contains(&extension) {
                return Err(invalid("unsupported compression of the control archive"));
            }
            return find(compressed::reader(member, extension)?);
        }
        io::copy(&mut member, &mut io::sink())?;
        // Members begin at even offsets.
        io::copy(&mut (&mut deb).take(size % 2), &mut io::sink())?;
    }
}

fn find(tar: impl Read) -> io::Result<String> {
    let mut archive = tar::Archive::new(tar.take(MAX_CONTROL_BYTES));
    for entry in archive.entries()? {
        let mut entry = entry?;
        if [b"./control".as_slice(), b"control"].contains(&&*entry.path_bytes()) {
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes)?;
            return Ok(String::from_utf8_lossy(&bytes).into_owned());
        }
    }
    Err(invalid("no control file found"))
}

fn text(field: &[u8]) -> io::Result<&str> {
    let text =
        std::str::from_utf8(field).map_err(|_| invalid("invalid name of an archive member"))?;
    Ok(text.trim_ascii_end())
}

fn invalid(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn tar(name: &str, text: &str) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        builder
            .append_data(&mut header, name, text.as_bytes())
            .unwrap();
        builder.into_inner().unwrap()
    }

    fn deb(members: &[(&str, &[u8])]) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        for (name, member) in members {
            writeln!(
                bytes,
                "{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`",
                0,
                0,
                0,
                100_644,
                member.len()
            )
            .unwrap();
            bytes.extend_from_slice(member);
            bytes.resize(bytes.len().next_multiple_of(2), b'\n');
        }
        bytes
    }

    #[test]
    fn the_control_file_is_found_however_it_is_packed() {
        let text = "Package: a\nDepends: b\n";
        let plain = tar("./control", text);
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gz.write_all(&plain).unwrap();
        let zst = zstd::encode_all(&plain[..], 1).unwrap();
        for (name, member) in [
            ("control.tar", plain.clone()),
            ("control.tar.gz/", gz.finish().unwrap()),
            ("control.tar.zst", zst),
            ("control.tar", tar("control", text)),
        ] {
            let bytes = deb(&[
                ("debian-binary", b"2.0"),
                (name, &member),
                ("data.tar", b""),
            ]);
            assert_eq!(control(&bytes[..]).unwrap(), text, "{name}");
        }
    }

    #[test]
    fn what_is_no_package_is_refused() {
        let other = tar("./md5sums", "");
        for bytes in [
            Vec::new(),
            b"PK\x03\x04 and more".to_vec(),
            deb(&[("data.tar", b"")]),
            deb(&[("control.tar.br", b"x")]),
            deb(&[("control.tar", &other)]),
            deb(&[("control.tar.gz", b"no gzip")]),
        ] {
            control(&bytes[..]).unwrap_err();
        }
    }
}
