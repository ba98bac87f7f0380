//! Favourites and plays.

use axum::extract::Path;
use state::View;
use state::command::{CountPlay, SetFavourite};

use super::songs::{SongData, shown, song_of};
use crate::app::State;
use crate::auth::caller::Caller;
use crate::auth::rate_limits;
use crate::auth::request_auth::RequestAuth;
use crate::clock::now;
use crate::http::answer::Answer;
use crate::http::error::ApiError;

/// Adds a song to the caller's favourites. Adding it twice is not an error.
#[utoipa::path(put, path = "/songs/{id}/favourite", tag = "listening", params(("id" = u64, Path)), responses(
    (status = 200, body = Answer<SongData>),
    (status = 409, description = "The user has too many favourites"),
))]
pub(crate) async fn add(state: State, auth: RequestAuth, Path(id): Path<String>) -> Result<Answer<SongData>, ApiError> {
    set(state, auth, id, true).await
}

/// Removes a song from the caller's favourites. Removing it twice is not an error.
#[utoipa::path(delete, path = "/songs/{id}/favourite", tag = "listening", params(("id" = u64, Path)), responses(
    (status = 200, body = Answer<SongData>),
))]
pub(crate) async fn remove(
    state: State,
    auth: RequestAuth,
    Path(id): Path<String>,
) -> Result<Answer<SongData>, ApiError> {
    set(state, auth, id, false).await
}

async fn set(state: State, auth: RequestAuth, id: String, favourite: bool) -> Result<Answer<SongData>, ApiError> {
    let look = move |view: &View, caller: &Caller| Ok((caller.known()?.id, song_of(view, caller, &id)?.id, *caller));
    let (user, song, caller) = state.read_for(&auth, look).await?;
    state.cluster.propose(SetFavourite { user, song, favourite }).await??;
    shown(&state, caller, song).await
}

/// Counts a play of a song, and adds the song to the caller's play history.
///
/// At most 60 plays a minute are counted per listener.
#[utoipa::path(post, path = "/songs/{id}/plays", tag = "listening", params(("id" = u64, Path)), responses(
    (status = 200, body = Answer<SongData>),
    (status = 429, description = "Too many plays within a minute"),
))]
pub(crate) async fn play(
    state: State,
    auth: RequestAuth,
    Path(id): Path<String>,
) -> Result<Answer<SongData>, ApiError> {
    let look = move |view: &View, caller: &Caller| Ok((song_of(view, caller, &id)?.id, *caller));
    let (song, caller) = state.read_for(&auth, look).await?;
    let user = caller.user();
    let at = now();
    let limit = rate_limits::play_limit(&auth.client, user);
    rate_limits::check(&state.cluster, &[limit], at).await?;
    state.cluster.propose(CountPlay { song, user, limit, at }).await??;
    shown(&state, caller, song).await
}
