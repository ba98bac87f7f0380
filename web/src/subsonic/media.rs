//! Files: what is heard, and pictures.
//!
//! A song comes as it was uploaded, and a stem as MP3 if its job made that. `format` asks for another one: `mp3`, `wav` or
//! `flac`, which is made if it is not there. A limit on the kbit/s is kept as far as it can be: what is not compressed with
//! loss comes as MP3 then, and nothing is compressed anew. So the files are those of the rest of the interface, with their
//! ranges and conditions.

use axum::http::Method;
use axum::response::Response;
use state::Song;

use super::Asked;
use super::describe::stem_format;
use super::failure::Failure;
use super::ids::{Id, NoId};
use super::library::Look;
use super::playlists::pictured;
use crate::api::cover::picture;
use crate::api::files::{Offer, given};
use crate::api::way::Way;
use crate::query::Query;

/// The song, and the name that the file has in it.
fn file(look: Look<'_>, id: &Id, wanted: Option<&str>, limited: bool) -> Result<(u64, String), Failure> {
    let (song, part) = match id {
        Id::Song(song) => (look.song(*song)?, None),
        Id::Stem(song, stem) => (look.song(*song)?, Some(stem)),
        _ => return Err(NoId.into()),
    };
    let own = match part {
        None => song.format.clone(),
        Some(stem) => {
            let none = || Failure::NotFound(format!("The song {} has no such stem.", song.id));
            look.stems(&song)?.and_then(|stems| stem_format(&stems, stem)).ok_or_else(none)?
        }
    };
    let format = match wanted {
        Some(format @ ("mp3" | "wav" | "flac")) => format.to_owned(),
        None if limited && matches!(own.as_str(), "wav" | "flac" | "aif" | "aiff") => "mp3".into(),
        // Players ask for what they know, and play what they get.
        _ => own,
    };
    Ok((song.id, format!("{}.{format}", part.map_or("song", String::as_str))))
}

async fn sent(asked: Asked, wanted: Option<String>, limited: bool, download: bool) -> Result<Response, Failure> {
    let id = asked.params.id()?;
    let (song, file) = asked.look_or_peek(move |look| file(look, &id, wanted.as_deref(), limited)).await?;
    let offer = Offer { download: download.then(|| "1".into()), job: None };
    let way = Way::Id(asked.visitor, song.to_string());
    Ok(given(asked.state, way, file, Ok(Query(offer)), method(asked.method), asked.headers).await?)
}

/// A form that is posted asks for a file as an address does.
fn method(method: Method) -> Method {
    if method == Method::POST { Method::GET } else { method }
}

pub(super) async fn stream(asked: Asked) -> Result<Response, Failure> {
    let wanted = asked.params.get("format").map(str::to_owned);
    let limited =
        asked.params.maybe_number("maxBitRate")?.is_some_and(|most| most > 0) && wanted.as_deref() != Some("raw");
    sent(asked, wanted, limited, false).await
}

pub(super) async fn download(asked: Asked) -> Result<Response, Failure> {
    sent(asked, None, false, true).await
}

/// The first of these songs that has a picture.
fn with_picture(songs: Vec<Song>) -> Option<u64> {
    songs.into_iter().find(|song| song.credits.cover.is_some()).map(|song| song.id)
}

/// Gives the picture that came with a song, as large as it is.
pub(super) async fn cover(asked: Asked) -> Result<Response, Failure> {
    let id = asked.params.id()?;
    let find = move |look: Look<'_>| {
        let song = match &id {
            Id::Playlist(id) => pictured(look, *id)?.map(|song| song.id),
            Id::Artist(artist) => with_picture(look.songs_of(artist.as_deref())?),
            Id::Album(album) => look.album(album)?.and_then(|album| with_picture(album.songs)),
            Id::Song(song) | Id::Stem(song, _) => Some(*song),
        };
        song.ok_or_else(|| Failure::NotFound("There is no picture for this.".into()))
    };
    let song = asked.look_or_peek(find).await?;
    let way = Way::Id(asked.visitor, song.to_string());
    Ok(picture(asked.state, way, method(asked.method), asked.headers).await?)
}
