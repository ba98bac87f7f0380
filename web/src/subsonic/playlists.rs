//! Playlists. They hold songs; a stem, which players may offer to put there, is refused.

use state::View;
use state::command::Command;
use state::{Audience, Playlist, Song};

use super::Asked;
use super::answer::Element;
use super::describe::moment;
use super::failure::Failure;
use super::ids::{Id, NoId};
use super::library::Look;
use super::params::Params;
use crate::api::playlists::{NewPlaylist, PlaylistFields, change_owned, made, owned, playlist_of, remove, visible};
use crate::api::song_view::RATE;
use crate::api::songs::song_of;
use crate::caller::Caller;
use crate::error::ApiError;
use crate::now;

/// Among how many of a playlist's songs one with a picture is looked for.
const MOST_PICTURES: usize = 20;

fn no_playlist() -> Failure {
    Failure::NotFound("There is no such playlist here.".into())
}

/// The number of the playlist that a parameter names.
fn number(params: &Params, name: &'static str) -> Result<u64, Failure> {
    match Id::parse(params.need(name)?) {
        Ok(Id::Playlist(id)) => Ok(id),
        _ => Err(no_playlist()),
    }
}

/// The songs that a parameter names.
fn songs(params: &Params, name: &'static str) -> Result<Vec<u64>, Failure> {
    let song = |id: &str| match Id::parse(id) {
        Ok(Id::Song(song)) => Ok(song),
        Ok(Id::Stem(..)) => Err(Failure::NotOffered("A playlist holds songs, and this is a stem of one.".into())),
        _ => Err(NoId.into()),
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

/// A playlist's songs that the caller may hear.
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
    // Players show how many there are, and then those that they were given.
    let entries = look.songs_elements(&songs)?;
    Ok(Element::new().one("playlist", element(look, &playlist)?.many("entry", entries)))
}

/// The song whose picture stands for a playlist.
pub(super) fn pictured(look: Look<'_>, id: u64) -> Result<Option<Song>, Failure> {
    let playlist = playlist_of(look.view, look.caller, &id.to_string())?;
    let songs = songs_in(look, &playlist, MOST_PICTURES)?;
    Ok(songs.into_iter().find(|song| song.credits.cover.is_some()))
}

pub(super) fn list(look: Look<'_>) -> Result<Element, Failure> {
    let user = look.caller.known()?;
    if let Some(name) = look.params.get("username")
        && !look.view.user(user.id)?.is_some_and(|user| user.name.eq_ignore_ascii_case(name))
    {
        return Err(Failure::NotAllowed("Everybody lists their own playlists."));
    }
    let playlists = visible(look.view, look.caller)?;
    let playlists = playlists.iter().map(|playlist| element(look, playlist)).collect::<Result<Vec<_>, _>>()?;
    Ok(Element::new().one("playlists", Element::new().many("playlist", playlists)))
}

pub(super) fn one(look: Look<'_>) -> Result<Element, Failure> {
    with_songs(look, number(look.params, "id")?)
}

/// Makes a playlist with these songs, or gives one that is there these instead of its own.
pub(super) async fn create(asked: Asked) -> Result<Element, Failure> {
    let new = songs(&asked.params, "songId")?;
    let name = asked.params.get("name").map(str::to_owned);
    let id = match asked.params.has("playlistId") {
        true => number(&asked.params, "playlistId")?,
        false => {
            let songs = new.clone();
            let audible = move |look: Look<'_>| songs.iter().try_for_each(|song| look.song(*song).map(|_| ()));
            asked.look(audible).await?;
            let new = NewPlaylist { name: asked.params.need("name")?.to_owned(), description: None };
            made(&asked.state, &asked.visitor, new).await?.1
        }
    };
    if asked.params.has("playlistId") && name.is_some() {
        rename(&asked, id, name, None).await?;
    }
    fill(&asked, id, new, |entries| Ok(entries.collect())).await?;
    asked.look(move |look| with_songs(look, id)).await
}

/// Changes what is given: name, comment, who sees it, songs that go and songs that come.
pub(super) async fn update(asked: Asked) -> Result<Element, Failure> {
    let id = number(&asked.params, "playlistId")?;
    let new = songs(&asked.params, "songIdToAdd")?;
    let place = |place: &str| place.parse::<usize>().map_err(|_| Failure::Unreadable("An index is a number.".into()));
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
                || ApiError::Conflict("The playlist has no song at one of these places. Read it anew.".into());
            gone.iter().map(entry).collect::<Option<Vec<_>>>().ok_or_else(missing)
        };
        fill(&asked, id, new, leaving).await?;
    }
    Ok(Element::new())
}

async fn rename(asked: &Asked, id: u64, name: Option<String>, description: Option<String>) -> Result<(), Failure> {
    let PlaylistFields { name, description } = PlaylistFields { name, description }.checked()?;
    let command =
        move |_: &View, _: &Caller, playlist| Ok(Command::ChangePlaylist { playlist, name, description, at: now() });
    change_owned(&asked.state, &asked.visitor, id.to_string(), command).await?;
    Ok(())
}

async fn publish(asked: &Asked, id: u64, public: bool) -> Result<(), Failure> {
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
            true => Command::SharePlaylist { playlist, audience },
            false => Command::UnsharePlaylist { playlist, audience },
        })
    };
    change_owned(&asked.state, &asked.visitor, id.to_string(), command).await?;
    Ok(())
}

/// Puts songs at a playlist's end and takes out the entries that `leaving` names among those that there are, in one change.
async fn fill(
    asked: &Asked,
    id: u64,
    new: Vec<u64>,
    leaving: impl FnOnce(&mut dyn Iterator<Item = u64>) -> Result<Vec<u64>, ApiError> + Send + 'static,
) -> Result<(), Failure> {
    let command = move |view: &View, caller: &Caller, playlist| {
        for song in &new {
            song_of(view, caller, &song.to_string())?;
        }
        let without = leaving(&mut view.entries(playlist)?.into_iter().map(|entry| entry.id))?;
        Ok(Command::AddToPlaylist { playlist, songs: new, place: None, without, at: now() })
    };
    change_owned(&asked.state, &asked.visitor, id.to_string(), command).await?;
    Ok(())
}

pub(super) async fn delete(asked: Asked) -> Result<Element, Failure> {
    let id = number(&asked.params, "id")?;
    remove(asked.state, asked.visitor, axum::extract::Path(id.to_string())).await?;
    Ok(Element::new())
}
