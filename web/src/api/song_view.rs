//! The view of a song: its fields, its progress, and the addresses of its files.

use std::collections::BTreeMap;

use serde::Serialize;
use state::View;
use state::{Facts, Job, JobState, Song, SongStatus};
use utoipa::ToSchema;

use crate::auth::caller::Caller;
use crate::http::error::ApiError;

/// Frames per second in the state.
pub(crate) const RATE: f64 = audio::RATE as f64;
/// The most songs with the same file that are searched for songs of the caller.
const MOST_DUPLICATES: usize = 50;

/// A song.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct SongView {
    /// The id.
    pub(crate) id: u64,
    /// The title.
    pub(crate) title: String,
    /// The artist, if it is known.
    pub(crate) artist: Option<String>,
    /// The album, if it is known.
    pub(crate) album: Option<String>,
    /// The genre.
    pub(crate) genre: Option<String>,
    /// The year.
    pub(crate) year: Option<u16>,
    /// The track number on the album.
    pub(crate) track: Option<u16>,
    /// The address of the cover, which changes with the cover; null if there is none.
    pub(crate) cover: Option<String>,
    /// SHA-256 of the uploaded file, in hex.
    pub(crate) hash: String,
    /// The id of the uploader; null for anonymous uploads.
    pub(crate) uploader_id: Option<u64>,
    /// The uploader; null for anonymous uploads.
    pub(crate) uploader: Option<Person>,
    /// Whether the caller owns the song. Anonymous callers own anonymous uploads.
    pub(crate) mine: bool,
    /// Whether the caller may change and delete the song.
    pub(crate) editable: bool,
    /// The caller's other songs with the same file.
    pub(crate) duplicates: Vec<u64>,
    /// The number of plays by all listeners.
    pub(crate) plays: u64,
    /// Whether the song is a favourite of the caller.
    pub(crate) favourite: bool,
    /// When the caller last played the song, in milliseconds since 1970.
    pub(crate) last_played_at: Option<u64>,
    /// The progress: `UPLOADED`, `SPLITTING`, `SPLIT`, `FAILED` or `CANCELLED`.
    #[schema(value_type = String, example = "SPLIT", pattern = "^(UPLOADED|SPLITTING|SPLIT|FAILED|CANCELLED)$")]
    pub(crate) status: SongStatus,
    /// The length in seconds.
    pub(crate) seconds: f64,
    /// The length in seconds, under the name that lists of playlists use.
    pub(crate) duration: f64,
    /// The tempo in beats per minute. Tempo from tags or set by the owner overrides the detected value in `facts`.
    pub(crate) bpm: Option<f64>,
    /// The key. A key from tags or set by the owner overrides the detected value in `facts`.
    #[schema(example = "F# minor")]
    pub(crate) key: Option<String>,
    /// The tempo from tags or set by the owner; null if there is none.
    pub(crate) own_bpm: Option<f64>,
    /// The key from tags or set by the owner; null if there is none.
    pub(crate) own_key: Option<String>,
    /// The integrated loudness in LUFS, as in `facts`.
    pub(crate) loudness: Option<f64>,
    /// The true peak in dBTP, as in `facts`.
    pub(crate) peak: Option<f64>,
    /// The uploaded file's extension.
    pub(crate) format: String,
    /// The size of the uploaded file in bytes.
    pub(crate) size: u64,
    /// The id of the job that separates the song.
    pub(crate) job_id: u64,
    /// When the song was added, in milliseconds since 1970.
    pub(crate) added_at: u64,
    /// The finished tasks of the job.
    pub(crate) tasks_done: u32,
    /// All tasks of the job.
    pub(crate) tasks_total: u32,
    /// The error of a failed job.
    pub(crate) error: Option<String>,
    /// What the analysis detected; null until the song is split.
    pub(crate) facts: Option<FactsView>,
    /// The addresses of the files, by part and format.
    pub(crate) parts: BTreeMap<String, BTreeMap<String, String>>,
}

/// A user, as other users see it.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct Person {
    /// The id.
    pub(crate) id: u64,
    /// The name.
    pub(crate) name: String,
}

impl Person {
    pub(crate) fn of(view: &View, id: u64) -> Result<Option<Self>, ApiError> {
        Ok(view.user(id)?.map(|user| Self { id, name: user.name }))
    }
}

/// What the analysis of a song detected.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct FactsView {
    /// Integrated loudness in LUFS (EBU R128); null for silence.
    pub(crate) loudness: Option<f64>,
    /// Loudness range in LU (EBU Tech 3342).
    pub(crate) loudness_range: Option<f64>,
    /// True peak in dBTP (ITU-R BS.1770).
    pub(crate) true_peak: Option<f64>,
    /// The tempo in beats per minute; null without a beat.
    pub(crate) tempo: Option<f64>,
    /// The confidence of the tempo, from 0 to 1.
    pub(crate) tempo_confidence: Option<f64>,
    /// The key; null without one.
    #[schema(example = "F# minor")]
    pub(crate) key: Option<String>,
    /// The confidence of the key, from 0 to 1.
    pub(crate) key_confidence: Option<f64>,
}

impl FactsView {
    fn of(facts: &Facts) -> Self {
        Self {
            loudness: facts.loudness,
            loudness_range: facts.loudness_range,
            true_peak: facts.true_peak,
            tempo: facts.tempo.map(|(bpm, _)| bpm),
            tempo_confidence: facts.tempo.map(|(_, confidence)| confidence),
            key: facts.key.as_ref().map(|(key, _)| key.clone()),
            key_confidence: facts.key.as_ref().map(|(_, confidence)| *confidence),
        }
    }
}

impl SongView {
    /// The view for a caller.
    pub(crate) fn of(view: &View, caller: &Caller, song: Song) -> Result<Self, ApiError> {
        let address = format!("/songs/{}", song.id);
        let mut described = Self::under(view, song.clone(), &address)?;
        described.mine = caller.owns(&song);
        described.editable = caller.actor().may_change(&song);
        for other in view.songs_of(&song.hash, MOST_DUPLICATES)? {
            let own = view.song(other)?.is_some_and(|other| caller.owns(&other) && other.id != song.id);
            described.duplicates.extend(own.then_some(other));
        }
        if let Some(user) = caller.user() {
            described.favourite = view.is_favourite(user, song.id)?;
            described.last_played_at = view.played(user, song.id)?.map(|played| played.at);
        }
        if let Some(uploader) = song.uploader_id {
            described.uploader = Person::of(view, uploader)?;
        }
        Ok(described)
    }

    /// The view for everybody, with files below this address.
    pub(crate) fn under(view: &View, song: Song, address: &str) -> Result<Self, ApiError> {
        let job = view.job(song.job)?;
        let status = view.song_status(&song)?;
        let plays = view.plays(song.id)?;
        Ok(Self { plays, ..Self::describe(song, status, job.as_ref(), address) })
    }

    fn describe(song: Song, status: SongStatus, job: Option<&Job>, address: &str) -> Self {
        let mut parts = BTreeMap::from([("song".to_owned(), links(address, "song", ""))]);
        if let Some(stems) = job.and_then(Job::stems) {
            parts.extend(stems.files.keys().map(|stem| (stem.clone(), links(address, stem, ""))));
        }
        let found = job.and_then(Job::facts);
        let (bpm, key, facts) = (song.bpm(found), song.key(found), found.map(FactsView::of));
        Self {
            parts,
            uploader: None,
            mine: false,
            editable: false,
            duplicates: Vec::new(),
            plays: 0,
            favourite: false,
            last_played_at: None,
            duration: song.frames as f64 / RATE,
            bpm,
            key,
            own_bpm: song.bpm(None),
            own_key: song.key(None),
            loudness: facts.as_ref().and_then(|facts| facts.loudness),
            peak: facts.as_ref().and_then(|facts| facts.true_peak),
            genre: song.credits.genre,
            year: song.credits.year,
            track: song.credits.track,
            cover: song.credits.cover.map(|cover| format!("{address}/cover?v={}", &cover.hash.to_string()[..8])),
            artist: song.credits.artist,
            album: song.credits.album,
            id: song.id,
            hash: song.hash.to_string(),
            uploader_id: song.uploader_id,
            status,
            seconds: song.frames as f64 / RATE,
            format: song.format,
            size: song.size,
            job_id: song.job,
            added_at: song.added_at,
            facts,
            tasks_done: job.map_or(0, |job| job.done),
            tasks_total: job.map_or(0, |job| job.tasks),
            error: job
                .filter(|job| job.state == JobState::Failed)
                .and_then(|job| Some(job.error.as_ref()?.to_string())),
            title: song.title,
        }
    }
}

/// The addresses of a part below the address of its song, by format. `query` is added to each.
pub(crate) fn links(address: &str, part: &str, query: &str) -> BTreeMap<String, String> {
    let link = |format: &str| (format.to_owned(), format!("{address}/{part}.{format}{query}"));
    ["mp3", "wav", "flac"].map(link).into()
}
