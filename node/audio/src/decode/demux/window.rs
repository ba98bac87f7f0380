//! Random access to the bytes of a file, with a window in memory.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// The number of bytes that are read at a time.
const BLOCK: usize = 1 << 17;

/// A file with random access that is fast for ascending positions.
#[derive(Debug)]
pub(super) struct Window {
    file: File,
    end: u64,
    begin: u64,
    bytes: Vec<u8>,
}

impl Window {
    pub(super) fn new(file: &File) -> io::Result<Self> {
        Ok(Self { file: file.try_clone()?, end: file.metadata()?.len(), begin: 0, bytes: Vec::new() })
    }

    /// The length of the file.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    pub(super) fn is_empty(&self) -> bool {
        self.end == 0
    }

    /// Up to `length` bytes from `at` on; fewer only at the end of the file.
    pub(super) fn get(&mut self, at: u64, length: usize) -> io::Result<&[u8]> {
        let kept = at.checked_sub(self.begin).and_then(|from| usize::try_from(from).ok());
        let wanted = usize::try_from(self.end.saturating_sub(at)).unwrap_or(usize::MAX).min(length);
        let from = match kept {
            Some(from) if from.checked_add(wanted).is_some_and(|to| to <= self.bytes.len()) => from,
            _ => {
                self.fill(at, wanted.max(BLOCK))?;
                0
            }
        };
        Ok(&self.bytes[from..(from + wanted).min(self.bytes.len())])
    }

    fn fill(&mut self, at: u64, length: usize) -> io::Result<()> {
        let length = usize::try_from(self.end.saturating_sub(at)).unwrap_or(usize::MAX).min(length);
        self.bytes.resize(length, 0);
        self.begin = at;
        let mut filled = 0;
        while filled < length {
            match self.file.read_at(&mut self.bytes[filled..], at + filled as u64) {
                // The file became shorter while it was read.
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.bytes.truncate(filled);
        Ok(())
    }

    /// Copies bytes from `at` on into `buffer` and returns their number.
    pub(super) fn peek(&mut self, at: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let found = self.get(at, buffer.len())?;
        buffer[..found.len()].copy_from_slice(found);
        Ok(found.len())
    }

    /// Exactly `N` bytes from `at` on, if the file has them.
    pub(super) fn array<const N: usize>(&mut self, at: u64) -> io::Result<Option<[u8; N]>> {
        let mut array = [0; N];
        Ok((self.peek(at, &mut array)? == N).then_some(array))
    }

    /// Another window on the same file.
    pub(super) fn another(&self) -> io::Result<Self> {
        Ok(Self { file: self.file.try_clone()?, end: self.end, begin: 0, bytes: Vec::new() })
    }
}
