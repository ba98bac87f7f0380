//! A playlist's entries: adding songs, taking some out, and their order.

use axum::extract::Path;
use serde::Deserialize;
use state::View;
use state::command::Command;
use utoipa::ToSchema;

use super::number_of;
use super::playlists::{PlaylistData, change_owned};
use super::songs::song_of;
use crate::answer::{Answer, Empty};
use crate::caller::{Caller, Visitor};
use crate::error::ApiError;
use crate::fields::Fields;
use crate::{State, now};

/// The most bytes of a request that names a playlist's entries or songs, of which there may be many.
pub(crate) const ENTRIES_BYTES: usize = 256 << 10;

/// Songs for a playlist.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewEntries {
    /// The songs, in their order. A song may be there several times.
    songs: Vec<u64>,
    /// Before which place they come, counted from 0; at the end if it is not given.
    at: Option<u64>,
}

/// Adds songs to a playlist.
///
/// Whose it is and administrators may call this, with songs that they may hear. All are added, or none.
#[utoipa::path(post, path = "/playlists/{id}/songs", tag = "playlists", security(("session" = []), ("token" = [])), params(("id" = u64, Path)),
    request_body = NewEntries,
    responses(
        (status = 200, body = Answer<PlaylistData>),
        (status = 400, description = "No JSON, or fields that are not known", body = Answer<Empty>),
        (status = 401, description = "Nobody is logged in", body = Answer<Empty>),
        (status = 404, description = "No such playlist or song, or none of the caller's", body = Answer<Empty>),
        (status = 409, description = "The playlist has no room for so many", body = Answer<Empty>),
        (status = 503, description = "No majority of the nodes answers", body = Answer<Empty>),
    )
)]
pub(crate) async fn add(
    state: State,
    visitor: Visitor,
    Path(id): Path<String>,
    Fields(new): Fields<NewEntries, ENTRIES_BYTES>,
) -> Result<Answer<PlaylistData>, ApiError> {
    let command = move |view: &View, caller: &Caller, playlist| {
        for song in &new.songs {
            song_of(view, caller, &song.to_string())?;
        }
        Ok(Command::AddToPlaylist { playlist, songs: new.songs, place: new.at, without: Vec::new(), at: now() })
    };
    change_owned(&state, &visitor, id, command).await
}

/// Takes an entry out of a playlist.
///
/// Whose it is and administrators may call this.
#[utoipa::path(delete, path = "/playlists/{id}/songs/{entry}", tag = "playlists", security(("session" = []), ("token" = [])),
    params(("id" = u64, Path), ("entry" = u64, Path)),
    responses(
        (status = 200, body = Answer<PlaylistData>),
        (status = 401, description = "Nobody is logged in", body = Answer<Empty>),
        (status = 404, description = "No such playlist or entry, or somebody else's", body = Answer<Empty>),
        (status = 503, description = "No majority of the nodes answers", body = Answer<Empty>),
    )
)]
pub(crate) async fn take(
    state: State,
    visitor: Visitor,
    Path((id, entry)): Path<(String, String)>,
) -> Result<Answer<PlaylistData>, ApiError> {
    let command = move |_: &View, _: &Caller, playlist| {
        let entry = number_of("entry of the playlist", &entry)?;
        Ok(Command::TakeFromPlaylist { playlist, entry, at: now() })
    };
    change_owned(&state, &visitor, id, command).await
}

/// A playlist's new order.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewOrder {
    /// The numbers of all its entries, in their order.
    entries: Vec<u64>,
}

/// Gives a playlist's entries another order.
///
/// Whose it is and administrators may call this.
#[utoipa::path(put, path = "/playlists/{id}/order", tag = "playlists", security(("session" = []), ("token" = [])), params(("id" = u64, Path)),
    request_body = NewOrder,
    responses(
        (status = 200, body = Answer<PlaylistData>),
        (status = 400, description = "No JSON, or fields that are not known", body = Answer<Empty>),
        (status = 401, description = "Nobody is logged in", body = Answer<Empty>),
        (status = 404, description = "No such playlist, or somebody else's", body = Answer<Empty>),
        (status = 409, description = "These are not its entries, each once; it may have changed", body = Answer<Empty>),
        (status = 503, description = "No majority of the nodes answers", body = Answer<Empty>),
    )
)]
pub(crate) async fn order(
    state: State,
    visitor: Visitor,
    Path(id): Path<String>,
    Fields(new): Fields<NewOrder, ENTRIES_BYTES>,
) -> Result<Answer<PlaylistData>, ApiError> {
    let command =
        move |_: &View, _: &Caller, playlist| Ok(Command::OrderPlaylist { playlist, entries: new.entries, at: now() });
    change_owned(&state, &visitor, id, command).await
}
