//! Links: secret addresses with which everybody can listen to a song until they expire.
//!
//! `/shared/SECRET` has the same structure as `/songs/ID`: the song, with its files below. A page can play them without
//! access to anything else. The secret is only in the address: logs and metrics contain the route, and the referrer
//! policy stops browsers from passing the address on.

use axum::extract::Path;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use state::View;
use state::command::{MakeLink, RemoveLink};
use state::{Link, Song};
use utoipa::ToSchema;

use super::number_of;
use super::song_view::SongView;
use super::songs::{SongData, song_to_change};
use crate::app::State;
use crate::auth::request_auth::RequestAuth;
use crate::auth::secret::Secret;
use crate::clock::DAY;
use crate::clock::now;
use crate::http::answer::{Answer, Empty};
use crate::http::code::Code;
use crate::http::error::ApiError;
use crate::http::json_or_form::{JsonOrForm, ValidationErrors};

/// The default lifetime of a link, in days.
const DAYS: u64 = 7;
/// The longest lifetime of a link, in days.
const MOST_DAYS: u64 = 365;

/// A link, without its secret.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct LinkView {
    /// The id.
    pub(crate) id: u64,
    /// When the link was created, in milliseconds since 1970.
    pub(crate) created_at: u64,
    /// When the link expires, in milliseconds since 1970.
    pub(crate) expires_at: u64,
}

/// A song's links.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct LinksData {
    /// The links, oldest first.
    pub(crate) links: Vec<LinkView>,
}

/// A new link.
#[derive(Serialize, ToSchema)]
pub(crate) struct NewLinkData {
    /// The link.
    pub(crate) link: LinkView,
    /// The path of the link at every node. Only this response contains it.
    #[schema(example = "/shared/5f1d...")]
    pub(crate) address: String,
}

/// The song of a link.
pub(crate) fn song_of_link(view: &View, secret: &Secret) -> Result<Song, ApiError> {
    let link: Link = view.link(&secret.hash())?.filter(|link| now() < link.expires_at).ok_or(ApiError::NoLink)?;
    view.song(link.song)?.ok_or(ApiError::NoLink)
}

/// Shows the song of a link, with the addresses of its files below the link.
#[utoipa::path(get, path = "/shared/{secret}", tag = "sharing", params(("secret" = String, Path)), responses(
    (status = 200, body = Answer<SongData>),
))]
pub(crate) async fn song(state: State, Path(secret): Path<String>) -> Result<Answer<SongData>, ApiError> {
    state
        .read(move |view| {
            let secret = Secret::shown(&secret);
            let song = song_of_link(view, &secret)?;
            let under = format!("/shared/{}", secret.plain());
            // A link does not reveal the uploader.
            let song = Song { uploader_id: None, ..song };
            Ok(Answer::with(SongData { song: SongView::under(view, song, &under)? }))
        })
        .await
}

/// Lists the links to a song.
///
/// Only the uploader and administrators have access.
#[utoipa::path(get, path = "/songs/{id}/links", tag = "sharing", params(("id" = u64, Path)), responses(
    (status = 200, body = Answer<LinksData>),
))]
pub(crate) async fn list(
    state: State,
    auth: RequestAuth,
    Path(id): Path<String>,
) -> Result<Answer<LinksData>, ApiError> {
    state
        .read_for(&auth, move |view, caller| {
            let (song, at) = (song_to_change(view, caller, &id)?, now());
            let valid = view.links_of(song.id)?.into_iter().filter(|link| at < link.expires_at);
            let links = valid.map(|Link { id, created_at, expires_at, .. }| LinkView { id, created_at, expires_at });
            Ok(Answer::with(LinksData { links: links.collect() }))
        })
        .await
}

/// The parameters of a new link.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateLink {
    /// The lifetime in days, 1 to 365. The default is 7.
    #[schema(minimum = 1, maximum = 365)]
    days: Option<u64>,
}

/// Creates a link to a song. Only this response contains its address.
///
/// Only the uploader and administrators have access. The body is a form or JSON.
#[utoipa::path(post, path = "/songs/{id}/links", tag = "sharing",
    params(("id" = u64, Path)),
    request_body = CreateLink,
    responses(
        (status = 201, body = Answer<NewLinkData>),
        (status = 409, description = "The song has too many links"),
        (status = 422),
    )
)]
pub(crate) async fn create(
    state: State,
    auth: RequestAuth,
    Path(id): Path<String>,
    JsonOrForm(new): JsonOrForm<CreateLink>,
) -> Result<(StatusCode, Answer<NewLinkData>), ApiError> {
    let song = state.read_for(&auth, move |view, caller| song_to_change(view, caller, &id)).await?.id;
    let days = new.days.unwrap_or(DAYS);
    let mut errors = ValidationErrors::default();
    if !(1..=MOST_DAYS).contains(&days) {
        errors.add("days", Code::BadDays, format!("Use 1 to {MOST_DAYS} days."));
    }
    errors.finish()?;
    let (secret, at) = (Secret::new("")?, now());
    let expires_at = at + days * DAY;
    let command = MakeLink { secret: secret.hash(), song, expires_at, at };
    let id = state.create("creating a link", command).await?;
    let link = LinkView { id, created_at: at, expires_at };
    Ok((StatusCode::CREATED, Answer::with(NewLinkData { link, address: format!("/shared/{}", secret.plain()) })))
}

/// Deletes a link.
///
/// Only the uploader and administrators have access.
#[utoipa::path(delete, path = "/songs/{id}/links/{link}", tag = "sharing",
    params(("id" = u64, Path), ("link" = u64, Path)),
    responses(
        (status = 200, body = Answer<Empty>),
    )
)]
pub(crate) async fn delete(
    state: State,
    auth: RequestAuth,
    Path((id, link)): Path<(String, String)>,
) -> Result<Answer<Empty>, ApiError> {
    let song = state.read_for(&auth, move |view, caller| song_to_change(view, caller, &id)).await?.id;
    let link = number_of("link", &link)?;
    state.cluster.propose(RemoveLink { song, link }).await??;
    Ok(Answer::with(Empty {}))
}
