//! Files: songs and stems, whole or in ranges, as MP3 and WAV.
//!
//! A blob is served in pieces, each compared with its hash before it is sent. A damaged or missing piece is fetched
//! from another node in the middle of the answer, and the listener hears nothing of it. A large blob that this node does
//! not hold is passed on piece by piece, from the first byte that is asked for, while it is brought here for the next
//! listener: nobody who seeks in a long song waits for the whole of it.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::Path;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt, stream};
use inference::encode::{Format, encode};
use inference::tags::tags_of;
use raft::View;
use raft::state::{JobState, Song, Stems};
use serde::Deserialize;
use storage::blobs::{BlobError, Hash, Manifest, PIECE};
use storage::sharing::{ShareError, Sharing};
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio_util::io::ReaderStream;
use utoipa::IntoParams;

use super::links::opened;
use super::models::shape_of;
use super::songs::song_of;
use crate::State;
use crate::answer::{Answer, Empty};
use crate::caller::Visitor;
use crate::error::ApiError;
use crate::query::Query;
use crate::ranges::{Selection, if_range_holds, match_hits, none_match_hits, select};
use crate::secret::Secret;

/// A file of more pieces than these is passed on while it is fetched; a shorter one is here as soon as its first piece.
const AT_ONCE: usize = 4;
/// Bytes that a frame takes while a file is converted: two decoded samples, and what is made of them.
const BYTES_A_FRAME: u64 = 12;

/// How a file should be offered.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Offer {
    /// Anything but `false`: the browser should save the file and not play it.
    pub download: Option<String>,
    /// Which separation of the song the stem is from: its job's number. The song's own if it is not given.
    pub job: Option<u64>,
}

/// A file to be served.
pub(crate) struct Served {
    pub(crate) source: Source,
    /// Without quotes; the bytes follow from it.
    pub(crate) tag: String,
    /// The extension.
    pub(crate) format: String,
    /// What the file should be called where it is saved, without extension.
    pub(crate) name: String,
    pub(crate) download: bool,
}

/// Where its bytes are.
pub(crate) enum Source {
    /// In a blob, somewhere in the cluster.
    Blob(Hash),
    /// In a file that this node made.
    Made(PathBuf),
}

/// How a request comes to a song.
pub(crate) enum Way {
    /// By its number, as somebody whom it may be for.
    Id(Visitor, String),
    /// By a link.
    Link(Secret),
}

impl Way {
    pub(crate) fn link(secret: &str) -> Self {
        Self::Link(Secret::shown(secret))
    }

    /// Looks at the song in the state, if it is there for who asks.
    pub(crate) async fn look<T: Send + 'static>(
        self,
        state: &State,
        look: impl FnOnce(&View, Song) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        match self {
            Self::Id(visitor, id) => {
                state.read_or_peek_for(&visitor, move |view, caller| look(view, song_of(view, caller, &id)?)).await
            }
            Self::Link(secret) => state.read_or_peek(move |view, _| look(view, opened(view, &secret)?)).await,
        }
    }
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
    let name = if part == "song" { song.title } else { format!("{} - {part}", song.title) };
    let download = offer.download.is_some_and(|download| download != "false");
    let served = Served { source, tag, format: format.to_owned(), name, download };
    serve(&state.app.sharing, served, &method, &headers).await
}

/// Where a song's file comes from.
pub(crate) enum Found {
    Blob(Hash),
    /// From a file in another format, whose extension this is.
    Converted {
        from: Hash,
        extension: String,
    },
}

impl Found {
    /// A stem's file of a format, of those that there are.
    pub(crate) fn of(files: &BTreeMap<String, Hash>, format: &str) -> Option<Self> {
        match (files.get(format), best_of(files)) {
            (Some(hash), _) => Some(Self::Blob(*hash)),
            (None, Some((extension, from))) => Some(Self::Converted { from, extension }),
            (None, None) => None,
        }
    }

    /// Where the file is, once it is made, and a tag for its bytes. The song has so many frames.
    pub(crate) async fn source(self, state: &State, format: &str, frames: u64) -> Result<(Source, String), ApiError> {
        match self {
            Self::Blob(hash) => Ok((Source::Blob(hash), hash.to_string())),
            Self::Converted { from, extension } => {
                let made = convert(state, from, extension, format, frames).await?;
                Ok((Source::Made(made), format!("{from}-{format}")))
            }
        }
    }
}

fn find(view: &View, song: &Song, job: Option<u64>, file: &str) -> Result<Found, ApiError> {
    let known = file.rsplit_once('.');
    if let Some(("song", format)) = known {
        return match format {
            _ if format == song.format => Ok(Found::Blob(song.hash)),
            "mp3" | "wav" | "flac" => Ok(Found::Converted { from: song.hash, extension: song.format.clone() }),
            _ => Err(no_part(song, None, file)),
        };
    }
    if let Some(("peaks", "json")) = known {
        // A song that was split by an older version has none.
        let peaks = stems_of(view, song, job, &[])?.peaks;
        return peaks.map(Found::Blob).ok_or_else(|| no_part(song, None, file));
    }
    let Some((part, format @ ("mp3" | "wav" | "flac"))) = known else {
        return Err(no_part(song, None, file));
    };
    let stems = stems_of(view, song, job, &[part])?;
    let found = stems.files.get(part).and_then(|files| Found::of(files, format));
    found.ok_or_else(|| no_part(song, Some(&stems), file))
}

/// The file of a stem that lost least, with its extension.
pub(crate) fn best_of(files: &BTreeMap<String, Hash>) -> Option<(String, Hash)> {
    let of = |format: &str| Some((format.to_owned(), *files.get(format)?));
    of("wav").or_else(|| of("flac")).or_else(|| of("mp3"))
}

/// The stems of the song's own separation, or of the one that is this job. If they are not made, those in `wanted` that
/// it would not make either are no parts at all.
pub(crate) fn stems_of(view: &View, song: &Song, job: Option<u64>, wanted: &[&str]) -> Result<Stems, ApiError> {
    let found = view.job_of(song, job)?;
    let job = found.ok_or_else(|| ApiError::NoJob(job.unwrap_or(song.job).to_string()))?;
    if let Some(stems) = job.stems {
        return Ok(stems);
    }
    if let Some((sources, _)) = shape_of(view, &job.model)?
        && let sources = job.selection.of(&sources)
        && let Some(unknown) = wanted.iter().find(|part| !sources.iter().any(|source| source == *part))
    {
        return Err(ApiError::NoPart(format!(
            "A song has no part {unknown:?}. This one will have: song, {}.",
            sources.join(", ")
        )));
    }
    Err(ApiError::NotSplit(match job.state {
        JobState::Failed | JobState::Cancelled => format!(
            "The song {} has no stems, because its job was {}. POST /jobs/{}/retry tries again.",
            song.id,
            if job.state == JobState::Failed { "a failure" } else { "cancelled" },
            job.id
        ),
        _ => format!(
            "The song {} is not split yet: {} of {} tasks are done. GET /jobs/{} says how it is going.",
            song.id, job.done, job.tasks, job.id
        ),
    }))
}

fn no_part(song: &Song, stems: Option<&Stems>, file: &str) -> ApiError {
    let asked: String = file.chars().take(40).collect();
    let parts: Vec<&str> = stems.map_or_else(
        || vec!["vocals", "drums", "bass", "other"],
        |stems| stems.files.keys().map(String::as_str).collect(),
    );
    ApiError::NoPart(format!(
        "The song {} has no file {asked:?}. Ask for one of song, {}, with the ending .mp3, .wav or .flac.",
        song.id,
        parts.join(", ")
    ))
}

/// A file in another format, made once, of a song this long.
async fn convert(state: &State, from: Hash, extension: String, format: &str, frames: u64) -> Result<PathBuf, ApiError> {
    let name = format!("made-{from}.{format}");
    if let Some(made) = state.cache.kept(&name).await {
        return Ok(made);
    }
    let sharing = &state.app.sharing;
    let (path, to, blobs) = (sharing.whole(&from).await?, format.to_owned(), sharing.blobs().clone());
    let make = move |half: &FilePath| {
        blobs.expect_room(frames.saturating_mul(BYTES_A_FRAME))?;
        convert_here(&path, &extension, half, &to)
    };
    state.cache.get(&name, make).await
}

fn convert_here(from: &FilePath, hint: &str, half: &FilePath, to: &str) -> Result<(), ApiError> {
    let mut samples = half.as_os_str().to_owned();
    samples.push(".samples");
    let pcm = inference::decode::decode_to(from, Some(hint), FilePath::new(&samples))?;
    let format = match to {
        "wav" => Format::WORKING,
        "flac" => Format::Flac { bits: 16 },
        _ => Format::LISTENING,
    };
    let (tags, _) = tags_of(from, Some(hint))?;
    Ok(encode(&pcm, half, format, &tags)?)
}

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
pub(crate) async fn cover(
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
pub(crate) async fn cover_by_link(
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
    let served =
        Served { source: Source::Blob(cover.hash), tag: cover.hash.to_string(), format, name, download: false };
    serve(&state.app.sharing, served, &method, &headers).await
}

/// Answers with a file, or the part of it that is asked for.
pub(crate) async fn serve(
    sharing: &Sharing,
    served: Served,
    method: &Method,
    headers: &HeaderMap,
) -> Result<Response, ApiError> {
    let tag = format!("\"{}\"", served.tag);
    let field = |name| headers.get(name).and_then(|value| value.to_str().ok());
    if field(header::IF_MATCH).is_some_and(|tags| !match_hits(tags, &tag)) {
        return Err(ApiError::Precondition);
    }
    if field(header::IF_NONE_MATCH).is_some_and(|tags| none_match_hits(tags, &tag)) {
        let mut response = StatusCode::NOT_MODIFIED.into_response();
        describe(response.headers_mut(), &served, &tag);
        return Ok(response);
    }

    let opened = open(sharing, &served.source).await?;
    let length = opened.length();
    let range = field(header::RANGE)
        .filter(|_| *method == Method::GET)
        .filter(|_| field(header::IF_RANGE).is_none_or(|condition| if_range_holds(condition, &tag)));
    let (status, first, end) = match range.map_or(Selection::Whole, |range| select(range, length)) {
        Selection::Whole => (StatusCode::OK, 0, length),
        Selection::Part { first, last } => (StatusCode::PARTIAL_CONTENT, first, last + 1),
        Selection::Unsatisfiable => {
            let mut response = StatusCode::RANGE_NOT_SATISFIABLE.into_response();
            describe(response.headers_mut(), &served, &tag);
            response.headers_mut().remove(header::CONTENT_DISPOSITION);
            set(response.headers_mut(), header::CONTENT_RANGE, &format!("bytes */{length}"));
            return Ok(response);
        }
    };
    let body = if *method == Method::HEAD { Body::empty() } else { opened.body(first, end).await? };
    let mut response = (status, body).into_response();
    describe(response.headers_mut(), &served, &tag);
    set(response.headers_mut(), header::CONTENT_TYPE, content_type(&served.format));
    response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(end - first));
    if status == StatusCode::PARTIAL_CONTENT {
        let range = format!("bytes {first}-{}/{length}", end - 1);
        set(response.headers_mut(), header::CONTENT_RANGE, &range);
    }
    Ok(response)
}

pub(crate) fn set(headers: &mut HeaderMap, name: header::HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

fn describe(headers: &mut HeaderMap, served: &Served, tag: &str) {
    set(headers, header::ETAG, tag);
    set(headers, header::ACCEPT_RANGES, "bytes");
    // It may be kept, but a song that was deleted must be gone at the next request.
    set(headers, header::CACHE_CONTROL, "private, no-cache");
    let disposition = disposition(&served.name, &served.format, served.download);
    set(headers, header::CONTENT_DISPOSITION, &disposition);
}

/// What a file can be called: without what file systems and shells cannot bear.
pub(crate) fn safe_name(name: &str, format: &str) -> String {
    let name: String = name
        .chars()
        .map(|character| match character {
            '/' | '\\' | ':' | '*' | '?' | '"' | '<' | '>' | '|' => '_',
            character if character.is_control() => '_',
            character => character,
        })
        .collect();
    format!("{}.{format}", name.trim_matches(['.', ' ']))
}

/// RFC 6266: a plain name for old programs, and the real one percent-encoded (RFC 8187).
pub(crate) fn disposition(name: &str, format: &str, download: bool) -> String {
    let kind = if download { "attachment" } else { "inline" };
    let name = safe_name(name, format);
    let plain: String = name.chars().map(|character| if character.is_ascii() { character } else { '_' }).collect();
    let mut encoded = String::new();
    for byte in name.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(char::from(byte)),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    format!("{kind}; filename=\"{plain}\"; filename*=UTF-8''{encoded}")
}

pub(crate) fn content_type(format: &str) -> &'static str {
    match format {
        "mp3" => "audio/mpeg",
        "json" => "application/json",
        "jpeg" => "image/jpeg",
        "png" => "image/png",
        "webp" => "image/webp",
        "gif" => "image/gif",
        "wav" => "audio/wav",
        "flac" => "audio/flac",
        "ogg" | "oga" => "audio/ogg",
        "m4a" | "mp4" => "audio/mp4",
        "aac" => "audio/aac",
        "aif" | "aiff" => "audio/aiff",
        _ => "application/octet-stream",
    }
}

/// A blob, on this node's disk or passed on from another's.
#[derive(Clone)]
pub(crate) struct Blob {
    sharing: Sharing,
    hash: Hash,
    manifest: Arc<Manifest>,
}

/// A file whose length is known.
pub(crate) enum Opened {
    Blob(Blob),
    Made { file: tokio::fs::File, length: u64 },
}

pub(crate) async fn open(sharing: &Sharing, source: &Source) -> Result<Opened, ApiError> {
    match source {
        Source::Blob(hash) => {
            let manifest = match long_and_elsewhere(sharing, hash).await? {
                Some(manifest) => {
                    let (sharing, hash) = (sharing.clone(), *hash);
                    tokio::spawn(async move {
                        if let Err(error) = sharing.fetch(&hash).await {
                            tracing::debug!(%hash, %error, "a file that is passed on is not kept");
                        }
                    });
                    manifest
                }
                None => match sharing.fetch(hash).await {
                    Ok(()) => {
                        let (blobs, wanted) = (sharing.blobs().clone(), *hash);
                        crate::blocking("reading a manifest", move || blobs.manifest(&wanted)).await??
                    }
                    // What this node has no room for it hands through.
                    Err(ShareError::Blob(BlobError::Full)) => sharing.manifest_elsewhere(hash).await?,
                    Err(error) => return Err(error.into()),
                },
            };
            Ok(Opened::Blob(Blob { sharing: sharing.clone(), hash: *hash, manifest: Arc::new(manifest) }))
        }
        Source::Made(path) => {
            let opening = async {
                let file = tokio::fs::File::open(path).await?;
                let length = file.metadata().await?.len();
                Ok(Opened::Made { file, length })
            };
            opening.await.map_err(|error: io::Error| ApiError::io("opening a file", &error))
        }
    }
}

/// The manifest of a blob that this node does not hold and that takes a while to fetch.
async fn long_and_elsewhere(sharing: &Sharing, hash: &Hash) -> Result<Option<Manifest>, ApiError> {
    let (blobs, wanted) = (sharing.blobs().clone(), *hash);
    if crate::blocking("looking for a file", move || blobs.contains(&wanted)).await? {
        return Ok(None);
    }
    let manifest = sharing.manifest_elsewhere(hash).await?;
    Ok(Some(manifest).filter(|manifest| manifest.length > AT_ONCE as u64 * PIECE))
}

impl Opened {
    pub(crate) fn length(&self) -> u64 {
        match self {
            Self::Blob(blob) => blob.manifest.length,
            Self::Made { length, .. } => *length,
        }
    }

    /// The bytes `first..end`. What cannot be had at all is known before the answer begins.
    pub(crate) async fn body(self, first: u64, end: u64) -> Result<Body, ApiError> {
        match self {
            Self::Made { mut file, .. } => {
                file.seek(io::SeekFrom::Start(first)).await.map_err(|error| ApiError::io("reading a file", &error))?;
                Ok(Body::from_stream(ReaderStream::with_capacity(file.take(end - first), 64 << 10)))
            }
            Self::Blob(blob) => {
                if first == end {
                    return Ok(Body::empty());
                }
                let beginning = blob.bytes(first, end).await?;
                let at = first + beginning.len() as u64;
                let rest = stream::unfold(at, move |at| {
                    let blob = blob.clone();
                    async move {
                        if at >= end {
                            return None;
                        }
                        match blob.bytes(at, end).await {
                            Ok(bytes) => {
                                let next = at + bytes.len() as u64;
                                Some((Ok(bytes), next))
                            }
                            // The answer is shorter than it promised, so the client knows that it broke off.
                            Err(error) => Some((Err(io::Error::other(error)), end)),
                        }
                    }
                });
                let beginning = stream::once(async move { Ok::<_, io::Error>(beginning) });
                Ok(Body::from_stream(beginning.chain(rest)))
            }
        }
    }
}

impl Blob {
    /// The verified bytes from `at` to the end of their piece, or to `end`.
    async fn bytes(&self, at: u64, end: u64) -> Result<Bytes, ApiError> {
        let index = usize::try_from(at / PIECE).unwrap_or(usize::MAX);
        let bytes = match self.read(index).await? {
            Err(BlobError::Missing(_)) => self.elsewhere(index).await?,
            Err(BlobError::Corrupt(_)) => match self.sharing.fetch(&self.hash).await {
                Ok(()) => self.read(index).await??,
                Err(ShareError::Blob(BlobError::Full)) => self.elsewhere(index).await?,
                Err(error) => return Err(error.into()),
            },
            read => read?,
        };
        let start = index as u64 * PIECE;
        let from = usize::try_from(at - start).unwrap_or(usize::MAX).min(bytes.len());
        let to = usize::try_from(end - start).unwrap_or(usize::MAX).min(bytes.len());
        if from >= to {
            return Err(ApiError::Internal("reading a file that is shorter than it should be".into()));
        }
        Ok(Bytes::from(bytes).slice(from..to))
    }

    async fn elsewhere(&self, index: usize) -> Result<Vec<u8>, ShareError> {
        let piece = self.sharing.piece_elsewhere(&self.hash, &self.manifest, index).await?;
        metrics::counter!("quartet_blobs_passed_bytes_total").increment(piece.len() as u64);
        Ok(piece)
    }

    async fn read(&self, index: usize) -> Result<Result<Vec<u8>, BlobError>, ApiError> {
        let (blobs, manifest, hash) = (self.sharing.blobs().clone(), Arc::clone(&self.manifest), self.hash);
        crate::blocking("reading a file", move || blobs.piece(&hash, &manifest, index)).await
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    #[test]
    fn titles_become_safe_file_names() {
        assert_eq!(
            disposition("So What - drums", "mp3", false),
            "inline; filename=\"So What - drums.mp3\"; filename*=UTF-8''So%20What%20-%20drums.mp3"
        );
        assert_eq!(
            disposition("Für \"Elise\"\r\nX: y/../z", "wav", true),
            "attachment; filename=\"F_r _Elise___X_ y_.._z.wav\"; \
             filename*=UTF-8''F%C3%BCr%20_Elise___X_%20y_.._z.wav"
        );
        for title in ["", "...", "\u{0}", "音楽", &"x".repeat(200)] {
            assert!(HeaderValue::from_str(&disposition(title, "mp3", true)).is_ok());
        }
    }
}
