//! Songs: listing, looking, deleting.

use std::collections::BTreeMap;

use axum::extract::{Path, Query, rejection::QueryRejection};
use raft::View;
use raft::command::{Command, Refusal};
use raft::state::{Facts, Job, JobState, Song, SongStatus};
use serde::Serialize;
use utoipa::ToSchema;

use super::{Freshness, Page};
use crate::answer::{Answer, Empty};
use crate::caller::{Caller, Visitor};
use crate::error::ApiError;
use crate::{State, now};

/// Samples per second that the state counts frames in.
pub(crate) const RATE: f64 = inference::RATE as f64;

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
    /// The address of the picture on its front; null if the file has none.
    pub cover: Option<String>,
    /// SHA-256 of the uploaded file, in hex.
    pub hash: String,
    /// Who uploaded it; null for anonymous uploads.
    pub uploader_id: Option<u64>,
    /// `UPLOADED`, `SPLITTING`, `SPLIT`, `FAILED` or `CANCELLED`.
    #[schema(value_type = String, example = "SPLIT")]
    pub status: SongStatus,
    /// Its length.
    pub seconds: f64,
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
    /// Describes a song; its job says how far it is.
    pub(crate) fn of(view: &View, song: Song) -> Result<Self, ApiError> {
        let address = format!("/songs/{}", song.id);
        Self::under(view, song, &address)
    }

    /// Describes a song whose files lie under this address.
    pub(crate) fn under(view: &View, song: Song, address: &str) -> Result<Self, ApiError> {
        let job = view.job(song.job)?;
        let status = view.song_status(&song)?;
        Ok(Self::describe(song, status, job.as_ref(), address))
    }

    fn describe(song: Song, status: SongStatus, job: Option<&Job>, address: &str) -> Self {
        let mut parts = BTreeMap::from([("song".to_owned(), links(address, "song", ""))]);
        if let Some(stems) = job.and_then(|job| job.stems.as_ref()) {
            parts.extend(stems.files.keys().map(|stem| (stem.clone(), links(address, stem, ""))));
        }
        Self {
            parts,
            cover: song.credits.cover.map(|_| format!("{address}/cover")),
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
            facts: job.and_then(|job| job.stems.as_ref()?.facts.as_deref()).map(FactsView::of),
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

/// One song.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct SongData {
    /// The song.
    pub song: SongView,
}

/// Some songs.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct SongsData {
    /// The songs, newest first.
    pub songs: Vec<SongView>,
    /// What to give as `before` for the next page; null when this was the last.
    pub next: Option<u64>,
}

fn no_song(id: &str) -> ApiError {
    ApiError::NoSong(id.chars().take(20).collect())
}

/// The song that a path names, if it is the caller's to hear. Others are not there.
pub(crate) fn song_of(view: &View, caller: &Caller, id: &str) -> Result<Song, ApiError> {
    let song = view.song(id.parse().map_err(|_| no_song(id))?)?.ok_or_else(|| no_song(id))?;
    if caller.may_see(view, &song)? { Ok(song) } else { Err(no_song(id)) }
}

/// The song that a path names, if it is the caller's to change.
pub(crate) fn song_to_change(view: &View, caller: &Caller, id: &str) -> Result<Song, ApiError> {
    let song = song_of(view, caller, id)?;
    if caller.asker().may_change(&song) { Ok(song) } else { Err(no_song(id)) }
}

/// Lists the caller's songs, newest first: their own, those shared with them, and those for everybody. Administrators
/// see all.
///
/// Whoever is let in may call this. As new as the newest committed change, but for `stale`.
#[utoipa::path(get, path = "/songs/", tag = "songs", params(Page), responses(
    (status = 200, body = Answer<SongsData>),
    (status = 400, description = "`before` or `limit` is no number", body = Answer<Empty>),
    (status = 401, description = "Nobody is let in without an account, or the token opens nothing", body = Answer<Empty>),
    (status = 503, description = "No majority of the nodes answers", body = Answer<Empty>),
))]
pub(crate) async fn list(
    state: State,
    visitor: Visitor,
    page: Result<Query<Page>, QueryRejection>,
) -> Result<Answer<SongsData>, ApiError> {
    let Query(page) = page.map_err(|error| ApiError::Malformed(error.body_text()))?;
    let limit = page.limit();
    state
        .read_or_stale(&visitor, page.stale, move |view, caller| {
            let songs = match caller.audiences() {
                Some(audiences) => view.songs_for(&audiences, page.before, limit)?,
                None => view.songs(page.before, limit)?,
            };
            let next = songs.last().filter(|_| songs.len() == limit).map(|song| song.id);
            let songs = songs.into_iter().map(|song| SongView::of(view, song)).collect::<Result<_, _>>()?;
            Ok(Answer::with(SongsData { songs, next }))
        })
        .await
}

/// Shows one song.
///
/// Whoever it is for may call this: everybody who is let in for anonymous uploads, else the uploader, those it is shared
/// with, and administrators. As new as the newest committed change, but for `stale`.
#[utoipa::path(get, path = "/songs/{id}", tag = "songs", params(("id" = u64, Path), Freshness), responses(
    (status = 200, body = Answer<SongData>),
    (status = 400, description = "`stale` is neither true nor false", body = Answer<Empty>),
    (status = 404, description = "No such song, or none of the caller's", body = Answer<Empty>),
    (status = 401, description = "Nobody is let in without an account, or the token opens nothing", body = Answer<Empty>),
    (status = 503, description = "No majority of the nodes answers", body = Answer<Empty>),
))]
pub(crate) async fn one(
    state: State,
    visitor: Visitor,
    Path(id): Path<String>,
    fresh: Result<Query<Freshness>, QueryRejection>,
) -> Result<Answer<SongData>, ApiError> {
    let Query(fresh) = fresh.map_err(|error| ApiError::Malformed(error.body_text()))?;
    state
        .read_or_stale(&visitor, fresh.stale, move |view, caller| {
            let song = song_of(view, caller, &id)?;
            Ok(Answer::with(SongData { song: SongView::of(view, song)? }))
        })
        .await
}

/// Deletes a song.
///
/// Its files go with it, unless another song has the same file. Its uploader and administrators may call this, and of
/// anonymous uploads everybody who is let in.
#[utoipa::path(delete, path = "/songs/{id}", tag = "songs", params(("id" = u64, Path)), responses(
    (status = 200, body = Answer<Empty>),
    (status = 404, description = "No such song, or none of the caller's", body = Answer<Empty>),
    (status = 401, description = "Nobody is let in without an account, or the token opens nothing", body = Answer<Empty>),
    (status = 503, description = "No majority of the nodes answers", body = Answer<Empty>),
))]
pub(crate) async fn remove(state: State, visitor: Visitor, Path(id): Path<String>) -> Result<Answer<Empty>, ApiError> {
    let named = id.clone();
    let song = state.read_for(&visitor, move |view, caller| song_to_change(view, caller, &named)).await?;
    match state.app.cluster.propose(Command::RemoveSong { song: song.id, at: now() }).await? {
        Ok(_) => Ok(Answer::with(Empty {})),
        Err(Refusal::NoSuchSong(_)) => Err(ApiError::NoSong(id)),
        Err(refusal) => Err(refusal.into()),
    }
}
