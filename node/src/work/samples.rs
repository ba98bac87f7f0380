//! Decoded songs, kept for the next task of the same song.
//!
//! A song is decoded once into a raw file of samples in the node's cache folder, which every task of that song reads
//! from. The few songs used last are kept; the cache is emptied at start, since a file of a killed process may be half
//! written.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use audio::decode::{DecodeError, Pcm, decode_to};
use storage::blobs::Hash;
use tokio::sync::{Mutex, OnceCell};

use audio::thread::{Panicked, at_low_priority};

/// How many decoded songs stay. Each takes 20 MB a minute.
const KEPT: usize = 3;

/// Why a song's samples cannot be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SamplesError {
    /// The song cannot be decoded.
    #[error(transparent)]
    Decode(#[from] DecodeError),
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

type Slot = Arc<OnceCell<Arc<Decoded>>>;

/// The decoded songs of one node.
pub(crate) struct Samples {
    folder: PathBuf,
    songs: Mutex<VecDeque<(Hash, Slot)>>,
}

impl Samples {
    /// Empties `folder` and keeps decoded songs there.
    pub(crate) fn open(folder: PathBuf) -> std::io::Result<Self> {
        if folder.exists() {
            std::fs::remove_dir_all(&folder)?;
        }
        std::fs::create_dir_all(&folder)?;
        Ok(Self { folder, songs: Mutex::default() })
    }

    /// The samples of the song `hash`, whose file is at `song`; decoded now unless they are kept.
    pub(crate) async fn of(&self, hash: Hash, song: &Path, format: &str) -> Result<Arc<Decoded>, SamplesError> {
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
                let (song, format) = (song.to_owned(), format.to_owned());
                at_low_priority("decode", move || match decode_to(&song, Some(&format), &path) {
                    Ok(pcm) => Ok(Arc::new(Decoded { pcm, path })),
                    Err(error) => {
                        let _ = std::fs::remove_file(&path);
                        Err(SamplesError::from(error))
                    }
                })
                .await?
            })
            .await?;
        Ok(Arc::clone(decoded))
    }
}
