//! The files in a tar archive of stems, one after another, before anything is stored.
//!
//! The archive comes from a stranger. This module knows no storage, so that it can be fuzzed alone.

use std::collections::BTreeSet;
use std::ops::Range;

use tar::{EntryType, Header};
use tokio::io::{AsyncRead, AsyncReadExt};

/// The unit of a tar file.
pub(crate) const BLOCK: usize = 512;
/// Where a header's checksum stands, which is summed up as if it were spaces.
const CHECKSUM: Range<usize> = 148..156;
/// The most bytes of a record that is skipped.
const RECORD_BYTES: u64 = 64 << 10;
/// The most such records.
const RECORDS: usize = 32;
/// The ending of the files' names.
const ENDING: &str = ".mp3";
/// The longest name that an error shows, in characters.
const SHOWN: usize = 60;

/// The archive is not what it should be.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EntryError {
    /// It ends too early, or the connection broke off.
    #[error("the archive ends in the middle of something: {0}")]
    CutOff(#[source] std::io::Error),
    /// No tar file.
    #[error("this is no tar file")]
    NotTar,
    /// Something that has no place in it.
    #[error("the archive holds {0:?}, which is none of the files asked for")]
    Unexpected(String),
    /// Not a plain file.
    #[error("{0:?} is no plain file")]
    NotAFile(String),
    /// The same once more.
    #[error("the archive holds {0:?} twice")]
    Twice(String),
    /// A file is larger than a stem can be.
    #[error("{name:?} is larger than {most} bytes, which no stem of this song can be")]
    TooLarge {
        /// Which.
        name: String,
        /// How large it may be.
        most: u64,
    },
    /// Too little.
    #[error("the archive lacks {0}")]
    Lacks(String),
}

/// A file in the archive.
#[derive(Debug)]
pub(crate) struct Entry {
    /// The stem, one of those expected.
    pub(crate) stem: String,
    /// Its size in bytes.
    pub(crate) size: u64,
}

/// The files of an archive, which is read as it comes.
pub(crate) struct Entries<'a, R> {
    from: R,
    names: &'a [String],
    most: u64,
    seen: BTreeSet<String>,
    records: usize,
    /// Bytes of the current file that were not read yet.
    content: u64,
    /// Bytes between its end and the next header.
    padding: u64,
}

impl<'a, R: AsyncRead + Unpin> Entries<'a, R> {
    /// An archive of `NAME.mp3` for each of `names`, none larger than `most` bytes.
    pub(crate) fn new(from: R, names: &'a [String], most: u64) -> Self {
        Self { from, names, most, seen: BTreeSet::new(), records: 0, content: 0, padding: 0 }
    }

    /// The next file; none at the archive's end. An archive that ends before every name has come is an error.
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

    /// Replaces what is in `gathered` by the next bytes of the current file, at most `most` of them.
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

    /// The header of the next entry; none at the archive's end, which is read to the end of the body.
    async fn header(&mut self) -> Result<Option<Header>, EntryError> {
        let mut header = Header::new_old();
        let block = header.as_mut_bytes();
        let first = self.from.read(block).await.map_err(EntryError::CutOff)?;
        if first == 0 {
            return Ok(None);
        }
        self.from.read_exact(&mut block[first..]).await.map_err(EntryError::CutOff)?;
        if block.iter().all(|byte| *byte == 0) {
            // What programs fill up their last block with.
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
