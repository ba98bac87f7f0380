//! Mixes: weighted sums of the stems of a song, generated on demand and cached.

use std::collections::BTreeMap;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;

use axum::extract::Path;
use axum::http::{HeaderMap, Method};
use axum::response::Response;
use sha2::{Digest, Sha256};
use storage::blobs::Hash;
use utoipa::IntoParams;

use super::parts::{best_of, stems_of};
use super::song_ref::SongRef;
use crate::app::State;
use crate::auth::request_auth::RequestAuth;
use crate::files::file_name::file_name;
use crate::files::file_response::{FileResponse, serve};
use crate::files::source::Source;
use crate::http::error::ApiError;
use crate::http::query::Query;
use crate::text::first_bytes;

/// The largest absolute weight.
const MAX_WEIGHT: f32 = 10.0;
/// Weights are rounded to this fraction of 1, which is inaudible, so that equal mixes have one name.
const STEPS: f32 = 1000.0;
/// The most bytes of the stems' names in the file name of a mix. The title gets the rest.
const NAMED_BYTES: usize = 100;

/// The weights of the stems: 1 is the level in the song, 0 is silence, and a negative weight inverts the phase.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "it describes a query whose fields depend on the model of the song")]
pub(crate) struct MixQuery {
    /// -10 to 10.
    #[param(minimum = -10, maximum = 10)]
    vocals: Option<f32>,
    /// -10 to 10. The default is 1 if no weight is given.
    #[param(minimum = -10, maximum = 10)]
    drums: Option<f32>,
    /// -10 to 10. The default is 1 if no weight is given.
    #[param(minimum = -10, maximum = 10)]
    bass: Option<f32>,
    /// -10 to 10.
    #[param(minimum = -10, maximum = 10)]
    other: Option<f32>,
    /// The job of the separation. The default is the song's primary separation.
    job: Option<u64>,
    /// Any value but `false` makes browsers save the file instead of playing it.
    download: Option<String>,
}

/// The parameters of a mix.
#[derive(Debug, Clone, PartialEq)]
struct MixParams {
    weights: BTreeMap<String, f32>,
    download: bool,
    job: Option<u64>,
}

/// Returns a mix of the stems of a song as MP3.
///
/// Stems without a weight are silent. Without any weight, the mix consists of drums and bass. Ranges, conditions and
/// HEAD work as for other files.
#[utoipa::path(get, path = "/songs/{id}/mix.mp3", tag = "files", params(("id" = u64, Path), MixQuery), responses(
    (status = 200, description = "The mix", content_type = "audio/mpeg"),
    (status = 206, description = "The requested range", content_type = "audio/mpeg"),
    (status = 304, description = "If-None-Match holds the entity tag"),
    (status = 412),
    (status = 416, description = "The range is behind the end of the file; Content-Range holds the length"),
    (status = 422, description = "The mix would be generated from a file that cannot be decoded"),
))]
pub(crate) async fn mix(
    state: State,
    auth: RequestAuth,
    Path(id): Path<String>,
    Query(query): Query<Vec<(String, String)>>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    mixed(state, SongRef::Id(auth, id), query, method, headers).await
}

/// Returns a mix of the stems of the song of a link, as `/songs/{id}/mix.mp3` does.
#[utoipa::path(get, path = "/shared/{secret}/mix.mp3", tag = "sharing",
    params(("secret" = String, Path), MixQuery),
    responses(
        (status = 200, description = "The mix", content_type = "audio/mpeg"),
        (status = 206, description = "The requested range", content_type = "audio/mpeg"),
        (status = 304, description = "If-None-Match holds the entity tag"),
        (status = 412),
        (status = 416, description = "The range is behind the end of the file; Content-Range holds the length"),
        (status = 422, description = "The mix would be generated from a file that cannot be decoded"),
    )
)]
pub(crate) async fn mix_by_link(
    state: State,
    Path(secret): Path<String>,
    Query(query): Query<Vec<(String, String)>>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    mixed(state, SongRef::link(&secret), query, method, headers).await
}

async fn mixed(
    state: State,
    song: SongRef,
    query: Vec<(String, String)>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let MixParams { weights, download, job } = parse(&query)?;
    let app = Arc::clone(&state);
    let (title, mut inputs) = song
        .look(&state, move |view, song| {
            let wanted: Vec<&str> = weights.keys().map(String::as_str).collect();
            let stems = stems_of(view, &app, &song, job, &wanted)?;
            let mut inputs = Vec::new();
            for (stem, weight) in weights {
                let Some(files) = stems.files.get(&stem) else {
                    let stems: Vec<&str> = stems.files.keys().map(String::as_str).collect();
                    return Err(ApiError::NoPart(format!(
                        "The song {} has no stem {stem:?}. It has: {}.",
                        song.id,
                        stems.join(", ")
                    )));
                };
                inputs.extend(best_of(files).map(|(_, hash)| (stem, hash, weight)));
            }
            Ok((song.title, inputs))
        })
        .await?;

    // Silent stems change nothing. If all are silent, one of them gives the mix its length.
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
    let audible: Vec<&str> = inputs.iter().map(|(stem, _, _)| stem.as_str()).collect();
    let audible = audible.join(" + ");
    let audible = first_bytes(&audible, NAMED_BYTES);
    let name = file_name(&title, |title| format!("{title} - {audible}.mp3"));
    let file = FileResponse { source: Source::Made(made), tag, format: "mp3".into(), name, download };
    serve(&state.replication, file, &method, &headers).await
}

/// Generates a mix, after fetching and verifying the stems.
async fn make(state: &State, name: &str, inputs: &[(String, Hash, f32)]) -> Result<PathBuf, ApiError> {
    let replication = &state.replication;
    let mut files = Vec::new();
    for (_, hash, weight) in inputs {
        files.push((replication.fetch_verified(hash).await?, *weight));
    }
    let (blobs, sandbox) = (replication.blobs().clone(), state.sandbox.clone());
    let make = move |half: &FilePath| {
        blobs.check_free(0)?;
        Ok(audio::mix::mix_mp3(&sandbox, &files, half)?)
    };
    state.cache.get(name, make).await
}

fn parse(query: &[(String, String)]) -> Result<MixParams, ApiError> {
    let mut params = MixParams { weights: BTreeMap::new(), download: false, job: None };
    for (name, value) in query {
        if name == "download" {
            params.download = value != "false";
            continue;
        }
        if name == "job" {
            let number =
                value.parse().map_err(|_| ApiError::Malformed("Invalid `job`: use the id of a job.".into()))?;
            params.job = Some(number);
            continue;
        }
        let short: String = name.chars().take(20).collect();
        let weight = value.trim().parse::<f32>().ok().filter(|weight| weight.abs() <= MAX_WEIGHT);
        let Some(weight) = weight else {
            return Err(ApiError::Malformed(format!(
                "Invalid weight of {short:?}: use a number from -{MAX_WEIGHT} to {MAX_WEIGHT}."
            )));
        };
        // Adding zero converts -0 to 0.
        let weight = (weight * STEPS).round() / STEPS + 0.0;
        if params.weights.insert(name.clone(), weight).is_some() {
            return Err(ApiError::Malformed(format!("{short:?} has two weights. Use one.")));
        }
    }
    if params.weights.is_empty() {
        params.weights = ["drums", "bass"].map(|stem| (stem.to_owned(), 1.0)).into();
    }
    Ok(params)
}

/// The tag of a mix. Its prefix must change with the way in which mixes are generated.
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

    fn parsed(query: &[(&str, &str)]) -> Result<MixParams, ApiError> {
        parse(&query.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect::<Vec<_>>())
    }

    fn weights(query: &[(&str, &str)]) -> Vec<(String, f32)> {
        parsed(query).unwrap().weights.into_iter().collect()
    }

    #[test]
    fn weights_are_parsed() {
        assert_eq!(weights(&[]), [("bass".into(), 1.0), ("drums".into(), 1.0)]);
        assert_eq!(weights(&[("vocals", "0.5")]), [("vocals".into(), 0.5)]);
        assert_eq!(weights(&[("a", "-1"), ("b", "1e-9")]), [("a".into(), -1.0), ("b".into(), 0.0)]);
        assert!(parsed(&[("download", "1")]).unwrap().download);
        assert!(!parsed(&[("download", "false"), ("drums", "1")]).unwrap().download);
        // Weights with inaudible differences have one name.
        assert_eq!(weights(&[("drums", "0.1000001")]), weights(&[("drums", "0.1")]));
    }

    #[test]
    fn invalid_weights_are_refused() {
        for value in ["", "loud", "NaN", "inf", "-inf", "1e30", "10.5", "-11", "1,5"] {
            let error = parsed(&[("drums", value)]).unwrap_err();
            assert_eq!(error.status(), 400, "{value}");
        }
        assert!(parsed(&[("drums", "1"), ("drums", "0.5")]).is_err());
    }

    #[test]
    fn tag_depends_on_files_and_weights() {
        let (a, b): (Hash, Hash) = ("a".repeat(64).parse().unwrap(), "b".repeat(64).parse().unwrap());
        let name = |hash, weight| tag_of(&[("drums".into(), hash, weight)]);
        assert_eq!(name(a, 1.0), name(a, 1.0));
        assert_ne!(name(a, 1.0), name(b, 1.0));
        assert_ne!(name(a, 1.0), name(a, 0.5));
    }
}
