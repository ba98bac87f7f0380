//! The picture on a song's front: giving it, and putting another one there, or none.
//!
//! A picture lies on a majority of the nodes before the song has it. The one that it had goes with the next collection,
//! unless another song has it too. What a picture is, its first bytes say, as of those that come in songs' files.

use audio::tags::{Cover as Picture, MAX_COVER};
use axum::extract::{Path, Request};
use axum::http::{HeaderMap, Method};
use axum::response::Response;
use futures_util::StreamExt;
use state::View;
use state::command::Command;
use state::{Cover, Edit, SongEdit};

use super::songs::{SongData, shown, song_to_change};
use super::way::Way;
use crate::State;
use crate::answer::{Answer, Empty};
use crate::caller::{Caller, Visitor};
use crate::error::ApiError;
use crate::file_name::file_name;
use crate::incoming::Incoming;
use crate::sending::{Served, serve};
use crate::stored::Source;

/// Bytes of a picture that say what it is.
const BEGINNING: usize = 12;

/// Gives the picture on a song's front: the one that came in its file, or that somebody has put there.
///
/// Ranges, conditions and HEAD as for other files. Whoever the song is for may call this.
#[utoipa::path(get, path = "/songs/{id}/cover", tag = "files", params(("id" = u64, Path)), responses(
    (status = 200, description = "The picture", content_type = "image/*"),
    (status = 206, description = "The range of it", content_type = "image/*"),
    (status = 304, description = "If-None-Match names it"),
    (status = 401, description = "Nobody is let in without an account, or the token opens nothing", body = Answer<Empty>),
    (status = 404, description = "No such song, or no picture in it", body = Answer<Empty>),
    (status = 412, description = "If-Match does not name it", body = Answer<Empty>),
    (status = 416, description = "The range is past the end; Content-Range says where that is"),
))]
pub(crate) async fn get(
    state: State,
    visitor: Visitor,
    Path(id): Path<String>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    picture(state, Way::Id(visitor, id), method, headers).await
}

/// Gives the picture of the song that a link opens, as `/songs/{id}/cover` does.
///
/// Whoever has the link may call this.
#[utoipa::path(get, path = "/shared/{secret}/cover", tag = "sharing", security(()), params(("secret" = String, Path)), responses(
    (status = 200, description = "The picture", content_type = "image/*"),
    (status = 206, description = "The range of it", content_type = "image/*"),
    (status = 304, description = "If-None-Match names it"),
    (status = 404, description = "The link opens nothing, or no picture in the song", body = Answer<Empty>),
    (status = 412, description = "If-Match does not name it", body = Answer<Empty>),
    (status = 416, description = "The range is past the end; Content-Range says where that is"),
))]
pub(crate) async fn get_by_link(
    state: State,
    Path(secret): Path<String>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    picture(state, Way::link(&secret), method, headers).await
}

pub(crate) async fn picture(state: State, way: Way, method: Method, headers: HeaderMap) -> Result<Response, ApiError> {
    let (name, cover) = way
        .look(&state, move |_, song| {
            let none = || ApiError::NoPart(format!("The song {} has no picture.", song.id));
            let cover = song.credits.cover.clone().ok_or_else(none)?;
            Ok((song.title, cover))
        })
        .await?;
    let format = cover.mime.trim_start_matches("image/").to_owned();
    let name = file_name(&name, |title| format!("{title}.{format}"));
    let served =
        Served { source: Source::Blob(cover.hash), tag: cover.hash.to_string(), format, name, download: false };
    serve(&state.app.sharing, served, &method, &headers).await
}

/// Gives a song another picture.
///
/// The body is a JPEG, PNG, WebP or GIF file of at most 8 MiB. Its uploader and administrators may call this, and of
/// anonymous uploads everybody who is let in.
#[utoipa::path(put, path = "/songs/{id}/cover", tag = "songs", params(("id" = u64, Path)),
    request_body(content((Vec<u8> = "image/jpeg"), (Vec<u8> = "image/png"), (Vec<u8> = "image/webp"), (Vec<u8> = "image/gif"))),
    responses(
        (status = 200, body = Answer<SongData>),
        (status = 400, description = "The body broke off", body = Answer<Empty>),
        (status = 401, description = "Nobody is let in without an account, or the token opens nothing", body = Answer<Empty>),
        (status = 404, description = "No such song, or none of the caller's", body = Answer<Empty>),
        (status = 408, description = "No byte came for a minute", body = Answer<Empty>),
        (status = 413, description = "Larger than pictures may be", body = Answer<Empty>),
        (status = 415, description = "No picture of these kinds", body = Answer<Empty>),
        (status = 503, description = "No majority of the nodes answers, or too many uploads", body = Answer<Empty>),
        (status = 507, description = "This node has no room for it, or too few others have", body = Answer<Empty>),
    )
)]
pub(crate) async fn put(
    state: State,
    visitor: Visitor,
    Path(id): Path<String>,
    request: Request,
) -> Result<Answer<SongData>, ApiError> {
    let look = move |view: &View, caller: &Caller| Ok((song_to_change(view, caller, &id)?.id, *caller));
    let admitted = state.read_for(&visitor, look).await;
    let incoming = Incoming::new(request, MAX_COVER as u64);
    let received = match &admitted {
        Ok(_) => receive(&state, &incoming).await,
        Err(_) => Ok(None),
    };
    if admitted.is_err() || received.is_err() {
        incoming.drain().await;
    }
    let ((song, caller), received) = (admitted?, received?);
    let cover = received.ok_or(ApiError::NotPicture)?;
    // Last before the proposal, as of songs: no collection takes it until that has committed.
    state.app.sharing.spread(&[cover.hash]).await?;
    change(&state, song, caller, Edit::Set(cover)).await
}

/// Takes a song's picture away. Where it has none, nothing is changed.
///
/// Its uploader and administrators may call this, and of anonymous uploads everybody who is let in.
#[utoipa::path(delete, path = "/songs/{id}/cover", tag = "songs", params(("id" = u64, Path)), responses(
    (status = 200, body = Answer<SongData>),
    (status = 401, description = "Nobody is let in without an account, or the token opens nothing", body = Answer<Empty>),
    (status = 404, description = "No such song, or none of the caller's", body = Answer<Empty>),
    (status = 503, description = "No majority of the nodes answers", body = Answer<Empty>),
))]
pub(crate) async fn remove(
    state: State,
    visitor: Visitor,
    Path(id): Path<String>,
) -> Result<Answer<SongData>, ApiError> {
    let look = move |view: &View, caller: &Caller| Ok((song_to_change(view, caller, &id)?.id, *caller));
    let (song, caller) = state.read_for(&visitor, look).await?;
    change(&state, song, caller, Edit::Clear).await
}

async fn change(state: &State, song: u64, caller: Caller, cover: Edit<Cover>) -> Result<Answer<SongData>, ApiError> {
    let edit = Box::new(SongEdit { cover, ..SongEdit::default() });
    state.app.cluster.propose(Command::ChangeSong { song, asker: caller.asker(), edit }).await??;
    shown(state, caller, song).await
}

/// Writes the body down as it comes; none if it is no picture. What is refused has left nothing on the disk.
async fn receive(state: &State, incoming: &Incoming) -> Result<Option<Cover>, ApiError> {
    let _permit = state.upload_permit()?;
    let limit = MAX_COVER as u64;
    let mut staged = state.app.sharing.blobs().stage(0).await?;
    let mut beginning = Vec::with_capacity(BEGINNING);
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
        beginning.extend(chunk.iter().take(BEGINNING - beginning.len()));
        staged.write(&chunk).await?;
    }
    let Some(mime) = Picture::kind_of(&beginning) else { return Ok(None) };
    let (hash, _) = staged.commit().await?;
    Ok(Some(Cover { hash, mime: mime.into() }))
}
