//! Playlists. They contain songs only; stems are refused.

use state::View;
use state::command::{AddToPlaylist, ChangePlaylist, SharePlaylist, UnsharePlaylist};
use state::{Audience, Playlist, Song};

use super::SubsonicRequest;
use super::answer::Element;
use super::elements::moment;
use super::failure::Failure;
use super::ids::{Id, InvalidId};
use super::library::Look;
use super::params::Params;
use crate::api::playlists::{
    self, CreatePlaylist, PlaylistPatch, create_for, owned, playlist_of, update_owned, visible,
};
use crate::api::song_view::RATE;
use crate::api::songs::song_of;
use crate::auth::caller::Caller;
use crate::clock::now;
use crate::http::error::ApiError;

/// The most songs of a playlist that are searched for a cover.
const MOST_COVERS: usize = 20;

fn no_playlist() -> Failure {
    Failure::NotFound("Unknown playlist.".into())
}

/// The id of the playlist in a parameter.
fn number(params: &Params, name: &'static str) -> Result<u64, Failure> {
    match Id::parse(params.need(name)?) {
        Ok(Id::Playlist(id)) => Ok(id),
        _ => Err(no_playlist()),
    }
}

/// The songs in a parameter.
fn songs(params: &Params, name: &'static str) -> Result<Vec<u64>, Failure> {
    let song = |id: &str| match Id::parse(id) {
        Ok(Id::Song(song)) => Ok(song),
        Ok(Id::Stem(..)) => Err(Failure::NotOffered("Playlists contain songs only, not stems.".into())),
        _ => Err(InvalidId.into()),
    };
    params.all(name).map(song).collect()
}

fn element(look: Look<'_>, playlist: &Playlist) -> Result<Element, Failure> {
    let owner = look.view.user(playlist.owner)?.map(|user| user.name);
    let public = look.view.playlist_shares(playlist.id)?.contains(&Audience::Everybody);
    Ok(Element::new()
        .text("id", Id::Playlist(playlist.id).to_string())
        .text("name", &playlist.name)
        .maybe("comment", Some(&playlist.description).filter(|text| !text.is_empty()))
        .maybe("owner", owner)
        .flag("public", public)
        .flag("readonly", !look.caller.may_manage(playlist.owner))
        .number("songCount", playlist.songs)
        .number("duration", (playlist.frames as f64 / RATE).round() as u64)
        .text("created", moment(playlist.created_at))
        .text("changed", moment(playlist.updated_at)))
}

/// The songs of a playlist that the caller may listen to.
pub(super) fn songs_in(look: Look<'_>, playlist: &Playlist, most: usize) -> Result<Vec<Song>, Failure> {
    let mut songs = Vec::new();
    for entry in look.view.entries(playlist.id)?.into_iter().take(most) {
        if let Some(song) = look.view.song(entry.song)?
            && look.caller.may_see(look.view, &song)?
        {
            songs.push(song);
        }
    }
    Ok(songs)
}

fn with_songs(look: Look<'_>, id: u64) -> Result<Element, Failure> {
    let playlist = playlist_of(look.view, look.caller, &id.to_string())?;
    let songs = songs_in(look, &playlist, usize::MAX)?;
    // Players show the number of songs of the playlist and the songs that they received.
    let entries = look.songs_elements(&songs)?;
    Ok(Element::new().one("playlist", element(look, &playlist)?.many("entry", entries)))
}

/// The song whose cover represents a playlist.
pub(super) fn with_cover(look: Look<'_>, id: u64) -> Result<Option<Song>, Failure> {
    let playlist = playlist_of(look.view, look.caller, &id.to_string())?;
    let songs = songs_in(look, &playlist, MOST_COVERS)?;
    Ok(songs.into_iter().find(|song| song.credits.cover.is_some()))
}

pub(super) fn list(look: Look<'_>) -> Result<Element, Failure> {
    let user = look.caller.known()?;
    if let Some(name) = look.params.get("username")
        && !look.view.user(user.id)?.is_some_and(|user| user.name.eq_ignore_ascii_case(name))
    {
        return Err(Failure::NotAllowed("Users can only list their own playlists."));
    }
    let playlists = visible(look.view, look.caller)?;
    let playlists = playlists.iter().map(|playlist| element(look, playlist)).collect::<Result<Vec<_>, _>>()?;
    Ok(Element::new().one("playlists", Element::new().many("playlist", playlists)))
}

pub(super) fn one(look: Look<'_>) -> Result<Element, Failure> {
    with_songs(look, number(look.params, "id")?)
}

/// Creates a playlist with these songs, or replaces the songs of an existing one.
pub(super) async fn create(asked: SubsonicRequest) -> Result<Element, Failure> {
    let new = songs(&asked.params, "songId")?;
    let name = asked.params.get("name").map(str::to_owned);
    let id = match asked.params.has("playlistId") {
        true => number(&asked.params, "playlistId")?,
        false => {
            let songs = new.clone();
            let audible = move |look: Look<'_>| songs.iter().try_for_each(|song| look.song(*song).map(|_| ()));
            asked.look(audible).await?;
            let new = CreatePlaylist { name: asked.params.need("name")?.to_owned(), description: None };
            create_for(&asked.state, &asked.auth, new).await?.1
        }
    };
    if asked.params.has("playlistId") && name.is_some() {
        rename(&asked, id, name, None).await?;
    }
    fill(&asked, id, new, |entries| Ok(entries.collect())).await?;
    asked.look(move |look| with_songs(look, id)).await
}

/// Changes the given properties: name, comment, visibility, songs to remove and songs to add.
pub(super) async fn update(asked: SubsonicRequest) -> Result<Element, Failure> {
    let id = number(&asked.params, "playlistId")?;
    let new = songs(&asked.params, "songIdToAdd")?;
    let place = |place: &str| {
        place.parse::<usize>().map_err(|_| Failure::Unreadable("Invalid songIndexToRemove: use whole numbers.".into()))
    };
    let gone = asked.params.all("songIndexToRemove").map(place).collect::<Result<Vec<_>, _>>()?;
    let (name, comment) = (asked.params.get("name"), asked.params.all("comment").next());
    if name.is_some() || comment.is_some() {
        rename(&asked, id, name.map(str::to_owned), comment.map(str::to_owned)).await?;
    }
    if let Some(public) = asked.params.flag("public")? {
        publish(&asked, id, public).await?;
    }
    if !new.is_empty() || !gone.is_empty() {
        let leaving = move |entries: &mut dyn Iterator<Item = u64>| {
            let entries: Vec<u64> = entries.collect();
            let entry = |place: &usize| entries.get(*place).copied();
            let missing =
                || ApiError::Conflict("The playlist has no song at one of these indexes. Read it again.".into());
            gone.iter().map(entry).collect::<Option<Vec<_>>>().ok_or_else(missing)
        };
        fill(&asked, id, new, leaving).await?;
    }
    Ok(Element::new())
}

async fn rename(
    asked: &SubsonicRequest,
    id: u64,
    name: Option<String>,
    description: Option<String>,
) -> Result<(), Failure> {
    let PlaylistPatch { name, description } = PlaylistPatch { name, description }.checked()?;
    let command =
        move |_: &View, _: &Caller, playlist| Ok(ChangePlaylist { playlist, name, description, at: now() }.into());
    update_owned(&asked.state, &asked.auth, id.to_string(), command).await?;
    Ok(())
}

async fn publish(asked: &SubsonicRequest, id: u64, public: bool) -> Result<(), Failure> {
    let audience = Audience::Everybody;
    let is_public = move |look: Look<'_>| {
        let playlist = owned(look.view, look.caller, &id.to_string())?;
        Ok(look.view.playlist_shares(playlist.id)?.contains(&audience))
    };
    if asked.look(is_public).await? == public {
        return Ok(());
    }
    let command = move |_: &View, _: &Caller, playlist| {
        Ok(match public {
            true => SharePlaylist { playlist, audience }.into(),
            false => UnsharePlaylist { playlist, audience }.into(),
        })
    };
    update_owned(&asked.state, &asked.auth, id.to_string(), command).await?;
    Ok(())
}

/// Adds songs at the end of a playlist and removes the entries that `leaving` selects, in one change.
async fn fill(
    asked: &SubsonicRequest,
    id: u64,
    new: Vec<u64>,
    leaving: impl FnOnce(&mut dyn Iterator<Item = u64>) -> Result<Vec<u64>, ApiError> + Send + 'static,
) -> Result<(), Failure> {
    let command = move |view: &View, caller: &Caller, playlist| {
        for song in &new {
            song_of(view, caller, &song.to_string())?;
        }
        let without = leaving(&mut view.entries(playlist)?.into_iter().map(|entry| entry.id))?;
        Ok(AddToPlaylist { playlist, songs: new, place: None, without, at: now() }.into())
    };
    update_owned(&asked.state, &asked.auth, id.to_string(), command).await?;
    Ok(())
}

pub(super) async fn delete(asked: SubsonicRequest) -> Result<Element, Failure> {
    let id = number(&asked.params, "id")?;
    playlists::delete(asked.state, asked.auth, axum::extract::Path(id.to_string())).await?;
    Ok(Element::new())
}
