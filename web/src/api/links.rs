//! Links: secret addresses under which one song can be heard by whoever has them, until they end.
//!
//! Under `/shared/SECRET` the song lies as it does under `/songs/ID`, its files beside it, so that a page can play them
//! without showing anything else. The secret is in the address and nowhere else: logs and numbers name the route, and
//! pages are told not to pass it on.

use axum::extract::Path;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use state::View;
use state::command::Command;
use state::{Link, Song};
use utoipa::ToSchema;

use super::number_of;
use super::shares::owned;
use super::song_view::SongView;
use super::songs::SongData;
use crate::answer::{Answer, Empty};
use crate::caller::Visitor;
use crate::dates::DAY;
use crate::error::ApiError;
use crate::fields::{Faults, Fields};
use crate::secret::Secret;
use crate::{State, now};

/// For how many days a link lasts if nothing else is said.
const DAYS: u64 = 7;
/// The most days.
const MOST_DAYS: u64 = 365;

/// A link, without its secret.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct LinkView {
    /// Its number.
    pub id: u64,
    /// When it was made, in milliseconds since 1970.
    pub created_at: u64,
    /// When it ends.
    pub expires_at: u64,
}

/// A song's links.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct LinksData {
    /// Oldest first.
    pub links: Vec<LinkView>,
}

/// A link that was just made.
#[derive(Serialize, ToSchema)]
pub struct NewLinkData {
    /// The link.
    pub link: LinkView,
    /// Its address at every node, which is told this once.
    #[schema(example = "/shared/5f1d...")]
    pub address: String,
}

/// The song that a link opens.
pub(crate) fn opened(view: &View, secret: &Secret) -> Result<Song, ApiError> {
    let link: Link = view.link(&secret.hash())?.filter(|link| now() < link.expires_at).ok_or(ApiError::NoLink)?;
    view.song(link.song)?.ok_or(ApiError::NoLink)
}

/// Shows the song that a link opens, with the addresses of its files under the link.
///
/// Whoever has the link may call this, also where nobody is let in without an account.
#[utoipa::path(get, path = "/shared/{secret}", tag = "sharing", security(()), params(("secret" = String, Path)), responses(
    (status = 200, body = Answer<SongData>),
    (status = 404, description = "The link opens nothing", body = Answer<Empty>),
    (status = 503, description = "No majority of the nodes answers", body = Answer<Empty>),
))]
pub(crate) async fn song(state: State, Path(secret): Path<String>) -> Result<Answer<SongData>, ApiError> {
    state
        .read(move |view| {
            let secret = Secret::shown(&secret);
            let song = opened(view, &secret)?;
            let under = format!("/shared/{}", secret.plain());
            // Whose it is, is not for everybody who has the link.
            let song = Song { uploader_id: None, ..song };
            Ok(Answer::with(SongData { song: SongView::under(view, song, &under)? }))
        })
        .await
}

/// Lists a song's links.
///
/// Whose song it is and administrators may call this.
#[utoipa::path(get, path = "/songs/{id}/links", tag = "sharing", security(("session" = []), ("token" = [])), params(("id" = u64, Path)), responses(
    (status = 200, body = Answer<LinksData>),
    (status = 401, description = "Nobody is logged in", body = Answer<Empty>),
    (status = 404, description = "No such song, or somebody else's", body = Answer<Empty>),
    (status = 503, description = "No majority of the nodes answers", body = Answer<Empty>),
))]
pub(crate) async fn list(
    state: State,
    visitor: Visitor,
    Path(id): Path<String>,
) -> Result<Answer<LinksData>, ApiError> {
    state
        .read_for(&visitor, move |view, caller| {
            let (song, at) = (owned(view, caller, &id)?, now());
            let alive = view.links_of(song.id)?.into_iter().filter(|link| at < link.expires_at);
            let links = alive.map(|Link { id, created_at, expires_at, .. }| LinkView { id, created_at, expires_at });
            Ok(Answer::with(LinksData { links: links.collect() }))
        })
        .await
}

/// A link to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LinkWish {
    /// After how many days it ends, 1 to 365; 7 if it is not given.
    #[schema(minimum = 1, maximum = 365)]
    days: Option<u64>,
}

/// Makes a link to a song. Its address is told this once.
///
/// Whose song it is and administrators may call this. Form or JSON.
#[utoipa::path(post, path = "/songs/{id}/links", tag = "sharing", security(("session" = []), ("token" = [])), params(("id" = u64, Path)), request_body = LinkWish,
    responses(
        (status = 201, body = Answer<NewLinkData>),
        (status = 400, description = "Neither form nor JSON, or fields that are not known", body = Answer<Empty>),
        (status = 401, description = "Nobody is logged in", body = Answer<Empty>),
        (status = 404, description = "No such song, or somebody else's", body = Answer<Empty>),
        (status = 409, description = "There are too many already", body = Answer<Empty>),
        (status = 422, description = "`days` is none of 1 to 365", body = Answer<Empty>),
        (status = 503, description = "No majority of the nodes answers", body = Answer<Empty>),
    )
)]
pub(crate) async fn make(
    state: State,
    visitor: Visitor,
    Path(id): Path<String>,
    Fields(asked): Fields<LinkWish>,
) -> Result<(StatusCode, Answer<NewLinkData>), ApiError> {
    let song = state.read_for(&visitor, move |view, caller| owned(view, caller, &id)).await?.id;
    let days = asked.days.unwrap_or(DAYS);
    let mut faults = Faults::default();
    if !(1..=MOST_DAYS).contains(&days) {
        faults.add("days", "bad_days", format!("A link lasts 1 to {MOST_DAYS} days."));
    }
    faults.none()?;
    let (secret, at) = (Secret::new("")?, now());
    let expires_at = at + days * DAY;
    let command = Command::MakeLink { secret: secret.hash(), song, expires_at, at };
    let id = state.make("making a link", command).await?;
    let link = LinkView { id, created_at: at, expires_at };
    Ok((StatusCode::CREATED, Answer::with(NewLinkData { link, address: format!("/shared/{}", secret.plain()) })))
}

/// Ends a link.
///
/// Whose song it is and administrators may call this.
#[utoipa::path(delete, path = "/songs/{id}/links/{link}", tag = "sharing", security(("session" = []), ("token" = [])),
    params(("id" = u64, Path), ("link" = u64, Path)),
    responses(
        (status = 200, body = Answer<Empty>),
        (status = 401, description = "Nobody is logged in", body = Answer<Empty>),
        (status = 404, description = "No such song or link, or somebody else's", body = Answer<Empty>),
        (status = 503, description = "No majority of the nodes answers", body = Answer<Empty>),
    )
)]
pub(crate) async fn remove(
    state: State,
    visitor: Visitor,
    Path((id, link)): Path<(String, String)>,
) -> Result<Answer<Empty>, ApiError> {
    let song = state.read_for(&visitor, move |view, caller| owned(view, caller, &id)).await?.id;
    let link = number_of("link", &link)?;
    state.app.cluster.propose(Command::RemoveLink { song, link }).await??;
    Ok(Answer::with(Empty {}))
}
