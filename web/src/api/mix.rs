//! Mixes: weighted sums of a song's stems, made when they are asked for and kept for a while.

use std::collections::BTreeMap;
use std::path::{Path as FilePath, PathBuf};

use axum::extract::Path;
use axum::http::{HeaderMap, Method};
use axum::response::Response;
use sha2::{Digest, Sha256};
use storage::blobs::Hash;
use utoipa::IntoParams;

use super::parts::{best_of, stems_of};
use super::way::Way;
use crate::State;
use crate::answer::{Answer, Empty};
use crate::caller::Visitor;
use crate::error::ApiError;
use crate::file_name::file_name;
use crate::query::Query;
use crate::sending::{Served, serve};
use crate::stored::Source;
use crate::text::first_bytes;

/// The largest weight, and the smallest one is as far below zero.
const MAX_WEIGHT: f32 = 10.0;
/// Weights are rounded to this part of one, far less than one can hear, so that the same mix has one name.
const STEPS: f32 = 1000.0;
/// The most bytes of the stems' names in the name of a mix; the title has the rest.
const NAMED_BYTES: usize = 100;

/// The stems' weights. 1 is as loud as in the song, 0 is silent, a negative one turns the wave around.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "it describes a query whose names follow from the song's model")]
pub(crate) struct Weights {
    /// -10 to 10.
    #[param(minimum = -10, maximum = 10)]
    vocals: Option<f32>,
    /// -10 to 10; 1 if no weight is given at all.
    #[param(minimum = -10, maximum = 10)]
    drums: Option<f32>,
    /// -10 to 10; 1 if no weight is given at all.
    #[param(minimum = -10, maximum = 10)]
    bass: Option<f32>,
    /// -10 to 10.
    #[param(minimum = -10, maximum = 10)]
    other: Option<f32>,
    /// Which separation of the song the stems are from: its job's number. The song's own if it is not given.
    job: Option<u64>,
    /// Anything but `false`: the browser should save the file and not play it.
    download: Option<String>,
}

/// What a query asks for.
#[derive(Debug, Clone, PartialEq)]
struct Asked {
    weights: BTreeMap<String, f32>,
    download: bool,
    job: Option<u64>,
}

/// Gives a mix of a song's stems as MP3.
///
/// Drums and bass if no weight is given; stems without a weight are silent. Ranges, conditions and HEAD as for other
/// files. Whoever the song is for may call this.
#[utoipa::path(get, path = "/songs/{id}/mix.mp3", tag = "files", params(("id" = u64, Path), Weights), responses(
    (status = 200, description = "The mix", content_type = "audio/mpeg"),
    (status = 206, description = "The range of it", content_type = "audio/mpeg"),
    (status = 304, description = "If-None-Match names it"),
    (status = 400, description = "A weight is no number or too large", body = Answer<Empty>),
    (status = 401, description = "Nobody is let in without an account, or the token opens nothing", body = Answer<Empty>),
    (status = 404, description = "No such song or stem, or not split yet", body = Answer<Empty>),
    (status = 412, description = "If-Match does not name it", body = Answer<Empty>),
    (status = 416, description = "The range is past the end; Content-Range says where that is"),
    (status = 422, description = "It would be made from a file that cannot be decoded", body = Answer<Empty>),
    (status = 503, description = "Nobody who answers has the stems, or the node is busy", body = Answer<Empty>),
))]
pub(crate) async fn mix(
    state: State,
    visitor: Visitor,
    Path(id): Path<String>,
    Query(query): Query<Vec<(String, String)>>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    mixed(state, Way::Id(visitor, id), query, method, headers).await
}

/// Gives a mix of the stems of the song that a link opens, as `/songs/{id}/mix.mp3` does.
///
/// Whoever has the link may call this.
#[utoipa::path(get, path = "/shared/{secret}/mix.mp3", tag = "sharing", security(()),
    params(("secret" = String, Path), Weights),
    responses(
        (status = 200, description = "The mix", content_type = "audio/mpeg"),
        (status = 206, description = "The range of it", content_type = "audio/mpeg"),
        (status = 304, description = "If-None-Match names it"),
        (status = 400, description = "A weight is no number or too large", body = Answer<Empty>),
        (status = 404, description = "The link opens nothing, no such stem, or not split yet", body = Answer<Empty>),
        (status = 412, description = "If-Match does not name it", body = Answer<Empty>),
        (status = 416, description = "The range is past the end; Content-Range says where that is"),
        (status = 422, description = "It would be made from a file that cannot be decoded", body = Answer<Empty>),
        (status = 503, description = "Nobody who answers has the stems, or the node is busy", body = Answer<Empty>),
    )
)]
pub(crate) async fn mix_by_link(
    state: State,
    Path(secret): Path<String>,
    Query(query): Query<Vec<(String, String)>>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    mixed(state, Way::link(&secret), query, method, headers).await
}

async fn mixed(
    state: State,
    way: Way,
    query: Vec<(String, String)>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let Asked { weights, download, job } = parse(&query)?;
    let (title, mut inputs) = way
        .look(&state, move |view, song| {
            let wanted: Vec<&str> = weights.keys().map(String::as_str).collect();
            let stems = stems_of(view, &song, job, &wanted)?;
            let mut inputs = Vec::new();
            for (stem, weight) in weights {
                let Some(files) = stems.files.get(&stem) else {
                    let stems: Vec<&str> = stems.files.keys().map(String::as_str).collect();
                    return Err(ApiError::NoPart(format!(
                        "The song {} has no stem {stem:?}; it has {}.",
                        song.id,
                        stems.join(", ")
                    )));
                };
                inputs.extend(best_of(files).map(|(_, hash)| (stem, hash, weight)));
            }
            Ok((song.title, inputs))
        })
        .await?;

    // What is silent changes nothing, unless nothing else is there: then it gives the silence its length.
    if inputs.iter().any(|(_, _, weight)| *weight != 0.0) {
        inputs.retain(|(_, _, weight)| *weight != 0.0);
    } else {
        inputs.truncate(1);
    }
    let tag = tag_of(&inputs);
    let name = format!("mix-{tag}.mp3");
    let made = match state.cache.kept(&name).await {
        Some(made) => made,
        None => make(&state, &name, &inputs).await?,
    };
    let heard: Vec<&str> = inputs.iter().map(|(stem, _, _)| stem.as_str()).collect();
    let heard = heard.join(" + ");
    let heard = first_bytes(&heard, NAMED_BYTES);
    let name = file_name(&title, |title| format!("{title} - {heard}.mp3"));
    let served = Served { source: Source::Made(made), tag, format: "mp3".into(), name, download };
    serve(&state.app.sharing, served, &method, &headers).await
}

/// Makes a mix of stems that are here, whole and undamaged.
async fn make(state: &State, name: &str, inputs: &[(String, Hash, f32)]) -> Result<PathBuf, ApiError> {
    let sharing = &state.app.sharing;
    let mut files = Vec::new();
    for (_, hash, weight) in inputs {
        files.push((sharing.whole(hash).await?, *weight));
    }
    let (blobs, sandbox) = (sharing.blobs().clone(), state.app.sandbox.clone());
    let make = move |half: &FilePath| {
        blobs.expect_room(0)?;
        Ok(audio::mix::mix_mp3(&sandbox, &files, half)?)
    };
    state.cache.get(name, make).await
}

fn parse(query: &[(String, String)]) -> Result<Asked, ApiError> {
    let mut asked = Asked { weights: BTreeMap::new(), download: false, job: None };
    for (name, value) in query {
        if name == "download" {
            asked.download = value != "false";
            continue;
        }
        if name == "job" {
            let number = value.parse().map_err(|_| ApiError::Malformed("`job` must be a job's number.".into()))?;
            asked.job = Some(number);
            continue;
        }
        let short: String = name.chars().take(20).collect();
        let weight = value.trim().parse::<f32>().ok().filter(|weight| weight.abs() <= MAX_WEIGHT);
        let Some(weight) = weight else {
            return Err(ApiError::Malformed(format!(
                "The weight of {short:?} must be a number from -{MAX_WEIGHT} to {MAX_WEIGHT}; 1 is as loud as in the song."
            )));
        };
        // Adding zero makes a plain zero of a negative one.
        let weight = (weight * STEPS).round() / STEPS + 0.0;
        if asked.weights.insert(name.clone(), weight).is_some() {
            return Err(ApiError::Malformed(format!("{short:?} has two weights. Give it one.")));
        }
    }
    if asked.weights.is_empty() {
        asked.weights = ["drums", "bass"].map(|stem| (stem.to_owned(), 1.0)).into();
    }
    Ok(asked)
}

/// What a mix is made of, as a name. A change in how mixes are made needs another beginning.
fn tag_of(inputs: &[(String, Hash, f32)]) -> String {
    let mut hasher = Sha256::new();
    hasher.update(b"mix 1");
    for (_, hash, weight) in inputs {
        hasher.update(format!(" {hash} {weight}"));
    }
    hex::encode(hasher.finalize())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    fn asked(query: &[(&str, &str)]) -> Result<Asked, ApiError> {
        parse(&query.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect::<Vec<_>>())
    }

    fn weights(query: &[(&str, &str)]) -> Vec<(String, f32)> {
        asked(query).unwrap().weights.into_iter().collect()
    }

    #[test]
    fn weights_are_read() {
        assert_eq!(weights(&[]), [("bass".into(), 1.0), ("drums".into(), 1.0)]);
        assert_eq!(weights(&[("vocals", "0.5")]), [("vocals".into(), 0.5)]);
        assert_eq!(weights(&[("a", "-1"), ("b", "1e-9")]), [("a".into(), -1.0), ("b".into(), 0.0)]);
        assert!(asked(&[("download", "1")]).unwrap().download);
        assert!(!asked(&[("download", "false"), ("drums", "1")]).unwrap().download);
        // Weights that sound the same have one name.
        assert_eq!(weights(&[("drums", "0.1000001")]), weights(&[("drums", "0.1")]));
    }

    #[test]
    fn weights_that_are_none_are_refused() {
        for value in ["", "loud", "NaN", "inf", "-inf", "1e30", "10.5", "-11", "1,5"] {
            let error = asked(&[("drums", value)]).unwrap_err();
            assert_eq!(error.kind().0, 400, "{value}");
        }
        assert!(asked(&[("drums", "1"), ("drums", "0.5")]).is_err());
    }

    #[test]
    fn a_mix_is_named_after_what_it_is_made_of() {
        let (a, b): (Hash, Hash) = ("a".repeat(64).parse().unwrap(), "b".repeat(64).parse().unwrap());
        let name = |hash, weight| tag_of(&[("drums".into(), hash, weight)]);
        assert_eq!(name(a, 1.0), name(a, 1.0));
        assert_ne!(name(a, 1.0), name(b, 1.0));
        assert_ne!(name(a, 1.0), name(a, 0.5));
    }
}
