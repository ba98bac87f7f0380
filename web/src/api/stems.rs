//! All stems of a song as one archive, streamed.

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

use super::parts::{Found, stems_of};
use super::way::Way;
use crate::State;
use crate::answer::{Answer, Empty};
use crate::caller::Visitor;
use crate::error::ApiError;
use crate::file_name::file_name;
use crate::query::Query;
use crate::ranges::is_known;
use crate::sending::{disposition, set};
use crate::stored::{Opened, open};
use crate::zip::Archive;

/// Which stems, and as what.
#[derive(Debug, Clone, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Packing {
    /// `mp3`, `wav` or `flac`; `mp3` if it is not given.
    #[param(pattern = "^(mp3|wav|flac)?$")]
    format: Option<String>,
    /// Which separation of the song the stems are from: its job's number. The song's own if it is not given.
    job: Option<u64>,
}

/// Gives all stems of a song as one ZIP archive, not compressed, for music is that already.
///
/// Its length is known from the beginning. What the job did not make in this format is made first, in 16 bits or at 320
/// kbit/s. Whoever the song is for may call this.
#[utoipa::path(get, path = "/songs/{id}/stems.zip", tag = "files", params(("id" = u64, Path), Packing), responses(
    (status = 200, description = "The archive", content_type = "application/zip"),
    (status = 304, description = "If-None-Match names it"),
    (status = 400, description = "No such format, or `job` is no number", body = Answer<Empty>),
    (status = 401, description = "Nobody is let in without an account, or the token opens nothing", body = Answer<Empty>),
    (status = 404, description = "No such song or separation, or not split yet", body = Answer<Empty>),
    (status = 422, description = "A stem would be made from a file that cannot be decoded", body = Answer<Empty>),
    (status = 503, description = "Nobody who answers has the stems, or the node is busy", body = Answer<Empty>),
))]
pub(crate) async fn all(
    state: State,
    visitor: Visitor,
    Path(id): Path<String>,
    packing: Result<Query<Packing>, ApiError>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    packed(state, Way::Id(visitor, id), packing, method, headers).await
}

/// Gives all stems of the song that a link opens, as `/songs/{id}/stems.zip` does.
///
/// Whoever has the link may call this.
#[utoipa::path(get, path = "/shared/{secret}/stems.zip", tag = "sharing", security(()),
    params(("secret" = String, Path), Packing),
    responses(
        (status = 200, description = "The archive", content_type = "application/zip"),
        (status = 304, description = "If-None-Match names it"),
        (status = 400, description = "No such format, or `job` is no number", body = Answer<Empty>),
        (status = 404, description = "The link opens nothing, no such separation, or not split yet", body = Answer<Empty>),
        (status = 422, description = "A stem would be made from a file that cannot be decoded", body = Answer<Empty>),
        (status = 503, description = "Nobody who answers has the stems, or the node is busy", body = Answer<Empty>),
    )
)]
pub(crate) async fn all_by_link(
    state: State,
    Path(secret): Path<String>,
    packing: Result<Query<Packing>, ApiError>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    packed(state, Way::link(&secret), packing, method, headers).await
}

async fn packed(
    state: State,
    way: Way,
    packing: Result<Query<Packing>, ApiError>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    // Whose the song is not, hears nothing of what is wrong with the rest.
    let (song, stems, format) = way
        .look(&state, move |view, song| {
            let Query(Packing { format, job }) = packing?;
            let format = match format.as_deref() {
                None | Some("") => "mp3",
                Some("mp3") => "mp3",
                Some("wav") => "wav",
                Some("flac") => "flac",
                Some(_) => return Err(ApiError::Malformed("`format` must be mp3, wav or flac.".into())),
            };
            let stems = stems_of(view, &song, job, &[])?;
            Ok((song, stems, format))
        })
        .await?;
    let (mut sources, mut hasher) = (Vec::new(), Sha256::new());
    hasher.update(format!("zip 1 {} {}", song.added_at, song.title));
    for (stem, files) in &stems.files {
        let Some(found) = Found::of(files, format) else { continue };
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
            let file = open(&state.app.sharing, &source).await?;
            names.push((name, file.length()));
            files.push(file);
        }
        let archive = Archive::new(names, song.added_at);
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

/// The archive, read as fast as it is taken: a piece or two of it are in memory.
fn stream(archive: Archive, files: Vec<Opened>) -> Body {
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        // Whoever stops taking ends it.
        if let Err(error) = write(archive, files, &sender).await {
            let _ = sender.send(Err(error)).await;
        }
    });
    Body::from_stream(ReceiverStream::new(receiver))
}

async fn write(
    mut archive: Archive,
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
            // The answer is shorter than it promised, so the client knows that it broke off.
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
