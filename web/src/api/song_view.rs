//! A song as clients see it: what is known of it, how far it is, and where its files are.

use std::collections::BTreeMap;

use serde::Serialize;
use state::View;
use state::{Facts, Job, JobState, Song, SongStatus};
use utoipa::ToSchema;

use crate::caller::Caller;
use crate::error::ApiError;

/// Samples per second that the state counts frames in.
pub(crate) const RATE: f64 = audio::RATE as f64;
/// Among how many songs with the same file the caller's are looked for.
const MOST_DUPLICATES: usize = 50;

/// A song as clients see it.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct SongView {
    /// Its number.
    pub id: u64,
    /// Its title.
    pub title: String,
    /// Who plays, if the file says so.
    pub artist: Option<String>,
    /// Where it was published, if the file says so.
    pub album: Option<String>,
    /// The kind of music.
    pub genre: Option<String>,
    /// The year in which it was recorded or published.
    pub year: Option<u16>,
    /// Its number on the album.
    pub track: Option<u16>,
    /// The address of the picture on its front, another one for each picture; null if it has none.
    pub cover: Option<String>,
    /// SHA-256 of the uploaded file, in hex.
    pub hash: String,
    /// Who uploaded it; null for anonymous uploads.
    pub uploader_id: Option<u64>,
    /// The same with the name.
    pub uploader: Option<Person>,
    /// Whether it is the caller's own; what was uploaded without an account belongs to whoever has none.
    pub mine: bool,
    /// Whether the caller may change and delete it.
    pub editable: bool,
    /// The caller's other songs with the same file.
    pub duplicates: Vec<u64>,
    /// How often it was played, by everybody.
    pub plays: u64,
    /// Whether the caller likes it.
    pub favourite: bool,
    /// When the caller last played it, in milliseconds since 1970.
    pub last_played_at: Option<u64>,
    /// `UPLOADED`, `SPLITTING`, `SPLIT`, `FAILED` or `CANCELLED`.
    #[schema(value_type = String, example = "SPLIT", pattern = "^(UPLOADED|SPLITTING|SPLIT|FAILED|CANCELLED)$")]
    pub status: SongStatus,
    /// Its length.
    pub seconds: f64,
    /// Its length, as in the other lists.
    pub duration: f64,
    /// The tempo in beats per minute: what the file's tags or somebody says, or else what was found, which `facts` has.
    pub bpm: Option<f64>,
    /// The key, likewise.
    #[schema(example = "F# minor")]
    pub key: Option<String>,
    /// The tempo as the file's tags or somebody says; null where nobody does.
    pub own_bpm: Option<f64>,
    /// The key, likewise.
    pub own_key: Option<String>,
    /// Integrated loudness in LUFS. This and the peak also stand in `facts`.
    pub loudness: Option<f64>,
    /// The highest level in dBTP.
    pub peak: Option<f64>,
    /// The uploaded file's extension.
    pub format: String,
    /// The uploaded file's bytes.
    pub size: u64,
    /// The job that separates it.
    pub job_id: u64,
    /// Milliseconds since 1970.
    pub added_at: u64,
    /// Tasks of the job that are done.
    pub tasks_done: u32,
    /// Tasks of the job.
    pub tasks_total: u32,
    /// Why the job failed, if it did.
    pub error: Option<String>,
    /// What was found in the song; null until it is split.
    pub facts: Option<FactsView>,
    /// The files there are: part, then format, then address.
    pub parts: BTreeMap<String, BTreeMap<String, String>>,
}

/// A user as others see them.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Person {
    /// The number.
    pub id: u64,
    /// The name.
    pub name: String,
}

impl Person {
    pub(crate) fn of(view: &View, id: u64) -> Result<Option<Self>, ApiError> {
        Ok(view.user(id)?.map(|user| Self { id, name: user.name }))
    }
}

/// What musicians look for in a song.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct FactsView {
    /// Integrated loudness in LUFS (EBU R128); null for silence.
    pub loudness: Option<f64>,
    /// Loudness range in LU (EBU Tech 3342).
    pub loudness_range: Option<f64>,
    /// The highest level in dBTP (ITU-R BS.1770).
    pub true_peak: Option<f64>,
    /// The tempo in beats per minute; null where there is no beat.
    pub tempo: Option<f64>,
    /// How sure the tempo is, from 0 to 1.
    pub tempo_confidence: Option<f64>,
    /// The key; null where there is none.
    #[schema(example = "F# minor")]
    pub key: Option<String>,
    /// How sure the key is, from 0 to 1.
    pub key_confidence: Option<f64>,
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
    /// Describes a song to a caller; its job says how far it is.
    pub(crate) fn of(view: &View, caller: &Caller, song: Song) -> Result<Self, ApiError> {
        let address = format!("/songs/{}", song.id);
        let mut described = Self::under(view, song.clone(), &address)?;
        described.mine = caller.owns(&song);
        described.editable = caller.asker().may_change(&song);
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

    /// Describes a song whose files lie under this address, to nobody in particular.
    pub(crate) fn under(view: &View, song: Song, address: &str) -> Result<Self, ApiError> {
        let job = view.job(song.job)?;
        let status = view.song_status(&song)?;
        let plays = view.plays(song.id)?;
        Ok(Self { plays, ..Self::describe(song, status, job.as_ref(), address) })
    }

    fn describe(song: Song, status: SongStatus, job: Option<&Job>, address: &str) -> Self {
        let mut parts = BTreeMap::from([("song".to_owned(), links(address, "song", ""))]);
        if let Some(stems) = job.and_then(|job| job.stems.as_ref()) {
            parts.extend(stems.files.keys().map(|stem| (stem.clone(), links(address, stem, ""))));
        }
        let found = job.and_then(|job| job.stems.as_ref()?.facts.as_deref());
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
            error: job.filter(|job| job.state == JobState::Failed).and_then(|job| job.error.clone()),
            title: song.title,
        }
    }
}

/// The addresses of a part under a song's, by format; `query` comes behind each.
pub(crate) fn links(address: &str, part: &str, query: &str) -> BTreeMap<String, String> {
    let link = |format: &str| (format.to_owned(), format!("{address}/{part}.{format}{query}"));
    ["mp3", "wav", "flac"].map(link).into()
}
