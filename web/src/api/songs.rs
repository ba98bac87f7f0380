//! Songs: finding, showing, changing and deleting them.

use axum::extract::Path;
use serde::{Deserialize, Serialize};
use state::View;
use state::command::{ChangeSong, Refusal, RemoveSong};
use state::{Order, Song, SongStatus};
use utoipa::{IntoParams, ToSchema};

use super::song_fields::SongPatch;
use super::song_view::SongView;
use super::{ReadQuery, page_limit};
use crate::app::State;
use crate::auth::caller::Caller;
use crate::auth::request_auth::RequestAuth;
use crate::http::answer::{Answer, Empty};
use crate::http::error::ApiError;
use crate::http::json_or_form::JsonOrForm;
use crate::http::query::Query;
use crate::search::{self, SongQuery, Sort};

/// One song.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct SongData {
    /// The song.
    pub(crate) song: SongView,
}

/// A page of songs.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct SongsData {
    /// The songs, in the requested order.
    pub(crate) songs: Vec<SongView>,
    /// The `cursor` of the next page; null on the last page. A page may be short or empty without being the last one.
    pub(crate) next: Option<String>,
}

fn no_song(id: &str) -> ApiError {
    ApiError::NoSong(id.chars().take(20).collect())
}

/// The song in a path, if the caller may listen to it.
pub(crate) fn song_of(view: &View, caller: &Caller, id: &str) -> Result<Song, ApiError> {
    let song = view.song(id.parse().map_err(|_| no_song(id))?)?.ok_or_else(|| no_song(id))?;
    if caller.may_see(view, &song)? { Ok(song) } else { Err(no_song(id)) }
}

/// The song in a path, if the caller may change it.
pub(crate) fn song_to_change(view: &View, caller: &Caller, id: &str) -> Result<Song, ApiError> {
    let song = song_of(view, caller, id)?;
    if caller.actor().may_change(&song) { Ok(song) } else { Err(no_song(id)) }
}

/// The parameters of a list of songs.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default)]
pub(crate) struct SongsQuery {
    /// Words, or prefixes of words, that the title, artist, album or genre must contain. Case, accents and punctuation
    /// do not matter.
    q: Option<String>,
    /// Only songs by this artist.
    artist: Option<String>,
    /// Only songs from this album.
    album: Option<String>,
    /// Only songs of this genre.
    genre: Option<String>,
    /// Only songs with this status: `UPLOADED`, `SPLITTING`, `SPLIT`, `FAILED` or `CANCELLED`.
    #[param(example = "SPLIT", pattern = "^(UPLOADED|SPLITTING|SPLIT|FAILED|CANCELLED)$")]
    status: Option<String>,
    /// Only songs whose file has this SHA-256, in hex.
    #[param(pattern = "^[0-9A-Fa-f]{64}$")]
    hash: Option<String>,
    /// `true` lists only the caller's own songs.
    mine: bool,
    /// `true` lists only the caller's favourites. Requires login.
    favourite: bool,
    /// The order: `added`, `title`, `artist`, `album`, `genre`, `duration`, `bpm`, `plays`, or `played` for songs that
    /// the caller has played (requires login). A `-` in front reverses it. The default is `-added`.
    #[param(example = "-added", pattern = "^-?(added|title|artist|album|genre|duration|bpm|plays|played)$")]
    sort: Option<String>,
    /// `next` of the previous page.
    #[serde(alias = "before")]
    cursor: Option<String>,
    /// The most entries on the page, 1 to 200. The default is 50.
    limit: Option<usize>,
    /// `true` reads the state of this node, which may lag behind. This works without a majority.
    stale: bool,
}

impl SongsQuery {
    fn query(&self) -> Result<SongQuery, ApiError> {
        let (sort, backwards) = Sort::named(self.sort.as_deref().unwrap_or("-added"))?;
        let texts = [(Order::Artist, &self.artist), (Order::Album, &self.album), (Order::Genre, &self.genre)];
        let hash = self.hash.as_ref().map(|hash| {
            hash.parse()
                .map_err(|_| ApiError::Malformed("Invalid `hash`: use a SHA-256 in hex, with 64 digits.".into()))
        });
        Ok(SongQuery {
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
        _ => Err(ApiError::Malformed("Invalid `status`: use UPLOADED, SPLITTING, SPLIT, FAILED or CANCELLED.".into())),
    }
}

/// Finds songs in the caller's library: own songs, songs shared with the caller, and songs for everybody.
///
/// Administrators find all songs. A new song is found at once, and new songs do not shift pages. A request looks at a
/// limited number of songs, so finding rare songs in a large library may take several requests: follow `next` until it
/// is null.
#[utoipa::path(get, path = "/songs/", tag = "songs", params(SongsQuery), responses(
    (status = 200, body = Answer<SongsData>),
))]
pub(crate) async fn list(
    state: State,
    auth: RequestAuth,
    Query(params): Query<SongsQuery>,
) -> Result<Answer<SongsData>, ApiError> {
    let query = params.query()?;
    state
        .read_or_stale(&auth, params.stale, move |view, caller| {
            let found = search::find(view, caller, &query)?;
            let next = found.next.map(|place| query.sort.cursor(&place));
            let songs = found.songs.into_iter().map(|song| SongView::of(view, caller, song));
            Ok(Answer::with(SongsData { songs: songs.collect::<Result<_, _>>()?, next }))
        })
        .await
}

/// Shows a song.
///
/// The uploader, users with whom the song is shared, and administrators have access. Everybody has access to anonymous
/// uploads.
#[utoipa::path(get, path = "/songs/{id}", tag = "songs", params(("id" = u64, Path), ReadQuery), responses(
    (status = 200, body = Answer<SongData>),
))]
pub(crate) async fn get(
    state: State,
    auth: RequestAuth,
    Path(id): Path<String>,
    Query(query): Query<ReadQuery>,
) -> Result<Answer<SongData>, ApiError> {
    state
        .read_or_stale(&auth, query.stale, move |view, caller| {
            let song = song_of(view, caller, &id)?;
            Ok(Answer::with(SongData { song: SongView::of(view, caller, song)? }))
        })
        .await
}

/// Changes the title, artist, album, genre, year, track, tempo or key of a song. The file stays unchanged.
///
/// Only the uploader and administrators have access; everybody has access to anonymous uploads. The body is a form or
/// JSON.
#[utoipa::path(patch, path = "/songs/{id}", tag = "songs",
    params(("id" = u64, Path)),
    request_body = SongPatch,
    responses(
        (status = 200, body = Answer<SongData>),
        (status = 422),
    )
)]
pub(crate) async fn update(
    state: State,
    auth: RequestAuth,
    Path(id): Path<String>,
    JsonOrForm(fields): JsonOrForm<SongPatch>,
) -> Result<Answer<SongData>, ApiError> {
    let look = move |view: &View, caller: &Caller| Ok((song_to_change(view, caller, &id)?.id, *caller));
    let (song, caller) = state.read_for(&auth, look).await?;
    let edit = Box::new(fields.edit()?);
    state.cluster.propose(ChangeSong { song, actor: caller.actor(), edit }).await??;
    shown(&state, caller, song).await
}

/// The song for the caller, after a change.
pub(crate) async fn shown(state: &State, caller: Caller, id: u64) -> Result<Answer<SongData>, ApiError> {
    let look = move |view: &View| {
        let song = view.song(id)?.ok_or_else(|| no_song(&id.to_string()))?;
        Ok(Answer::with(SongData { song: SongView::of(view, &caller, song)? }))
    };
    state.read(look).await
}

/// Deletes a song, with its files unless another song has the same file.
///
/// Only the uploader and administrators have access; everybody has access to anonymous uploads.
#[utoipa::path(delete, path = "/songs/{id}", tag = "songs", params(("id" = u64, Path)), responses(
    (status = 200, body = Answer<Empty>),
))]
pub(crate) async fn delete(state: State, auth: RequestAuth, Path(id): Path<String>) -> Result<Answer<Empty>, ApiError> {
    let named = id.clone();
    let song = state.read_for(&auth, move |view, caller| song_to_change(view, caller, &named)).await?;
    match state.cluster.propose(RemoveSong { song: song.id }).await? {
        Ok(_) => Ok(Answer::with(Empty {})),
        Err(Refusal::NoSuchSong(_)) => Err(ApiError::NoSong(id)),
        Err(refusal) => Err(refusal.into()),
    }
}
