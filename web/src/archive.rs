//! The tar file in which a worker outside sends a song's stems, read as it comes.
//!
//! Whoever sends it has a token and is still not trusted: only plain files with the names that are expected, each once,
//! none larger than it may be. Nothing is ever written under a name from the archive. The records in which some programs
//! keep times and owners (pax) are skipped; those that give a file another name are refused with all else.

use std::collections::BTreeMap;
use std::ops::Range;

use storage::blobs::{BlobError, Blobs, Staged};
use tar::{EntryType, Header};
use tokio::io::{AsyncRead, AsyncReadExt};

/// The unit of a tar file.
const BLOCK: usize = 512;
/// Where a header's checksum stands, which is summed up as if it were spaces.
const CHECKSUM: Range<usize> = 148..156;
/// The most bytes of a record that is skipped.
const RECORD_BYTES: u64 = 64 << 10;
/// The most such records.
const RECORDS: usize = 32;
/// Bytes that are gathered before they go to the disk.
const GATHERED: usize = 256 << 10;
/// The ending of the files' names.
const ENDING: &str = ".mp3";

/// The archive is not what it should be.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ArchiveError {
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
    /// A file could not be stored.
    #[error(transparent)]
    Store(#[from] BlobError),
}

/// Reads an archive of `NAME.mp3` for each of `names`, none larger than `most` bytes. What is refused leaves nothing.
pub(crate) async fn receive(
    mut from: impl AsyncRead + Unpin,
    names: &[String],
    most: u64,
    blobs: &Blobs,
) -> Result<BTreeMap<String, Staged>, ArchiveError> {
    let mut files = BTreeMap::new();
    let mut records = 0;
    while let Some(header) = next_header(&mut from).await? {
        let shown = String::from_utf8_lossy(&header.path_bytes()).chars().take(60).collect::<String>();
        let size = header.entry_size().map_err(|_| ArchiveError::NotTar)?;
        match header.entry_type() {
            EntryType::Regular => {}
            EntryType::XHeader | EntryType::XGlobalHeader if size <= RECORD_BYTES && records < RECORDS => {
                records += 1;
                skip(&mut from, size.next_multiple_of(BLOCK as u64)).await?;
                continue;
            }
            _ => return Err(ArchiveError::NotAFile(shown)),
        }
        let path = header.path_bytes();
        let stem = std::str::from_utf8(&path).ok().and_then(|path| path.strip_suffix(ENDING));
        let stem = stem.filter(|stem| names.iter().any(|name| name == stem));
        let stem = stem.ok_or_else(|| ArchiveError::Unexpected(shown.clone()))?.to_owned();
        if files.contains_key(&stem) {
            return Err(ArchiveError::Twice(shown));
        }
        if size > most {
            return Err(ArchiveError::TooLarge { name: shown, most });
        }
        let staged = store(&mut from, size, blobs).await?;
        skip(&mut from, size.next_multiple_of(BLOCK as u64) - size).await?;
        files.insert(stem, staged);
    }
    let missing: Vec<String> =
        names.iter().filter(|name| !files.contains_key(*name)).map(|name| format!("{name}{ENDING}")).collect();
    if missing.is_empty() { Ok(files) } else { Err(ArchiveError::Lacks(missing.join(", "))) }
}

/// The header of the next entry; none at the archive's end, which is read to the end of the body.
async fn next_header(from: &mut (impl AsyncRead + Unpin)) -> Result<Option<Header>, ArchiveError> {
    let mut header = Header::new_old();
    let block = header.as_mut_bytes();
    let first = from.read(block).await.map_err(ArchiveError::CutOff)?;
    if first == 0 {
        return Ok(None);
    }
    from.read_exact(&mut block[first..]).await.map_err(ArchiveError::CutOff)?;
    if block.iter().all(|byte| *byte == 0) {
        // What programs fill up their last block with.
        tokio::io::copy(from, &mut tokio::io::sink()).await.map_err(ArchiveError::CutOff)?;
        return Ok(None);
    }
    let sum: u32 =
        block.iter().enumerate().map(|(at, byte)| u32::from(if CHECKSUM.contains(&at) { b' ' } else { *byte })).sum();
    if header.cksum().ok() == Some(sum) { Ok(Some(header)) } else { Err(ArchiveError::NotTar) }
}

async fn skip(from: &mut (impl AsyncRead + Unpin), bytes: u64) -> Result<(), ArchiveError> {
    let skipped = tokio::io::copy(&mut from.take(bytes), &mut tokio::io::sink()).await;
    if skipped.map_err(ArchiveError::CutOff)? == bytes { Ok(()) } else { Err(cut_off()) }
}

async fn store(from: &mut (impl AsyncRead + Unpin), size: u64, blobs: &Blobs) -> Result<Staged, ArchiveError> {
    let mut staged = blobs.stage(size).await?;
    let mut gathered = Vec::with_capacity(GATHERED);
    while staged.len() < size {
        gathered.clear();
        let wanted = (size - staged.len()).min(GATHERED as u64);
        (&mut *from).take(wanted).read_to_end(&mut gathered).await.map_err(ArchiveError::CutOff)?;
        if gathered.len() as u64 != wanted {
            return Err(cut_off());
        }
        staged.write(&gathered).await?;
    }
    Ok(staged)
}

fn cut_off() -> ArchiveError {
    ArchiveError::CutOff(std::io::ErrorKind::UnexpectedEof.into())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use storage::blobs::Allowance;
    use tempfile::TempDir;

    use super::*;

    const MOST: u64 = 600_000;

    fn names() -> Vec<String> {
        ["bass", "drums"].map(str::to_owned).into()
    }

    fn entry(kind: EntryType, path: &str, content: &[u8]) -> Vec<u8> {
        let mut header = Header::new_ustar();
        header.set_entry_type(kind);
        header.as_ustar_mut().unwrap().name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_size(content.len() as u64);
        header.set_cksum();
        let mut bytes = header.as_bytes().to_vec();
        bytes.extend(content);
        bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
        bytes
    }

    fn file(path: &str, content: &[u8]) -> Vec<u8> {
        entry(EntryType::Regular, path, content)
    }

    fn good() -> Vec<u8> {
        [file("drums.mp3", &[1; 1000]), file("bass.mp3", &vec![2; MOST as usize])].concat()
    }

    async fn received(bytes: &[u8], blobs: &Blobs) -> Result<BTreeMap<String, Staged>, ArchiveError> {
        receive(bytes, &names(), MOST, blobs).await
    }

    #[tokio::test]
    async fn the_stems_are_taken_whatever_their_order() {
        let folder = TempDir::new().unwrap();
        let blobs = Blobs::open(folder.path(), Allowance::default()).unwrap();
        let end = vec![0; 20 * BLOCK];
        let noted = entry(EntryType::XHeader, "PaxHeaders/drums.mp3", b"28 mtime=1700000000.1234567\n");
        for bytes in [good(), [good(), end.clone()].concat(), [noted, good(), end].concat()] {
            let files = received(&bytes, &blobs).await.unwrap();
            assert_eq!(files.keys().collect::<Vec<_>>(), ["bass", "drums"]);
            assert_eq!(std::fs::read(files["bass"].path()).unwrap(), vec![2; MOST as usize]);
            assert_eq!(std::fs::read(files["drums"].path()).unwrap(), vec![1; 1000]);
        }
    }

    #[tokio::test]
    async fn what_does_not_belong_there_is_refused_and_leaves_nothing() {
        let folder = TempDir::new().unwrap();
        let blobs = Blobs::open(folder.path(), Allowance::default()).unwrap();
        let with = |more: Vec<u8>| [good(), more].concat();
        let mut broken = good();
        broken[0] ^= 1;
        let mut prefixed = file("drums.mp3", b"x");
        prefixed[345..348].copy_from_slice(b"etc");
        let mut header = Header::from_byte_slice(&prefixed[..BLOCK]).clone();
        header.set_cksum();
        prefixed[..BLOCK].copy_from_slice(header.as_bytes());
        for (bytes, word) in [
            (with(file("vocals.mp3", b"x")), "none of the files"),
            (with(file("notes.txt", b"x")), "none of the files"),
            (with(file("../drums.mp3", b"x")), "none of the files"),
            (with(file("/drums.mp3", b"x")), "none of the files"),
            (with(file("./drums.mp3", b"x")), "none of the files"),
            (with(file("DRUMS.mp3", b"x")), "none of the files"),
            (prefixed, "none of the files"),
            (with(file("drums.mp3", b"x")), "twice"),
            (with(entry(EntryType::Symlink, "drums.mp3", b"")), "no plain file"),
            (with(entry(EntryType::Link, "drums.mp3", b"")), "no plain file"),
            (with(entry(EntryType::Directory, "drums.mp3", b"")), "no plain file"),
            (with(entry(EntryType::GNULongName, "drums.mp3", b"x")), "no plain file"),
            (with(entry(EntryType::GNUSparse, "drums.mp3", b"x")), "no plain file"),
            (with(entry(EntryType::XHeader, "x", &vec![0; 1 << 17])), "no plain file"),
            (file("drums.mp3", &vec![0; MOST as usize + 1]), "larger than"),
            (file("drums.mp3", b"x"), "lacks bass.mp3"),
            (Vec::new(), "lacks bass.mp3, drums.mp3"),
            (vec![0; 10 * BLOCK], "lacks"),
            (b"a short text that is no archive".to_vec(), "in the middle"),
            (vec![7; 10 * BLOCK], "no tar file"),
            (broken, "no tar file"),
            (good()[..good().len() - BLOCK].to_vec(), "in the middle"),
            (good()[..700].to_vec(), "in the middle"),
        ] {
            let Err(error) = received(&bytes, &blobs).await else { panic!("it was taken instead of {word}") };
            assert!(error.to_string().contains(word), "{error} instead of {word}");
            assert_eq!(std::fs::read_dir(folder.path().join("staging")).unwrap().count(), 0, "{word}");
        }
    }
}
