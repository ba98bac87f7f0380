//! The artists, albums and genres of songs.

use serde::{Deserialize, Serialize};
use state::View;
use state::{Order, Song};
use utoipa::{IntoParams, ToSchema};

use super::page_limit;
use crate::app::State;
use crate::auth::request_auth::RequestAuth;
use crate::http::answer::Answer;
use crate::http::error::ApiError;
use crate::http::query::Query;
use crate::search::{bad_cursor, beginnings, groups};

/// An artist, an album or a genre.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct GroupView {
    /// The name, spelled as in one of its songs.
    pub(crate) name: String,
    /// The number of songs in the caller's library, counted up to 1000.
    pub(crate) songs: usize,
    /// Whether there may be more songs.
    pub(crate) more: bool,
}

/// A page of artists.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct ArtistsData {
    /// The artists, by name.
    pub(crate) artists: Vec<GroupView>,
    /// The `cursor` of the next page; null on the last page.
    pub(crate) next: Option<String>,
}

/// A page of albums.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct AlbumsData {
    /// The albums, by name.
    pub(crate) albums: Vec<GroupView>,
    /// The `cursor` of the next page; null on the last page.
    pub(crate) next: Option<String>,
}

/// A page of genres.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct GenresData {
    /// The genres, by name.
    pub(crate) genres: Vec<GroupView>,
    /// The `cursor` of the next page; null on the last page.
    pub(crate) next: Option<String>,
}

/// The parameters of a list of artists, albums or genres.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default)]
pub(crate) struct GroupsQuery {
    /// Words, or prefixes of words, that the name must contain.
    q: Option<String>,
    /// `next` of the previous page.
    #[param(pattern = "^([0-9A-Fa-f]{2})*$")]
    cursor: Option<String>,
    /// The most entries on the page, 1 to 200. The default is 50.
    limit: Option<usize>,
    /// `true` reads the state of this node, which may lag behind. This works without a majority.
    stale: bool,
}

/// Lists the artists in the caller's library, with the number of songs.
///
/// Names that differ only in case, accents or punctuation are one artist.
#[utoipa::path(get, path = "/artists", tag = "songs", params(GroupsQuery), responses(
    (status = 200, body = Answer<ArtistsData>),
))]
pub(crate) async fn artists(
    state: State,
    auth: RequestAuth,
    Query(query): Query<GroupsQuery>,
) -> Result<Answer<ArtistsData>, ApiError> {
    let (artists, next) = list(&state, &auth, query, Order::Artist, |song| song.credits.artist).await?;
    Ok(Answer::with(ArtistsData { artists, next }))
}

/// Lists the albums in the caller's library, with the number of songs.
///
/// Names that differ only in case, accents or punctuation are one album.
#[utoipa::path(get, path = "/albums", tag = "songs", params(GroupsQuery), responses(
    (status = 200, body = Answer<AlbumsData>),
))]
pub(crate) async fn albums(
    state: State,
    auth: RequestAuth,
    Query(query): Query<GroupsQuery>,
) -> Result<Answer<AlbumsData>, ApiError> {
    let (albums, next) = list(&state, &auth, query, Order::Album, |song| song.credits.album).await?;
    Ok(Answer::with(AlbumsData { albums, next }))
}

/// Lists the genres in the caller's library, with the number of songs.
///
/// Names that differ only in case, accents or punctuation are one genre.
#[utoipa::path(get, path = "/genres", tag = "songs", params(GroupsQuery), responses(
    (status = 200, body = Answer<GenresData>),
))]
pub(crate) async fn genres(
    state: State,
    auth: RequestAuth,
    Query(query): Query<GroupsQuery>,
) -> Result<Answer<GenresData>, ApiError> {
    let (genres, next) = list(&state, &auth, query, Order::Genre, |song| song.credits.genre).await?;
    Ok(Answer::with(GenresData { genres, next }))
}

async fn list(
    state: &State,
    auth: &RequestAuth,
    query: GroupsQuery,
    order: Order,
    name: fn(Song) -> Option<String>,
) -> Result<(Vec<GroupView>, Option<String>), ApiError> {
    let after = query.cursor.as_deref().map(hex::decode).transpose().map_err(|_| bad_cursor())?;
    let limit = page_limit(query.limit);
    state
        .read_or_stale(auth, query.stale, move |view: &View, caller| {
            let (found, next) = groups(view, caller, order, &beginnings(query.q.as_deref()), after, limit)?;
            let mut shown = Vec::new();
            for group in found {
                let name = view.song(group.song)?.and_then(name).unwrap_or_default();
                shown.push(GroupView { name, songs: group.songs, more: group.more });
            }
            Ok((shown, next.map(hex::encode)))
        })
        .await
}
