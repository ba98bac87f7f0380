//! Audio files and covers.
//!
//! A song is returned as uploaded, and a stem as MP3 if its job made that. `format` selects another format: `mp3`,
//! `wav` or `flac`, generated if necessary. A limit on the bit rate is best effort: lossless files are returned as MP3,
//! and lossy files are not compressed again. Files therefore are those of the API, with ranges and conditions.

use axum::http::Method;
use axum::response::Response;
use state::Song;

use super::SubsonicRequest;
use super::elements::stem_format;
use super::failure::Failure;
use super::ids::{Id, InvalidId};
use super::library::Look;
use super::playlists::with_cover;
use crate::api::cover;
use crate::api::files::{self, FileQuery};
use crate::api::song_ref::SongRef;
use crate::http::query::Query;

/// The song, and the name of the file.
fn file(look: Look<'_>, id: &Id, wanted: Option<&str>, limited: bool) -> Result<(u64, String), Failure> {
    let (song, part) = match id {
        Id::Song(song) => (look.song(*song)?, None),
        Id::Stem(song, stem) => (look.song(*song)?, Some(stem)),
        _ => return Err(InvalidId.into()),
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
        // Players request any format that they know, and play what they get.
        _ => own,
    };
    Ok((song.id, format!("{}.{format}", part.map_or("song", String::as_str))))
}

async fn sent(
    asked: SubsonicRequest,
    wanted: Option<String>,
    limited: bool,
    download: bool,
) -> Result<Response, Failure> {
    let id = asked.params.id()?;
    let (song, file) = asked.look_or_peek(move |look| file(look, &id, wanted.as_deref(), limited)).await?;
    let query = FileQuery { download: download.then(|| "1".into()), job: None };
    let song = SongRef::Id(asked.auth, song.to_string());
    Ok(files::respond(asked.state, song, file, Ok(Query(query)), method(asked.method), asked.headers).await?)
}

/// A POST with a form reads a file, as GET does.
fn method(method: Method) -> Method {
    if method == Method::POST { Method::GET } else { method }
}

pub(super) async fn stream(asked: SubsonicRequest) -> Result<Response, Failure> {
    let wanted = asked.params.get("format").map(str::to_owned);
    let limited =
        asked.params.maybe_number("maxBitRate")?.is_some_and(|most| most > 0) && wanted.as_deref() != Some("raw");
    sent(asked, wanted, limited, false).await
}

pub(super) async fn download(asked: SubsonicRequest) -> Result<Response, Failure> {
    sent(asked, None, false, true).await
}

/// The first of these songs with a cover.
fn first_with_cover(songs: Vec<Song>) -> Option<u64> {
    songs.into_iter().find(|song| song.credits.cover.is_some()).map(|song| song.id)
}

/// Returns a cover in its original size.
pub(super) async fn cover(asked: SubsonicRequest) -> Result<Response, Failure> {
    let id = asked.params.id()?;
    let find = move |look: Look<'_>| {
        let song = match &id {
            Id::Playlist(id) => with_cover(look, *id)?.map(|song| song.id),
            Id::Artist(artist) => first_with_cover(look.songs_of(artist.as_deref())?),
            Id::Album(album) => look.album(album)?.and_then(|album| first_with_cover(album.songs)),
            Id::Song(song) | Id::Stem(song, _) => Some(*song),
        };
        song.ok_or_else(|| Failure::NotFound("There is no cover for this id.".into()))
    };
    let song = asked.look_or_peek(find).await?;
    let song = SongRef::Id(asked.auth, song.to_string());
    Ok(cover::respond(asked.state, song, method(asked.method), asked.headers).await?)
}
