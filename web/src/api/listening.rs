//! What users listen to: favourites, and plays.

use axum::extract::Path;
use state::View;
use state::command::Command;

use super::songs::{SongData, shown, song_of};
use crate::answer::{Answer, Empty};
use crate::caller::{Caller, Visitor};
use crate::error::ApiError;
use crate::tries::play_count;
use crate::{State, now};

/// Makes a song the caller's favourite.
///
/// Users whom the song is for may call this. Doing it twice is no mistake.
#[utoipa::path(put, path = "/songs/{id}/favourite", tag = "listening", security(("session" = []), ("token" = [])), params(("id" = u64, Path)), responses(
    (status = 200, body = Answer<SongData>),
    (status = 401, description = "Nobody is logged in", body = Answer<Empty>),
    (status = 404, description = "No such song, or none of the caller's", body = Answer<Empty>),
    (status = 409, description = "There are as many favourites as one may have", body = Answer<Empty>),
    (status = 503, description = "No majority of the nodes answers", body = Answer<Empty>),
))]
pub(crate) async fn favour(
    state: State,
    visitor: Visitor,
    Path(id): Path<String>,
) -> Result<Answer<SongData>, ApiError> {
    set(state, visitor, id, true).await
}

/// Makes a song no longer the caller's favourite.
///
/// Users whom the song is for may call this. Doing it twice is no mistake.
#[utoipa::path(delete, path = "/songs/{id}/favourite", tag = "listening", security(("session" = []), ("token" = [])), params(("id" = u64, Path)), responses(
    (status = 200, body = Answer<SongData>),
    (status = 401, description = "Nobody is logged in", body = Answer<Empty>),
    (status = 404, description = "No such song, or none of the caller's", body = Answer<Empty>),
    (status = 503, description = "No majority of the nodes answers", body = Answer<Empty>),
))]
pub(crate) async fn forget(
    state: State,
    visitor: Visitor,
    Path(id): Path<String>,
) -> Result<Answer<SongData>, ApiError> {
    set(state, visitor, id, false).await
}

async fn set(state: State, visitor: Visitor, id: String, favourite: bool) -> Result<Answer<SongData>, ApiError> {
    let look = move |view: &View, caller: &Caller| Ok((caller.known()?.id, song_of(view, caller, &id)?.id, *caller));
    let (user, song, caller) = state.read_for(&visitor, look).await?;
    state.app.cluster.propose(Command::SetFavourite { user, song, favourite }).await??;
    shown(&state, caller, song).await
}

/// Counts that a song was played: once for each call, and for a user among what they have played.
///
/// Whoever the song is for may call this, 60 times a minute.
#[utoipa::path(post, path = "/songs/{id}/plays", tag = "listening", params(("id" = u64, Path)), responses(
    (status = 200, body = Answer<SongData>),
    (status = 401, description = "Nobody is let in without an account, or the token opens nothing", body = Answer<Empty>),
    (status = 404, description = "No such song, or none of the caller's", body = Answer<Empty>),
    (status = 429, description = "Too many plays within a minute", body = Answer<Empty>),
    (status = 503, description = "No majority of the nodes answers", body = Answer<Empty>),
))]
pub(crate) async fn play(state: State, visitor: Visitor, Path(id): Path<String>) -> Result<Answer<SongData>, ApiError> {
    let look = move |view: &View, caller: &Caller| Ok((song_of(view, caller, &id)?.id, *caller));
    let (song, caller) = state.read_for(&visitor, look).await?;
    let user = caller.user();
    let at = now();
    let count = play_count(&visitor.client, user);
    state.expect_room_for_tries(&[count], at).await?;
    state.app.cluster.propose(Command::CountPlay { song, user, count, at }).await??;
    shown(&state, caller, song).await
}
