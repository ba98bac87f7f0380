//! Separates one song into MP3 stems.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use audio::decode::DecodeError;
use audio::sandbox::Sandbox;
use inference::Separator;
use inference::merge::{Export, MergeError, Parts, Wanted, merge};
use inference::part::{Cut, PartError, separate_part};
use web::auth::external_workers::DELIVERED;

/// A song cannot be separated.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SongError {
    /// The file cannot be decoded.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The model failed.
    #[error(transparent)]
    Separate(#[from] PartError),
    /// The stems cannot be encoded.
    #[error(transparent)]
    Merge(#[from] MergeError),
}

impl SongError {
    /// Whether the file is the cause, so that every other worker would fail too.
    pub(crate) fn is_caused_by_file(&self) -> bool {
        matches!(self, Self::Decode(error) if error.is_the_files())
    }
}

/// Separates `song`, and returns the names and files of the stems. All files, including temporary ones, are written to
/// `folder`. `stop` ends the work at the next segment.
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
