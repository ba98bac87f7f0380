//! Files: songs and stems, whole or in ranges, as MP3, WAV and FLAC.

use axum::extract::Path;
use axum::http::{HeaderMap, Method};
use axum::response::Response;
use serde::Deserialize;
use utoipa::IntoParams;

use super::parts::find;
use super::way::Way;
use crate::State;
use crate::answer::{Answer, Empty};
use crate::caller::Visitor;
use crate::error::ApiError;
use crate::file_name::file_name;
use crate::query::Query;
use crate::sending::{Served, serve};

/// How a file should be offered.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Offer {
    /// Anything but `false`: the browser should save the file and not play it.
    pub download: Option<String>,
    /// Which separation of the song the stem is from: its job's number. The song's own if it is not given.
    pub job: Option<u64>,
}

/// Gives a file of a song: `song`, or one of its stems, as `.mp3`, `.wav` or `.flac`.
///
/// What the job did not make is made now, in 16 bits or at 320 kbit/s.
///
/// `peaks.json` has the waveforms of the song and its stems, to draw: for each part its `frames`, `frames_per_bucket`,
/// and the lowest and highest sample of every bucket, of which 127 is full scale.
///
/// `song` may also have the extension that it was uploaded with, and comes as it was uploaded then. Ranges,
/// conditions and HEAD are answered as in RFC 9110; a request for several ranges gets the whole file. Whoever the
/// song is for may call this.
#[utoipa::path(get, path = "/songs/{id}/{file}", tag = "files",
    params(("id" = u64, Path), ("file" = String, Path, example = "drums.mp3"), Offer),
    responses(
        (status = 200, description = "The file", content((String = "audio/*"), (Object = "application/json"))),
        (status = 206, description = "The range of it", content((String = "audio/*"), (Object = "application/json"))),
        (status = 304, description = "If-None-Match names it"),
        (status = 400, description = "`job` is no number", body = Answer<Empty>),
        (status = 401, description = "Nobody is let in without an account, or the token opens nothing", body = Answer<Empty>),
        (status = 404, description = "No such song or part, or not split yet", body = Answer<Empty>),
        (status = 412, description = "If-Match does not name it", body = Answer<Empty>),
        (status = 416, description = "The range is past the end; Content-Range says where that is"),
        (status = 422, description = "It would be made from a file that cannot be decoded", body = Answer<Empty>),
        (status = 503, description = "Nobody who answers has the file, or the node is busy", body = Answer<Empty>),
    )
)]
pub(crate) async fn file(
    state: State,
    visitor: Visitor,
    Path((id, file)): Path<(String, String)>,
    offer: Result<Query<Offer>, ApiError>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    given(state, Way::Id(visitor, id), file, offer, method, headers).await
}

/// Gives a file of the song that a link opens, as `/songs/{id}/{file}` does.
///
/// Whoever has the link may call this.
#[utoipa::path(get, path = "/shared/{secret}/{file}", tag = "sharing", security(()),
    params(("secret" = String, Path), ("file" = String, Path, example = "drums.mp3"), Offer),
    responses(
        (status = 200, description = "The file", content((String = "audio/*"), (Object = "application/json"))),
        (status = 206, description = "The range of it", content((String = "audio/*"), (Object = "application/json"))),
        (status = 304, description = "If-None-Match names it"),
        (status = 400, description = "`job` is no number", body = Answer<Empty>),
        (status = 404, description = "The link opens nothing, no such part, or not split yet", body = Answer<Empty>),
        (status = 412, description = "If-Match does not name it", body = Answer<Empty>),
        (status = 416, description = "The range is past the end; Content-Range says where that is"),
        (status = 422, description = "It would be made from a file that cannot be decoded", body = Answer<Empty>),
        (status = 503, description = "Nobody who answers has the file, or the node is busy", body = Answer<Empty>),
    )
)]
pub(crate) async fn file_by_link(
    state: State,
    Path((secret, file)): Path<(String, String)>,
    offer: Result<Query<Offer>, ApiError>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    given(state, Way::link(&secret), file, offer, method, headers).await
}

pub(crate) async fn given(
    state: State,
    way: Way,
    file: String,
    offer: Result<Query<Offer>, ApiError>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let named = file.clone();
    // Whose the song is not, hears nothing of what is wrong with the rest.
    let (song, found, offer) = way
        .look(&state, move |view, song| {
            let Query(offer) = offer?;
            let found = find(view, &song, offer.job, &named)?;
            Ok((song, found, offer))
        })
        .await?;
    let (part, format) = file.rsplit_once('.').unwrap_or((&file, ""));
    let (source, tag) = found.source(&state, format, song.frames).await?;
    let name = file_name(&song.title, |title| match part {
        "song" => format!("{title}.{format}"),
        _ => format!("{title} - {part}.{format}"),
    });
    let download = offer.download.is_some_and(|download| download != "false");
    let served = Served { source, tag, format: format.to_owned(), name, download };
    serve(&state.app.sharing, served, &method, &headers).await
}
