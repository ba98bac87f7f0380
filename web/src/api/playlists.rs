//! Playlists.
//!
//! Users with whom a playlist is shared may listen to the songs in it that its owner uploaded, and to those that they
//! may listen to anyway. Of the other songs they see only the number.

use axum::extract::Path;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use state::View;
use state::command::{ChangePlaylist, Command, MakePlaylist, RemovePlaylist};
use state::{Audience, Playlist};
use utoipa::{IntoParams, ToSchema};

use super::song_view::{Person, RATE, SongView};
use super::{ReadQuery, no_such, number_of};
use crate::app::State;
use crate::auth::caller::Caller;
use crate::auth::request_auth::RequestAuth;
use crate::clock::now;
use crate::http::answer::{Answer, Empty};
use crate::http::code::Code;
use crate::http::error::ApiError;
use crate::http::json_or_form::{JsonOrForm, ValidationErrors};
use crate::http::query::Query;
use crate::search::bad_cursor;
use crate::text::sanitize;

/// The longest name of a playlist, in characters.
const NAME_CHARACTERS: usize = 200;
/// The longest description of a playlist, in characters.
const DESCRIPTION_CHARACTERS: usize = 2000;
/// The most entries on a page, and the most playlists of a kind in a list.
const PAGE: usize = 1000;

/// A playlist.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct PlaylistView {
    /// The id.
    pub(crate) id: u64,
    /// The name.
    pub(crate) name: String,
    /// The description.
    pub(crate) description: String,
    /// The owner.
    pub(crate) owner: Option<Person>,
    /// Whether the caller is the owner.
    pub(crate) mine: bool,
    /// The number of entries.
    pub(crate) songs: u64,
    /// The total length in seconds.
    pub(crate) duration: f64,
    /// When the playlist was created, in milliseconds since 1970.
    pub(crate) created_at: u64,
    /// When the playlist was last changed, in milliseconds since 1970.
    pub(crate) updated_at: u64,
    /// The entries, in order; not in lists of playlists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) entries: Option<Vec<EntryView>>,
    /// The number of entries on this page that the caller may not listen to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) hidden: Option<usize>,
}

/// An entry of a playlist.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct EntryView {
    /// The id of the entry.
    pub(crate) id: u64,
    /// The song.
    pub(crate) song: SongView,
}

/// One playlist.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct PlaylistData {
    /// The playlist.
    pub(crate) playlist: PlaylistView,
    /// The `cursor` of the next page of entries; null on the last page.
    pub(crate) next: Option<String>,
}

/// Playlists.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct PlaylistsData {
    /// The caller's own playlists, then those shared with the caller, then those for everybody; each oldest first and
    /// without entries.
    pub(crate) playlists: Vec<PlaylistView>,
}

impl PlaylistView {
    fn of(view: &View, caller: &Caller, playlist: Playlist) -> Result<Self, ApiError> {
        Ok(Self {
            owner: Person::of(view, playlist.owner)?,
            mine: caller.user() == Some(playlist.owner),
            id: playlist.id,
            name: playlist.name,
            description: playlist.description,
            songs: playlist.songs,
            duration: playlist.frames as f64 / RATE,
            created_at: playlist.created_at,
            updated_at: playlist.updated_at,
            entries: None,
            hidden: None,
        })
    }
}

/// The playlist in a path, if the caller may see it.
pub(crate) fn playlist_of(view: &View, caller: &Caller, id: &str) -> Result<Playlist, ApiError> {
    let playlist = view.playlist(number_of("playlist", id)?)?.ok_or_else(|| no_such("playlist", id))?;
    let shared = match caller.audiences() {
        Some(audiences) => view.is_playlist_for(playlist.id, &audiences)?,
        None => true,
    };
    if shared || caller.may_manage(playlist.owner) { Ok(playlist) } else { Err(no_such("playlist", id)) }
}

/// The playlist in a path, if the caller may change it.
pub(crate) fn owned(view: &View, caller: &Caller, id: &str) -> Result<Playlist, ApiError> {
    let playlist = view.playlist(number_of("playlist", id)?)?.filter(|playlist| caller.may_manage(playlist.owner));
    playlist.ok_or_else(|| no_such("playlist", id))
}

/// Changes a playlist with a command, and returns it.
pub(crate) async fn update_owned(
    state: &State,
    auth: &RequestAuth,
    id: String,
    command: impl FnOnce(&View, &Caller, u64) -> Result<Command, ApiError> + Send + 'static,
) -> Result<Answer<PlaylistData>, ApiError> {
    let look = move |view: &View, caller: &Caller| {
        let playlist = owned(view, caller, &id)?.id;
        Ok((command(view, caller, playlist)?, *caller, playlist))
    };
    let (command, caller, playlist) = state.read_for(auth, look).await?;
    state.cluster.propose(command).await??;
    shown(state, caller, playlist).await
}

async fn shown(state: &State, caller: Caller, id: u64) -> Result<Answer<PlaylistData>, ApiError> {
    let look = move |view: &View| {
        let playlist = view.playlist(id)?.ok_or_else(|| no_such("playlist", &id.to_string()))?;
        Ok(Answer::with(PlaylistData { playlist: PlaylistView::of(view, &caller, playlist)?, next: None }))
    };
    state.read(look).await
}

/// Lists the caller's playlists, those shared with the caller, and those for everybody.
///
/// At most 1000 of each kind are listed.
#[utoipa::path(get, path = "/playlists/", tag = "playlists", params(ReadQuery), responses(
    (status = 200, body = Answer<PlaylistsData>),
))]
pub(crate) async fn list(
    state: State,
    auth: RequestAuth,
    Query(query): Query<ReadQuery>,
) -> Result<Answer<PlaylistsData>, ApiError> {
    let look = |view: &View, caller: &Caller| {
        let playlists = visible(view, caller)?.into_iter().map(|playlist| PlaylistView::of(view, caller, playlist));
        Ok(Answer::with(PlaylistsData { playlists: playlists.collect::<Result<_, _>>()? }))
    };
    state.read_or_stale(&auth, query.stale, look).await
}

/// The caller's playlists, those shared with the caller, and those for everybody, each oldest first.
pub(crate) fn visible(view: &View, caller: &Caller) -> Result<Vec<Playlist>, ApiError> {
    let mut found = Vec::new();
    if let Some(user) = caller.user() {
        found.extend(view.playlists_of(user)?);
        found.extend(view.playlists_for(Audience::User(user), PAGE)?);
    }
    for playlist in view.playlists_for(Audience::Everybody, PAGE)? {
        if found.iter().all(|known| known.id != playlist.id) {
            found.push(playlist);
        }
    }
    Ok(found)
}

/// The parameters of a new playlist.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreatePlaylist {
    /// The name.
    #[serde(default)]
    #[schema(
        required,
        max_length = 200,
        pattern = r"[^\s\x00-\x1F\x7F-\x9F\xAD\u034F\u061C\u115F\u1160\u17B4\u17B5\u180B-\u180F\u200B-\u200F\u202A-\u202E\u2060-\u206F\u2800\u3164\uFE00-\uFE0F\uFEFF\uFFA0\uFFF0-\uFFFB]",
        example = "Sunday morning"
    )]
    pub(crate) name: String,
    /// A description.
    #[schema(max_length = 2000)]
    pub(crate) description: Option<String>,
}

/// Changes to a playlist. Missing fields stay unchanged.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct PlaylistPatch {
    /// The name.
    #[schema(
        max_length = 200,
        pattern = r"[^\s\x00-\x1F\x7F-\x9F\xAD\u034F\u061C\u115F\u1160\u17B4\u17B5\u180B-\u180F\u200B-\u200F\u202A-\u202E\u2060-\u206F\u2800\u3164\uFE00-\uFE0F\uFEFF\uFFA0\uFFF0-\uFFFB]"
    )]
    pub(crate) name: Option<String>,
    /// A description.
    #[schema(max_length = 2000)]
    pub(crate) description: Option<String>,
}

impl PlaylistPatch {
    /// The validated and sanitized fields.
    pub(crate) fn checked(self) -> Result<Self, ApiError> {
        let mut errors = ValidationErrors::default();
        let name = self.name.map(|name| sanitize(&name));
        if name.as_ref().is_some_and(|name| name.is_empty() || name.chars().count() > NAME_CHARACTERS) {
            errors.add("name", Code::BadName, format!("Use a name of 1 to {NAME_CHARACTERS} characters."));
        }
        let description = self.description.map(|text| text.trim().to_owned());
        if description.as_ref().is_some_and(|text| text.chars().count() > DESCRIPTION_CHARACTERS) {
            let message = format!("Use at most {DESCRIPTION_CHARACTERS} characters.");
            errors.add("description", Code::TooLong, message);
        }
        errors.finish()?;
        Ok(Self { name, description })
    }
}

/// Creates an empty playlist.
///
/// The body is a form or JSON.
#[utoipa::path(post, path = "/playlists/", tag = "playlists", request_body = CreatePlaylist, responses(
    (status = 201, body = Answer<PlaylistData>),
    (status = 409, description = "The user has too many playlists"),
    (status = 422),
))]
pub(crate) async fn create(
    state: State,
    auth: RequestAuth,
    JsonOrForm(new): JsonOrForm<CreatePlaylist>,
) -> Result<(StatusCode, Answer<PlaylistData>), ApiError> {
    let (caller, id) = create_for(&state, &auth, new).await?;
    Ok((StatusCode::CREATED, shown(&state, caller, id).await?))
}

/// Creates a playlist of the caller, and returns its id.
pub(crate) async fn create_for(
    state: &State,
    auth: &RequestAuth,
    new: CreatePlaylist,
) -> Result<(Caller, u64), ApiError> {
    let (caller, owner) = state.read_for(auth, |_, caller| Ok((*caller, caller.known()?.id))).await?;
    let fields = PlaylistPatch { name: Some(new.name), description: new.description }.checked()?;
    let (name, description) = (fields.name.unwrap_or_default(), fields.description.unwrap_or_default());
    let command = MakePlaylist { owner, name, description, at: now() };
    Ok((caller, state.create("creating a playlist", command).await?))
}

/// The parameters of a page of entries.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default)]
pub(crate) struct PlaylistQuery {
    /// `next` of the previous page.
    #[param(pattern = "^[0-9]{1,19}$")]
    cursor: Option<String>,
    /// The most entries on the page, 1 to 1000. The default is 1000.
    limit: Option<usize>,
    /// `true` reads the state of this node, which may lag behind. This works without a majority.
    stale: bool,
}

/// Shows a playlist with its entries.
///
/// The owner, users with whom the playlist is shared, and administrators have access. Entries that the caller may not
/// listen to are counted in `hidden` and not shown.
#[utoipa::path(get, path = "/playlists/{id}", tag = "playlists", params(("id" = u64, Path), PlaylistQuery), responses(
    (status = 200, body = Answer<PlaylistData>),
    (status = 409, description = "The playlist has changed since the previous page"),
))]
pub(crate) async fn get(
    state: State,
    auth: RequestAuth,
    Path(id): Path<String>,
    Query(query): Query<PlaylistQuery>,
) -> Result<Answer<PlaylistData>, ApiError> {
    let after = query.cursor.map(|cursor| cursor.parse::<u64>()).transpose().map_err(|_| bad_cursor())?;
    let limit = query.limit.unwrap_or(PAGE).clamp(1, PAGE);
    let look = move |view: &View, caller: &Caller| {
        let playlist = playlist_of(view, caller, &id)?;
        let entries = view.entries(playlist.id)?;
        let changed = || {
            ApiError::Conflict(
                "The playlist has changed since the previous page. Read it again from the first page.".into(),
            )
        };
        let first = match after {
            None => 0,
            Some(after) => entries.iter().position(|entry| entry.id == after).ok_or_else(changed)? + 1,
        };
        let page = &entries[first..entries.len().min(first + limit)];
        let mut described = PlaylistView::of(view, caller, playlist)?;
        let mut shown = Vec::new();
        for entry in page {
            if let Some(song) = view.song(entry.song)?
                && caller.may_see(view, &song)?
            {
                shown.push(EntryView { id: entry.id, song: SongView::of(view, caller, song)? });
            }
        }
        described.hidden = Some(page.len() - shown.len());
        described.entries = Some(shown);
        let next = page.last().filter(|_| first + page.len() < entries.len()).map(|entry| entry.id.to_string());
        Ok(Answer::with(PlaylistData { playlist: described, next }))
    };
    state.read_or_stale(&auth, query.stale, look).await
}

/// Changes the name or the description of a playlist.
///
/// Only the owner and administrators have access. The body is a form or JSON.
#[utoipa::path(patch, path = "/playlists/{id}", tag = "playlists",
    params(("id" = u64, Path)),
    request_body = PlaylistPatch,
    responses(
        (status = 200, body = Answer<PlaylistData>),
        (status = 422),
    )
)]
pub(crate) async fn update(
    state: State,
    auth: RequestAuth,
    Path(id): Path<String>,
    JsonOrForm(fields): JsonOrForm<PlaylistPatch>,
) -> Result<Answer<PlaylistData>, ApiError> {
    let command = move |_: &View, _: &Caller, playlist| {
        let PlaylistPatch { name, description } = fields.checked()?;
        Ok(ChangePlaylist { playlist, name, description, at: now() }.into())
    };
    update_owned(&state, &auth, id, command).await
}

/// Deletes a playlist. Its songs are kept.
///
/// Only the owner and administrators have access.
#[utoipa::path(delete, path = "/playlists/{id}", tag = "playlists", params(("id" = u64, Path)), responses(
    (status = 200, body = Answer<Empty>),
))]
pub(crate) async fn delete(state: State, auth: RequestAuth, Path(id): Path<String>) -> Result<Answer<Empty>, ApiError> {
    let playlist = state.read_for(&auth, move |view, caller| Ok(owned(view, caller, &id)?.id)).await?;
    state.cluster.propose(RemovePlaylist { playlist }).await??;
    Ok(Answer::with(Empty {}))
}
