//! A file as a stream with its own position.
//!
//! Decoders, demultiplexers and tag readers each read the same open file. They share its descriptor but not its cursor:
//! every read names its position.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;

use symphonia::core::io::MediaSource;

/// A reader of a range of a file.
#[derive(Debug)]
pub struct Source {
    file: File,
    begin: u64,
    end: u64,
    at: u64,
}

impl Source {
    /// Reads the whole file.
    pub fn new(file: &File) -> io::Result<Self> {
        let end = file.metadata()?.len();
        Self::range(file, 0, end)
    }

    /// Reads the bytes from `begin` up to `end` as if they were a file of their own.
    pub fn range(file: &File, begin: u64, end: u64) -> io::Result<Self> {
        let end = end.min(file.metadata()?.len());
        let begin = begin.min(end);
        Ok(Self { file: file.try_clone()?, begin, end, at: begin })
    }

    /// The number of bytes.
    pub fn length(&self) -> u64 {
        self.end - self.begin
    }

    /// The position, in bytes from the beginning.
    pub fn position(&self) -> u64 {
        self.at - self.begin
    }
}

impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = usize::try_from(self.end.saturating_sub(self.at)).unwrap_or(usize::MAX).min(buffer.len());
        let read = self.file.read_at(&mut buffer[..wanted], self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

impl Seek for Source {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let target = match to {
            SeekFrom::Start(at) => self.begin.checked_add(at),
            SeekFrom::End(by) => self.end.checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = target
            .filter(|at| *at >= self.begin)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "a position before the beginning"))?;
        Ok(self.position())
    }
}

impl MediaSource for Source {
    fn is_seekable(&self) -> bool {
        true
    }

    fn byte_len(&self) -> Option<u64> {
        Some(self.length())
    }
}
