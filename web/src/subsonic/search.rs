//! Searching artists, albums and songs by words.

use state::Order;

use super::answer::Element;
use super::elements::artist_element;
use super::failure::Failure;
use super::library::{Look, Titled};
use super::lists::MOST;
use crate::http::error::ApiError;
use crate::search::{Sort, beginnings};

/// The matches of a query. An empty query matches everything, because clients copy the library so. Some clients write
/// it as two quotation marks.
fn found(look: Look<'_>) -> Result<Element, Failure> {
    let query = look.params.all("query").next().ok_or(Failure::Missing("query"))?.trim_matches('"');
    let wanted = beginnings(Some(query));
    let count = |name| look.params.count(name, 20, MOST);
    let (artist_count, artist_offset) = (count("artistCount")?, look.params.offset("artistOffset")?);
    let (album_count, album_offset) = (count("albumCount")?, look.params.offset("albumOffset")?);
    let (song_count, song_offset) = (count("songCount")?, look.params.offset("songOffset")?);

    let artists = match artist_count {
        0 => Vec::new(),
        _ => look.artists(&wanted)?.iter().skip(artist_offset).take(artist_count).map(artist_element).collect(),
    };
    let albums = match album_count {
        0 => Vec::new(),
        _ if wanted.is_empty() => look.page(look.albums_by_title(), album_offset, album_count)?,
        _ => {
            // The words of an album are words of each of its songs.
            let songs = look.songs(Sort::By(Order::Title), false, |query| query.beginnings.clone_from(&wanted));
            let named = |album: &Result<Titled, ApiError>| {
                let has = |title: &str| wanted.iter().all(|it| title.split(' ').any(|word| word.starts_with(it)));
                album.as_ref().map_or(true, |(title, _)| has(title))
            };
            look.page(look.albums_of(songs).filter(named), album_offset, album_count)?
        }
    };
    let songs = look.songs(Sort::By(Order::Title), false, |query| query.beginnings.clone_from(&wanted));
    let songs = songs.skip(song_offset).take(song_count).collect::<Result<Vec<_>, _>>()?;
    Ok(Element::new()
        .many("artist", artists)
        .many("album", look.albums_elements(&albums)?)
        .many("song", look.songs_elements(&songs)?))
}

pub(super) fn search(look: Look<'_>) -> Result<Element, Failure> {
    Ok(Element::new().one("searchResult2", found(look)?))
}

pub(super) fn search_by_tags(look: Look<'_>) -> Result<Element, Failure> {
    Ok(Element::new().one("searchResult3", found(look)?))
}
