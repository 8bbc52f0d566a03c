//! What every file system shows, whatever it looks like on the disk.

use super::ReadError;

/// A file system read offline, by inodes. Shared between threads.
///
/// Names, link targets and attributes are bytes, as the guest's kernel sees them.
pub trait FileSystem: Send + Sync {
    /// The root directory.
    fn root(&self) -> Inode;

    /// What `stat` shows.
    ///
    /// # Errors
    /// There is no such inode, or it is damaged.
    fn stat(&self, inode: Inode) -> Result<Metadata, ReadError>;

    /// The entries of a directory, sorted by the bytes of their names, without `.` and `..`; no name twice.
    ///
    /// # Errors
    /// It is damaged, no directory, or beyond any sensible size.
    fn read_dir(&self, inode: Inode) -> Result<Vec<Entry>, ReadError>;

    /// The target of a symbolic link.
    ///
    /// # Errors
    /// It is damaged, or no link.
    fn read_link(&self, inode: Inode) -> Result<Vec<u8>, ReadError>;

    /// The extended attributes as `listxattr` and `getxattr` show them to root, sorted by the bytes of their names.
    ///
    /// # Errors
    /// They are damaged.
    fn xattrs(&self, inode: Inode) -> Result<Vec<Xattr>, ReadError>;

    /// Where a file has data, in order, within its size, joined where they touch. What lies between reads as zeros.
    ///
    /// # Errors
    /// The file's map is damaged, or claims more than there is.
    fn runs(&self, inode: Inode) -> Result<Vec<Run>, ReadError>;

    /// Fills the buffer with a file's bytes from `offset` on and says how many there are: fewer than asked for only at its end.
    ///
    /// # Errors
    /// It is damaged, or no file.
    fn read_at(&self, inode: Inode, offset: u64, buffer: &mut [u8]) -> Result<usize, ReadError>;
}

/// An inode's number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Inode(pub u64);

/// The kind of an inode.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Link,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
}

impl Kind {
    /// The kind in the high bits of `st_mode`.
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

    /// The high bits of `st_mode`.
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

/// A moment: seconds since 1970, before it negative, and nanoseconds after that second.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Time {
    /// Seconds since 1970.
    pub seconds: i64,
    /// Nanoseconds after that second.
    pub nanoseconds: u32,
}

/// What `chattr` sets and the file system keeps.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "they are independent flags")]
pub struct Flags {
    /// `i`: nobody can change it.
    pub immutable: bool,
    /// `a`: it can only be added to.
    pub append: bool,
    /// `d`: dump leaves it out.
    pub no_dump: bool,
    /// `A`: reading does not change its access time.
    pub no_atime: bool,
    /// `S`: written at once.
    pub sync: bool,
    /// `D`: a directory written at once.
    pub dir_sync: bool,
    /// `j`: its data goes through the journal, too.
    pub journal_data: bool,
    /// `F`: names in the directory do not differ by case alone.
    pub casefold: bool,
    /// `P`: new files in it get its project.
    pub project_inherit: bool,
    /// `V`: fs-verity checks its data; its hash tree is not among its bytes.
    pub verity: bool,
    /// `x`: DAX.
    pub dax: bool,
    /// `T`: a directory at the top of a hierarchy.
    pub top_dir: bool,
    /// `t`: no tail merging.
    pub no_tail: bool,
}

/// What `stat` shows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Metadata {
    /// What it is.
    pub kind: Kind,
    /// Permissions with set-user-id, set-group-id and sticky bit: the low 12 bits of `st_mode`.
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Bytes; of a link, the length of its target.
    pub size: u64,
    /// Hard links.
    pub links: u32,
    /// Last access.
    pub atime: Time,
    /// Last change of the content.
    pub mtime: Time,
    /// Last change of the inode.
    pub ctime: Time,
    /// When it was made, where the file system knows.
    pub crtime: Option<Time>,
    /// Major and minor number of a device.
    pub rdev: Option<(u32, u32)>,
    /// What `chattr` set.
    pub flags: Flags,
    /// Project for quotas; 0 where there are none.
    pub project: u32,
}

/// One name in a directory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Neither empty nor `.` or `..`; no `/`, no NUL.
    pub name: Box<[u8]>,
    /// What it names.
    pub inode: Inode,
    /// What the directory says of its kind, if it says anything; `stat` has the last word.
    pub kind: Option<Kind>,
}

/// One extended attribute.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Xattr {
    /// With its namespace, as in `security.capability`.
    pub name: Vec<u8>,
    /// As `getxattr` gives it: an ACL in the form that user space sees.
    pub value: Vec<u8>,
}

/// A part of a file that has data on the disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Run {
    /// Where it starts in the file.
    pub offset: u64,
    /// Bytes, at least one.
    pub length: u64,
}
