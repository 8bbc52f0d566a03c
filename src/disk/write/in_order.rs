//! A disk's data passed through several threads, and taken in the order in which it lies on the disk: what comes out does not
//! depend on how many threads there are.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use super::WriteError;
use crate::disk::read::{BlockRead, ReadError};
use crate::disk::tree::Watch;

/// Bytes that a thread takes at once: a multiple of every cluster and block.
pub(super) const CHUNK: usize = 1 << 20;
/// Results that a thread may have ready before they are taken.
const READY: usize = 2;

/// Where the chunks with data start.
pub(super) fn chunks(disk: &dyn BlockRead) -> Result<Vec<u64>, ReadError> {
    let chunk = CHUNK as u64;
    let (mut at, mut found) = (0, Vec::new());
    while at < disk.len() {
        let span = disk.span(at)?;
        let end = at + span.length.max(1);
        if !span.zero {
            let first = at / chunk * chunk;
            let first = if found.last() == Some(&first) {
                first + chunk
            } else {
                first
            };
            found.extend((first..end).step_by(CHUNK));
        }
        at = end;
    }
    Ok(found)
}

/// Reads every chunk, passes it to `work`, and what that makes of it to `sink`, in order.
pub(super) fn in_order<S, T: Send>(
    disk: &dyn BlockRead,
    threads: usize,
    watch: Watch<'_>,
    state: impl Fn() -> Result<S, WriteError> + Sync,
    work: impl Fn(&mut S, Vec<u8>) -> Result<T, WriteError> + Sync,
    mut sink: impl FnMut(u64, T) -> Result<(), WriteError>,
) -> Result<(), WriteError> {
    let chunks = chunks(disk)?;
    let threads = threads.clamp(1, chunks.len().max(1));
    let turn = |own: usize, sender: &SyncSender<Result<T, WriteError>>| {
        let mut state = state();
        for offset in chunks.iter().skip(own).step_by(threads) {
            let done = match &mut state {
                Ok(state) => read(disk, *offset, watch).and_then(|bytes| work(state, bytes)),
                Err(_) => break,
            };
            let failed = done.is_err();
            // Nobody takes results any more: another thread has failed.
            if sender.send(done).is_err() || failed {
                return;
            }
        }
        if let Err(error) = state {
            let _nobody_waits = sender.send(Err(error));
        }
    };
    std::thread::scope(|scope| {
        // Dropped before the threads are waited for, so that they end when the sink fails.
        let mut receivers: Vec<Receiver<_>> = Vec::with_capacity(threads);
        for own in 0..threads {
            let (sender, receiver) = sync_channel(READY);
            receivers.push(receiver);
            let turn = &turn;
            scope.spawn(move || turn(own, &sender));
        }
        for (offset, receiver) in chunks.iter().zip((0..threads).cycle()) {
            // A thread that ends without a result has panicked, and the scope panics with it.
            let Ok(done) = receivers[receiver].recv() else {
                break;
            };
            sink(*offset, done?)?;
        }
        Ok(())
    })
}

fn read(disk: &dyn BlockRead, offset: u64, watch: Watch<'_>) -> Result<Vec<u8>, WriteError> {
    watch.check()?;
    let left = usize::try_from(disk.len() - offset).unwrap_or(CHUNK);
    let mut bytes = vec![0; CHUNK.min(left)];
    disk.read_at(offset, &mut bytes)?;
    (watch.progress)(bytes.len() as u64);
    Ok(bytes)
}
