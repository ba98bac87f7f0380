//! OpenSubsonic (`/rest/*`), for players that use this protocol.
//!
//! The methods call the functions of [`crate::api`], so players and the page have the same view and the same access.
//! [`METHODS`] lists every method in one line. Methods of features that Quartet does not have return empty lists, which
//! players handle best.
//!
//! A method accepts GET and POST, with and without `.view` at the end of its name, and parameters in the address or in
//! a form. A response always has status 200; errors have the protocol's own codes. `/api/openapi.json` does not
//! describe the methods: the protocol has its own specification, and OpenAPI cannot describe some forty methods at one
//! address.

mod account;
mod annotation;
mod answer;
mod auth;
mod browse;
mod elements;
mod failure;
mod ids;
mod library;
mod lists;
mod media;
mod params;
mod playlists;
mod search;

use std::sync::Arc;

use axum::extract::{Path, Request};
use axum::http::{HeaderMap, Method as HttpMethod};
use axum::response::Response;
use futures_util::future::BoxFuture;
use state::View;

use self::answer::Element;
use self::failure::Failure;
use self::library::Look;
use self::params::Params;
use crate::app::State;
use crate::auth::caller::Caller;
use crate::auth::client::Client;
use crate::auth::request_auth::RequestAuth;
use crate::http::error::ApiError;

/// An authenticated request.
struct SubsonicRequest {
    state: State,
    auth: RequestAuth,
    params: Arc<Params>,
    method: HttpMethod,
    headers: HeaderMap,
}

impl SubsonicRequest {
    fn looking<T>(
        &self,
        look: impl FnOnce(Look<'_>) -> Result<T, Failure> + Send + 'static,
    ) -> impl FnOnce(&View, &Caller) -> Result<Result<T, Failure>, ApiError> + Send + 'static {
        let params = Arc::clone(&self.params);
        move |view, caller| Ok(look(Look { view, caller, params: &params }))
    }

    /// Reads the newest committed state.
    async fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(Look<'_>) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        self.state.read_for(&self.auth, self.looking(look)).await?
    }

    /// Reads the newest committed state or, without a majority, the state that this node applied last.
    async fn look_or_peek<T: Send + 'static>(
        &self,
        look: impl FnOnce(Look<'_>) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        self.state.read_or_peek_for(&self.auth, self.looking(look)).await?
    }
}

/// What a method does, for authenticated users unless it is public.
enum Method {
    /// Returns a constant, without authentication.
    Public(fn() -> Element),
    /// Returns a constant.
    Constant(fn() -> Element),
    /// Reads the state.
    Read(fn(Look<'_>) -> Result<Element, Failure>),
    /// Changes something.
    Write(fn(SubsonicRequest) -> BoxFuture<'static, Result<Element, Failure>>),
    /// Returns a file.
    File(fn(SubsonicRequest) -> BoxFuture<'static, Result<Response, Failure>>),
}

use Method::{Constant, File, Public, Read, Write};

/// An empty object, or one with an empty list.
fn empty(name: &'static str, list: Option<&'static str>) -> Element {
    let inner = list.map_or_else(Element::new, |list| Element::new().many(list, Vec::new()));
    Element::new().one(name, inner)
}

/// Every method.
const METHODS: &[(&str, Method)] = &[
    ("ping", Constant(Element::new)),
    ("getLicense", Constant(|| Element::new().one("license", Element::new().flag("valid", true)))),
    ("getOpenSubsonicExtensions", Public(account::extensions)),
    ("tokenInfo", Read(account::token)),
    ("getUser", Read(account::user)),
    ("getMusicFolders", Read(browse::folders)),
    ("getIndexes", Read(browse::folders_indexes)),
    ("getMusicDirectory", Read(browse::directory)),
    ("getArtists", Read(browse::artists)),
    ("getArtist", Read(browse::artist)),
    ("getAlbum", Read(browse::album)),
    ("getSong", Read(browse::song)),
    ("getGenres", Read(browse::genres)),
    ("getAlbumList", Read(lists::album_list)),
    ("getAlbumList2", Read(lists::album_list_by_tags)),
    ("getRandomSongs", Read(lists::random_songs)),
    ("getSongsByGenre", Read(lists::songs_by_genre)),
    ("getTopSongs", Read(lists::top_songs)),
    ("getStarred", Read(lists::starred)),
    ("getStarred2", Read(lists::starred_by_tags)),
    ("search2", Read(search::search)),
    ("search3", Read(search::search_by_tags)),
    ("getPlaylists", Read(playlists::list)),
    ("getPlaylist", Read(playlists::one)),
    ("createPlaylist", Write(|asked| Box::pin(playlists::create(asked)))),
    ("updatePlaylist", Write(|asked| Box::pin(playlists::update(asked)))),
    ("deletePlaylist", Write(|asked| Box::pin(playlists::delete(asked)))),
    ("star", Write(|asked| Box::pin(annotation::star(asked)))),
    ("unstar", Write(|asked| Box::pin(annotation::unstar(asked)))),
    ("setRating", Write(|asked| Box::pin(annotation::rate(asked)))),
    ("scrobble", Write(|asked| Box::pin(annotation::scrobble(asked)))),
    ("stream", File(|asked| Box::pin(media::stream(asked)))),
    ("download", File(|asked| Box::pin(media::download(asked)))),
    ("getCoverArt", File(|asked| Box::pin(media::cover(asked)))),
    ("getAvatar", Read(account::avatar)),
    ("getScanStatus", Constant(account::scan)),
    ("startScan", Constant(account::scan)),
    // Features that Quartet does not have.
    ("getNowPlaying", Constant(|| empty("nowPlaying", Some("entry")))),
    ("getLyrics", Constant(|| Element::new().one("lyrics", Element::new().text("value", "")))),
    ("getLyricsBySongId", Constant(|| empty("lyricsList", Some("structuredLyrics")))),
    ("getArtistInfo", Constant(|| empty("artistInfo", Some("similarArtist")))),
    ("getArtistInfo2", Constant(|| empty("artistInfo2", Some("similarArtist")))),
    ("getAlbumInfo", Constant(|| empty("albumInfo", None))),
    ("getAlbumInfo2", Constant(|| empty("albumInfo", None))),
    ("getSimilarSongs", Constant(|| empty("similarSongs", Some("song")))),
    ("getSimilarSongs2", Constant(|| empty("similarSongs2", Some("song")))),
    ("getPodcasts", Constant(|| empty("podcasts", Some("channel")))),
    ("getNewestPodcasts", Constant(|| empty("newestPodcasts", Some("episode")))),
    ("getInternetRadioStations", Constant(|| empty("internetRadioStations", Some("internetRadioStation")))),
    ("getBookmarks", Constant(|| empty("bookmarks", Some("bookmark")))),
    ("getShares", Constant(|| empty("shares", Some("share")))),
    // The protocol has no empty queue: the field is missing.
    ("getPlayQueue", Constant(Element::new)),
    ("getVideos", Constant(|| empty("videos", Some("video")))),
];

/// Handles the request of a player.
pub(crate) async fn answer(state: State, client: Client, Path(name): Path<String>, request: Request) -> Response {
    let (method, headers) = (request.method().clone(), request.headers().clone());
    let (params, readable) = Params::of(request).await;
    let (form, form_known) = params.form();
    let name = name.strip_suffix(".view").unwrap_or(&name).to_owned();
    let asked = async {
        readable?;
        form_known?;
        let unknown = || Failure::NotOffered("Unknown method.".into());
        let does = &METHODS.iter().find(|(known, _)| *known == name).ok_or_else(unknown)?.1;
        if let Public(constant) = does {
            return Ok(form.answer(Ok(constant())));
        }
        let auth = auth::authenticate(&state, &client, &params).await?;
        let asked = SubsonicRequest { state, auth, params: Arc::new(params), method, headers };
        Ok(match *does {
            Public(constant) | Constant(constant) => form.answer(asked.look(move |_| Ok(constant())).await),
            Read(look) => form.answer(asked.look(look).await),
            Write(act) => form.answer(act(asked).await),
            File(give) => give(asked).await?,
        })
    };
    asked.await.unwrap_or_else(|failure| form.answer(Err(failure)))
}
