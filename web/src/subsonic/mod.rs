//! OpenSubsonic (`/rest/*`): Quartet for the players that speak it.
//!
//! It stands beside [`crate::api`] and does everything with its functions, so that a player and the page see and do the
//! same, and whose a song is is decided in one place. Each method is one line of [`METHODS`]. What a server may do and
//! this one does not is answered with empty lists there, which players bear best.
//!
//! Each method takes GET and POST, its name with and without `.view`, and its parameters in the address or in a form.
//! Answers have status 200 whatever went wrong; the protocol has numbers of its own for that. `/api/openapi.json` leaves
//! it out: those who made the protocol describe it, and with one status and some forty methods at one address OpenAPI
//! could say nothing that a program might check.

mod account;
mod answer;
mod browse;
mod describe;
mod failure;
mod find;
mod ids;
mod library;
mod listening;
mod lists;
mod media;
mod params;
mod playlists;
mod who;

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
use crate::State;
use crate::caller::{Caller, Visitor};
use crate::error::ApiError;

/// A request whose sender has shown who they are.
struct Asked {
    state: State,
    visitor: Visitor,
    params: Arc<Params>,
    method: HttpMethod,
    headers: HeaderMap,
}

impl Asked {
    fn looking<T>(
        &self,
        look: impl FnOnce(Look<'_>) -> Result<T, Failure> + Send + 'static,
    ) -> impl FnOnce(&View, &Caller) -> Result<Result<T, Failure>, ApiError> + Send + 'static {
        let params = Arc::clone(&self.params);
        move |view, caller| {
            // The protocol knows nobody without an account, whether others may do without or not.
            caller.known()?;
            Ok(look(Look { view, caller, params: &params }))
        }
    }

    /// Looks at the state as of now.
    async fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(Look<'_>) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        self.state.read_for(&self.visitor, self.looking(look)).await?
    }

    /// Looks at the state as of now or, while there is no majority, as this node last knew it.
    async fn look_or_peek<T: Send + 'static>(
        &self,
        look: impl FnOnce(Look<'_>) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        self.state.read_or_peek_for(&self.visitor, self.looking(look)).await?
    }
}

/// What a method does.
enum Method {
    /// It says this, to whoever asks.
    Open(fn() -> Element),
    /// It says this, to who has shown who they are.
    Says(fn() -> Element),
    /// It looks at the state.
    Looks(fn(Look<'_>) -> Result<Element, Failure>),
    /// It changes something.
    Does(fn(Asked) -> BoxFuture<'static, Result<Element, Failure>>),
    /// It gives a file.
    Gives(fn(Asked) -> BoxFuture<'static, Result<Response, Failure>>),
}

use Method::{Does, Gives, Looks, Open, Says};

/// An object with an empty list in it, or without.
fn empty(name: &'static str, list: Option<&'static str>) -> Element {
    let inner = list.map_or_else(Element::new, |list| Element::new().many(list, Vec::new()));
    Element::new().one(name, inner)
}

/// Every method that there is.
const METHODS: &[(&str, Method)] = &[
    ("ping", Says(Element::new)),
    ("getLicense", Says(|| Element::new().one("license", Element::new().flag("valid", true)))),
    ("getOpenSubsonicExtensions", Open(account::extensions)),
    ("tokenInfo", Looks(account::token)),
    ("getUser", Looks(account::user)),
    ("getMusicFolders", Looks(browse::folders)),
    ("getIndexes", Looks(browse::folders_indexes)),
    ("getMusicDirectory", Looks(browse::directory)),
    ("getArtists", Looks(browse::artists)),
    ("getArtist", Looks(browse::artist)),
    ("getAlbum", Looks(browse::album)),
    ("getSong", Looks(browse::song)),
    ("getGenres", Looks(browse::genres)),
    ("getAlbumList", Looks(lists::album_list)),
    ("getAlbumList2", Looks(lists::album_list_by_tags)),
    ("getRandomSongs", Looks(lists::random_songs)),
    ("getSongsByGenre", Looks(lists::songs_by_genre)),
    ("getTopSongs", Looks(lists::top_songs)),
    ("getStarred", Looks(lists::starred)),
    ("getStarred2", Looks(lists::starred_by_tags)),
    ("search2", Looks(find::search)),
    ("search3", Looks(find::search_by_tags)),
    ("getPlaylists", Looks(playlists::list)),
    ("getPlaylist", Looks(playlists::one)),
    ("createPlaylist", Does(|asked| Box::pin(playlists::create(asked)))),
    ("updatePlaylist", Does(|asked| Box::pin(playlists::update(asked)))),
    ("deletePlaylist", Does(|asked| Box::pin(playlists::delete(asked)))),
    ("star", Does(|asked| Box::pin(listening::star(asked)))),
    ("unstar", Does(|asked| Box::pin(listening::unstar(asked)))),
    ("setRating", Does(|asked| Box::pin(listening::rate(asked)))),
    ("scrobble", Does(|asked| Box::pin(listening::scrobble(asked)))),
    ("stream", Gives(|asked| Box::pin(media::stream(asked)))),
    ("download", Gives(|asked| Box::pin(media::download(asked)))),
    ("getCoverArt", Gives(|asked| Box::pin(media::cover(asked)))),
    ("getAvatar", Looks(account::avatar)),
    ("getScanStatus", Says(account::scan)),
    ("startScan", Says(account::scan)),
    // What is not offered.
    ("getNowPlaying", Says(|| empty("nowPlaying", Some("entry")))),
    ("getLyrics", Says(|| Element::new().one("lyrics", Element::new().text("value", "")))),
    ("getLyricsBySongId", Says(|| empty("lyricsList", Some("structuredLyrics")))),
    ("getArtistInfo", Says(|| empty("artistInfo", Some("similarArtist")))),
    ("getArtistInfo2", Says(|| empty("artistInfo2", Some("similarArtist")))),
    ("getAlbumInfo", Says(|| empty("albumInfo", None))),
    ("getAlbumInfo2", Says(|| empty("albumInfo", None))),
    ("getSimilarSongs", Says(|| empty("similarSongs", Some("song")))),
    ("getSimilarSongs2", Says(|| empty("similarSongs2", Some("song")))),
    ("getPodcasts", Says(|| empty("podcasts", Some("channel")))),
    ("getNewestPodcasts", Says(|| empty("newestPodcasts", Some("episode")))),
    ("getInternetRadioStations", Says(|| empty("internetRadioStations", Some("internetRadioStation")))),
    ("getBookmarks", Says(|| empty("bookmarks", Some("bookmark")))),
    ("getShares", Says(|| empty("shares", Some("share")))),
    // There is no empty queue in the protocol: who has none has no such field.
    ("getPlayQueue", Says(Element::new)),
    ("getVideos", Says(|| empty("videos", Some("video")))),
];

/// Answers a player.
pub(crate) async fn answer(state: State, sender: Visitor, Path(name): Path<String>, request: Request) -> Response {
    let (method, headers) = (request.method().clone(), request.headers().clone());
    let (params, readable) = Params::of(request).await;
    let (form, form_known) = params.form();
    let name = name.strip_suffix(".view").unwrap_or(&name).to_owned();
    let asked = async {
        readable?;
        form_known?;
        let unknown = || Failure::NotOffered("There is no such method here.".into());
        let does = &METHODS.iter().find(|(known, _)| *known == name).ok_or_else(unknown)?.1;
        if let Open(says) = does {
            return Ok(form.answer(Ok(says())));
        }
        let visitor = who::visitor(&state, &sender.client, &params).await?;
        let asked = Asked { state, visitor, params: Arc::new(params), method, headers };
        Ok(match *does {
            Open(says) | Says(says) => form.answer(asked.look(move |_| Ok(says())).await),
            Looks(look) => form.answer(asked.look(look).await),
            Does(act) => form.answer(act(asked).await),
            Gives(give) => give(asked).await?,
        })
    };
    asked.await.unwrap_or_else(|failure| form.answer(Err(failure)))
}
