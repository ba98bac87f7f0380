//! Playlists: songs in an order that a user gives them, for that user and for those they are shared with.
//!
//! Who a playlist is shared with sees it and hears those of its songs that are its owner's, or that they may hear anyway.
//! Of the others they learn how many there are.

use axum::extract::Path;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use state::View;
use state::command::Command;
use state::{Audience, Playlist};
use utoipa::{IntoParams, ToSchema};

use super::song_view::{Person, RATE, SongView};
use super::{Freshness, no_such, number_of};
use crate::answer::{Answer, Empty};
use crate::caller::{Caller, Visitor};
use crate::error::ApiError;
use crate::fields::{Faults, Fields};
use crate::query::Query;
use crate::search::bad_cursor;
use crate::text::tidy;
use crate::{State, now};

/// The longest name, in characters.
const NAME_CHARACTERS: usize = 200;
/// The longest description, in characters.
const DESCRIPTION_CHARACTERS: usize = 2000;
/// The most entries on a page.
const PAGE: usize = 1000;

/// A playlist.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct PlaylistView {
    /// Its number.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// What its owner says of it.
    pub description: String,
    /// Whose it is.
    pub owner: Option<Person>,
    /// Whether it is the caller's.
    pub mine: bool,
    /// How many songs it has, each counted as often as it stands there.
    pub songs: u64,
    /// How long they are together, in seconds.
    pub duration: f64,
    /// When it was made, in milliseconds since 1970.
    pub created_at: u64,
    /// When somebody last changed it.
    pub updated_at: u64,
    /// Its songs, in their order; only where one playlist is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entries: Option<Vec<EntryView>>,
    /// How many songs on this page are not the caller's to hear.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hidden: Option<usize>,
}

/// A song's place in a playlist.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct EntryView {
    /// Its number in the playlist.
    pub id: u64,
    /// The song.
    pub song: SongView,
}

/// One playlist.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct PlaylistData {
    /// The playlist.
    pub playlist: PlaylistView,
    /// What to give as `cursor` for the entries behind these; null when these were the last.
    pub next: Option<String>,
}

/// Some playlists.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct PlaylistsData {
    /// The caller's own, then those shared with them, then those for everybody, each the oldest first and without the
    /// entries.
    pub playlists: Vec<PlaylistView>,
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

/// The playlist that a path names, if it is the caller's to see.
pub(crate) fn playlist_of(view: &View, caller: &Caller, id: &str) -> Result<Playlist, ApiError> {
    let playlist = view.playlist(number_of("playlist", id)?)?.ok_or_else(|| no_such("playlist", id))?;
    let shared = match caller.audiences() {
        Some(audiences) => view.is_playlist_for(playlist.id, &audiences)?,
        None => true,
    };
    if shared || caller.may_manage(playlist.owner) { Ok(playlist) } else { Err(no_such("playlist", id)) }
}

/// The playlist that a path names, if it is the caller's to change.
pub(crate) fn owned(view: &View, caller: &Caller, id: &str) -> Result<Playlist, ApiError> {
    caller.known()?;
    let playlist = view.playlist(number_of("playlist", id)?)?.filter(|playlist| caller.may_manage(playlist.owner));
    playlist.ok_or_else(|| no_such("playlist", id))
}

/// Does what a command says to a playlist of the caller's, and shows it then.
pub(crate) async fn change_owned(
    state: &State,
    visitor: &Visitor,
    id: String,
    command: impl FnOnce(&View, &Caller, u64) -> Result<Command, ApiError> + Send + 'static,
) -> Result<Answer<PlaylistData>, ApiError> {
    let look = move |view: &View, caller: &Caller| {
        let playlist = owned(view, caller, &id)?.id;
        Ok((command(view, caller, playlist)?, *caller, playlist))
    };
    let (command, caller, playlist) = state.read_for(visitor, look).await?;
    state.app.cluster.propose(command).await??;
    shown(state, caller, playlist).await
}

async fn shown(state: &State, caller: Caller, id: u64) -> Result<Answer<PlaylistData>, ApiError> {
    let look = move |view: &View| {
        let playlist = view.playlist(id)?.ok_or_else(|| no_such("playlist", &id.to_string()))?;
        Ok(Answer::with(PlaylistData { playlist: PlaylistView::of(view, &caller, playlist)?, next: None }))
    };
    state.read(look).await
}

/// Lists the caller's playlists, and those that others share with them.
///
/// Whoever is let in may call this; who has no account sees those that are for everybody. Of each kind at most a thousand
/// are listed.
#[utoipa::path(get, path = "/playlists/", tag = "playlists", params(Freshness), responses(
    (status = 200, body = Answer<PlaylistsData>),
    (status = 400, description = "`stale` is neither true nor false", body = Answer<Empty>),
    (status = 401, description = "Nobody is let in without an account, or the token opens nothing", body = Answer<Empty>),
    (status = 503, description = "No majority of the nodes answers", body = Answer<Empty>),
))]
pub(crate) async fn list(
    state: State,
    visitor: Visitor,
    Query(fresh): Query<Freshness>,
) -> Result<Answer<PlaylistsData>, ApiError> {
    let look = |view: &View, caller: &Caller| {
        let playlists = visible(view, caller)?.into_iter().map(|playlist| PlaylistView::of(view, caller, playlist));
        Ok(Answer::with(PlaylistsData { playlists: playlists.collect::<Result<_, _>>()? }))
    };
    state.read_or_stale(&visitor, fresh.stale, look).await
}

/// The caller's playlists, those shared with them, and those for everybody, each the oldest first.
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

/// A playlist to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewPlaylist {
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

/// What is to be different about a playlist; what is not given stays as it is.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct PlaylistFields {
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

impl PlaylistFields {
    /// What is written, without what does not belong there.
    pub(crate) fn checked(self) -> Result<Self, ApiError> {
        let mut faults = Faults::default();
        let name = self.name.map(|name| tidy(&name));
        if name.as_ref().is_some_and(|name| name.is_empty() || name.chars().count() > NAME_CHARACTERS) {
            faults.add("name", "bad_name", format!("A playlist's name has 1 to {NAME_CHARACTERS} characters."));
        }
        let description = self.description.map(|text| text.trim().to_owned());
        if description.as_ref().is_some_and(|text| text.chars().count() > DESCRIPTION_CHARACTERS) {
            let message = format!("A description has at most {DESCRIPTION_CHARACTERS} characters.");
            faults.add("description", "too_long", message);
        }
        faults.none()?;
        Ok(Self { name, description })
    }
}

/// Makes a playlist, without songs so far.
///
/// Users may call this. Form or JSON.
#[utoipa::path(post, path = "/playlists/", tag = "playlists", security(("session" = []), ("token" = [])), request_body = NewPlaylist, responses(
    (status = 201, body = Answer<PlaylistData>),
    (status = 400, description = "Neither form nor JSON, or fields that are not known", body = Answer<Empty>),
    (status = 401, description = "Nobody is logged in", body = Answer<Empty>),
    (status = 409, description = "There are as many playlists as one may have", body = Answer<Empty>),
    (status = 422, description = "No name, or a text is too long", body = Answer<Empty>),
    (status = 503, description = "No majority of the nodes answers", body = Answer<Empty>),
))]
pub(crate) async fn make(
    state: State,
    visitor: Visitor,
    Fields(new): Fields<NewPlaylist>,
) -> Result<(StatusCode, Answer<PlaylistData>), ApiError> {
    let (caller, id) = made(&state, &visitor, new).await?;
    Ok((StatusCode::CREATED, shown(&state, caller, id).await?))
}

/// Makes a playlist of the caller's, and says which.
pub(crate) async fn made(state: &State, visitor: &Visitor, new: NewPlaylist) -> Result<(Caller, u64), ApiError> {
    let (caller, owner) = state.read_for(visitor, |_, caller| Ok((*caller, caller.known()?.id))).await?;
    let fields = PlaylistFields { name: Some(new.name), description: new.description }.checked()?;
    let (name, description) = (fields.name.unwrap_or_default(), fields.description.unwrap_or_default());
    let command = Command::MakePlaylist { owner, name, description, at: now() };
    Ok((caller, state.make("making a playlist", command).await?))
}

/// Which of a playlist's entries are asked for.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default)]
pub(crate) struct EntriesWish {
    /// `next` of the page before.
    #[param(pattern = "^[0-9]{1,19}$")]
    cursor: Option<String>,
    /// At most this many, 1 to 1000; 1000 if it is not given.
    limit: Option<usize>,
    /// With `true`, what the asked node knows, which may be older than what another has answered; this works without a
    /// majority.
    stale: bool,
}

/// Shows a playlist with its songs.
///
/// Whose it is, who it is shared with, and administrators may call this. Songs that are not the caller's to hear are
/// counted as `hidden` and not shown.
#[utoipa::path(get, path = "/playlists/{id}", tag = "playlists", params(("id" = u64, Path), EntriesWish), responses(
    (status = 200, body = Answer<PlaylistData>),
    (status = 400, description = "The cursor cannot be read", body = Answer<Empty>),
    (status = 401, description = "Nobody is let in without an account, or the token opens nothing", body = Answer<Empty>),
    (status = 404, description = "No such playlist, or not for the caller", body = Answer<Empty>),
    (status = 409, description = "The entry behind which the page begins has gone", body = Answer<Empty>),
    (status = 503, description = "No majority of the nodes answers", body = Answer<Empty>),
))]
pub(crate) async fn one(
    state: State,
    visitor: Visitor,
    Path(id): Path<String>,
    Query(wish): Query<EntriesWish>,
) -> Result<Answer<PlaylistData>, ApiError> {
    let after = wish.cursor.map(|cursor| cursor.parse::<u64>()).transpose().map_err(|_| bad_cursor())?;
    let limit = wish.limit.unwrap_or(PAGE).clamp(1, PAGE);
    let look = move |view: &View, caller: &Caller| {
        let playlist = playlist_of(view, caller, &id)?;
        let entries = view.entries(playlist.id)?;
        let moved =
            || ApiError::Conflict("The playlist has changed meanwhile. Read it again from the beginning.".into());
        let first = match after {
            None => 0,
            Some(after) => entries.iter().position(|entry| entry.id == after).ok_or_else(moved)? + 1,
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
    state.read_or_stale(&visitor, wish.stale, look).await
}

/// Changes what a playlist is called; what is not given stays as it is.
///
/// Whose it is and administrators may call this. Form or JSON.
#[utoipa::path(patch, path = "/playlists/{id}", tag = "playlists", security(("session" = []), ("token" = [])), params(("id" = u64, Path)),
    request_body = PlaylistFields,
    responses(
        (status = 200, body = Answer<PlaylistData>),
        (status = 400, description = "Neither form nor JSON, or fields that are not known", body = Answer<Empty>),
        (status = 401, description = "Nobody is logged in", body = Answer<Empty>),
        (status = 404, description = "No such playlist, or somebody else's", body = Answer<Empty>),
        (status = 422, description = "An empty name, or a text is too long", body = Answer<Empty>),
        (status = 503, description = "No majority of the nodes answers", body = Answer<Empty>),
    )
)]
pub(crate) async fn change(
    state: State,
    visitor: Visitor,
    Path(id): Path<String>,
    Fields(fields): Fields<PlaylistFields>,
) -> Result<Answer<PlaylistData>, ApiError> {
    let command = move |_: &View, _: &Caller, playlist| {
        let PlaylistFields { name, description } = fields.checked()?;
        Ok(Command::ChangePlaylist { playlist, name, description, at: now() })
    };
    change_owned(&state, &visitor, id, command).await
}

/// Deletes a playlist. Its songs stay.
///
/// Whose it is and administrators may call this.
#[utoipa::path(delete, path = "/playlists/{id}", tag = "playlists", security(("session" = []), ("token" = [])), params(("id" = u64, Path)), responses(
    (status = 200, body = Answer<Empty>),
    (status = 401, description = "Nobody is logged in", body = Answer<Empty>),
    (status = 404, description = "No such playlist, or somebody else's", body = Answer<Empty>),
    (status = 503, description = "No majority of the nodes answers", body = Answer<Empty>),
))]
pub(crate) async fn remove(state: State, visitor: Visitor, Path(id): Path<String>) -> Result<Answer<Empty>, ApiError> {
    let playlist = state.read_for(&visitor, move |view, caller| Ok(owned(view, caller, &id)?.id)).await?;
    state.app.cluster.propose(Command::RemovePlaylist { playlist }).await??;
    Ok(Answer::with(Empty {}))
}
