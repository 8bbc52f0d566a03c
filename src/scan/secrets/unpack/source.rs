//! An input whose start can be seen before it is read.

use std::io::{self, BufRead, Read};

/// What is seen: the mark of a tar archive is behind its first 257 bytes.
const HEAD: usize = 512;
/// What is read in one go.
const PIECE: usize = 64 << 10;

/// Bytes, some of them read ahead.
pub(super) struct Source<'a> {
    input: &'a mut dyn Read,
    ahead: Vec<u8>,
    at: usize,
}

impl<'a> Source<'a> {
    pub(super) fn new(input: &'a mut dyn Read) -> Self {
        Self {
            input,
            ahead: Vec::new(),
            at: 0,
        }
    }

    /// The next bytes, without reading them; fewer at the end, which is also where the input fails.
    pub(super) fn head(&mut self) -> &[u8] {
        if self.ahead.len() - self.at < HEAD {
            self.ahead.drain(..self.at);
            self.at = 0;
            let missing = (HEAD - self.ahead.len()) as u64;
            // Who gives the bytes has noted why it could not.
            let _ = (&mut *self.input)
                .take(missing)
                .read_to_end(&mut self.ahead);
        }
        &self.ahead[self.at..]
    }

    /// Leaves out the zeros between two parts; says whether there is anything behind them.
    pub(super) fn skip_zeros(&mut self) -> bool {
        loop {
            let Ok(bytes) = self.fill_buf() else {
                return false;
            };
            let (length, zeros) = (
                bytes.len(),
                bytes.iter().take_while(|byte| **byte == 0).count(),
            );
            self.consume(zeros);
            if length == 0 || zeros < length {
                return length > 0;
            }
        }
    }
}

impl Read for Source<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.fill_buf()?;
        let count = bytes.len().min(buffer.len());
        buffer[..count].copy_from_slice(&bytes[..count]);
        self.consume(count);
        Ok(count)
    }
}

impl BufRead for Source<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.at == self.ahead.len() {
            self.ahead.resize(PIECE, 0);
            self.at = 0;
            let read = self.input.read(&mut self.ahead);
            self.ahead.truncate(*read.as_ref().unwrap_or(&0));
            read?;
        }
        Ok(&self.ahead[self.at..])
    }

    fn consume(&mut self, count: usize) {
        self.at = (self.at + count).min(self.ahead.len());
    }
}
