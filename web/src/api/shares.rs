//! With whom songs and playlists are shared: with other users, or with everybody. Who something is shared with may listen,
//! and no more.

use axum::extract::Path;
use serde::{Deserialize, Serialize};
use state::View;
use state::command::Command;
use state::{Audience, Song, folded};
use utoipa::ToSchema;

use super::songs::song_to_change;
use super::{number_of, playlists};
use crate::State;
use crate::answer::{Answer, Empty};
use crate::caller::{Caller, Visitor};
use crate::error::ApiError;
use crate::fields::{Faults, Fields};

/// A user with whom something is shared.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Listener {
    /// The number.
    pub id: u64,
    /// The name.
    pub username: String,
}

/// For whom something is, besides whose it is.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct SharesData {
    /// Whether it is for everybody.
    pub everybody: bool,
    /// The users with whom it is shared.
    pub users: Vec<Listener>,
}

/// Whose song it is, if its shares are the caller's to see: it has an owner, and that is the caller, who may also be an
/// administrator.
pub(crate) fn owned(view: &View, caller: &Caller, id: &str) -> Result<Song, ApiError> {
    caller.known()?;
    song_to_change(view, caller, id)
}

impl SharesData {
    /// Describes these audiences.
    fn of(view: &View, audiences: Vec<Audience>) -> Result<Self, ApiError> {
        let mut data = Self { everybody: false, users: Vec::new() };
        for audience in audiences {
            match audience {
                Audience::Everybody => data.everybody = true,
                Audience::User(id) => {
                    data.users.extend(view.user(id)?.map(|user| Listener { id, username: user.name }));
                }
            }
        }
        Ok(data)
    }
}

fn of_song(view: &View, song: &Song) -> Result<SharesData, ApiError> {
    let mut data = SharesData::of(view, view.shares_of(song.id)?)?;
    data.everybody |= song.uploader_id.is_none();
    Ok(data)
}

fn of_playlist(view: &View, playlist: u64) -> Result<SharesData, ApiError> {
    SharesData::of(view, view.playlist_shares(playlist)?)
}

/// Tells with whom a song is shared.
///
/// Whose song it is and administrators may call this.
#[utoipa::path(get, path = "/songs/{id}/shares", tag = "sharing", security(("session" = []), ("token" = [])), params(("id" = u64, Path)), responses(
    (status = 200, body = Answer<SharesData>),
    (status = 401, description = "Nobody is logged in", body = Answer<Empty>),
    (status = 404, description = "No such song, or somebody else's", body = Answer<Empty>),
    (status = 503, description = "No majority of the nodes answers", body = Answer<Empty>),
))]
pub(crate) async fn list(
    state: State,
    visitor: Visitor,
    Path(id): Path<String>,
) -> Result<Answer<SharesData>, ApiError> {
    let look = move |view: &View, caller: &Caller| {
        let song = owned(view, caller, &id)?;
        Ok(Answer::with(of_song(view, &song)?))
    };
    state.read_for(&visitor, look).await
}

/// With whom something is to be shared: one of the two.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ShareWish {
    /// A user's name.
    user: Option<String>,
    /// `true`: everybody.
    everybody: Option<bool>,
}

impl ShareWish {
    /// Who that is.
    fn audience(&self, view: &View) -> Result<Audience, ApiError> {
        let mut faults = Faults::default();
        let mut audience = Audience::Everybody;
        match (&self.user, self.everybody) {
            (None, Some(true)) => {}
            (Some(name), None | Some(false)) => match folded(name).map_or(Ok(None), |name| view.user_named(&name))? {
                Some(user) => audience = Audience::User(user.id),
                None => faults.add("user", "no_such_user", "There is no user with this name. Look how it is written."),
            },
            _ => faults.add("user", "bad_share", "Give the name of a user as user, or true as everybody."),
        }
        faults.none()?;
        Ok(audience)
    }
}

/// The audience that a path names: `everybody`, or a user's number.
fn audience_in_path(with: &str) -> Result<Audience, ApiError> {
    match with {
        "everybody" => Ok(Audience::Everybody),
        user => Ok(Audience::User(number_of("share with the user", user)?)),
    }
}

/// Shares a song, with a user or with everybody, who may then listen to it and download it.
///
/// Whose song it is and administrators may call this. Form or JSON.
#[utoipa::path(post, path = "/songs/{id}/shares", tag = "sharing", security(("session" = []), ("token" = [])), params(("id" = u64, Path)),
    request_body = ShareWish,
    responses(
        (status = 200, body = Answer<SharesData>),
        (status = 400, description = "Neither form nor JSON, or fields that are not known", body = Answer<Empty>),
        (status = 401, description = "Nobody is logged in", body = Answer<Empty>),
        (status = 404, description = "No such song, or somebody else's", body = Answer<Empty>),
        (status = 409, description = "It is shared too often", body = Answer<Empty>),
        (status = 422, description = "No such user, or neither field or both", body = Answer<Empty>),
        (status = 503, description = "No majority of the nodes answers", body = Answer<Empty>),
    )
)]
pub(crate) async fn share(
    state: State,
    visitor: Visitor,
    Path(id): Path<String>,
    Fields(asked): Fields<ShareWish>,
) -> Result<Answer<SharesData>, ApiError> {
    let look = move |view: &View, caller: &Caller| {
        let song = owned(view, caller, &id)?;
        let audience = asked.audience(view)?;
        Ok((song, audience))
    };
    let (song, audience) = state.read_for(&visitor, look).await?;
    let command = Command::ShareSong { song: song.id, owner: song.uploader_id, audience };
    state.app.cluster.propose(command).await??;
    state.read(move |view| Ok(Answer::with(of_song(view, &song)?))).await
}

/// Ends the sharing of a song, with the user of this number or with `everybody`.
///
/// Whose song it is and administrators may call this.
#[utoipa::path(delete, path = "/songs/{id}/shares/{with}", tag = "sharing", security(("session" = []), ("token" = [])),
    params(("id" = u64, Path), ("with" = String, Path, example = "everybody")),
    responses(
        (status = 200, body = Answer<SharesData>),
        (status = 401, description = "Nobody is logged in", body = Answer<Empty>),
        (status = 404, description = "No such song or share, or somebody else's", body = Answer<Empty>),
        (status = 503, description = "No majority of the nodes answers", body = Answer<Empty>),
    )
)]
pub(crate) async fn unshare(
    state: State,
    visitor: Visitor,
    Path((id, with)): Path<(String, String)>,
) -> Result<Answer<SharesData>, ApiError> {
    let song = state.read_for(&visitor, move |view, caller| owned(view, caller, &id)).await?;
    let audience = audience_in_path(&with)?;
    state.app.cluster.propose(Command::UnshareSong { song: song.id, audience }).await??;
    state.read(move |view| Ok(Answer::with(of_song(view, &song)?))).await
}

/// Tells with whom a playlist is shared.
///
/// Whose it is and administrators may call this.
#[utoipa::path(get, path = "/playlists/{id}/shares", tag = "playlists", security(("session" = []), ("token" = [])), params(("id" = u64, Path)), responses(
    (status = 200, body = Answer<SharesData>),
    (status = 401, description = "Nobody is logged in", body = Answer<Empty>),
    (status = 404, description = "No such playlist, or somebody else's", body = Answer<Empty>),
    (status = 503, description = "No majority of the nodes answers", body = Answer<Empty>),
))]
pub(crate) async fn list_of_playlist(
    state: State,
    visitor: Visitor,
    Path(id): Path<String>,
) -> Result<Answer<SharesData>, ApiError> {
    let look = move |view: &View, caller: &Caller| {
        let playlist = playlists::owned(view, caller, &id)?;
        Ok(Answer::with(of_playlist(view, playlist.id)?))
    };
    state.read_for(&visitor, look).await
}

/// Shares a playlist, with a user or with everybody, who may then listen to its owner's songs in it.
///
/// Whose it is and administrators may call this. Form or JSON.
#[utoipa::path(post, path = "/playlists/{id}/shares", tag = "playlists", security(("session" = []), ("token" = [])), params(("id" = u64, Path)),
    request_body = ShareWish,
    responses(
        (status = 200, body = Answer<SharesData>),
        (status = 400, description = "Neither form nor JSON, or fields that are not known", body = Answer<Empty>),
        (status = 401, description = "Nobody is logged in", body = Answer<Empty>),
        (status = 404, description = "No such playlist, or somebody else's", body = Answer<Empty>),
        (status = 409, description = "It is shared too often", body = Answer<Empty>),
        (status = 422, description = "No such user, or neither field or both", body = Answer<Empty>),
        (status = 503, description = "No majority of the nodes answers", body = Answer<Empty>),
    )
)]
pub(crate) async fn share_playlist(
    state: State,
    visitor: Visitor,
    Path(id): Path<String>,
    Fields(asked): Fields<ShareWish>,
) -> Result<Answer<SharesData>, ApiError> {
    let look = move |view: &View, caller: &Caller| {
        let playlist = playlists::owned(view, caller, &id)?.id;
        Ok((playlist, asked.audience(view)?))
    };
    let (playlist, audience) = state.read_for(&visitor, look).await?;
    state.app.cluster.propose(Command::SharePlaylist { playlist, audience }).await??;
    state.read(move |view| Ok(Answer::with(of_playlist(view, playlist)?))).await
}

/// Ends the sharing of a playlist, with the user of this number or with `everybody`.
///
/// Whose it is and administrators may call this.
#[utoipa::path(delete, path = "/playlists/{id}/shares/{with}", tag = "playlists", security(("session" = []), ("token" = [])),
    params(("id" = u64, Path), ("with" = String, Path, example = "everybody")),
    responses(
        (status = 200, body = Answer<SharesData>),
        (status = 401, description = "Nobody is logged in", body = Answer<Empty>),
        (status = 404, description = "No such playlist or share, or somebody else's", body = Answer<Empty>),
        (status = 503, description = "No majority of the nodes answers", body = Answer<Empty>),
    )
)]
pub(crate) async fn unshare_playlist(
    state: State,
    visitor: Visitor,
    Path((id, with)): Path<(String, String)>,
) -> Result<Answer<SharesData>, ApiError> {
    let playlist = state.read_for(&visitor, move |view, caller| Ok(playlists::owned(view, caller, &id)?.id)).await?;
    let audience = audience_in_path(&with)?;
    state.app.cluster.propose(Command::UnsharePlaylist { playlist, audience }).await??;
    state.read(move |view| Ok(Answer::with(of_playlist(view, playlist)?))).await
}
