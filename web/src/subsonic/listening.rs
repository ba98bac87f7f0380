//! What players tell of listening: what somebody likes, and what was played.

use axum::extract::Path;

use super::Asked;
use super::answer::Element;
use super::failure::Failure;
use super::ids::{Id, NoId};
use crate::api::listening::{favour, forget, play};

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
    if songs.is_empty() { Err(Failure::Missing("id")) } else { Ok(songs) }
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
    let songs = asked.params.all("id").map(song).collect::<Result<Vec<_>, _>>()?;
    if songs.is_empty() {
        return Err(Failure::Missing("id"));
    }
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
