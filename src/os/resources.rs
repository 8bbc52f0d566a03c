//! Memory and disk space of this host.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Memory of this host, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Memory {
    /// Memory and swap.
    pub total: u64,
    /// Memory that is free, or that the kernel can free.
    pub available: u64,
}

/// Returns the memory of this host; `None` if the kernel does not tell.
pub(crate) fn memory() -> Option<Memory> {
    parse_memory(&fs::read_to_string("/proc/meminfo").ok()?)
}

fn parse_memory(text: &str) -> Option<Memory> {
    let bytes = |name| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        Some(line.split_whitespace().next()?.parse::<u64>().ok()? << 10)
    };
    Some(Memory {
        total: bytes("MemTotal:")? + bytes("SwapTotal:")?,
        available: bytes("MemAvailable:")?,
    })
}

/// Returns the bytes that this user can still write below `path`, of which the last components need not exist.
pub(crate) fn free_space(path: &Path) -> io::Result<u64> {
    let stat = rustix::fs::statvfs(&nearest_existing(path)?)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// Returns `path`, or its nearest ancestor that exists.
pub(crate) fn nearest_existing(path: &Path) -> io::Result<PathBuf> {
    let absolute = std::path::absolute(path)?;
    let existing = absolute.ancestors().find(|path| path.exists());
    Ok(existing.unwrap_or(&absolute).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_in_bytes() {
        let text = "MemTotal:  2048 kB\nMemFree: 1 kB\nMemAvailable: 512 kB\nSwapTotal: 1024 kB\n";
        let expected = Memory {
            total: 3 << 20,
            available: 512 << 10,
        };
        assert_eq!(parse_memory(text), Some(expected));
        assert_eq!(parse_memory("MemTotal: 2048 kB\n"), None);
        assert!(memory().is_some_and(|memory| memory.available <= memory.total));
    }

    #[test]
    fn space_is_that_of_the_nearest_directory_that_exists() {
        let scratch = tempfile::tempdir().unwrap();
        for path in [
            scratch.path().to_owned(),
            scratch.path().join("a/b"),
            "c".into(),
        ] {
            assert!(free_space(&path).unwrap() > 0, "{path:?}");
        }
        assert_eq!(free_space(Path::new("/proc")).unwrap(), 0);
    }
}
