//! Songs: listing and finding, looking, changing, deleting.

use std::collections::BTreeMap;

use axum::extract::Path;
use inference::analysis::Key;
use inference::tags::hundredths;
use raft::View;
use raft::command::{Command, Refusal};
use raft::state::{Edit, Facts, Job, JobState, Order, Song, SongEdit, SongStatus};
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{Freshness, page_limit};
use crate::answer::{Answer, Empty};
use crate::caller::{Caller, Visitor};
use crate::error::ApiError;
use crate::fields::{Faults, Fields, tidy};
use crate::query::Query;
use crate::search::{self, Sort, Wanted};
use crate::{State, now};

/// Samples per second that the state counts frames in.
pub(crate) const RATE: f64 = inference::RATE as f64;
/// Among how many songs with the same file the caller's are looked for.
const MOST_DUPLICATES: usize = 50;
/// The longest text about a song, in characters.
pub(crate) const TEXT_CHARACTERS: usize = 200;
/// The last year, and the last number on an album.
const LAST: u16 = 9999;

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

/// One song.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct SongData {
    /// The song.
    pub song: SongView,
}

/// Some songs.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct SongsData {
    /// The songs, in the order that was asked for.
    pub songs: Vec<SongView>,
    /// What to give as `cursor` for the next page; null when this was the last. A page may be short or empty and not be
    /// the last.
    pub next: Option<String>,
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

/// Which songs are asked for.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default)]
pub(crate) struct SongsWish {
    /// Words that the title, the artist, the album or the genre have, or their beginnings. Case, accents and punctuation
    /// make no difference.
    q: Option<String>,
    /// Only songs of this artist.
    artist: Option<String>,
    /// Only songs on this album.
    album: Option<String>,
    /// Only songs of this genre.
    genre: Option<String>,
    /// Only songs that are so far: `UPLOADED`, `SPLITTING`, `SPLIT`, `FAILED` or `CANCELLED`.
    #[param(example = "SPLIT", pattern = "^(UPLOADED|SPLITTING|SPLIT|FAILED|CANCELLED)$")]
    status: Option<String>,
    /// Only songs with this file: SHA-256 in hex.
    #[param(pattern = "^[0-9A-Fa-f]{64}$")]
    hash: Option<String>,
    /// With `true`, only the caller's own.
    mine: bool,
    /// With `true`, only what the caller likes.
    favourite: bool,
    /// `added`, `title`, `artist`, `album`, `genre`, `duration`, `bpm`, `plays`, or `played` for what the caller has
    /// played; with a `-` before it the other way round. `-added` if it is not given.
    #[param(example = "-added", pattern = "^-?(added|title|artist|album|genre|duration|bpm|plays|played)$")]
    sort: Option<String>,
    /// `next` of the page before.
    #[serde(alias = "before")]
    cursor: Option<String>,
    /// At most this many, 1 to 200; 50 if it is not given.
    limit: Option<usize>,
    /// With `true`, what the asked node knows, which may be older than what another has answered; this works without a
    /// majority.
    stale: bool,
}

impl SongsWish {
    fn wanted(&self) -> Result<Wanted, ApiError> {
        let (sort, backwards) = Sort::named(self.sort.as_deref().unwrap_or("-added"))?;
        let texts = [(Order::Artist, &self.artist), (Order::Album, &self.album), (Order::Genre, &self.genre)];
        let hash = self.hash.as_ref().map(|hash| {
            hash.parse().map_err(|_| ApiError::Malformed("`hash` is a SHA-256 in hex, of 64 digits.".into()))
        });
        Ok(Wanted {
            beginnings: search::beginnings(self.q.as_deref()),
            texts: texts.into_iter().filter_map(|(order, given)| search::text(order, given.as_ref())).collect(),
            status: self.status.as_deref().map(status_of).transpose()?,
            hash: hash.transpose()?,
            mine: self.mine,
            favourite: self.favourite,
            sort,
            backwards,
            after: self.cursor.as_deref().map(|cursor| sort.place(cursor)).transpose()?,
            limit: page_limit(self.limit),
        })
    }
}

fn status_of(word: &str) -> Result<SongStatus, ApiError> {
    match word {
        "UPLOADED" => Ok(SongStatus::Uploaded),
        "SPLITTING" => Ok(SongStatus::Splitting),
        "SPLIT" => Ok(SongStatus::Split),
        "FAILED" => Ok(SongStatus::Failed),
        "CANCELLED" => Ok(SongStatus::Cancelled),
        _ => Err(ApiError::Malformed("`status` is one of UPLOADED, SPLITTING, SPLIT, FAILED and CANCELLED.".into())),
    }
}

/// Lists and finds songs: the caller's own, those shared with them, and those for everybody. Administrators find all.
///
/// Whoever is let in may call this; what one likes and has played wants an account. As new as the newest committed change,
/// but for `stale`: a song that was just added is found. Pages stay as they are while songs arrive. One request looks at so
/// many songs and no more, so that a search for what is rare among very many may take several: follow `next` until it is
/// null.
#[utoipa::path(get, path = "/songs/", tag = "songs", params(SongsWish), responses(
    (status = 200, body = Answer<SongsData>),
    (status = 400, description = "A condition, the order or the cursor cannot be read", body = Answer<Empty>),
    (status = 401, description = "Nobody is let in without an account, the token opens nothing, or nobody is logged in", body = Answer<Empty>),
    (status = 503, description = "No majority of the nodes answers", body = Answer<Empty>),
))]
pub(crate) async fn list(
    state: State,
    visitor: Visitor,
    Query(wish): Query<SongsWish>,
) -> Result<Answer<SongsData>, ApiError> {
    let wanted = wish.wanted()?;
    state
        .read_or_stale(&visitor, wish.stale, move |view, caller| {
            let found = search::find(view, caller, &wanted)?;
            let next = found.next.map(|place| wanted.sort.shown(&place));
            let songs = found.songs.into_iter().map(|song| SongView::of(view, caller, song));
            Ok(Answer::with(SongsData { songs: songs.collect::<Result<_, _>>()?, next }))
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
    Query(fresh): Query<Freshness>,
) -> Result<Answer<SongData>, ApiError> {
    state
        .read_or_stale(&visitor, fresh.stale, move |view, caller| {
            let song = song_of(view, caller, &id)?;
            Ok(Answer::with(SongData { song: SongView::of(view, caller, song)? }))
        })
        .await
}

/// What is to be different about a song. What is not given stays as it is, and null clears.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct SongFields {
    /// The title, which every song has.
    #[schema(max_length = 200, pattern = r"[^\s\x00-\x1F\x7F-\x9F]")]
    title: Option<String>,
    /// Who plays.
    #[serde(deserialize_with = "given")]
    #[schema(value_type = Option<String>, max_length = 200)]
    artist: Option<Option<String>>,
    /// Where it was published.
    #[serde(deserialize_with = "given")]
    #[schema(value_type = Option<String>, max_length = 200)]
    album: Option<Option<String>>,
    /// The kind of music.
    #[serde(deserialize_with = "given")]
    #[schema(value_type = Option<String>, max_length = 200)]
    genre: Option<Option<String>>,
    /// The year, 1 to 9999.
    #[serde(deserialize_with = "given")]
    #[schema(value_type = Option<u16>, minimum = 1, maximum = 9999)]
    year: Option<Option<u16>>,
    /// Its number on the album, 1 to 9999.
    #[serde(deserialize_with = "given")]
    #[schema(value_type = Option<u16>, minimum = 1, maximum = 9999)]
    track: Option<Option<u16>>,
    /// The tempo in beats per minute, 20 to 400; null leaves it to what was found in the song.
    #[serde(deserialize_with = "given")]
    #[schema(value_type = Option<f64>, minimum = 20, maximum = 400)]
    bpm: Option<Option<f64>>,
    /// The key, as "F# minor", "F#m", "Eb" or "8A"; null leaves it to what was found in the song.
    #[serde(deserialize_with = "given")]
    #[schema(value_type = Option<String>, example = "F# minor",
        pattern = "^ *([A-Ga-g][#b♯♭]? ?([Mm]|[Mm]in|[Mm]inor|[Mm]aj|[Mm]ajor)?|(0?[1-9]|1[0-2])[ABab])? *$")]
    key: Option<Option<String>>,
}

/// Tells null from what is not given.
fn given<'de, T: Deserialize<'de>, D: Deserializer<'de>>(fields: D) -> Result<Option<T>, D::Error> {
    T::deserialize(fields).map(Some)
}

/// Checks a text about a song; an empty one clears, as null does.
fn text_edit(faults: &mut Faults, field: &'static str, given: Option<Option<String>>) -> Edit<String> {
    let Some(given) = given else { return Edit::Keep };
    let text = tidy(&given.unwrap_or_default());
    if text.chars().count() > TEXT_CHARACTERS {
        faults.add(field, "too_long", format!("Use at most {TEXT_CHARACTERS} characters."));
    }
    if text.is_empty() { Edit::Clear } else { Edit::Set(text) }
}

fn number_edit(faults: &mut Faults, field: &'static str, given: Option<Option<u16>>) -> Edit<u16> {
    match given {
        None => Edit::Keep,
        Some(None) => Edit::Clear,
        Some(Some(number)) => {
            if !(1..=LAST).contains(&number) {
                faults.add(field, "out_of_range", format!("Give a number from 1 to {LAST}, or null."));
            }
            Edit::Set(number)
        }
    }
}

fn bpm_edit(faults: &mut Faults, given: Option<Option<f64>>) -> Edit<u32> {
    let Some(given) = given else { return Edit::Keep };
    let Some(bpm) = given else { return Edit::Clear };
    let Some(bpm) = hundredths(bpm) else {
        faults.add("bpm", "out_of_range", "Give a number of beats per minute from 20 to 400, or null.");
        return Edit::Keep;
    };
    Edit::Set(bpm)
}

/// Checks a key, which is kept as keys are shown; blanks alone clear, as null does.
fn key_edit(faults: &mut Faults, given: Option<Option<String>>) -> Edit<String> {
    let Some(given) = given else { return Edit::Keep };
    let given = given.unwrap_or_default();
    let text = given.trim_matches(' ');
    if text.is_empty() {
        return Edit::Clear;
    }
    match text.parse::<Key>() {
        Ok(key) => Edit::Set(key.to_string()),
        Err(error) => {
            faults.add("key", "bad_key", format!("{error}."));
            Edit::Keep
        }
    }
}

impl SongFields {
    fn edit(self) -> Result<SongEdit, ApiError> {
        let mut faults = Faults::default();
        let title = match text_edit(&mut faults, "title", self.title.map(Some)) {
            Edit::Keep => None,
            Edit::Set(title) => Some(title),
            Edit::Clear => {
                faults.add("title", "empty", "A song has a title. Give one, or leave the field out.");
                None
            }
        };
        let edit = SongEdit {
            title,
            artist: text_edit(&mut faults, "artist", self.artist),
            album: text_edit(&mut faults, "album", self.album),
            genre: text_edit(&mut faults, "genre", self.genre),
            year: number_edit(&mut faults, "year", self.year),
            track: number_edit(&mut faults, "track", self.track),
            bpm: bpm_edit(&mut faults, self.bpm),
            key: key_edit(&mut faults, self.key),
            cover: Edit::Keep,
        };
        faults.none()?;
        Ok(edit)
    }
}

/// Changes what a song is called, who plays, where it was published, and its tempo and key. The file stays as it is.
///
/// Its uploader and administrators may call this, and of anonymous uploads everybody who is let in. Form or JSON.
#[utoipa::path(patch, path = "/songs/{id}", tag = "songs", params(("id" = u64, Path)), request_body = SongFields,
    responses(
        (status = 200, body = Answer<SongData>),
        (status = 400, description = "Neither form nor JSON, or fields that are not known", body = Answer<Empty>),
        (status = 401, description = "Nobody is let in without an account, or the token opens nothing", body = Answer<Empty>),
        (status = 404, description = "No such song, or none of the caller's", body = Answer<Empty>),
        (status = 422, description = "A text is too long, a number out of range, a key none, or the title empty", body = Answer<Empty>),
        (status = 503, description = "No majority of the nodes answers", body = Answer<Empty>),
    )
)]
pub(crate) async fn change(
    state: State,
    visitor: Visitor,
    Path(id): Path<String>,
    Fields(fields): Fields<SongFields>,
) -> Result<Answer<SongData>, ApiError> {
    let look = move |view: &View, caller: &Caller| Ok((song_to_change(view, caller, &id)?.id, *caller));
    let (song, caller) = state.read_for(&visitor, look).await?;
    let edit = Box::new(fields.edit()?);
    state.app.cluster.propose(Command::ChangeSong { song, asker: caller.asker(), edit }).await??;
    shown(&state, caller, song).await
}

/// A song as its caller sees it after a change.
pub(crate) async fn shown(state: &State, caller: Caller, id: u64) -> Result<Answer<SongData>, ApiError> {
    let look = move |view: &View| {
        let song = view.song(id)?.ok_or_else(|| no_song(&id.to_string()))?;
        Ok(Answer::with(SongData { song: SongView::of(view, &caller, song)? }))
    };
    state.read(look).await
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
