//! Shares of songs and playlists, with users or with everybody. A share grants listening only.

use axum::extract::Path;
use serde::{Deserialize, Serialize};
use state::View;
use state::command::{SharePlaylist, ShareSong, UnsharePlaylist, UnshareSong};
use state::{Audience, Song, folded};
use utoipa::ToSchema;

use super::songs::song_to_change;
use super::{number_of, playlists};
use crate::app::State;
use crate::auth::caller::Caller;
use crate::auth::request_auth::RequestAuth;
use crate::http::answer::Answer;
use crate::http::code::Code;
use crate::http::error::ApiError;
use crate::http::json_or_form::{JsonOrForm, ValidationErrors};

/// A user with whom a song or playlist is shared.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct Listener {
    /// The id.
    pub(crate) id: u64,
    /// The name.
    pub(crate) username: String,
}

/// With whom a song or playlist is shared.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct SharesData {
    /// Whether it is shared with everybody.
    pub(crate) everybody: bool,
    /// The users with whom it is shared.
    pub(crate) users: Vec<Listener>,
}

impl SharesData {
    /// The view of these audiences.
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

/// Lists the shares of a song.
///
/// Only the uploader and administrators have access.
#[utoipa::path(get, path = "/songs/{id}/shares", tag = "sharing", params(("id" = u64, Path)), responses(
    (status = 200, body = Answer<SharesData>),
))]
pub(crate) async fn list(
    state: State,
    auth: RequestAuth,
    Path(id): Path<String>,
) -> Result<Answer<SharesData>, ApiError> {
    let look = move |view: &View, caller: &Caller| {
        let song = song_to_change(view, caller, &id)?;
        Ok(Answer::with(of_song(view, &song)?))
    };
    state.read_for(&auth, look).await
}

/// With whom to share: one of the two fields.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateShare {
    /// The name of a user.
    user: Option<String>,
    /// `true` shares with everybody.
    everybody: Option<bool>,
}

impl CreateShare {
    /// The audience.
    fn audience(&self, view: &View) -> Result<Audience, ApiError> {
        let mut errors = ValidationErrors::default();
        let mut audience = Audience::Everybody;
        match (&self.user, self.everybody) {
            (None, Some(true)) => {}
            (Some(name), None | Some(false)) => match folded(name).map_or(Ok(None), |name| view.user_named(&name))? {
                Some(user) => audience = Audience::User(user.id),
                None => {
                    errors.add("user", Code::UnknownUsername, "There is no user with this name. Check the spelling.")
                }
            },
            _ => errors.add("user", Code::BadShare, "Set either `user` to the name of a user, or `everybody` to true."),
        }
        errors.finish()?;
        Ok(audience)
    }
}

/// The audience in a path: `everybody`, or the id of a user.
fn audience_in_path(with: &str) -> Result<Audience, ApiError> {
    match with {
        "everybody" => Ok(Audience::Everybody),
        user => Ok(Audience::User(number_of("share with user", user)?)),
    }
}

/// Shares a song with a user or with everybody, who may then listen to it and download it.
///
/// Only the uploader and administrators have access. The body is a form or JSON.
#[utoipa::path(post, path = "/songs/{id}/shares", tag = "sharing",
    params(("id" = u64, Path)),
    request_body = CreateShare,
    responses(
        (status = 200, body = Answer<SharesData>),
        (status = 409, description = "There are too many shares"),
        (status = 422),
    )
)]
pub(crate) async fn create(
    state: State,
    auth: RequestAuth,
    Path(id): Path<String>,
    JsonOrForm(new): JsonOrForm<CreateShare>,
) -> Result<Answer<SharesData>, ApiError> {
    let look = move |view: &View, caller: &Caller| {
        let song = song_to_change(view, caller, &id)?;
        let audience = new.audience(view)?;
        Ok((song, audience))
    };
    let (song, audience) = state.read_for(&auth, look).await?;
    let command = ShareSong { song: song.id, owner: song.uploader_id, audience };
    state.cluster.propose(command).await??;
    state.read(move |view| Ok(Answer::with(of_song(view, &song)?))).await
}

/// Ends the share of a song with the user with this id, or with `everybody`.
///
/// Only the uploader and administrators have access.
#[utoipa::path(delete, path = "/songs/{id}/shares/{with}", tag = "sharing",
    params(("id" = u64, Path), ("with" = String, Path, example = "everybody")),
    responses(
        (status = 200, body = Answer<SharesData>),
    )
)]
pub(crate) async fn delete(
    state: State,
    auth: RequestAuth,
    Path((id, with)): Path<(String, String)>,
) -> Result<Answer<SharesData>, ApiError> {
    let song = state.read_for(&auth, move |view, caller| song_to_change(view, caller, &id)).await?;
    let audience = audience_in_path(&with)?;
    state.cluster.propose(UnshareSong { song: song.id, audience }).await??;
    state.read(move |view| Ok(Answer::with(of_song(view, &song)?))).await
}

/// Lists the shares of a playlist.
///
/// Only the owner and administrators have access.
#[utoipa::path(get, path = "/playlists/{id}/shares", tag = "playlists", params(("id" = u64, Path)), responses(
    (status = 200, body = Answer<SharesData>),
))]
pub(crate) async fn list_of_playlist(
    state: State,
    auth: RequestAuth,
    Path(id): Path<String>,
) -> Result<Answer<SharesData>, ApiError> {
    let look = move |view: &View, caller: &Caller| {
        let playlist = playlists::owned(view, caller, &id)?;
        Ok(Answer::with(of_playlist(view, playlist.id)?))
    };
    state.read_for(&auth, look).await
}

/// Shares a playlist with a user or with everybody, who may then listen to its owner's songs in it.
///
/// Only the owner and administrators have access. The body is a form or JSON.
#[utoipa::path(post, path = "/playlists/{id}/shares", tag = "playlists",
    params(("id" = u64, Path)),
    request_body = CreateShare,
    responses(
        (status = 200, body = Answer<SharesData>),
        (status = 409, description = "There are too many shares"),
        (status = 422),
    )
)]
pub(crate) async fn create_of_playlist(
    state: State,
    auth: RequestAuth,
    Path(id): Path<String>,
    JsonOrForm(new): JsonOrForm<CreateShare>,
) -> Result<Answer<SharesData>, ApiError> {
    let look = move |view: &View, caller: &Caller| {
        let playlist = playlists::owned(view, caller, &id)?.id;
        Ok((playlist, new.audience(view)?))
    };
    let (playlist, audience) = state.read_for(&auth, look).await?;
    state.cluster.propose(SharePlaylist { playlist, audience }).await??;
    state.read(move |view| Ok(Answer::with(of_playlist(view, playlist)?))).await
}

/// Ends the share of a playlist with the user with this id, or with `everybody`.
///
/// Only the owner and administrators have access.
#[utoipa::path(delete, path = "/playlists/{id}/shares/{with}", tag = "playlists",
    params(("id" = u64, Path), ("with" = String, Path, example = "everybody")),
    responses(
        (status = 200, body = Answer<SharesData>),
    )
)]
pub(crate) async fn delete_of_playlist(
    state: State,
    auth: RequestAuth,
    Path((id, with)): Path<(String, String)>,
) -> Result<Answer<SharesData>, ApiError> {
    let playlist = state.read_for(&auth, move |view, caller| Ok(playlists::owned(view, caller, &id)?.id)).await?;
    let audience = audience_in_path(&with)?;
    state.cluster.propose(UnsharePlaylist { playlist, audience }).await??;
    state.read(move |view| Ok(Answer::with(of_playlist(view, playlist)?))).await
}
