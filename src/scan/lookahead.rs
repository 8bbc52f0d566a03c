//! An input with a look at its next bytes before they are consumed.

use std::io::{self, BufRead, Read};

/// Bytes to look ahead: the signature of a tar archive is at offset 257.
const HEAD_BYTES: usize = 512;
/// Bytes that are read at once.
const CHUNK_BYTES: usize = 64 << 10;

/// A reader with a buffer of bytes read ahead.
pub(super) struct Lookahead<'a> {
    input: &'a mut dyn Read,
    ahead: Vec<u8>,
    at: usize,
}

impl<'a> Lookahead<'a> {
    pub(super) fn new(input: &'a mut dyn Read) -> Self {
        Self {
            input,
            ahead: Vec::new(),
            at: 0,
        }
    }

    /// Returns the next bytes without consuming them: fewer at the end, or where the input fails.
    pub(super) fn head(&mut self) -> &[u8] {
        if self.ahead.len() - self.at < HEAD_BYTES {
            self.ahead.drain(..self.at);
            self.at = 0;
            let missing = (HEAD_BYTES - self.ahead.len()) as u64;
            // The input itself has recorded the error.
            let _ = (&mut *self.input)
                .take(missing)
                .read_to_end(&mut self.ahead);
        }
        &self.ahead[self.at..]
    }

    /// Skips the zeros between two parts; returns whether anything follows.
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

impl Read for Lookahead<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.fill_buf()?;
        let count = bytes.len().min(buffer.len());
        buffer[..count].copy_from_slice(&bytes[..count]);
        self.consume(count);
        Ok(count)
    }
}

impl BufRead for Lookahead<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.at == self.ahead.len() {
            self.ahead.resize(CHUNK_BYTES, 0);
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
