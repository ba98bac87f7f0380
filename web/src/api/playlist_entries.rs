//! The entries of a playlist: adding, removing and reordering them.

use axum::extract::Path;
use serde::Deserialize;
use state::View;
use state::command::{AddToPlaylist, RemoveFromPlaylist, ReorderPlaylist};
use utoipa::ToSchema;

use super::number_of;
use super::playlists::{PlaylistData, update_owned};
use super::songs::song_of;
use crate::app::State;
use crate::auth::caller::Caller;
use crate::auth::request_auth::RequestAuth;
use crate::clock::now;
use crate::http::answer::Answer;
use crate::http::error::ApiError;
use crate::http::json_or_form::JsonOrForm;

/// The largest body of a request that lists entries or songs, in bytes.
pub(crate) const ENTRIES_BYTES: usize = 256 << 10;

/// Songs to add to a playlist.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AddEntries {
    /// The ids of the songs, in order. A song may occur several times.
    songs: Vec<u64>,
    /// The index before which to insert the songs, from 0. Without it, they are added at the end.
    at: Option<u64>,
}

/// Adds songs to a playlist. Either all songs are added or none.
///
/// Only the owner and administrators have access, and only to songs that they may listen to.
#[utoipa::path(post, path = "/playlists/{id}/songs", tag = "playlists",
    params(("id" = u64, Path)),
    request_body = AddEntries,
    responses(
        (status = 200, body = Answer<PlaylistData>),
        (status = 409, description = "The playlist would have too many entries"),
    )
)]
pub(crate) async fn add(
    state: State,
    auth: RequestAuth,
    Path(id): Path<String>,
    JsonOrForm(new): JsonOrForm<AddEntries, ENTRIES_BYTES>,
) -> Result<Answer<PlaylistData>, ApiError> {
    let command = move |view: &View, caller: &Caller, playlist| {
        for song in &new.songs {
            song_of(view, caller, &song.to_string())?;
        }
        Ok(AddToPlaylist { playlist, songs: new.songs, place: new.at, without: Vec::new(), at: now() }.into())
    };
    update_owned(&state, &auth, id, command).await
}

/// Removes an entry from a playlist.
///
/// Only the owner and administrators have access.
#[utoipa::path(delete, path = "/playlists/{id}/songs/{entry}", tag = "playlists",
    params(("id" = u64, Path), ("entry" = u64, Path)),
    responses(
        (status = 200, body = Answer<PlaylistData>),
    )
)]
pub(crate) async fn remove(
    state: State,
    auth: RequestAuth,
    Path((id, entry)): Path<(String, String)>,
) -> Result<Answer<PlaylistData>, ApiError> {
    let command = move |_: &View, _: &Caller, playlist| {
        let entry = number_of("playlist entry", &entry)?;
        Ok(RemoveFromPlaylist { playlist, entry, at: now() }.into())
    };
    update_owned(&state, &auth, id, command).await
}

/// The new order of a playlist.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReorderEntries {
    /// The ids of all entries, in order.
    entries: Vec<u64>,
}

/// Reorders the entries of a playlist.
///
/// Only the owner and administrators have access.
#[utoipa::path(put, path = "/playlists/{id}/order", tag = "playlists",
    params(("id" = u64, Path)),
    request_body = ReorderEntries,
    responses(
        (status = 200, body = Answer<PlaylistData>),
        (status = 409, description = "The ids are not those of all entries, each once. The playlist may have changed"),
    )
)]
pub(crate) async fn reorder(
    state: State,
    auth: RequestAuth,
    Path(id): Path<String>,
    JsonOrForm(new): JsonOrForm<ReorderEntries, ENTRIES_BYTES>,
) -> Result<Answer<PlaylistData>, ApiError> {
    let command =
        move |_: &View, _: &Caller, playlist| Ok(ReorderPlaylist { playlist, entries: new.entries, at: now() }.into());
    update_owned(&state, &auth, id, command).await
}
