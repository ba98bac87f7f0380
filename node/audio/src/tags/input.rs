//! Reads bytes of a file by position, within limits.
//!
//! All tag readers use [`Input`]. It returns fewer bytes at the end of the file instead of an error, so that lengths in
//! a file are never trusted. It limits the amount of text and the number of reads per file, so any file is read in
//! bounded time and memory.

use std::io::{self, Read, Seek, SeekFrom};

/// The largest part of one text that is read, in bytes; [`MAX_TEXT`](super::MAX_TEXT) of them are kept.
pub(super) const MAX_VALUE: u64 = 64 << 10;
/// The largest amount of text of a file that is read, in bytes.
const MAX_TEXTS: u64 = 4 << 20;
/// The largest number of reads; after them the file appears to end. Files with a thousand small items need a few
/// thousand.
const MAX_READS: u32 = 200_000;

/// A reader with a position.
pub(super) trait SeekRead: Read + Seek {}

impl<T: Read + Seek> SeekRead for T {}

/// A file whose bytes are read by position.
pub(super) struct Input<'a> {
    stream: Box<dyn SeekRead + 'a>,
    length: u64,
    /// The amount of text that may still be read, in bytes.
    texts: u64,
    /// The number of reads that are still allowed.
    reads: u32,
}

impl<'a> Input<'a> {
    pub(super) fn new(mut stream: impl SeekRead + 'a) -> io::Result<Self> {
        let length = stream.seek(SeekFrom::End(0))?;
        Ok(Self { stream: Box::new(stream), length, texts: MAX_TEXTS, reads: MAX_READS })
    }

    /// The file's length in bytes.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Reads `most` bytes from `at`, fewer at the end of the file.
    pub(super) fn read(&mut self, at: u64, most: u64) -> io::Result<Vec<u8>> {
        let most = if self.reads == 0 { 0 } else { most.min(self.length.saturating_sub(at)) };
        let mut bytes = Vec::with_capacity(usize::try_from(most).unwrap_or_default());
        if most > 0 {
            self.reads -= 1;
            self.stream.seek(SeekFrom::Start(at))?;
            self.stream.by_ref().take(most).read_to_end(&mut bytes)?;
        }
        Ok(bytes)
    }

    /// Reads exactly `N` bytes from `at`; `None` if the file ends before.
    pub(super) fn array<const N: usize>(&mut self, at: u64) -> io::Result<Option<[u8; N]>> {
        Ok(self.read(at, N as u64)?.first_chunk().copied())
    }

    /// Reads a text of `size` bytes from `at`, or the part of it that the limits allow.
    pub(super) fn text(&mut self, at: u64, size: u64) -> io::Result<Vec<u8>> {
        let size = self.allow_text(size);
        self.read(at, size)
    }

    /// Reserves a text of `size` bytes, and returns the number of bytes that may be read of it.
    pub(super) fn allow_text(&mut self, size: u64) -> u64 {
        let allowed = size.min(MAX_VALUE).min(self.texts);
        self.texts -= allowed;
        allowed
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    #[test]
    fn a_read_ends_with_the_file() {
        let mut input = Input::new(Cursor::new(b"abcdef")).unwrap();
        assert_eq!(input.read(4, u64::MAX).unwrap(), b"ef");
        assert_eq!(input.read(u64::MAX, 1).unwrap(), b"");
        assert_eq!(input.array(2).unwrap(), Some(*b"cdef"));
        assert_eq!(input.array::<5>(2).unwrap(), None);
    }

    #[test]
    fn texts_are_limited_individually_and_in_total() {
        let bytes = vec![b'a'; 200 << 10];
        let mut input = Input::new(Cursor::new(&bytes)).unwrap();
        let mut total = 0;
        for _ in 0..100 {
            let read = input.text(0, 150 << 10).unwrap().len() as u64;
            assert!(read <= MAX_VALUE);
            total += read;
        }
        assert_eq!(total, MAX_TEXTS);
    }
}
