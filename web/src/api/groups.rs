//! Whose songs there are, on which albums, and of which kinds.

use serde::{Deserialize, Serialize};
use state::View;
use state::{Order, Song};
use utoipa::{IntoParams, ToSchema};

use super::page_limit;
use crate::State;
use crate::answer::{Answer, Empty};
use crate::caller::Visitor;
use crate::error::ApiError;
use crate::query::Query;
use crate::search::{bad_cursor, beginnings, groups};

/// An artist, an album or a genre.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct GroupView {
    /// The name, as one of its songs writes it.
    pub name: String,
    /// How many of the caller's songs there are, counted to 1000.
    pub songs: usize,
    /// Whether there may be more of them than that.
    pub more: bool,
}

/// Artists.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ArtistsData {
    /// The artists, by name.
    pub artists: Vec<GroupView>,
    /// What to give as `cursor` for the next page; null when this was the last.
    pub next: Option<String>,
}

/// Albums.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct AlbumsData {
    /// The albums, by name.
    pub albums: Vec<GroupView>,
    /// What to give as `cursor` for the next page; null when this was the last.
    pub next: Option<String>,
}

/// Genres.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct GenresData {
    /// The genres, by name.
    pub genres: Vec<GroupView>,
    /// What to give as `cursor` for the next page; null when this was the last.
    pub next: Option<String>,
}

/// Which names are asked for.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default)]
pub(crate) struct GroupsWish {
    /// Words that the name has, or their beginnings.
    q: Option<String>,
    /// `next` of the page before.
    #[param(pattern = "^([0-9A-Fa-f]{2})*$")]
    cursor: Option<String>,
    /// At most this many, 1 to 200; 50 if it is not given.
    limit: Option<usize>,
    /// With `true`, what the asked node knows, which may be older than what another has answered; this works without a
    /// majority.
    stale: bool,
}

/// Lists the artists of the caller's songs, with how many there are of each.
///
/// Whoever is let in may call this. Names that differ in case, accents or punctuation alone are one.
#[utoipa::path(get, path = "/artists", tag = "songs", params(GroupsWish), responses(
    (status = 200, body = Answer<ArtistsData>),
    (status = 400, description = "The cursor cannot be read", body = Answer<Empty>),
    (status = 401, description = "Nobody is let in without an account, or the token opens nothing", body = Answer<Empty>),
    (status = 503, description = "No majority of the nodes answers", body = Answer<Empty>),
))]
pub(crate) async fn artists(
    state: State,
    visitor: Visitor,
    Query(wish): Query<GroupsWish>,
) -> Result<Answer<ArtistsData>, ApiError> {
    let (artists, next) = list(&state, &visitor, wish, Order::Artist, |song| song.credits.artist).await?;
    Ok(Answer::with(ArtistsData { artists, next }))
}

/// Lists the albums of the caller's songs, with how many there are of each.
///
/// Whoever is let in may call this. Names that differ in case, accents or punctuation alone are one.
#[utoipa::path(get, path = "/albums", tag = "songs", params(GroupsWish), responses(
    (status = 200, body = Answer<AlbumsData>),
    (status = 400, description = "The cursor cannot be read", body = Answer<Empty>),
    (status = 401, description = "Nobody is let in without an account, or the token opens nothing", body = Answer<Empty>),
    (status = 503, description = "No majority of the nodes answers", body = Answer<Empty>),
))]
pub(crate) async fn albums(
    state: State,
    visitor: Visitor,
    Query(wish): Query<GroupsWish>,
) -> Result<Answer<AlbumsData>, ApiError> {
    let (albums, next) = list(&state, &visitor, wish, Order::Album, |song| song.credits.album).await?;
    Ok(Answer::with(AlbumsData { albums, next }))
}

/// Lists the genres of the caller's songs, with how many there are of each.
///
/// Whoever is let in may call this. Names that differ in case, accents or punctuation alone are one.
#[utoipa::path(get, path = "/genres", tag = "songs", params(GroupsWish), responses(
    (status = 200, body = Answer<GenresData>),
    (status = 400, description = "The cursor cannot be read", body = Answer<Empty>),
    (status = 401, description = "Nobody is let in without an account, or the token opens nothing", body = Answer<Empty>),
    (status = 503, description = "No majority of the nodes answers", body = Answer<Empty>),
))]
pub(crate) async fn genres(
    state: State,
    visitor: Visitor,
    Query(wish): Query<GroupsWish>,
) -> Result<Answer<GenresData>, ApiError> {
    let (genres, next) = list(&state, &visitor, wish, Order::Genre, |song| song.credits.genre).await?;
    Ok(Answer::with(GenresData { genres, next }))
}

async fn list(
    state: &State,
    visitor: &Visitor,
    wish: GroupsWish,
    order: Order,
    name: fn(Song) -> Option<String>,
) -> Result<(Vec<GroupView>, Option<String>), ApiError> {
    let after = wish.cursor.as_deref().map(hex::decode).transpose().map_err(|_| bad_cursor())?;
    let limit = page_limit(wish.limit);
    state
        .read_or_stale(visitor, wish.stale, move |view: &View, caller| {
            let (found, next) = groups(view, caller, order, &beginnings(wish.q.as_deref()), after, limit)?;
            let mut shown = Vec::new();
            for group in found {
                let name = view.song(group.song)?.and_then(name).unwrap_or_default();
                shown.push(GroupView { name, songs: group.songs, more: group.more });
            }
            Ok((shown, next.map(hex::encode)))
        })
        .await
}
