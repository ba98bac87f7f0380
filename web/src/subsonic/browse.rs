//! Browsing from all artists to one song.

use std::collections::HashSet;

use state::index_entry::normalize;
use state::{Order, Song};

use super::answer::Element;
use super::elements::artist_element;
use super::failure::Failure;
use super::ids::{Album, Id, InvalidId};
use super::library::{Artist, Look, MOST_OF_ONE, Tracks, UNKNOWN_ARTIST, artist_id};
use crate::clock::now;
use crate::http::error::ApiError;
use crate::search::groups;

/// The id of the only folder.
const FOLDER: u64 = 1;
/// The most genres in a list.
const MOST_GENRES: usize = 500;

pub(super) fn folders(_: Look<'_>) -> Result<Element, Failure> {
    let folder = Element::new().number("id", FOLDER).text("name", "Quartet");
    Ok(Element::new().one("musicFolders", Element::new().many("musicFolder", vec![folder])))
}

/// The artists, grouped by the first letter of their names.
fn indexes(look: Look<'_>) -> Result<Element, Failure> {
    let mut letters: Vec<(String, Vec<Element>)> = Vec::new();
    for artist in look.artists(&[])? {
        let first =
            artist.normalized.as_deref().and_then(|name| name.chars().next()).filter(|letter| letter.is_alphabetic());
        let letter = first.map_or_else(|| "#".into(), |letter| letter.to_uppercase().to_string());
        match letters.iter_mut().find(|(known, _)| *known == letter) {
            Some((_, artists)) => artists.push(artist_element(&artist)),
            None => letters.push((letter, vec![artist_element(&artist)])),
        }
    }
    let letter = |(letter, artists)| Element::new().text("name", letter as String).many("artist", artists);
    Ok(Element::new().text("ignoredArticles", "").many("index", letters.into_iter().map(letter).collect()))
}

pub(super) fn artists(look: Look<'_>) -> Result<Element, Failure> {
    Ok(Element::new().one("artists", indexes(look)?))
}

/// The time of the last change is not known, so it is always now.
pub(super) fn folders_indexes(look: Look<'_>) -> Result<Element, Failure> {
    Ok(Element::new().one("indexes", Element::new().number("lastModified", now()).and(indexes(look)?)))
}

/// An artist with its albums, if the caller may listen to any of them.
fn one_artist(look: Look<'_>, id: &Option<String>) -> Result<(Artist, Vec<Tracks>), Failure> {
    let songs = look.songs_of(id.as_deref())?;
    let first = songs.iter().min_by_key(|song| song.id).ok_or_else(|| Failure::NotFound("Unknown artist.".into()))?;
    let name = first.credits.artist.clone().unwrap_or_else(|| UNKNOWN_ARTIST.into());
    let albums = look.albums_among(songs)?;
    Ok((Artist { normalized: id.clone(), name, albums: Some(albums.len()) }, albums))
}

pub(super) fn artist(look: Look<'_>) -> Result<Element, Failure> {
    let Id::Artist(id) = look.params.id()? else { return Err(InvalidId.into()) };
    let (artist, albums) = one_artist(look, &id)?;
    let albums = look.albums_elements(&albums)?;
    Ok(Element::new().one("artist", artist_element(&artist).many("album", albums)))
}

/// An album, or an error.
fn one_album(look: Look<'_>, id: &Album) -> Result<Tracks, Failure> {
    look.album(id)?.ok_or_else(|| Failure::NotFound("Unknown album.".into()))
}

pub(super) fn album(look: Look<'_>) -> Result<Element, Failure> {
    let Id::Album(id) = look.params.id()? else { return Err(InvalidId.into()) };
    let album = one_album(look, &id)?;
    let tracks = look.tracks_elements(&album)?;
    Ok(Element::new().one("album", look.album_element(&album)?.many("song", tracks)))
}

pub(super) fn song(look: Look<'_>) -> Result<Element, Failure> {
    let song = match look.params.id()? {
        Id::Song(id) => look.song_element(&look.song(id)?)?,
        Id::Stem(id, stem) => look.stem(&look.song(id)?, &stem)?,
        _ => return Err(InvalidId.into()),
    };
    Ok(Element::new().one("song", song))
}

/// An artist or an album as a folder.
pub(super) fn directory(look: Look<'_>) -> Result<Element, Failure> {
    let folder =
        |id: String, name: &str, children| Element::new().text("id", id).text("name", name).many("child", children);
    let directory = match Id::parse(look.params.need("id")?) {
        Ok(Id::Artist(id)) => {
            let (artist, albums) = one_artist(look, &id)?;
            folder(Id::Artist(id).to_string(), &artist.name, look.albums_elements(&albums)?)
        }
        Ok(Id::Album(id)) => {
            let album = one_album(look, &id)?;
            let parent = artist_id(album.artist.as_deref()).to_string();
            folder(Id::Album(id).to_string(), &album.name, look.tracks_elements(&album)?).text("parent", parent)
        }
        Err(_) if look.params.need("id")? == FOLDER.to_string() => {
            let child = |artist: Artist| {
                artist_element(&artist).text("title", &artist.name).flag("isDir", true).number("parent", FOLDER)
            };
            folder(FOLDER.to_string(), "Quartet", look.artists(&[])?.into_iter().map(child).collect())
        }
        _ => return Err(InvalidId.into()),
    };
    Ok(Element::new().one("directory", directory))
}

pub(super) fn genres(look: Look<'_>) -> Result<Element, Failure> {
    let (found, _) = groups(look.view, look.caller, Order::Genre, &[], None, MOST_GENRES)?;
    let mut genres = Vec::new();
    for group in found {
        let Some(name) = look.view.song(group.song)?.and_then(|song| song.credits.genre) else { continue };
        let songs: Vec<Song> =
            look.songs_with(Order::Genre, &normalize(&name)).take(MOST_OF_ONE).collect::<Result<_, ApiError>>()?;
        let albums: HashSet<Album> = songs.iter().map(Album::of).collect();
        let genre = Element::new().number("songCount", group.songs as u64).number("albumCount", albums.len() as u64);
        genres.push(genre.text("value", name));
    }
    Ok(Element::new().one("genres", Element::new().many("genre", genres)))
}
