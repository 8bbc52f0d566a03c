//! The chunks of a disk that hold data, read by several threads and passed on in the order in which they lie on the disk.

use super::WriteError;
use crate::disk::read::{BlockRead, ReadError};
use crate::disk::tree::Monitor;
use crate::os::ordered::map_in_order;

/// Bytes that a thread reads at once: a multiple of every cluster and block.
pub(super) use crate::disk::content::CHUNK;
/// Chunks that a thread may have ready before they are taken.
const MAX_READY: usize = 3;

/// Offsets of the chunks with data.
fn data_chunks(disk: &dyn BlockRead) -> Result<Vec<u64>, ReadError> {
    let chunk = CHUNK as u64;
    let (mut at, mut found) = (0, Vec::new());
    while at < disk.len() {
        let span = disk.span(at)?;
        let end = at + span.length.max(1);
        if !span.zero {
            let first = at / chunk * chunk;
            let is_listed = found.last() == Some(&first);
            let first = if is_listed { first + chunk } else { first };
            found.extend((first..end).step_by(CHUNK));
        }
        at = end;
    }
    Ok(found)
}

/// Reads every chunk with data, passes it through `work`, and gives the results with their offsets to `sink`, in order.
pub(super) fn map_chunks<S, T: Send>(
    disk: &dyn BlockRead,
    threads: usize,
    monitor: Monitor<'_>,
    state: impl Fn() -> Result<S, WriteError> + Sync,
    work: impl Fn(&mut S, Vec<u8>) -> Result<T, WriteError> + Sync,
    mut sink: impl FnMut(u64, T) -> Result<(), WriteError>,
) -> Result<(), WriteError> {
    let chunks = data_chunks(disk)?;
    let threads = threads.clamp(1, chunks.len().max(1));
    map_in_order(
        chunks.into_iter().map(Ok),
        (threads, MAX_READY),
        state,
        |state, offset| Ok((offset, work(state, read(disk, offset, monitor)?)?)),
        |(offset, result)| sink(offset, result),
    )
}

fn read(disk: &dyn BlockRead, offset: u64, monitor: Monitor<'_>) -> Result<Vec<u8>, WriteError> {
    monitor.check()?;
    let left = usize::try_from(disk.len() - offset).unwrap_or(CHUNK);
    let mut bytes = vec![0; CHUNK.min(left)];
    disk.read_at(offset, &mut bytes)?;
    (monitor.progress)(bytes.len() as u64);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::disk::read::{Memory, Span};
    use crate::os::hash_stream::Stop;

    /// Data in every second chunk; one of them cannot be read.
    struct Disk {
        chunks: u64,
        broken: Option<u64>,
    }

    impl BlockRead for Disk {
        fn len(&self) -> u64 {
            self.chunks * CHUNK as u64
        }

        fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), ReadError> {
            if Some(offset / CHUNK as u64) == self.broken {
                let source = io::Error::other("broken");
                return Err(ReadError::Io {
                    what: "the disk".to_owned(),
                    source,
                });
            }
            buffer.fill(1);
            Ok(())
        }

        fn span(&self, offset: u64) -> Result<Span, ReadError> {
            let length = CHUNK as u64 - offset % CHUNK as u64;
            Ok(Span {
                length,
                zero: offset / CHUNK as u64 % 2 == 1,
            })
        }
    }

    fn pass(disk: &dyn BlockRead, threads: usize, full_after: usize) -> Result<Vec<u64>, String> {
        let stop = Stop::default();
        let monitor = Monitor {
            stop: &stop,
            progress: &|_| {},
        };
        let mut taken = Vec::new();
        let sink = |offset, (): ()| {
            if taken.len() == full_after {
                let source = io::Error::other("full");
                return Err(WriteError::Io {
                    path: "image".into(),
                    source,
                });
            }
            taken.push(offset / CHUNK as u64);
            Ok(())
        };
        let done = map_chunks(disk, threads, monitor, || Ok(()), |(), _| Ok(()), sink);
        done.map(|()| taken).map_err(|error| error.to_string())
    }

    #[test]
    fn chunks_come_in_order_and_failures_end_it() {
        for threads in [1, 2, 7, 100] {
            let disk = |broken| Disk { chunks: 40, broken };
            let every_second: Vec<_> = (0..40).step_by(2).collect();
            assert_eq!(
                pass(&disk(None), threads, 99),
                Ok(every_second),
                "{threads} threads"
            );
            let read = Err("cannot read the guest's disk".to_owned());
            assert_eq!(
                pass(&disk(Some(14)), threads, 99),
                read,
                "{threads} threads"
            );
            let write = Err("cannot write the image image".to_owned());
            assert_eq!(pass(&disk(None), threads, 3), write, "{threads} threads");
        }
        assert_eq!(
            pass(&Memory(Vec::new()), 2, 99),
            Ok(Vec::new()),
            "no disk at all"
        );
    }

    #[test]
    fn spans_within_a_chunk_are_one_chunk() {
        /// Alternating runs of data and zeros whose length is unrelated to chunks.
        struct Turns(u64);
        impl BlockRead for Turns {
            fn len(&self) -> u64 {
                5 * CHUNK as u64 + 7
            }
            fn read_at(&self, _: u64, _: &mut [u8]) -> Result<(), ReadError> {
                Ok(())
            }
            fn span(&self, offset: u64) -> Result<Span, ReadError> {
                let length = (self.0 - offset % self.0).min(self.len() - offset);
                Ok(Span {
                    length,
                    zero: (offset / self.0).is_multiple_of(2),
                })
            }
        }
        let chunk = CHUNK as u64;
        for (turn, expected) in [
            (1000, vec![0, 1, 2, 3, 4]),
            (2 * chunk, vec![2, 3]),
            (2 * chunk + 1, vec![2, 3, 4]),
            (3 * chunk - 1, vec![2, 3, 4, 5]),
        ] {
            let found = data_chunks(&Turns(turn)).unwrap();
            let numbers: Vec<_> = found.iter().map(|offset| offset / chunk).collect();
            assert_eq!(numbers, expected, "turns of {turn}");
        }
    }
}
