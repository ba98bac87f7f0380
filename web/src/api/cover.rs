//! The cover of a song: returning, replacing and removing it.
//!
//! A picture is on a majority of the nodes before it becomes the cover. The previous one is deleted by the next garbage
//! collection, unless another song uses it. The format of a picture is detected from its first bytes.

use audio::tags::{Cover as Picture, MAX_COVER};
use axum::extract::{Path, Request};
use axum::http::{HeaderMap, Method};
use axum::response::Response;
use futures_util::StreamExt;
use state::View;
use state::command::ChangeSong;
use state::{Cover, Edit, SongEdit};

use super::song_ref::SongRef;
use super::songs::{SongData, shown, song_to_change};
use crate::app::State;
use crate::auth::caller::Caller;
use crate::auth::request_auth::RequestAuth;
use crate::files::body::UploadBody;
use crate::files::file_name::file_name;
use crate::files::file_response::{FileResponse, serve};
use crate::files::source::Source;
use crate::http::answer::Answer;
use crate::http::error::ApiError;

/// The bytes that determine the format of a picture.
const MAGIC: usize = 12;

/// Returns the cover of a song: the one from its file, or a later one.
///
/// Ranges, conditions and HEAD work as for other files.
#[utoipa::path(get, path = "/songs/{id}/cover", tag = "files", params(("id" = u64, Path)), responses(
    (status = 200, description = "The picture", content_type = "image/*"),
    (status = 206, description = "The requested range", content_type = "image/*"),
    (status = 304, description = "If-None-Match holds the entity tag"),
    (status = 412),
    (status = 416, description = "The range is behind the end of the file; Content-Range holds the length"),
))]
pub(crate) async fn get(
    state: State,
    auth: RequestAuth,
    Path(id): Path<String>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    respond(state, SongRef::Id(auth, id), method, headers).await
}

/// Returns the cover of the song of a link, as `/songs/{id}/cover` does.
#[utoipa::path(get, path = "/shared/{secret}/cover", tag = "sharing", params(("secret" = String, Path)), responses(
    (status = 200, description = "The picture", content_type = "image/*"),
    (status = 206, description = "The requested range", content_type = "image/*"),
    (status = 304, description = "If-None-Match holds the entity tag"),
    (status = 412),
    (status = 416, description = "The range is behind the end of the file; Content-Range holds the length"),
))]
pub(crate) async fn get_by_link(
    state: State,
    Path(secret): Path<String>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    respond(state, SongRef::link(&secret), method, headers).await
}

pub(crate) async fn respond(
    state: State,
    song: SongRef,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let (name, cover) = song
        .look(&state, move |_, song| {
            let none = || ApiError::NoPart(format!("The song {} has no cover.", song.id));
            let cover = song.credits.cover.clone().ok_or_else(none)?;
            Ok((song.title, cover))
        })
        .await?;
    let format = cover.mime.trim_start_matches("image/").to_owned();
    let name = file_name(&name, |title| format!("{title}.{format}"));
    let file =
        FileResponse { source: Source::Blob(cover.hash), tag: cover.hash.to_string(), format, name, download: false };
    serve(&state.replication, file, &method, &headers).await
}

/// Replaces the cover of a song.
///
/// The body is a JPEG, PNG, WebP or GIF file of at most 8 MiB. Only the uploader and administrators have access;
/// everybody has access to anonymous uploads.
#[utoipa::path(put, path = "/songs/{id}/cover", tag = "songs",
    params(("id" = u64, Path)),
    request_body(content(
        (Vec<u8> = "image/jpeg"),
        (Vec<u8> = "image/png"),
        (Vec<u8> = "image/webp"),
        (Vec<u8> = "image/gif"),
    )),
    responses(
        (status = 200, body = Answer<SongData>),
        (status = 408),
        (status = 507),
    )
)]
pub(crate) async fn put(
    state: State,
    auth: RequestAuth,
    Path(id): Path<String>,
    request: Request,
) -> Result<Answer<SongData>, ApiError> {
    let look = move |view: &View, caller: &Caller| Ok((song_to_change(view, caller, &id)?.id, *caller));
    let admitted = state.read_for(&auth, look).await;
    let incoming = UploadBody::new(request, MAX_COVER as u64);
    let received = match &admitted {
        Ok(_) => receive(&state, &incoming).await,
        Err(_) => Ok(None),
    };
    if admitted.is_err() || received.is_err() {
        incoming.drain().await;
    }
    let ((song, caller), received) = (admitted?, received?);
    let cover = received.ok_or(ApiError::NotPicture)?;
    // Right before the proposal, as for songs: garbage collection keeps the file until the command has committed.
    state.replication.replicate(&[cover.hash]).await?;
    change(&state, song, caller, Edit::Set(cover)).await
}

/// Removes the cover of a song. Removing a missing cover is not an error.
///
/// Only the uploader and administrators have access; everybody has access to anonymous uploads.
#[utoipa::path(delete, path = "/songs/{id}/cover", tag = "songs", params(("id" = u64, Path)), responses(
    (status = 200, body = Answer<SongData>),
))]
pub(crate) async fn delete(
    state: State,
    auth: RequestAuth,
    Path(id): Path<String>,
) -> Result<Answer<SongData>, ApiError> {
    let look = move |view: &View, caller: &Caller| Ok((song_to_change(view, caller, &id)?.id, *caller));
    let (song, caller) = state.read_for(&auth, look).await?;
    change(&state, song, caller, Edit::Clear).await
}

async fn change(state: &State, song: u64, caller: Caller, cover: Edit<Cover>) -> Result<Answer<SongData>, ApiError> {
    let edit = Box::new(SongEdit { cover, ..SongEdit::default() });
    state.cluster.propose(ChangeSong { song, actor: caller.actor(), edit }).await??;
    shown(state, caller, song).await
}

/// Stores the body as it arrives; none if it is not a picture. A refused body leaves no files.
async fn receive(state: &State, incoming: &UploadBody) -> Result<Option<Cover>, ApiError> {
    let _permit = state.upload_permit()?;
    let limit = MAX_COVER as u64;
    let mut staged = state.replication.blobs().stage(0).await?;
    let mut beginning = Vec::with_capacity(MAGIC);
    let mut body = incoming.watched().into_data_stream();
    while let Some(chunk) = body.next().await {
        let chunk = chunk.map_err(|error| match incoming.failure() {
            Some(ApiError::TooLarge { limit }) => ApiError::PictureTooLarge { limit },
            Some(failure) => failure,
            None => ApiError::Broken(error.to_string()),
        })?;
        if staged.len() + chunk.len() as u64 > limit {
            return Err(ApiError::PictureTooLarge { limit });
        }
        beginning.extend(chunk.iter().take(MAGIC - beginning.len()));
        staged.write(&chunk).await?;
    }
    let Some(mime) = Picture::kind_of(&beginning) else { return Ok(None) };
    let (hash, _) = staged.commit().await?;
    Ok(Some(Cover { hash, mime: mime.into() }))
}
