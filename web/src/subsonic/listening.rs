//! What players tell of listening: what somebody likes, and what was played.

use axum::extract::Path;

use super::Asked;
use super::answer::Element;
use super::failure::Failure;
use super::ids::{Id, NoId};
use crate::api::listening::{favour, forget, play};

/// How many songs a request may name: each is a change of its own.
const MOST_AT_ONCE: usize = 500;

/// As many songs as are changed at once, or a refusal.
fn few(songs: Vec<u64>) -> Result<Vec<u64>, Failure> {
    match songs.len() {
        0 => Err(Failure::Missing("id")),
        1..=MOST_AT_ONCE => Ok(songs),
        _ => Err(Failure::Unreadable(format!("Name at most {MOST_AT_ONCE} songs at once."))),
    }
}

/// The songs that a request names as what it likes. A stem, its album and a song that is an album of its own stand for
/// their song.
fn songs(asked: &Asked) -> Result<Vec<u64>, Failure> {
    let song = |id: &str| {
        let id = Id::parse(id)?;
        let only =
            || Failure::NotOffered("Songs can be liked here; artists and albums of several songs cannot.".into());
        id.song().ok_or_else(only)
    };
    let names = ["id", "albumId", "artistId"];
    let songs = names.iter().flat_map(|name| asked.params.all(name)).map(song).collect::<Result<Vec<_>, Failure>>()?;
    few(songs)
}

pub(super) async fn star(asked: Asked) -> Result<Element, Failure> {
    for song in songs(&asked)? {
        favour(asked.state.clone(), asked.visitor.clone(), Path(song.to_string())).await?;
    }
    Ok(Element::new())
}

pub(super) async fn unstar(asked: Asked) -> Result<Element, Failure> {
    for song in songs(&asked)? {
        forget(asked.state.clone(), asked.visitor.clone(), Path(song.to_string())).await?;
    }
    Ok(Element::new())
}

/// Marks are not kept. To take one away that is not there is no mistake.
pub(super) async fn rate(asked: Asked) -> Result<Element, Failure> {
    let song = asked.params.id()?.song();
    asked.look(move |look| song.map_or(Ok(()), |song| look.song(song).map(|_| ()))).await?;
    match asked.params.maybe_number("rating")? {
        Some(0) => Ok(Element::new()),
        Some(_) => Err(Failure::NotOffered("Songs get no marks here; star those that you like.".into())),
        None => Err(Failure::Missing("rating")),
    }
}

/// Counts plays, each when it is told of: nobody's clock but the cluster's says when something was played. That somebody
/// begins to play is not kept.
pub(super) async fn scrobble(asked: Asked) -> Result<Element, Failure> {
    let song = |id: &str| Id::parse(id)?.song().ok_or_else(|| Failure::from(NoId));
    let songs = few(asked.params.all("id").map(song).collect::<Result<Vec<_>, _>>()?)?;
    let played = asked.params.flag("submission")?.unwrap_or(true);
    for song in songs {
        match played {
            true => {
                play(asked.state.clone(), asked.visitor.clone(), Path(song.to_string())).await?;
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
    fn a_request_changes_one_song_or_some_and_not_any_number() {
        for (songs, taken) in [(0, false), (1, true), (MOST_AT_ONCE, true), (MOST_AT_ONCE + 1, false)] {
            assert_eq!(few(vec![7; songs]).is_ok(), taken, "{songs}");
        }
    }
}
