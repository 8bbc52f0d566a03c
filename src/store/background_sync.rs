//! A file that is put on the disk while the rest of it is still being written: what has to be waited for at the end is little.

use std::fs::File;
use std::io;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

/// Bytes that are written between two of them. With 16 MiB an export takes a fifth longer.
const STEP: u64 = 4 << 20;

/// Syncs a file from time to time, on a thread of its own.
pub(super) struct Behind {
    sender: SyncSender<()>,
    thread: JoinHandle<io::Result<()>>,
    written: u64,
}

impl Behind {
    /// For this file.
    pub(super) fn new(file: &File) -> io::Result<Self> {
        let file = file.try_clone()?;
        let (sender, receiver) = sync_channel(1);
        let thread = std::thread::spawn(move || sync(&file, &receiver));
        Ok(Self {
            sender,
            thread,
            written: 0,
        })
    }

    /// So many bytes more were written.
    pub(super) fn advance(&mut self, bytes: u64) {
        self.written += bytes;
        if self.written >= STEP {
            match self.sender.try_send(()) {
                Ok(()) => self.written = 0,
                // It is behind as far as it may be, or has failed, which is said at the end.
                Err(TrySendError::Full(()) | TrySendError::Disconnected(())) => {}
            }
        }
    }

    /// Waits for it. The host tells of a failure only once, so that it must not be lost here.
    pub(super) fn finish(self) -> io::Result<()> {
        drop(self.sender);
        let joined = self.thread.join();
        joined.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

fn sync(file: &File, turns: &Receiver<()>) -> io::Result<()> {
    turns.iter().try_for_each(|()| file.sync_data())
}
