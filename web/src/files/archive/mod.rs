//! The tar file in which an external worker sends the stems of a song, read as it arrives.
//!
//! The worker has a token but is not trusted. Only plain files with the expected names are accepted, each once and none
//! larger than its limit. Files are never stored under a name from the archive. Records with times and owners (pax) are
//! skipped; all other entries are refused, including records that rename a file.

mod entries;

use std::collections::BTreeMap;

use storage::blobs::{BlobError, Blobs, Staged};
use tokio::io::AsyncRead;

use self::entries::{Entries, EntryError};
use crate::http::error::{ApiError, sentence};

/// Bytes that are gathered for one write to the disk.
const GATHERED: usize = 256 << 10;

/// The archive is refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ArchiveError {
    /// The archive is malformed.
    #[error(transparent)]
    Entry(#[from] EntryError),
    /// A file could not be stored.
    #[error(transparent)]
    Store(#[from] BlobError),
}

impl From<ArchiveError> for ApiError {
    fn from(error: ArchiveError) -> Self {
        match error {
            ArchiveError::Store(error) => error.into(),
            ArchiveError::Entry(EntryError::CutOff(_)) => Self::Broken(error.to_string()),
            error => Self::BadArchive(sentence(&error.to_string())),
        }
    }
}

/// Reads an archive of `NAME.mp3` for each of `names`, none larger than `most` bytes. A refused archive leaves no
/// files.
pub(crate) async fn receive(
    from: impl AsyncRead + Unpin,
    names: &[String],
    most: u64,
    blobs: &Blobs,
) -> Result<BTreeMap<String, Staged>, ArchiveError> {
    let mut entries = Entries::new(from, names, most);
    let mut files = BTreeMap::new();
    while let Some(entry) = entries.next().await? {
        files.insert(entry.stem, store(&mut entries, entry.size, blobs).await?);
    }
    Ok(files)
}

async fn store(
    entries: &mut Entries<'_, impl AsyncRead + Unpin>,
    size: u64,
    blobs: &Blobs,
) -> Result<Staged, ArchiveError> {
    let mut staged = blobs.stage(size).await?;
    let mut gathered = Vec::with_capacity(GATHERED);
    while staged.len() < size {
        entries.read(&mut gathered, GATHERED).await?;
        staged.write(&gathered).await?;
    }
    Ok(staged)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use storage::blobs::Quota;
    use tar::{EntryType, Header};
    use tempfile::TempDir;

    use super::entries::BLOCK;
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
    async fn stems_may_come_in_any_order() {
        let folder = TempDir::new().unwrap();
        let blobs = Blobs::open(folder.path(), Quota::default()).unwrap();
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
    async fn malformed_archives_are_refused_and_leave_no_files() {
        let folder = TempDir::new().unwrap();
        let blobs = Blobs::open(folder.path(), Quota::default()).unwrap();
        let with = |more: Vec<u8>| [good(), more].concat();
        let mut broken = good();
        broken[0] ^= 1;
        let mut prefixed = file("drums.mp3", b"x");
        prefixed[345..348].copy_from_slice(b"etc");
        let mut header = Header::from_byte_slice(&prefixed[..BLOCK]).clone();
        header.set_cksum();
        prefixed[..BLOCK].copy_from_slice(header.as_bytes());
        for (bytes, word) in [
            (with(file("vocals.mp3", b"x")), "unexpected"),
            (with(file("notes.txt", b"x")), "unexpected"),
            (with(file("../drums.mp3", b"x")), "unexpected"),
            (with(file("/drums.mp3", b"x")), "unexpected"),
            (with(file("./drums.mp3", b"x")), "unexpected"),
            (with(file("DRUMS.mp3", b"x")), "unexpected"),
            (prefixed, "unexpected"),
            (with(file("drums.mp3", b"x")), "twice"),
            (with(entry(EntryType::Symlink, "drums.mp3", b"")), "not a plain file"),
            (with(entry(EntryType::Link, "drums.mp3", b"")), "not a plain file"),
            (with(entry(EntryType::Directory, "drums.mp3", b"")), "not a plain file"),
            (with(entry(EntryType::GNULongName, "drums.mp3", b"x")), "not a plain file"),
            (with(entry(EntryType::GNUSparse, "drums.mp3", b"x")), "not a plain file"),
            (with(entry(EntryType::XHeader, "x", &vec![0; 1 << 17])), "not a plain file"),
            (file("drums.mp3", &vec![0; MOST as usize + 1]), "larger than"),
            (file("drums.mp3", b"x"), "missing bass.mp3"),
            (Vec::new(), "missing bass.mp3, drums.mp3"),
            (vec![0; 10 * BLOCK], "missing"),
            (b"a short text that is no archive".to_vec(), "truncated"),
            (vec![7; 10 * BLOCK], "not a tar file"),
            (broken, "not a tar file"),
            (good()[..good().len() - BLOCK].to_vec(), "truncated"),
            (good()[..700].to_vec(), "truncated"),
        ] {
            let Err(error) = received(&bytes, &blobs).await else {
                panic!("the archive was accepted instead of {word}")
            };
            assert!(error.to_string().contains(word), "{error} instead of {word}");
            assert_eq!(std::fs::read_dir(folder.path().join("staging")).unwrap().count(), 0, "{word}");
        }
    }
}
