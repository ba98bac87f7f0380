//! One song, from its file to its stems as MP3.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use audio::decode::DecodeError;
use audio::sandbox::Sandbox;
use inference::Separator;
use inference::merge::{Export, MergeError, Parts, Wanted, merge};
use inference::part::{Cut, PartError, separate_part};
use web::auth::external_workers::DELIVERED;

/// A song gave no stems.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SongError {
    /// It cannot be decoded.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// It cannot be separated.
    #[error(transparent)]
    Separate(#[from] PartError),
    /// Its stems cannot be made.
    #[error(transparent)]
    Merge(#[from] MergeError),
}

impl SongError {
    /// Whether somebody else could do no better.
    pub(crate) fn is_the_songs(&self) -> bool {
        matches!(self, Self::Decode(error) if error.is_the_files())
    }
}

/// Makes the stems of `song` in `folder`, which holds all that is needed on the way. `stop` ends it at the next segment.
pub(crate) fn separate(
    sandbox: &Sandbox,
    song: &Path,
    folder: &Path,
    separator: &dyn Separator,
    stop: &AtomicBool,
) -> Result<Vec<(String, PathBuf)>, SongError> {
    let pcm = sandbox.decode_to(song, &folder.join("song.f32"))?;
    let (geometry, part) = (separator.geometry(), folder.join("part"));
    separate_part(separator, &pcm, Cut::whole(geometry, 0, pcm.frames()), &part, stop, &|_| {})?;
    let parts = Parts { files: vec![part], geometry, sources: separator.sources().len(), frames: pcm.frames() };
    let (tags, _) = sandbox.tags_of(song)?;
    let stems = Wanted::each(separator.sources());
    let export = Export { stems, formats: vec![DELIVERED], tags, ..Export::default() };
    let made = merge(&parts, None, folder, &export, stop, &|_, _| {})?;
    let files = made.into_iter().map(|stem| Ok((stem.name.clone(), stem.file(DELIVERED)?.to_owned())));
    files.collect::<Result<_, MergeError>>().map_err(SongError::from)
}
