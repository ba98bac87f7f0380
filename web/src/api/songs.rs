//! Songs: listing and finding, looking, changing, deleting.

use axum::extract::Path;
use serde::{Deserialize, Serialize};
use state::View;
use state::command::{Command, Refusal};
use state::{Order, Song, SongStatus};
use utoipa::{IntoParams, ToSchema};

use super::song_fields::SongFields;
use super::song_view::SongView;
use super::{Freshness, page_limit};
use crate::answer::{Answer, Empty};
use crate::caller::{Caller, Visitor};
use crate::error::ApiError;
use crate::fields::Fields;
use crate::query::Query;
use crate::search::{self, Sort, Wanted};
use crate::{State, now};

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
