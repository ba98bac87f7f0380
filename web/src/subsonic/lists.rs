//! Lists of albums and songs: newest, starred, random and others.

use std::collections::{BTreeMap, BTreeSet};

use net::secret_box::random;
use state::index_entry::normalize;
use state::{Order, Song};

use super::answer::Element;
use super::failure::Failure;
use super::library::{Look, Titled, Tracks};
use crate::http::error::ApiError;
use crate::search::Sort;

/// The most entries of a list.
pub(super) const MOST: usize = 500;
/// The most songs of a library from which a random list is drawn uniformly.
const DRAWN_FROM: usize = 2_000;

fn albums(look: Look<'_>) -> Result<Vec<Tracks>, Failure> {
    let (size, offset) = (look.params.count("size", 10, MOST)?, look.params.offset("offset")?);
    let by = |order, backwards| look.songs(Sort::By(order), backwards, |_| {});
    Ok(match look.params.need("type")? {
        "newest" => look.page(look.albums_of(by(Order::Added, true)), offset, size)?,
        "alphabeticalByName" => look.page(look.albums_by_title(), offset, size)?,
        "alphabeticalByArtist" => look.page(look.albums_by_artist(), offset, size)?,
        "frequent" => {
            let mut played =
                by(Order::Plays, true).map(|song| song.and_then(|song| Ok((look.view.plays(song.id)?, song))));
            let played = std::iter::from_fn(move || match played.next()? {
                Ok((0, _)) => None,
                other => Some(other.map(|(_, song)| song)),
            });
            look.page(look.albums_of(played), offset, size)?
        }
        "recent" => look.page(look.albums_of(look.songs(Sort::Played, true, |_| {})), offset, size)?,
        "starred" => {
            let starred = look.songs(Sort::By(Order::Added), true, |query| query.favourite = true);
            look.page(look.albums_of(starred), offset, size)?
        }
        "byGenre" => {
            let genre = normalize(look.params.need("genre")?);
            look.page(look.albums_of(look.songs_with(Order::Genre, &genre)), offset, size)?
        }
        "byYear" => by_year(look, offset, size)?,
        "random" => {
            let songs = random_pick(look, size, |_| true)?.into_iter().map(Ok);
            look.page(look.albums_of(songs), 0, size)?
        }
        // Ratings are not supported.
        "highest" => Vec::new(),
        _ => return Err(Failure::Unreadable("Unknown type of list.".into())),
    })
}

/// The albums of a range of years, by year; in reverse order if the range is reversed.
fn by_year(look: Look<'_>, offset: usize, size: usize) -> Result<Vec<Tracks>, Failure> {
    let year = |name| look.params.maybe_number(name)?.ok_or(Failure::Missing(name));
    let (from, to) = (year("fromYear")?, year("toYear")?);
    let years = from.min(to)..=from.max(to);
    let mut found: BTreeSet<(u64, Titled)> = BTreeSet::new();
    for song in look.songs(Sort::By(Order::Added), false, |_| {}) {
        let song = song?;
        let Some(year) = song.credits.year.map(u64::from).filter(|year| years.contains(year)) else { continue };
        for album in look.albums_of([Ok(song)].into_iter()) {
            found.insert((year, album?));
        }
    }
    let albums = found.into_iter().map(|(_, album)| Ok(album));
    Ok(match from <= to {
        true => look.page(albums, offset, size)?,
        false => look.page(albums.rev(), offset, size)?,
    })
}

pub(super) fn album_list(look: Look<'_>) -> Result<Element, Failure> {
    let albums = look.albums_elements(&albums(look)?)?;
    Ok(Element::new().one("albumList", Element::new().many("album", albums)))
}

pub(super) fn album_list_by_tags(look: Look<'_>) -> Result<Element, Failure> {
    let albums = look.albums_elements(&albums(look)?)?;
    Ok(Element::new().one("albumList2", Element::new().many("album", albums)))
}

/// A random number below `end`.
fn below(end: u64) -> Result<u64, ApiError> {
    Ok(u64::from_be_bytes(random()?).checked_rem(end).unwrap_or(0))
}

fn shuffle<T>(items: &mut [T]) -> Result<(), ApiError> {
    for last in (1..items.len()).rev() {
        let other = usize::try_from(below(last as u64 + 1)?).unwrap_or(0);
        items.swap(last, other);
    }
    Ok(())
}

/// Random songs. In a small library every song has the same probability. In a large one random ids are drawn, and the
/// next song behind each is taken. This reads few songs, and is fair unless many songs in a row were deleted.
fn random_pick(look: Look<'_>, size: usize, fits: impl Fn(&Song) -> bool) -> Result<Vec<Song>, ApiError> {
    let newest = || look.songs(Sort::By(Order::Added), true, |_| {});
    let mut songs = newest().take(DRAWN_FROM).collect::<Result<Vec<_>, _>>()?;
    if let Some(last) = songs.first().map(|song| song.id).filter(|_| songs.len() == DRAWN_FROM) {
        let mut drawn = BTreeMap::new();
        for _ in 0..4 * size {
            let after = below(last)?.to_be_bytes().to_vec();
            let next = look.songs(Sort::By(Order::Added), false, |query| {
                query.after = Some(after);
                query.limit = 1;
            });
            for song in next.take(1) {
                let song = song?;
                drawn.extend(fits(&song).then_some((song.id, song)));
            }
            if drawn.len() == size {
                break;
            }
        }
        songs = drawn.into_values().collect();
    }
    songs.retain(fits);
    shuffle(&mut songs)?;
    songs.truncate(size);
    Ok(songs)
}

pub(super) fn random_songs(look: Look<'_>) -> Result<Element, Failure> {
    let size = look.params.count("size", 10, MOST)?;
    let (from, to) = (look.params.maybe_number("fromYear")?, look.params.maybe_number("toYear")?);
    let fits = |song: &Song| {
        let year = song.credits.year.map(u64::from);
        from.is_none_or(|from| year.is_some_and(|year| year >= from))
            && to.is_none_or(|to| year.is_some_and(|year| year <= to))
    };
    let songs = match look.params.get("genre") {
        Some(genre) => {
            let songs = look.songs_with(Order::Genre, &normalize(genre)).take(DRAWN_FROM);
            let mut songs = songs.collect::<Result<Vec<_>, _>>()?;
            songs.retain(fits);
            shuffle(&mut songs)?;
            songs.truncate(size);
            songs
        }
        None => random_pick(look, size, fits)?,
    };
    Ok(Element::new().one("randomSongs", Element::new().many("song", look.songs_elements(&songs)?)))
}

pub(super) fn songs_by_genre(look: Look<'_>) -> Result<Element, Failure> {
    let genre = normalize(look.params.need("genre")?);
    let (count, offset) = (look.params.count("count", 10, MOST)?, look.params.offset("offset")?);
    let songs = look.songs_with(Order::Genre, &genre).skip(offset).take(count).collect::<Result<Vec<_>, _>>()?;
    Ok(Element::new().one("songsByGenre", Element::new().many("song", look.songs_elements(&songs)?)))
}

/// The most played songs of an artist, which is given by name and not by id.
pub(super) fn top_songs(look: Look<'_>) -> Result<Element, Failure> {
    let artist = normalize(look.params.need("artist")?);
    let count = look.params.count("count", 50, MOST)?;
    let songs = look.songs(Sort::By(Order::Plays), true, |query| query.texts = vec![(Order::Artist, artist)]);
    let songs = songs.take(count).collect::<Result<Vec<_>, _>>()?;
    Ok(Element::new().one("topSongs", Element::new().many("song", look.songs_elements(&songs)?)))
}

/// The caller's favourites, which are only songs.
fn favourites(look: Look<'_>) -> Result<Element, Failure> {
    let songs = look.songs(Sort::By(Order::Added), true, |query| query.favourite = true);
    let songs = look.songs_elements(&songs.collect::<Result<Vec<_>, _>>()?)?;
    Ok(Element::new().many("artist", Vec::new()).many("album", Vec::new()).many("song", songs))
}

pub(super) fn starred(look: Look<'_>) -> Result<Element, Failure> {
    Ok(Element::new().one("starred", favourites(look)?))
}

pub(super) fn starred_by_tags(look: Look<'_>) -> Result<Element, Failure> {
    Ok(Element::new().one("starred2", favourites(look)?))
}
