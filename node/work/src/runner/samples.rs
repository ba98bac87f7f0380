//! Decoded songs, kept for the next task of the same song.
//!
//! A song is decoded once into a file of samples in the node's cache folder; every task of that song reads it. The songs
//! used last are kept. The folder is emptied at start, because a killed process may leave a file incomplete.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use audio::decode::{DecodeError, Pcm};
use audio::sandbox::Sandbox;
use audio::tags::Tags;
use audio::thread::{Panicked, at_low_priority};
use moka::future::Cache;
use moka::policy::EvictionPolicy;
use storage::blobs::Hash;

/// The number of decoded songs that are kept. Each takes 20 MB of disk a minute.
const SONGS_KEPT: u64 = 3;

/// Why a song's samples are not available.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SamplesError {
    /// Decoding failed, and not because of the file.
    #[error("cannot decode the song's file: {0}")]
    Decode(#[from] DecodeError),
    /// The file cannot be decoded.
    #[error("cannot decode the song's file: {0}")]
    File(String),
    /// The decoding thread panicked.
    #[error(transparent)]
    Panicked(#[from] Panicked),
}

/// A decoded song. Its file is removed when the last user drops it.
pub(crate) struct Decoded {
    /// The samples.
    pub(crate) pcm: Pcm,
    path: PathBuf,
}

impl Drop for Decoded {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::warn!(%error, path = %self.path.display(), "cannot remove a decoded song");
        }
    }
}

/// A song, or why its file cannot be decoded. Such a file is not decoded again while this is cached.
type Cached = Result<Arc<Decoded>, String>;

/// The decoded songs of this node.
pub(crate) struct Samples {
    folder: PathBuf,
    sandbox: Sandbox,
    songs: Cache<Hash, Cached>,
}

impl Samples {
    /// Keeps decoded songs in `folder`, which must be empty.
    pub(crate) fn new(folder: PathBuf, sandbox: Sandbox) -> Self {
        let songs = Cache::builder().max_capacity(SONGS_KEPT).eviction_policy(EvictionPolicy::lru()).build();
        Self { folder, sandbox, songs }
    }

    /// The samples of the song `hash`, whose file is at `song` and has about `frames` frames at 44.1 kHz.
    pub(crate) async fn get(&self, hash: Hash, song: &Path, frames: u64) -> Result<Arc<Decoded>, Arc<SamplesError>> {
        let cached = self.songs.try_get_with(hash, self.decode(hash, song, frames)).await?;
        self.songs.run_pending_tasks().await;
        Ok(cached.map_err(SamplesError::File)?)
    }

    async fn decode(&self, hash: Hash, song: &Path, frames: u64) -> Result<Cached, SamplesError> {
        // A unique name: the song may have been evicted and still be in use.
        let path = self.folder.join(format!("{hash}-{}.f32", uuid::Uuid::new_v4()));
        let (song, sandbox) = (song.to_owned(), self.sandbox.clone());
        at_low_priority("decode", move || match sandbox.decode_known(&song, &path, frames) {
            Ok(pcm) => Ok(Ok(Arc::new(Decoded { pcm, path }))),
            Err(error) => {
                let _ = std::fs::remove_file(&path);
                if error.is_the_files() { Ok(Err(error.to_string())) } else { Err(SamplesError::from(error)) }
            }
        })
        .await?
    }

    /// The tags of a song's file.
    pub(crate) async fn tags_of(&self, song: &Path) -> Result<Tags, SamplesError> {
        let (song, sandbox) = (song.to_owned(), self.sandbox.clone());
        let (tags, _) = at_low_priority("tags", move || sandbox.tags_of(&song)).await??;
        Ok(tags)
    }
}
