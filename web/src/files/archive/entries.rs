//! The files in a tar archive of stems, one after another.
//!
//! The archive is not trusted. This module does not use the storage, so it can be fuzzed alone.

use std::collections::BTreeSet;
use std::ops::Range;

use tar::{EntryType, Header};
use tokio::io::{AsyncRead, AsyncReadExt};

/// The block size of a tar file.
pub(crate) const BLOCK: usize = 512;
/// The position of the checksum in a header. It counts as spaces in the sum.
const CHECKSUM: Range<usize> = 148..156;
/// The largest record that is skipped, in bytes.
const RECORD_BYTES: u64 = 64 << 10;
/// The most records that are skipped.
const RECORDS: usize = 32;
/// The extension of the files.
const ENDING: &str = ".mp3";
/// The longest name in an error, in characters.
const SHOWN: usize = 60;

/// The archive is malformed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EntryError {
    /// The archive ends early, or the connection broke.
    #[error("the archive is truncated: {0}")]
    CutOff(#[source] std::io::Error),
    /// The bytes are not a tar file.
    #[error("this is not a tar file")]
    NotTar,
    /// A file with another name.
    #[error("the archive has an unexpected file {0:?}")]
    Unexpected(String),
    /// An entry that is not a plain file.
    #[error("{0:?} is not a plain file")]
    NotAFile(String),
    /// A file that occurs twice.
    #[error("the archive has {0:?} twice")]
    Twice(String),
    /// A file that is larger than a stem can be.
    #[error("{name:?} is larger than {most} bytes, the limit for a stem of this song")]
    TooLarge {
        /// The name.
        name: String,
        /// The limit in bytes.
        most: u64,
    },
    /// Files are missing.
    #[error("the archive is missing {0}")]
    Lacks(String),
}

/// A file in the archive.
#[derive(Debug)]
pub(crate) struct Entry {
    /// The name of the stem.
    pub(crate) stem: String,
    /// The size in bytes.
    pub(crate) size: u64,
}

/// The files of an archive.
pub(crate) struct Entries<'a, R> {
    from: R,
    names: &'a [String],
    most: u64,
    seen: BTreeSet<String>,
    records: usize,
    /// The remaining bytes of the current file.
    content: u64,
    /// The bytes between the current file and the next header.
    padding: u64,
}

impl<'a, R: AsyncRead + Unpin> Entries<'a, R> {
    /// An archive of `NAME.mp3` for each of `names`, none larger than `most` bytes.
    pub(crate) fn new(from: R, names: &'a [String], most: u64) -> Self {
        Self { from, names, most, seen: BTreeSet::new(), records: 0, content: 0, padding: 0 }
    }

    /// The next file; none at the end. An archive that ends without all names is an error.
    pub(crate) async fn next(&mut self) -> Result<Option<Entry>, EntryError> {
        self.skip(self.content).await?;
        self.skip(self.padding).await?;
        (self.content, self.padding) = (0, 0);
        while let Some(header) = self.header().await? {
            let shown = String::from_utf8_lossy(&header.path_bytes()).chars().take(SHOWN).collect::<String>();
            let size = header.entry_size().map_err(|_| EntryError::NotTar)?;
            match header.entry_type() {
                EntryType::Regular => return self.admit(&header, shown, size).map(Some),
                EntryType::XHeader | EntryType::XGlobalHeader if size <= RECORD_BYTES && self.records < RECORDS => {
                    self.records += 1;
                    self.skip(size.next_multiple_of(BLOCK as u64)).await?;
                }
                _ => return Err(EntryError::NotAFile(shown)),
            }
        }
        let missing: Vec<String> =
            self.names.iter().filter(|name| !self.seen.contains(*name)).map(|name| format!("{name}{ENDING}")).collect();
        if missing.is_empty() { Ok(None) } else { Err(EntryError::Lacks(missing.join(", "))) }
    }

    /// Replaces the content of `gathered` by at most `most` of the next bytes of the current file.
    pub(crate) async fn read(&mut self, gathered: &mut Vec<u8>, most: usize) -> Result<(), EntryError> {
        gathered.clear();
        let wanted = self.content.min(most as u64);
        (&mut self.from).take(wanted).read_to_end(gathered).await.map_err(EntryError::CutOff)?;
        if gathered.len() as u64 != wanted {
            return Err(cut_off());
        }
        self.content -= wanted;
        Ok(())
    }

    fn admit(&mut self, header: &Header, shown: String, size: u64) -> Result<Entry, EntryError> {
        let path = header.path_bytes();
        let stem = std::str::from_utf8(&path).ok().and_then(|path| path.strip_suffix(ENDING));
        let Some(stem) = stem.filter(|stem| self.names.iter().any(|name| name == stem)) else {
            return Err(EntryError::Unexpected(shown));
        };
        if size > self.most {
            return Err(EntryError::TooLarge { name: shown, most: self.most });
        }
        if !self.seen.insert(stem.to_owned()) {
            return Err(EntryError::Twice(shown));
        }
        let blocks = size.checked_next_multiple_of(BLOCK as u64).ok_or(EntryError::NotTar)?;
        (self.content, self.padding) = (size, blocks - size);
        Ok(Entry { stem: stem.to_owned(), size })
    }

    /// The header of the next entry; none at the end of the archive. The rest of the body is read then.
    async fn header(&mut self) -> Result<Option<Header>, EntryError> {
        let mut header = Header::new_old();
        let block = header.as_mut_bytes();
        let first = self.from.read(block).await.map_err(EntryError::CutOff)?;
        if first == 0 {
            return Ok(None);
        }
        self.from.read_exact(&mut block[first..]).await.map_err(EntryError::CutOff)?;
        if block.iter().all(|byte| *byte == 0) {
            // Programs pad the last block.
            tokio::io::copy(&mut self.from, &mut tokio::io::sink()).await.map_err(EntryError::CutOff)?;
            return Ok(None);
        }
        let sum: u32 = block
            .iter()
            .enumerate()
            .map(|(at, byte)| u32::from(if CHECKSUM.contains(&at) { b' ' } else { *byte }))
            .sum();
        if header.cksum().ok() == Some(sum) { Ok(Some(header)) } else { Err(EntryError::NotTar) }
    }

    async fn skip(&mut self, bytes: u64) -> Result<(), EntryError> {
        let skipped = tokio::io::copy(&mut (&mut self.from).take(bytes), &mut tokio::io::sink()).await;
        if skipped.map_err(EntryError::CutOff)? == bytes { Ok(()) } else { Err(cut_off()) }
    }
}

fn cut_off() -> EntryError {
    EntryError::CutOff(std::io::ErrorKind::UnexpectedEof.into())
}
