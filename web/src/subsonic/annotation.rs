//! Stars and plays.

use axum::extract::Path;

use super::SubsonicRequest;
use super::answer::Element;
use super::failure::Failure;
use super::ids::{Id, InvalidId};
use crate::api::favourites::{self, play};

/// The most songs of a request. Each is a change of its own.
const MOST_SONGS: usize = 500;

/// The songs, if there are any and not too many.
fn limited(songs: Vec<u64>) -> Result<Vec<u64>, Failure> {
    match songs.len() {
        0 => Err(Failure::Missing("id")),
        1..=MOST_SONGS => Ok(songs),
        _ => Err(Failure::Unreadable(format!("Too many songs: use at most {MOST_SONGS} per request."))),
    }
}

/// The songs to star. A stem, an album of stems and a single stand for their song.
fn songs(asked: &SubsonicRequest) -> Result<Vec<u64>, Failure> {
    let song = |id: &str| {
        let id = Id::parse(id)?;
        let only = || Failure::NotOffered("Only songs can be starred, not artists or albums.".into());
        id.song().ok_or_else(only)
    };
    let names = ["id", "albumId", "artistId"];
    let songs = names.iter().flat_map(|name| asked.params.all(name)).map(song).collect::<Result<Vec<_>, Failure>>()?;
    limited(songs)
}

pub(super) async fn star(asked: SubsonicRequest) -> Result<Element, Failure> {
    for song in songs(&asked)? {
        favourites::add(asked.state.clone(), asked.auth.clone(), Path(song.to_string())).await?;
    }
    Ok(Element::new())
}

pub(super) async fn unstar(asked: SubsonicRequest) -> Result<Element, Failure> {
    for song in songs(&asked)? {
        favourites::remove(asked.state.clone(), asked.auth.clone(), Path(song.to_string())).await?;
    }
    Ok(Element::new())
}

/// Ratings are not supported. Removing a rating succeeds.
pub(super) async fn rate(asked: SubsonicRequest) -> Result<Element, Failure> {
    let song = asked.params.id()?.song();
    asked.look(move |look| song.map_or(Ok(()), |song| look.song(song).map(|_| ()))).await?;
    match asked.params.maybe_number("rating")? {
        Some(0) => Ok(Element::new()),
        Some(_) => Err(Failure::NotOffered("Ratings are not supported. Star songs instead.".into())),
        None => Err(Failure::Missing("rating")),
    }
}

/// Counts plays at the time of the request: the client's own times are ignored. The start of a play is not stored.
pub(super) async fn scrobble(asked: SubsonicRequest) -> Result<Element, Failure> {
    let song = |id: &str| Id::parse(id)?.song().ok_or_else(|| Failure::from(InvalidId));
    let songs = limited(asked.params.all("id").map(song).collect::<Result<Vec<_>, _>>()?)?;
    let played = asked.params.flag("submission")?.unwrap_or(true);
    for song in songs {
        match played {
            true => {
                play(asked.state.clone(), asked.auth.clone(), Path(song.to_string())).await?;
            }
            false => asked.look(move |look| look.song(song).map(|_| ())).await?,
        }
    }
    Ok(Element::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn number_of_songs_is_limited() {
        for (songs, taken) in [(0, false), (1, true), (MOST_SONGS, true), (MOST_SONGS + 1, false)] {
            assert_eq!(limited(vec![7; songs]).is_ok(), taken, "{songs}");
        }
    }
}
