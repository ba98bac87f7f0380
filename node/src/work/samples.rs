//! Decoded songs, kept for the next task of the same song.
//!
//! A song is decoded once into a raw file of samples in the node's cache folder, which every task of that song reads
//! from. The few songs used last are kept; the cache is emptied at start, since a file of a killed process may be half
//! written.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use audio::decode::{DecodeError, Pcm};
use audio::sandbox::Sandbox;
use audio::tags::Tags;
use storage::blobs::Hash;
use tokio::sync::{Mutex, OnceCell};

use audio::thread::{Panicked, at_low_priority};

/// How many decoded songs stay. Each takes 20 MB a minute.
const KEPT: usize = 3;

/// Why a song's samples cannot be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SamplesError {
    /// The song cannot be decoded.
    #[error("the song's file: {0}")]
    Decode(#[from] DecodeError),
    /// The song could not be decoded before, and is at fault.
    #[error("the song's file: {0}")]
    Refused(String),
    /// The decoding thread broke down.
    #[error(transparent)]
    Panicked(#[from] Panicked),
}

/// One decoded song; its file goes when the last user is through with it.
pub(crate) struct Decoded {
    /// The samples.
    pub pcm: Pcm,
    path: PathBuf,
}

impl Drop for Decoded {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::warn!(%error, path = %self.path.display(), "a decoded song cannot be removed");
        }
    }
}

/// A song, or why it cannot be decoded at all: what ends a decoder once is not tried again at once.
type Found = Result<Arc<Decoded>, String>;
type Slot = Arc<OnceCell<Found>>;

/// The decoded songs of one node.
pub(crate) struct Samples {
    folder: PathBuf,
    sandbox: Sandbox,
    songs: Mutex<VecDeque<(Hash, Slot)>>,
}

impl Samples {
    /// Empties `folder` and keeps decoded songs there.
    pub(crate) fn open(folder: PathBuf, sandbox: Sandbox) -> std::io::Result<Self> {
        if folder.exists() {
            std::fs::remove_dir_all(&folder)?;
        }
        std::fs::create_dir_all(&folder)?;
        Ok(Self { folder, sandbox, songs: Mutex::default() })
    }

    /// The samples of the song `hash`, whose file is at `song` and has about `frames` frames; decoded now unless they are
    /// kept.
    pub(crate) async fn of(&self, hash: Hash, song: &Path, frames: u64) -> Result<Arc<Decoded>, SamplesError> {
        let slot = {
            let mut songs = self.songs.lock().await;
            let slot = match songs.iter().position(|(kept, _)| *kept == hash).and_then(|at| songs.remove(at)) {
                Some((_, slot)) => slot,
                None => Slot::default(),
            };
            songs.push_front((hash, Arc::clone(&slot)));
            songs.truncate(KEPT);
            slot
        };
        let decoded = slot
            .get_or_try_init(|| async {
                // A name of its own: the song may have been dropped from the cache and still be in use.
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
            })
            .await?;
        decoded.clone().map_err(SamplesError::Refused)
    }

    /// The tags of a song's file.
    pub(crate) async fn tags_of(&self, song: &Path) -> Result<Tags, SamplesError> {
        let (song, sandbox) = (song.to_owned(), self.sandbox.clone());
        let (tags, _) = at_low_priority("tags", move || sandbox.tags_of(&song)).await??;
        Ok(tags)
    }
}
