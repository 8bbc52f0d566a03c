//! The view of a file system that is the same for all formats.

use super::ReadError;
use super::ext4::layout::inode_flags as bits;

/// A file system that is read offline, by inodes, and shared between threads.
///
/// Names, link targets and attributes are bytes, as the guest's kernel sees them.
pub trait FileSystem: Send + Sync {
    /// Returns the root directory.
    fn root(&self) -> Inode;

    /// Returns the metadata of an inode.
    ///
    /// # Errors
    /// The inode does not exist, or is damaged.
    fn stat(&self, inode: Inode) -> Result<Metadata, ReadError>;

    /// Returns the entries of a directory, sorted by the bytes of their names, without `.`, `..` and duplicates.
    ///
    /// # Errors
    /// The inode is damaged, not a directory, or too large.
    fn read_dir(&self, inode: Inode) -> Result<Vec<DirectoryEntry>, ReadError>;

    /// Returns the target of a symbolic link.
    ///
    /// # Errors
    /// The inode is damaged, or not a link.
    fn read_link(&self, inode: Inode) -> Result<Vec<u8>, ReadError>;

    /// Returns the extended attributes as `listxattr` and `getxattr` show them to root, sorted by the bytes of their names.
    ///
    /// # Errors
    /// An attribute is damaged.
    fn xattrs(&self, inode: Inode) -> Result<Vec<Xattr>, ReadError>;

    /// Returns the runs of data of a file within its size, in order, joined where they touch. Bytes between them are zero.
    ///
    /// # Errors
    /// The file's map is damaged, or claims more than the file system has.
    fn runs(&self, inode: Inode) -> Result<Vec<DataRun>, ReadError>;

    /// Fills the buffer with a file's bytes from `offset` on. Returns their number, which is smaller only at the file's end.
    ///
    /// # Errors
    /// The inode is damaged, or not a regular file.
    fn read_at(&self, inode: Inode, offset: u64, buffer: &mut [u8]) -> Result<usize, ReadError>;
}

/// Number of an inode.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Inode(pub u64);

/// Type of the file that an inode is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[expect(missing_docs, reason = "the names say it")]
pub enum FileType {
    /// A regular file, and no other kind.
    File,
    Directory,
    /// A symbolic link; hard links are names of one inode.
    Link,
    CharDevice,
    BlockDevice,
    Fifo,
    Socket,
}

impl FileType {
    /// Returns the kind in the high bits of `st_mode`.
    #[must_use]
    pub fn from_mode(mode: u16) -> Option<Self> {
        Some(match mode & 0xf000 {
            0x1000 => Self::Fifo,
            0x2000 => Self::CharDevice,
            0x4000 => Self::Directory,
            0x6000 => Self::BlockDevice,
            0x8000 => Self::File,
            0xa000 => Self::Link,
            0xc000 => Self::Socket,
            _ => return None,
        })
    }

    /// Returns the high bits of `st_mode`.
    #[must_use]
    pub fn mode_bits(self) -> u16 {
        match self {
            Self::Fifo => 0x1000,
            Self::CharDevice => 0x2000,
            Self::Directory => 0x4000,
            Self::BlockDevice => 0x6000,
            Self::File => 0x8000,
            Self::Link => 0xa000,
            Self::Socket => 0xc000,
        }
    }
}

/// A point in time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Time {
    /// Seconds since 1970; negative before that.
    pub seconds: i64,
    /// Nanoseconds after that second.
    pub nanoseconds: u32,
}

impl Time {
    /// Returns the start of a second.
    pub(crate) fn from_seconds(seconds: i64) -> Self {
        Self {
            seconds,
            nanoseconds: 0,
        }
    }
}

/// Attributes of `chattr` that the file system stores, as the bits that ext4 and the kernel's `FS_IOC_GETFLAGS` have for them.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct FileFlags(u32);

impl FileFlags {
    /// The attributes with their letters.
    const LETTERS: [(u32, char); 13] = [
        (bits::APPEND, 'a'),
        (bits::NO_ATIME, 'A'),
        (bits::NO_DUMP, 'd'),
        (bits::DIR_SYNC, 'D'),
        (bits::CASEFOLD, 'F'),
        (bits::IMMUTABLE, 'i'),
        (bits::JOURNAL_DATA, 'j'),
        (bits::PROJECT_INHERIT, 'P'),
        (bits::SYNC, 'S'),
        (bits::NO_TAIL, 't'),
        (bits::TOP_DIR, 'T'),
        // The hash tree of fs-verity is not part of the content.
        (bits::VERITY, 'V'),
        (bits::DAX, 'x'),
    ];

    /// Takes the attributes from `bits`; others, such as that of a file with extents, say how it is stored.
    #[must_use]
    pub fn from_bits(bits: u32) -> Self {
        let known = Self::LETTERS.iter().fold(0, |all, (bit, _)| all | bit);
        Self(bits & known)
    }

    pub(crate) fn bits(self) -> u32 {
        self.0
    }

    /// Returns the letters of `chattr`.
    pub(crate) fn letters(self) -> String {
        let set = Self::LETTERS.iter().filter(|(bit, _)| self.0 & bit != 0);
        set.map(|(_, letter)| letter).collect()
    }
}

/// Metadata of an inode, as `stat` shows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Metadata {
    /// Type of the file.
    pub kind: FileType,
    /// Permissions with set-user-id, set-group-id and sticky bit: the low 12 bits of `st_mode`.
    pub mode: u16,
    /// User id of the owner.
    pub uid: u32,
    /// Group id of the owner.
    pub gid: u32,
    /// Size in bytes; of a link, the length of its target.
    pub size: u64,
    /// Number of hard links.
    pub links: u32,
    /// Time of the last access.
    pub atime: Time,
    /// Time of the last change of the content.
    pub mtime: Time,
    /// Time of the last change of the inode.
    pub ctime: Time,
    /// Creation time, if the file system stores it.
    pub crtime: Option<Time>,
    /// Major and minor number of a device.
    pub rdev: Option<(u32, u32)>,
    /// Attributes that `chattr` sets.
    pub flags: FileFlags,
    /// Project for quotas, or 0.
    pub project: u32,
}

/// A name in a directory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DirectoryEntry {
    /// Not empty, `.` or `..`; without `/` and NUL.
    pub name: Box<[u8]>,
    /// Inode of the name.
    pub inode: Inode,
    /// Type as the directory records it, if it does; that of the inode is authoritative.
    pub kind: Option<FileType>,
}

/// An extended attribute with its value.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Xattr {
    /// Name with its namespace, as in `security.capability`.
    pub name: Vec<u8>,
    /// Value as `getxattr` returns it: an ACL in the form that user space sees.
    pub value: Vec<u8>,
}

/// A part of a file with data on the disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DataRun {
    /// Offset in the file.
    pub offset: u64,
    /// Number of bytes, at least one.
    pub length: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The values are those of `linux/fs.h` (`FS_*_FL`), the letters those of chattr(1).
    #[test]
    fn attributes_have_the_letters_of_chattr() {
        for (bits, letter) in [
            (0x8, "S"),
            (0x10, "i"),
            (0x20, "a"),
            (0x40, "d"),
            (0x80, "A"),
            (0x4000, "j"),
            (0x8000, "t"),
            (0x1_0000, "D"),
            (0x2_0000, "T"),
            (0x10_0000, "V"),
            (0x200_0000, "x"),
            (0x2000_0000, "P"),
            (0x4000_0000, "F"),
            // Extents, which the attributes leave out.
            (0x8_0000, ""),
        ] {
            assert_eq!(FileFlags::from_bits(bits).letters(), letter, "{bits:#x}");
        }
    }
}
