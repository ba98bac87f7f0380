//! All stems of a song as one streamed archive.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::Path;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use utoipa::IntoParams;

use super::parts::{PartFile, stems_of};
use super::song_ref::SongRef;
use crate::app::State;
use crate::auth::request_auth::RequestAuth;
use crate::files::file_name::file_name;
use crate::files::file_response::{disposition, set};
use crate::files::source::{Opened, open};
use crate::files::zip::ZipArchive;
use crate::http::error::ApiError;
use crate::http::query::Query;
use crate::http::ranges::is_known;

/// The parameters of an archive of stems.
#[derive(Debug, Clone, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct StemsQuery {
    /// The format: `mp3`, `wav` or `flac`. The default is `mp3`.
    #[param(pattern = "^(mp3|wav|flac)?$")]
    format: Option<String>,
    /// The job of the separation. The default is the song's primary separation.
    job: Option<u64>,
}

/// Returns all stems of a song as one uncompressed ZIP archive.
///
/// The response has a Content-Length. Stems that the job did not make in this format are generated first, with 16 bits
/// or 320 kbit/s.
#[utoipa::path(get, path = "/songs/{id}/stems.zip", tag = "files", params(("id" = u64, Path), StemsQuery), responses(
    (status = 200, description = "The archive", content_type = "application/zip"),
    (status = 304, description = "If-None-Match holds the entity tag"),
    (status = 422, description = "A stem would be generated from a file that cannot be decoded"),
))]
pub(crate) async fn all(
    state: State,
    auth: RequestAuth,
    Path(id): Path<String>,
    query: Result<Query<StemsQuery>, ApiError>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    archive_of(state, SongRef::Id(auth, id), query, method, headers).await
}

/// Returns all stems of the song of a link, as `/songs/{id}/stems.zip` does.
#[utoipa::path(get, path = "/shared/{secret}/stems.zip", tag = "sharing",
    params(("secret" = String, Path), StemsQuery),
    responses(
        (status = 200, description = "The archive", content_type = "application/zip"),
        (status = 304, description = "If-None-Match holds the entity tag"),
        (status = 422, description = "A stem would be generated from a file that cannot be decoded"),
    )
)]
pub(crate) async fn all_by_link(
    state: State,
    Path(secret): Path<String>,
    query: Result<Query<StemsQuery>, ApiError>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    archive_of(state, SongRef::link(&secret), query, method, headers).await
}

async fn archive_of(
    state: State,
    song: SongRef,
    query: Result<Query<StemsQuery>, ApiError>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    // Callers without access to the song must not get errors about the other parameters.
    let app = Arc::clone(&state);
    let (song, stems, format) = song
        .look(&state, move |view, song| {
            let Query(StemsQuery { format, job }) = query?;
            let format = match format.as_deref() {
                None | Some("") => "mp3",
                Some("mp3") => "mp3",
                Some("wav") => "wav",
                Some("flac") => "flac",
                Some(_) => return Err(ApiError::Malformed("Invalid `format`: use mp3, wav or flac.".into())),
            };
            let stems = stems_of(view, &app, &song, job, &[])?;
            Ok((song, stems, format))
        })
        .await?;
    let (mut sources, mut hasher) = (Vec::new(), Sha256::new());
    hasher.update(format!("zip 1 {} {}", song.added_at, song.title));
    for (stem, files) in &stems.files {
        let Some(found) = PartFile::of(files, format) else { continue };
        let (source, tag) = found.source(&state, format, song.frames).await?;
        hasher.update(format!(" {stem} {tag}"));
        sources.push((file_name(&song.title, |title| format!("{title} - {stem}.{format}")), source));
    }
    let tag = format!("\"{}\"", hex::encode(hasher.finalize()));
    let (status, body, length) = if is_known(&headers, &tag) {
        (StatusCode::NOT_MODIFIED, Body::empty(), None)
    } else {
        let (mut names, mut files) = (Vec::new(), Vec::new());
        for (name, source) in sources {
            let file = open(&state.replication, &source).await?;
            names.push((name, file.length()));
            files.push(file);
        }
        let archive = ZipArchive::new(names, song.added_at);
        let length = archive.length();
        let body = if method == Method::HEAD { Body::empty() } else { stream(archive, files) };
        (StatusCode::OK, body, Some(length))
    };
    let mut response = (status, body).into_response();
    let about = response.headers_mut();
    set(about, header::ETAG, &tag);
    set(about, header::CACHE_CONTROL, "private, no-cache");
    set(
        about,
        header::CONTENT_DISPOSITION,
        &disposition(&file_name(&song.title, |title| format!("{title}.zip")), true),
    );
    if let Some(length) = length {
        set(about, header::CONTENT_TYPE, "application/zip");
        about.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    Ok(response)
}

/// The archive, read as fast as the client receives it. One or two pieces are in memory.
fn stream(archive: ZipArchive, files: Vec<Opened>) -> Body {
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        // A client that disconnects ends the task.
        if let Err(error) = write(archive, files, &sender).await {
            let _ = sender.send(Err(error)).await;
        }
    });
    Body::from_stream(ReceiverStream::new(receiver))
}

async fn write(
    mut archive: ZipArchive,
    files: Vec<Opened>,
    to: &mpsc::Sender<Result<Bytes, ApiError>>,
) -> Result<(), ApiError> {
    for (index, file) in files.into_iter().enumerate() {
        if to.send(Ok(archive.header(index).into())).await.is_err() {
            return Ok(());
        }
        let length = file.length();
        let mut bytes = file.body(0, length).await?.into_data_stream();
        while let Some(piece) = bytes.next().await {
            // The response is shorter than its Content-Length, so the client notices the error.
            let piece = piece.map_err(|error| ApiError::internal("reading a stem", &error))?;
            archive.note(index, &piece);
            if to.send(Ok(piece)).await.is_err() {
                return Ok(());
            }
        }
        if to.send(Ok(archive.descriptor(index).into())).await.is_err() {
            return Ok(());
        }
    }
    let _ = to.send(Ok(archive.directory().into())).await;
    Ok(())
}
