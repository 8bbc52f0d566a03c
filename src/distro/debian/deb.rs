//! A `.deb`: an `ar` archive that holds two compressed `tar` archives, one for the package manager and one with the files.

use std::collections::HashMap;
use std::io::{self, Read};
use std::ops::ControlFlow;

use md5::{Digest as _, Md5};
use serde::{Deserialize, Serialize};
use tar::EntryType;

use super::compressed;

const MAGIC: &[u8] = b"!<arch>\n";
/// Size of a read.
const BUFFER_BYTES: usize = 64 << 10;
/// Size of the header of an archive member.
const HEADER_BYTES: usize = 60;

/// Larger than any control member; the largest of Debian are lists of a million digests.
const MAX_CONTROL_BYTES: u64 = 256 << 20;
/// Unpacked files of one package. The largest of Debian, of debug symbols, have 20 GiB.
const MAX_DATA_BYTES: u64 = 64 << 30;
/// Files of one package. The largest of Debian have half a million.
const MAX_ENTRIES: usize = 2 << 20;
/// Scripts that a package manager runs. `config` runs before the files are unpacked, too.
const SCRIPTS: [&[u8]; 5] = [b"preinst", b"postinst", b"prerm", b"postrm", b"config"];

/// Content of a package.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackageContent {
    /// Files, directories and links, in the order of the archive.
    pub entries: Vec<Entry>,
    /// Absolute paths of configuration files.
    pub conffiles: Vec<Vec<u8>>,
    /// Texts of the scripts, one after the other.
    pub scripts: String,
}

/// A path of a package.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Absolute path.
    pub path: Vec<u8>,
    /// Permissions, with setuid, setgid and sticky.
    pub mode: u16,
    /// Owner and group.
    pub owner: (u32, u32),
    /// Kind, and what belongs to it.
    pub kind: EntryKind,
}

/// Kind of a path of a package.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum EntryKind {
    /// A regular file with the MD5 digest of its content: dpkg's own algorithm.
    File([u8; 16]),
    /// A directory.
    Directory,
    /// A symbolic link with its target.
    Link(Vec<u8>),
    /// A device or named pipe.
    Special,
}

/// Reads the control file; its fields are those of the package's paragraph in an index.
pub fn control(deb: impl Read) -> io::Result<String> {
    let mut found = None;
    members(deb, |name, member| {
        if name.starts_with("control.tar") {
            let mut archive = archive(name, "control.tar", member, MAX_CONTROL_BYTES)?;
            for entry in archive.entries()? {
                let mut entry = entry?;
                if relative(&entry.path_bytes()) == b"control" {
                    found = Some(lossy(&mut entry)?);
                    break;
                }
            }
            return Ok(ControlFlow::Break(()));
        }
        Ok(ControlFlow::Continue(()))
    })?;
    found.ok_or_else(|| invalid("no control file found"))
}

/// Reads all files of a package, its configuration files and its scripts.
pub fn content(deb: impl Read) -> io::Result<PackageContent> {
    let mut content = PackageContent::default();
    let mut has_data = false;
    members(deb, |name, member| {
        if name.starts_with("control.tar") {
            content.read_control(archive(name, "control.tar", member, MAX_CONTROL_BYTES)?)?;
        } else if name.starts_with("data.tar") {
            content.read_data(archive(name, "data.tar", member, MAX_DATA_BYTES)?)?;
            has_data = true;
            return Ok(ControlFlow::Break(()));
        }
        Ok(ControlFlow::Continue(()))
    })?;
    if has_data {
        Ok(content)
    } else {
        Err(invalid("no files found"))
    }
}

impl PackageContent {
    fn read_control(&mut self, mut archive: tar::Archive<impl Read>) -> io::Result<()> {
        for entry in archive.entries()? {
            let mut entry = entry?;
            let path = relative(&entry.path_bytes()).to_vec();
            if path == b"conffiles" {
                // A flag may come before the path.
                let paths = lossy(&mut entry)?;
                let paths = paths
                    .lines()
                    .filter_map(|line| Some(&line[line.find('/')?..]));
                let paths = paths.map(|path| path.trim_end().as_bytes().to_vec());
                self.conffiles = paths.collect();
            } else if SCRIPTS.contains(&&*path) {
                self.scripts.push_str(&lossy(&mut entry)?);
            }
        }
        Ok(())
    }

    fn read_data(&mut self, mut archive: tar::Archive<impl Read>) -> io::Result<()> {
        let mut sums: HashMap<Vec<u8>, [u8; 16]> = HashMap::new();
        let mut buffer = vec![0; BUFFER_BYTES];
        for entry in archive.entries()? {
            let mut entry = entry?;
            let path = absolute(&entry.path_bytes());
            let target = entry.link_name_bytes().map(|target| target.to_vec());
            let header = entry.header();
            let mode = header.mode()?;
            let owner = (id(header.uid()?)?, id(header.gid()?)?);
            let kind = match header.entry_type() {
                EntryType::Directory => EntryKind::Directory,
                EntryType::Symlink => EntryKind::Link(target.unwrap_or_default()),
                EntryType::Link => {
                    let linked = absolute(&target.unwrap_or_default());
                    let sum = sums.get(&linked).copied();
                    EntryKind::File(sum.ok_or_else(|| invalid("hard link to a missing file"))?)
                }
                kind if kind.is_file() => EntryKind::File(md5_of(&mut entry, &mut buffer)?),
                EntryType::Char | EntryType::Block | EntryType::Fifo => EntryKind::Special,
                _ => return Err(invalid("unsupported kind of file")),
            };
            if let EntryKind::File(sum) = kind {
                sums.insert(path.clone(), sum);
            }
            if self.entries.len() == MAX_ENTRIES {
                return Err(invalid("too many files"));
            }
            self.entries.push(Entry {
                path,
                // The other bits are the kind in some archives.
                mode: u16::try_from(mode & 0o7777).expect("12 bits"),
                owner,
                kind,
            });
        }
        Ok(())
    }
}

/// Calls `visit` for each member of the `ar` archive until it breaks or the archive ends.
fn members(
    mut deb: impl Read,
    mut visit: impl FnMut(&str, &mut dyn Read) -> io::Result<ControlFlow<()>>,
) -> io::Result<()> {
    let mut magic = [0; MAGIC.len()];
    deb.read_exact(&mut magic)?;
    if magic != MAGIC {
        return Err(invalid("not an ar archive"));
    }
    loop {
        let mut head = Vec::new();
        (&mut deb)
            .take(HEADER_BYTES as u64)
            .read_to_end(&mut head)?;
        if head.is_empty() {
            return Ok(());
        }
        if head.len() < HEADER_BYTES {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let name = text(&head[..16])?;
        let size: u64 = text(&head[48..58])?
            .parse()
            .map_err(|_| invalid("invalid size of an archive member"))?;
        let mut member = (&mut deb).take(size);
        if visit(name.trim_end_matches('/'), &mut member)?.is_break() {
            return Ok(());
        }
        io::copy(&mut member, &mut io::sink())?;
        // Members begin at even offsets.
        io::copy(&mut (&mut deb).take(size % 2), &mut io::sink())?;
    }
}

/// Opens a member as a `tar` archive of at most `max_bytes`; the rest of its name after `stem` tells its compression.
fn archive<'m>(
    name: &str,
    stem: &str,
    member: &'m mut dyn Read,
    max_bytes: u64,
) -> io::Result<tar::Archive<impl Read + 'm>> {
    let extension = &name[stem.len()..];
    let extension = extension.strip_prefix('.').unwrap_or(extension);
    if !extension.is_empty() && !compressed::EXTENSIONS.contains(&extension) {
        return Err(invalid("unsupported compression of an archive"));
    }
    let unpacked = compressed::reader(member, extension)?;
    Ok(tar::Archive::new(unpacked.take(max_bytes)))
}

fn md5_of(mut file: impl Read, buffer: &mut [u8]) -> io::Result<[u8; 16]> {
    let mut md5 = Md5::new();
    loop {
        match file.read(buffer)? {
            0 => return Ok(md5.finalize().into()),
            count => md5.update(&buffer[..count]),
        }
    }
}

fn relative(path: &[u8]) -> &[u8] {
    path.strip_prefix(b"./").unwrap_or(path)
}

/// Returns the path in the installed system of a path of the archive.
fn absolute(path: &[u8]) -> Vec<u8> {
    let path = relative(path);
    let path = path.strip_suffix(b"/").unwrap_or(path);
    let path = if path == b"." { b"" } else { path };
    [b"/", path].concat()
}

fn id(number: u64) -> io::Result<u32> {
    u32::try_from(number).map_err(|_| invalid("invalid owner"))
}

fn lossy(mut from: impl Read) -> io::Result<String> {
    let mut bytes = Vec::new();
    from.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
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
    fn every_kind_of_file_is_read_with_its_rights_and_digest() {
        let mut data = tar::Builder::new(Vec::new());
        let mut add = |kind: EntryType, path: &str, mode: u32, text: &str, target: &str| {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(kind);
            header.set_mode(mode);
            header.set_uid(0);
            header.set_gid(42);
            header.set_size(text.len() as u64);
            if target.is_empty() {
                data.append_data(&mut header, path, text.as_bytes())
                    .unwrap();
            } else {
                data.append_link(&mut header, path, target).unwrap();
            }
        };
        let long = format!("usr/{}", "n".repeat(150));
        add(EntryType::Directory, "./", 0o755, "", "");
        add(EntryType::Directory, "./usr/", 0o755, "", "");
        add(EntryType::Regular, "./usr/su", 0o4755, "abc", "");
        add(EntryType::Regular, &long, 0o644, "", "");
        add(EntryType::Link, "./usr/also", 0o4755, "", "./usr/su");
        add(EntryType::Symlink, "./usr/link", 0o777, "", "../etc/a");
        let data = data.into_inner().unwrap();
        let mut members = tar::Builder::new(Vec::new());
        for (path, text) in [
            ("./control", "Package: a\n"),
            ("./conffiles", "/etc/a\nremove-on-upgrade /etc/b\n"),
            ("./postinst", "chmod u+s x\n"),
        ] {
            let mut header = tar::Header::new_gnu();
            header.set_size(text.len() as u64);
            members
                .append_data(&mut header, path, text.as_bytes())
                .unwrap();
        }
        let members = members.into_inner().unwrap();
        let deb = deb(&[("control.tar", &members), ("data.tar/", &data)]);

        let content = content(&deb[..]).unwrap();
        assert_eq!(content.conffiles, [b"/etc/a", b"/etc/b"]);
        assert_eq!(content.scripts, "chmod u+s x\n");
        let abc: [u8; 16] = Md5::digest("abc").into();
        let empty: [u8; 16] = Md5::digest("").into();
        let found: Vec<_> = content
            .entries
            .iter()
            .map(|entry| {
                (
                    str::from_utf8(&entry.path).unwrap(),
                    entry.mode,
                    &entry.kind,
                )
            })
            .collect();
        assert_eq!(
            found,
            [
                ("/", 0o755, &EntryKind::Directory),
                ("/usr", 0o755, &EntryKind::Directory),
                ("/usr/su", 0o4755, &EntryKind::File(abc)),
                (&*format!("/{long}"), 0o644, &EntryKind::File(empty)),
                ("/usr/also", 0o4755, &EntryKind::File(abc)),
                ("/usr/link", 0o777, &EntryKind::Link(b"../etc/a".to_vec())),
            ]
        );
        assert!(content.entries.iter().all(|entry| entry.owner == (0, 42)));
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
        for bytes in [
            Vec::new(),
            b"PK\x03\x04 and more".to_vec(),
            deb(&[("control.tar", &other)]),
            deb(&[("data.tar.br", b"x")]),
            deb(&[("data.tar", &tar("./a", &"abc".repeat(200))[..600])]),
        ] {
            content(&bytes[..]).unwrap_err();
        }
    }
}
