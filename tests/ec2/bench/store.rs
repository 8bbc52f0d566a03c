//! Bytes of snapshots: blocks of 512 KiB in one file without a name, each content once.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt as _;

/// What EBS direct APIs read and write at a time.
pub const BLOCK: usize = 524_288;

/// SHA-256 of a block.
pub type Digest = [u8; 32];

/// Blocks of a snapshot, by their index in the volume. Those that are missing are zeros.
pub type Blocks = std::collections::BTreeMap<u32, Digest>;

/// All blocks of all snapshots.
pub struct Store {
    file: File,
    offsets: HashMap<Digest, u64>,
}

impl Store {
    pub fn new() -> Self {
        Self {
            file: tempfile::tempfile().unwrap(),
            offsets: HashMap::new(),
        }
    }

    /// Keeps a block; its digest is what it is found by.
    pub fn put(&mut self, block: &[u8]) -> Digest {
        let digest = digest(block);
        let end = (self.offsets.len() * BLOCK) as u64;
        self.offsets.entry(digest).or_insert_with(|| {
            self.file.write_all_at(block, end).unwrap();
            end
        });
        digest
    }

    pub fn get(&self, digest: &Digest) -> Vec<u8> {
        let mut block = vec![0; BLOCK];
        let offset = self.offsets[digest];
        self.file.read_exact_at(&mut block, offset).unwrap();
        block
    }

    /// Writes a volume of so many GiB.
    pub fn write_disk(&self, blocks: &Blocks, gib: u64, to: &File) {
        to.set_len(gib << 30).unwrap();
        for (&index, digest) in blocks {
            let at = u64::from(index) * BLOCK as u64;
            to.write_all_at(&self.get(digest), at).unwrap();
        }
    }

    /// Keeps what a disk holds, without its holes and zeros.
    pub fn read_disk(&mut self, disk: &File) -> Blocks {
        let mut blocks = Blocks::new();
        let length = disk.metadata().unwrap().len();
        let mut at = 0;
        while let Ok(data) = rustix::fs::seek(disk, rustix::fs::SeekFrom::Data(at)) {
            at = data / BLOCK as u64 * BLOCK as u64;
            let mut block = vec![0; BLOCK];
            let here = usize::try_from(length - at).map_or(BLOCK, |left| left.min(BLOCK));
            disk.read_exact_at(&mut block[..here], at).unwrap();
            if block.iter().any(|&byte| byte != 0) {
                let index = u32::try_from(at / BLOCK as u64).unwrap();
                blocks.insert(index, self.put(&block));
            }
            at += BLOCK as u64;
            if at >= length {
                break;
            }
        }
        blocks
    }
}

/// SHA-256, by the library that has it in assembler: a disk has thousands of blocks.
pub fn digest(bytes: &[u8]) -> Digest {
    let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
    digest.as_ref().try_into().expect("SHA-256 has 32 bytes")
}
