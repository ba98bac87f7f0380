//! The parts of a song (the song itself, its stems, the waveforms), and their files.

use std::collections::BTreeMap;
use std::path::{Path as FilePath, PathBuf};

use audio::encode::{Format, encode};
use audio::sandbox::Sandbox;
use state::View;
use state::{JobSpec, JobState, Song, Stems};
use storage::blobs::Hash;

use super::models::model_named;
use crate::app::{App, State};
use crate::files::source::Source;
use crate::http::error::ApiError;

/// Bytes of a frame while a file is converted: two decoded samples, and the encoded ones.
const BYTES_A_FRAME: u64 = 12;

/// The origin of a file of a song.
pub(crate) enum PartFile {
    Blob(Hash),
    /// Converted from a file in another format.
    Converted(Hash),
}

impl PartFile {
    /// The file of a stem in a format, given the existing files.
    pub(crate) fn of(files: &BTreeMap<String, Hash>, format: &str) -> Option<Self> {
        match (files.get(format), best_of(files)) {
            (Some(hash), _) => Some(Self::Blob(*hash)),
            (None, Some((_, from))) => Some(Self::Converted(from)),
            (None, None) => None,
        }
    }

    /// The source of the file, generated if necessary, and its entity tag. `frames` is the length of the song.
    pub(crate) async fn source(self, state: &State, format: &str, frames: u64) -> Result<(Source, String), ApiError> {
        match self {
            Self::Blob(hash) => Ok((Source::Blob(hash), hash.to_string())),
            Self::Converted(from) => {
                let made = convert(state, from, format, frames).await?;
                Ok((Source::Made(made), format!("{from}-{format}")))
            }
        }
    }
}

/// The file with this name.
pub(super) fn find(view: &View, app: &App, song: &Song, job: Option<u64>, file: &str) -> Result<PartFile, ApiError> {
    let known = file.rsplit_once('.');
    if let Some(("song", format)) = known {
        return match format {
            _ if format == song.format => Ok(PartFile::Blob(song.hash)),
            "mp3" | "wav" | "flac" => Ok(PartFile::Converted(song.hash)),
            _ => Err(no_part(song, None, file)),
        };
    }
    if let Some(("peaks", "json")) = known {
        // Songs that an older version split have none.
        let peaks = stems_of(view, app, song, job, &[])?.peaks;
        return peaks.map(PartFile::Blob).ok_or_else(|| no_part(song, None, file));
    }
    let Some((part, format @ ("mp3" | "wav" | "flac"))) = known else {
        return Err(no_part(song, None, file));
    };
    let stems = stems_of(view, app, song, job, &[part])?;
    let found = stems.files.get(part).and_then(|files| PartFile::of(files, format));
    found.ok_or_else(|| no_part(song, Some(&stems), file))
}

/// The extension and the file of a stem with the least loss.
pub(crate) fn best_of(files: &BTreeMap<String, Hash>) -> Option<(String, Hash)> {
    let of = |format: &str| Some((format.to_owned(), *files.get(format)?));
    of("wav").or_else(|| of("flac")).or_else(|| of("mp3"))
}

/// The stems of the song's primary separation, or of this job. If they are not ready, an unknown part in `wanted` is a
/// different error.
pub(crate) fn stems_of(
    view: &View,
    app: &App,
    song: &Song,
    job: Option<u64>,
    wanted: &[&str],
) -> Result<Stems, ApiError> {
    let found = view.job_of(song, job)?;
    let job = found.ok_or_else(|| ApiError::NoJob(job.unwrap_or(song.job).to_string()))?;
    if let Some(stems) = job.stems() {
        return Ok(stems.clone());
    }
    let JobSpec::Separation(separation) = &job.spec;
    if let Some(model) = model_named(view, app, &separation.model)?
        && let sources = separation.selection.of(&model.sources)
        && let Some(unknown) = wanted.iter().find(|part| !sources.iter().any(|source| source == *part))
    {
        return Err(ApiError::NoPart(format!(
            "The song will have no part {unknown:?}. It will have: song, {}.",
            sources.join(", ")
        )));
    }
    Err(ApiError::NotSplit(match job.state {
        JobState::Failed | JobState::Cancelled => format!(
            "The song {} has no stems, because its job {}. POST /jobs/{}/retry retries it.",
            song.id,
            if job.state == JobState::Failed { "failed" } else { "was cancelled" },
            job.id
        ),
        _ => format!(
            "The song {} is not split yet: {} of {} tasks are done. GET /jobs/{} shows the progress.",
            song.id, job.done, job.tasks, job.id
        ),
    }))
}

fn no_part(song: &Song, stems: Option<&Stems>, file: &str) -> ApiError {
    let asked: String = file.chars().take(40).collect();
    let parts: Vec<&str> = stems.map_or_else(
        || vec!["vocals", "drums", "bass", "other"],
        |stems| stems.files.keys().map(String::as_str).collect(),
    );
    ApiError::NoPart(format!(
        "The song {} has no file {asked:?}. It has: song, {}, each as .mp3, .wav or .flac.",
        song.id,
        parts.join(", ")
    ))
}

/// Converts a file to another format, once. `frames` is the length of the song.
async fn convert(state: &State, from: Hash, format: &str, frames: u64) -> Result<PathBuf, ApiError> {
    let name = format!("made-{from}.{format}");
    if let Some(made) = state.cache.kept(&name).await {
        return Ok(made);
    }
    let replication = &state.replication;
    let (path, to, blobs) = (replication.fetch_verified(&from).await?, format.to_owned(), replication.blobs().clone());
    let sandbox = state.sandbox.clone();
    let make = move |half: &FilePath| {
        blobs.check_free(frames.saturating_mul(BYTES_A_FRAME))?;
        convert_here(&sandbox, &path, frames, half, &to)
    };
    state.cache.get(&name, make).await
}

fn convert_here(sandbox: &Sandbox, from: &FilePath, frames: u64, half: &FilePath, to: &str) -> Result<(), ApiError> {
    let mut samples = half.as_os_str().to_owned();
    samples.push(".samples");
    let pcm = sandbox.decode_known(from, FilePath::new(&samples), frames).map_err(ApiError::of_stored)?;
    let format = match to {
        "wav" => Format::WORKING,
        "flac" => Format::Flac { bits: 16 },
        _ => Format::LISTENING,
    };
    let (tags, _) = sandbox.tags_of(from).map_err(ApiError::of_stored)?;
    Ok(encode(&pcm, half, format, &tags)?)
}
