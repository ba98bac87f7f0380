//! The files of songs and stems, as MP3, WAV and FLAC.

use std::sync::Arc;

use axum::extract::Path;
use axum::http::{HeaderMap, Method};
use axum::response::Response;
use serde::Deserialize;
use utoipa::IntoParams;

use super::parts::find;
use super::song_ref::SongRef;
use crate::app::State;
use crate::auth::request_auth::RequestAuth;
use crate::files::file_name::file_name;
use crate::files::file_response::{FileResponse, serve};
use crate::http::error::ApiError;
use crate::http::query::Query;

/// The parameters of a file.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct FileQuery {
    /// Any value but `false` makes browsers save the file instead of playing it.
    pub(crate) download: Option<String>,
    /// The job of the separation. The default is the song's primary separation.
    pub(crate) job: Option<u64>,
}

/// Returns a file of a song: `song` or one of its stems, as `.mp3`, `.wav` or `.flac`.
///
/// A format that the job did not make is generated, with 16 bits or 320 kbit/s.
///
/// `peaks.json` holds the waveforms of the song and its stems: for each part its `frames`, `frames_per_bucket`, and the
/// lowest and highest sample of every bucket, where 127 is full scale.
///
/// `song` with the extension of the upload is the uploaded file. Ranges, conditions and HEAD follow RFC 9110. A request
/// for several ranges gets the whole file.
#[utoipa::path(get, path = "/songs/{id}/{file}", tag = "files",
    params(("id" = u64, Path), ("file" = String, Path, example = "drums.mp3"), FileQuery),
    responses(
        (status = 200, description = "The file", content((String = "audio/*"), (Object = "application/json"))),
        (status = 206, description = "The range", content((String = "audio/*"), (Object = "application/json"))),
        (status = 304, description = "If-None-Match holds the entity tag"),
        (status = 412),
        (status = 416, description = "The range is behind the end of the file; Content-Range holds the length"),
        (status = 422, description = "The file would be generated from a file that cannot be decoded"),
    )
)]
pub(crate) async fn file(
    state: State,
    auth: RequestAuth,
    Path((id, file)): Path<(String, String)>,
    query: Result<Query<FileQuery>, ApiError>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    respond(state, SongRef::Id(auth, id), file, query, method, headers).await
}

/// Returns a file of the song of a link, as `/songs/{id}/{file}` does.
#[utoipa::path(get, path = "/shared/{secret}/{file}", tag = "sharing",
    params(("secret" = String, Path), ("file" = String, Path, example = "drums.mp3"), FileQuery),
    responses(
        (status = 200, description = "The file", content((String = "audio/*"), (Object = "application/json"))),
        (status = 206, description = "The range", content((String = "audio/*"), (Object = "application/json"))),
        (status = 304, description = "If-None-Match holds the entity tag"),
        (status = 412),
        (status = 416, description = "The range is behind the end of the file; Content-Range holds the length"),
        (status = 422, description = "The file would be generated from a file that cannot be decoded"),
    )
)]
pub(crate) async fn file_by_link(
    state: State,
    Path((secret, file)): Path<(String, String)>,
    query: Result<Query<FileQuery>, ApiError>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    respond(state, SongRef::link(&secret), file, query, method, headers).await
}

pub(crate) async fn respond(
    state: State,
    song: SongRef,
    file: String,
    query: Result<Query<FileQuery>, ApiError>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let (named, app) = (file.clone(), Arc::clone(&state));
    // Callers without access to the song must not get errors about the other parameters.
    let (song, found, query) = song
        .look(&state, move |view, song| {
            let Query(query) = query?;
            let found = find(view, &app, &song, query.job, &named)?;
            Ok((song, found, query))
        })
        .await?;
    let (part, format) = file.rsplit_once('.').unwrap_or((&file, ""));
    let (source, tag) = found.source(&state, format, song.frames).await?;
    let name = file_name(&song.title, |title| match part {
        "song" => format!("{title}.{format}"),
        _ => format!("{title} - {part}.{format}"),
    });
    let download = query.download.is_some_and(|download| download != "false");
    let file = FileResponse { source, tag, format: format.to_owned(), name, download };
    serve(&state.replication, file, &method, &headers).await
}
