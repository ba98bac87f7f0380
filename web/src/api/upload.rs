//! Uploads: a form with a file, streamed to the disk while it is hashed, checked, shared with a majority, and only
//! then made a song.
//!
//! Refusals come as early as they can. A client that is still sending when it is refused would see a reset connection
//! instead of the answer, so what it sends is read and thrown away for a while; a client that waits for `100 Continue`
//! is answered without that.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use axum::body::{Body, BodyDataStream, Bytes};
use axum::extract::multipart::{Field, MultipartError};
use axum::extract::{DefaultBodyLimit, FromRequest, Multipart, Request};
use axum::http::{HeaderMap, header};
use futures_util::{StreamExt, stream};
use inference::decode::{self, DecodeError, Probe};
use inference::encode::Format;
use inference::{DEFAULT_MODEL, Geometry};
use raft::View;
use raft::command::{Answer as Applied, Command, Refusal};
use raft::state::{ACCOUNTS, Cover, Credits, OUTSIDE, Plan, Priority, Road};
use storage::blobs::{Blobs, Hash, Staged};
use tokio::sync::Mutex;
use utoipa::ToSchema;

use super::models::shape_of;
use super::songs::{SongData, SongView, TEXT_CHARACTERS};
use crate::answer::{Answer, Empty};
use crate::caller::{Caller, Visitor};
use crate::error::ApiError;
use crate::outside::{DELIVERED, delivers};
use crate::{State, now};
use inference::tags::{Tags, tags_of};
use inference::thread::at_low_priority;

/// The most bytes that anything but the file may have: the other fields and the form's own lines.
const FORM_BYTES: u64 = 64 << 10;
/// An upload of which no byte came for this long is given up.
const IDLE: Duration = Duration::from_secs(60);
/// How much of a refused upload is read and thrown away, in bytes and in time.
const DRAIN_BYTES: usize = 64 << 20;
/// See [`DRAIN_BYTES`].
const DRAIN_FOR: Duration = Duration::from_secs(10);
/// The field in which a client names an upload, to send it again without adding it again.
const KEY: &str = "idempotency-key";
/// The longest such name.
const KEY_BYTES: usize = 255;
/// For how many milliseconds it is remembered: a day.
const KEPT_FOR: u64 = 24 * 3600 * 1000;
/// Bytes that are gathered before they go to the disk.
const GATHERED: usize = 256 << 10;

/// The form that an upload is. Only for its description; it is never whole in memory.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it describes a form that is read field by field")]
pub(crate) struct UploadForm {
    /// At most 200 characters; if it is not given, the title in the file, or the file's name without its extension.
    #[schema(max_length = 200)]
    title: Option<String>,
    /// The model to separate with; the node's own choice if it is not given.
    model: Option<String>,
    /// The formats of the stems, with commas between them, no two of the same kind: `mp3:320`, `flac:16`, `flac:24`,
    /// `wav:int16`, `wav:int24`, `wav:float32`. MP3 and 16-bit WAV if it is not given.
    #[schema(example = "mp3:256,flac:24")]
    formats: Option<String>,
    /// How urgent its job is: `high`, `normal` or `low`; normal if it is not given.
    #[schema(pattern = "^(high|normal|low)$")]
    priority: Option<String>,
    /// Who separates it: `outside` for workers that are not of the cluster, or `cluster`. What cluster.toml says if it is
    /// not given. Songs that nobody outside takes are separated by the cluster.
    #[schema(pattern = "^(cluster|outside)$")]
    workers: Option<String>,
    /// The song: mp3, wav, flac, ogg (Vorbis), m4a or aac.
    #[schema(value_type = String, format = Binary)]
    file: Vec<u8>,
}

/// Takes a song in.
///
/// The answer comes when the file lies on a majority of the nodes and the song is committed; its separation has then
/// only begun. Whoever is let in may call this. What is uploaded without an account is for everybody; a user's songs are
/// theirs alone until they share them.
///
/// A client that gives the upload a key can send it again, to any node, when the answer was lost: for a day the answer is
/// the song that there is.
#[utoipa::path(post, path = "/songs/upload", tag = "songs",
    params(("Idempotency-Key" = Option<String>, Header, min_length = 1, max_length = 255, pattern = "^[ -~]+$",
        description = "A name for this upload that no other of the same caller has, such as a random UUID")),
    request_body(content = UploadForm, content_type = "multipart/form-data"),
    responses(
        (status = 200, body = Answer<SongData>),
        (status = 400, description = "No form, no file in it, or it broke off", body = Answer<Empty>),
        (status = 401, description = "Nobody is let in without an account, or the token opens nothing", body = Answer<Empty>),
        (status = 408, description = "No byte came for a minute", body = Answer<Empty>),
        (status = 409, description = "`workers` is `outside`, and the cluster has none there; or the song of this key is deleted", body = Answer<Empty>),
        (status = 413, description = "Larger than the limit", body = Answer<Empty>),
        (status = 415, description = "Not audio, or none that can be decoded here", body = Answer<Empty>),
        (status = 422, description = "Empty, damaged or cut off, too long, or its title is; or another upload had this key", body = Answer<Empty>),
        (status = 429, description = "The user has too many open jobs", body = Answer<Empty>),
        (status = 503, description = "No majority of the nodes answers, or too many uploads", body = Answer<Empty>),
        (status = 507, description = "This node has no room for it, or too few others have", body = Answer<Empty>),
    )
)]
pub(crate) async fn upload(state: State, visitor: Visitor, request: Request) -> Result<Answer<SongData>, ApiError> {
    let caller = state.read_for(&visitor, |_, caller| Ok(*caller)).await;
    let key = key_of(request.headers());
    let incoming = Incoming::new(request, state.app.limits.max_upload_bytes);
    let admitted = caller.and_then(|caller| Ok((caller, key?, state.upload_permit()?)));
    let (caller, key, received) = match admitted {
        Err(refused) => {
            incoming.drain().await;
            return Err(refused);
        }
        // The permit covers the receiving alone; what follows has limits of its own.
        Ok((caller, key, _permit)) => (caller, key, incoming.receive(state.app.sharing.blobs()).await?),
    };
    add(&state, &visitor, &caller, key, received).await
}

/// The client's own name for the upload, if it gave one.
fn key_of(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let mut keys = headers.get_all(KEY).iter();
    let Some(key) = keys.next() else { return Ok(None) };
    let text = key.to_str().ok().filter(|text| (1..=KEY_BYTES).contains(&text.len()) && keys.next().is_none());
    text.map(|text| Some(text.to_owned())).ok_or_else(|| {
        ApiError::Malformed(format!(
            "The Idempotency-Key cannot be one. Send one of 1 to {KEY_BYTES} ASCII characters, a random UUID for example."
        ))
    })
}

/// What an upload with a key is, so that it is known again.
struct Once {
    key: Hash,
    owner: Hash,
    content: Hash,
}

impl Once {
    fn new(key: &str, owner: &str, hash: &Hash, words: &str) -> Self {
        let owner = Hash::of(owner.as_bytes());
        let content = Hash::of(format!("{hash} {words}").as_bytes());
        Self { key: Hash::of(format!("{owner} {key}").as_bytes()), owner, content }
    }

    /// The song that this upload has become already.
    async fn done(&self, state: &State, caller: Caller) -> Result<Option<Answer<SongData>>, ApiError> {
        let (key, content) = (self.key, self.content);
        state
            .read(move |view| {
                if !view.has_level(ACCOUNTS)? {
                    return Err(Refusal::NoAccounts.into());
                }
                let Some(done) = view.done(&key)? else { return Ok(None) };
                let Some(song) = done.again(&content, now())? else { return Ok(None) };
                let song = view.song(song)?.ok_or(Refusal::SongOfKeyGone(song))?;
                Ok(Some(Answer::with(SongData { song: SongView::of(view, &caller, song)? })))
            })
            .await
    }

    /// The command that adds the song once.
    fn wrap(self, add: Command) -> Command {
        let (Self { key, owner, content }, at) = (self, now());
        Command::Once { key, owner, content, until: at + KEPT_FOR, add: Box::new(add), at }
    }
}

/// Who asks for a job, as the limits count: the user, or the address of who has no account.
pub(crate) fn owner(visitor: &Visitor, caller: &Caller) -> String {
    caller.user().map_or_else(|| visitor.client.name(), |user| format!("user:{user}"))
}

/// Checks, shares and commits what was received.
async fn add(
    state: &State,
    visitor: &Visitor,
    caller: &Caller,
    key: Option<String>,
    received: Received,
) -> Result<Answer<SongData>, ApiError> {
    let (app, owner) = (&state.app, owner(visitor, caller));
    let model = received.model.clone().unwrap_or_else(|| app.model.clone());
    let (asked, default) = (model.clone(), app.model.clone());
    let geometry = state.read(move |view| geometry_of(view, &asked, &default)).await?;

    let extension = extension(received.file_name.as_deref());
    let limits = decode::Limits { max_seconds: app.limits.max_seconds };
    let path = received.staged.path().to_owned();
    let (probe, (tags, cover)) = {
        let _permit = state.probe_permit().await?;
        let look = move || {
            let probe: Probe = decode::probe(&path, extension.as_deref(), &limits)?;
            let tags = tags_of(&path, Some(&probe.format))?;
            Ok::<_, DecodeError>((probe, tags))
        };
        at_low_priority("probe", look).await??
    };
    let frames = probe.frames;
    let segments = geometry.segments(frames);

    let words = received.words();
    let (hash, size) = received.staged.commit().await?;
    let once = key.map(|key| Once::new(&key, &owner, &hash, &words));
    if let Some(once) = &once
        && let Some(done) = once.done(state, *caller).await?
    {
        return Ok(done);
    }
    let road = road(state, received.workers, received.named.then_some(&received.formats), size).await?;
    // What will be refused need not travel first.
    let (asked, formats, whose) = (model.clone(), received.formats.clone(), owner.clone());
    let limit = app.limits.jobs_per_user;
    state.read(move |view| Ok(view.would_take(&hash, &asked, &formats, &whose, limit)?)).await??;
    let mut hashes = vec![hash];
    let cover = match cover {
        None => None,
        Some(cover) => {
            let mut staged = app.sharing.blobs().stage(cover.bytes.len() as u64).await?;
            staged.write(&cover.bytes).await?;
            let (hash, _) = staged.commit().await?;
            hashes.push(hash);
            Some(Cover { hash, mime: cover.mime.into() })
        }
    };
    // Last before the proposal: what is confirmed now outlasts any collection until that has committed, also where an
    // older song with this file is being deleted.
    app.sharing.spread(&hashes).await?;
    storage::failpoint!("upload.shared");
    let given =
        received.title.or_else(|| tags.title.clone()).map(|title| tidy(&title).chars().take(TEXT_CHARACTERS).collect());
    let title = given.filter(|title: &String| !title.is_empty());
    let title = title.unwrap_or_else(|| title_of(received.file_name.as_deref()));
    let command = Command::AddSong {
        title,
        credits: Box::new(credits_of(tags, cover)),
        hash,
        size,
        format: probe.format.to_string(),
        uploader_id: caller.user(),
        plan: Plan { frames, segments, segments_per_task: app.segments_per_task },
        model,
        formats: received.formats,
        max_attempts: app.max_attempts,
        priority: received.priority,
        owner,
        jobs_per_owner: limit,
        road,
        at: now(),
    };
    let command = match once {
        Some(once) => once.wrap(command),
        None => command,
    };
    let song = match app.cluster.propose(command).await?? {
        Applied::Song(song) => song,
        other => {
            tracing::error!(?other, "a song was added and something else came back");
            return Err(ApiError::Internal("adding the song".into()));
        }
    };
    storage::failpoint!("upload.committed");
    metrics::counter!("quartet_uploads_total").increment(1);
    metrics::counter!("quartet_upload_bytes_total").increment(size);
    tracing::info!(song = song.id, job = song.job, bytes = size, "a song was uploaded");
    // This node has applied what it proposed, or will in a moment; either way the song is known.
    let caller = *caller;
    let song = state.read(move |view| SongView::of(view, &caller, song)).await?;
    Ok(Answer::with(SongData { song }))
}

/// What the state keeps of a file's tags.
fn credits_of(tags: Tags, cover: Option<Cover>) -> Credits {
    let text = |text: Option<String>| {
        let text: String = tidy(&text?).chars().take(TEXT_CHARACTERS).collect();
        Some(text).filter(|text| !text.is_empty())
    };
    let number = |text: Option<String>| text?.parse().ok().filter(|number| (1..=9999).contains(number));
    Credits {
        artist: text(tags.artist),
        album: text(tags.album),
        genre: text(tags.genre),
        year: number(tags.year),
        track: number(tags.track),
        bpm: tags.bpm,
        key: tags.key.map(|key| key.to_string()),
        cover,
    }
}

/// How the model that was asked for cuts a song.
pub(crate) fn geometry_of(view: &View, name: &str, default: &str) -> Result<Geometry, ApiError> {
    if let Some((_, geometry)) = shape_of(view, name)? {
        return Ok(geometry);
    }
    let models = view.models()?.into_iter().map(|model| model.name);
    let known: Vec<String> = [DEFAULT_MODEL.to_owned()].into_iter().chain(models).collect();
    let name: String = name.chars().take(64).collect();
    let which = if name == default { "The model that this node uses" } else { "The model" };
    Err(ApiError::Malformed(format!(
        "{which}, {name:?}, is not in the cluster; here are {}. `node model fetch {name}` or `node model import FILE`, \
         with the node's --id and --cluster, adds one.",
        known.join(", ")
    )))
}

/// Who is to separate a song of `size` bytes: what was asked for, or else what the configuration says, as far as workers
/// outside can deliver what was asked for and the broker can carry the song.
async fn road(
    state: &State,
    asked: Option<Workers>,
    formats: Option<&Vec<String>>,
    size: u64,
) -> Result<Road, ApiError> {
    let Some(outside) = &state.app.outside else {
        return match asked {
            Some(Workers::Outside) => Err(ApiError::Conflict(
                "This cluster has no workers outside: its cluster.toml has no section [outside].".into(),
            )),
            Some(Workers::Cluster) | None => Ok(Road::Inside),
        };
    };
    let wanted = asked.map_or(outside.first, |asked| asked == Workers::Outside);
    if !wanted {
        return Ok(Road::Inside);
    }
    if !delivers(formats.map(Vec::as_slice)) {
        return match asked {
            None => Ok(Road::Inside),
            Some(_) => Err(ApiError::Malformed(format!(
                "Workers outside deliver {DELIVERED} and nothing else. Ask for no formats, or for no workers."
            ))),
        };
    }
    if size > outside.max_bytes {
        return Ok(Road::Inside);
    }
    match (state.read(|view| Ok(view.has_level(OUTSIDE)?)).await?, asked) {
        (true, _) => Ok(Road::Outside),
        (false, None) => Ok(Road::Inside),
        (false, Some(_)) => Err(ApiError::Busy("upgrading: songs go outside when all nodes run this version".into())),
    }
}

/// The formats that a form asks for, as the state keeps them.
pub(crate) fn formats_of(text: &str) -> Result<Vec<String>, ApiError> {
    let words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
    let asked = words.map(str::parse).collect::<Result<Vec<Format>, _>>();
    let mut formats = asked.map_err(|error| ApiError::Malformed(format!("The formats cannot be made: {error}.")))?;
    if formats.is_empty() {
        formats = vec![Format::LISTENING, Format::WORKING];
    }
    formats.sort();
    if let Some(two) = formats.windows(2).find(|two| two[0].extension() == two[1].extension()) {
        return Err(ApiError::Malformed(format!(
            "The formats {} and {} would both be .{}. Ask for one of them.",
            two[0],
            two[1],
            two[0].extension()
        )));
    }
    Ok(formats.iter().map(Format::to_string).collect())
}

/// The priority that a word means.
pub(crate) fn priority_of(word: &str) -> Result<Priority, ApiError> {
    let shown: String = word.chars().take(20).collect();
    word.parse().map_err(|error| ApiError::Malformed(format!("{shown:?} is no priority: {error}.")))
}

/// Who is to separate a song.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Workers {
    Cluster,
    Outside,
}

fn workers_of(word: &str) -> Result<Workers, ApiError> {
    match word {
        "cluster" => Ok(Workers::Cluster),
        "outside" => Ok(Workers::Outside),
        other => {
            let shown: String = other.chars().take(20).collect();
            Err(ApiError::Malformed(format!("There are no workers {shown:?}: ask for cluster or for outside.")))
        }
    }
}

/// An upload that arrived whole.
pub(crate) struct Received {
    title: Option<String>,
    model: Option<String>,
    formats: Vec<String>,
    /// Whether the form named them.
    named: bool,
    priority: Priority,
    workers: Option<Workers>,
    file_name: Option<String>,
    staged: Staged,
}

impl Received {
    /// All that was asked for beside the file, written so that no two forms are written alike.
    fn words(&self) -> String {
        let Self { title, model, formats, named, priority, workers, file_name, staged: _ } = self;
        format!("{title:?} {model:?} {formats:?} {named} {priority} {workers:?} {file_name:?}")
    }
}

/// Why the body ended early, told past the form's parser, which only knows that it did.
#[derive(Default)]
struct Verdict(AtomicU8);

impl Verdict {
    const IDLE: u8 = 1;
    const TOO_LARGE: u8 = 2;
    const BROKEN: u8 = 3;

    fn set(&self, verdict: u8) {
        self.0.store(verdict, Ordering::Relaxed);
    }
}

/// An upload that is arriving.
pub(crate) struct Incoming {
    headers: HeaderMap,
    body: Arc<Mutex<BodyDataStream>>,
    limit: u64,
    verdict: Arc<Verdict>,
}

impl Incoming {
    /// An upload whose file may have `limit` bytes.
    pub(crate) fn new(request: Request, limit: u64) -> Self {
        let (head, body) = request.into_parts();
        Self {
            headers: head.headers,
            body: Arc::new(Mutex::new(body.into_data_stream())),
            limit,
            verdict: Arc::default(),
        }
    }

    /// Reads the form. Whatever it refuses has left nothing on the disk.
    pub(crate) async fn receive(self, blobs: &Blobs) -> Result<Received, ApiError> {
        let announced =
            self.headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        if announced.is_some_and(|announced| announced > self.limit.saturating_add(FORM_BYTES)) {
            if !self.headers.contains_key(header::EXPECT) {
                self.drain().await;
            }
            return Err(ApiError::TooLarge { limit: self.limit });
        }
        let read = match self.expect_room(blobs, announced).await {
            Ok(()) => self.form(blobs).await,
            Err(full) => Err(full),
        };
        if read.is_err() && self.verdict.0.load(Ordering::Relaxed) != Verdict::IDLE {
            self.drain().await;
        }
        read
    }

    /// Refuses before the first byte what would be refused before the last.
    async fn expect_room(&self, blobs: &Blobs, announced: Option<u64>) -> Result<(), ApiError> {
        let (blobs, file) = (blobs.clone(), announced.unwrap_or(0).saturating_sub(FORM_BYTES));
        Ok(crate::blocking("looking for room", move || blobs.expect_room(file)).await??)
    }

    async fn form(&self, blobs: &Blobs) -> Result<Received, ApiError> {
        let mut request = Request::new(self.watched());
        *request.headers_mut() = self.headers.clone();
        // The body has limits of its own; axum's of 2 MB is for what is read whole.
        DefaultBodyLimit::disable().apply(&mut request);
        let mut form = Multipart::from_request(request, &()).await.map_err(|_| {
            ApiError::Malformed(
                "This is no form. Send multipart/form-data with the fields \"title\" and \"file\".".into(),
            )
        })?;
        let (mut title, mut model, mut formats, mut priority, mut file) = (None, None, None, None, None);
        let mut workers = None;
        while let Some(mut field) = form.next_field().await.map_err(|error| self.broken(&error))? {
            match field.name() {
                Some("title") => title = Some(self.title(&mut field).await?),
                Some("model") => model = Some(self.text(&mut field, "model").await?),
                Some("formats") => formats = Some(self.text(&mut field, "formats").await?),
                Some("priority") => priority = Some(self.text(&mut field, "priority").await?),
                Some("workers") => workers = Some(self.text(&mut field, "workers").await?),
                Some("file") if file.is_some() => {
                    return Err(ApiError::Malformed("The form has two files. Send one song at a time.".into()));
                }
                Some("file") => {
                    let name = field.file_name().map(str::to_owned);
                    file = Some((name, self.file(&mut field, blobs).await?));
                }
                // What a later version or another program adds is none of our business.
                _ => while field.chunk().await.map_err(|error| self.broken(&error))?.is_some() {},
            }
        }
        let Some((file_name, staged)) = file else {
            return Err(ApiError::NoFile);
        };
        if staged.is_empty() {
            // A browser sends an unnamed empty file when none was chosen.
            return Err(if file_name.as_deref().unwrap_or("").is_empty() {
                ApiError::NoFile
            } else {
                ApiError::EmptyFile
            });
        }
        let title = title.filter(|title| !title.is_empty());
        let model = model.filter(|model| !model.is_empty());
        let named = formats.as_deref().is_some_and(|formats| !formats.trim().is_empty());
        let formats = formats_of(formats.as_deref().unwrap_or_default())?;
        let priority = match priority.as_deref().map(str::trim) {
            None | Some("") => Priority::default(),
            Some(word) => priority_of(word)?,
        };
        let workers = match workers.as_deref().map(str::trim) {
            None | Some("") => None,
            Some(word) => Some(workers_of(word)?),
        };
        Ok(Received { title, model, formats, named, priority, workers, file_name, staged })
    }

    async fn title(&self, field: &mut Field<'_>) -> Result<String, ApiError> {
        let title = tidy(&self.text(field, "title").await?);
        if title.chars().count() > TEXT_CHARACTERS {
            return Err(ApiError::TitleTooLong(TEXT_CHARACTERS));
        }
        Ok(title)
    }

    /// A short field's text.
    async fn text(&self, field: &mut Field<'_>, name: &'static str) -> Result<String, ApiError> {
        let mut bytes = Vec::new();
        while let Some(chunk) = field.chunk().await.map_err(|error| self.broken(&error))? {
            bytes.extend_from_slice(&chunk);
            if bytes.len() > 4 * TEXT_CHARACTERS {
                return Err(match name {
                    "title" => ApiError::TitleTooLong(TEXT_CHARACTERS),
                    _ => ApiError::Malformed(format!("The field \"{name}\" is too long.")),
                });
            }
        }
        String::from_utf8(bytes).map_err(|_| ApiError::Malformed(format!("The field \"{name}\" is not UTF-8 text.")))
    }

    async fn file(&self, field: &mut Field<'_>, blobs: &Blobs) -> Result<Staged, ApiError> {
        let mut staged = blobs.stage(0).await?;
        let mut gathered = Vec::with_capacity(GATHERED);
        while let Some(chunk) = field.chunk().await.map_err(|error| self.broken(&error))? {
            if staged.len() + (gathered.len() + chunk.len()) as u64 > self.limit {
                return Err(ApiError::TooLarge { limit: self.limit });
            }
            gathered.extend_from_slice(&chunk);
            if gathered.len() >= GATHERED {
                staged.write(&gathered).await?;
                gathered.clear();
            }
        }
        if !gathered.is_empty() {
            staged.write(&gathered).await?;
        }
        Ok(staged)
    }

    /// The body, ending early when nothing comes or too much.
    pub(crate) fn watched(&self) -> Body {
        let (body, verdict) = (Arc::clone(&self.body), Arc::clone(&self.verdict));
        let left = self.limit.saturating_add(FORM_BYTES);
        Body::from_stream(stream::unfold(Some(left), move |left| {
            let (body, verdict) = (Arc::clone(&body), Arc::clone(&verdict));
            async move {
                let left = left?;
                let fail = |why: u8, kind: std::io::ErrorKind| {
                    verdict.set(why);
                    Some((Err(std::io::Error::from(kind)), None))
                };
                let chunk: Bytes = match tokio::time::timeout(IDLE, async { body.lock().await.next().await }).await {
                    Err(_) => return fail(Verdict::IDLE, std::io::ErrorKind::TimedOut),
                    Ok(None) => return None,
                    Ok(Some(Err(_))) => {
                        return fail(Verdict::BROKEN, std::io::ErrorKind::ConnectionReset);
                    }
                    Ok(Some(Ok(chunk))) => chunk,
                };
                match left.checked_sub(chunk.len() as u64) {
                    None => fail(Verdict::TOO_LARGE, std::io::ErrorKind::FileTooLarge),
                    Some(left) => Some((Ok(chunk), Some(left))),
                }
            }
        }))
    }

    fn broken(&self, error: &MultipartError) -> ApiError {
        let unread = || ApiError::Broken(error.body_text().trim_end_matches('.').to_lowercase());
        self.failure().unwrap_or_else(unread)
    }

    /// Why the body ended early, if it did.
    pub(crate) fn failure(&self) -> Option<ApiError> {
        match self.verdict.0.load(Ordering::Relaxed) {
            Verdict::IDLE => Some(ApiError::Idle(IDLE.as_secs())),
            Verdict::TOO_LARGE => Some(ApiError::TooLarge { limit: self.limit }),
            Verdict::BROKEN => Some(ApiError::Broken("the connection broke off".into())),
            _ => None,
        }
    }

    /// Reads and throws away what still comes, within limits.
    pub(crate) async fn drain(&self) {
        let draining = async {
            let mut left = DRAIN_BYTES;
            while let Some(Ok(chunk)) = self.body.lock().await.next().await {
                match left.checked_sub(chunk.len()) {
                    Some(rest) => left = rest,
                    None => return,
                }
            }
        };
        let _ = tokio::time::timeout(DRAIN_FOR, draining).await;
    }
}

/// A title as it is kept: one line, no spaces around it, no control characters.
pub(crate) fn tidy(title: &str) -> String {
    let spaced: String = title.chars().map(|character| if character.is_control() { ' ' } else { character }).collect();
    spaced.trim().to_owned()
}

/// A title for a song that came without one.
fn title_of(file_name: Option<&str>) -> String {
    // Some programs send a whole path, with the slashes of their system.
    let name = file_name.unwrap_or("").rsplit(['/', '\\']).next().unwrap_or("");
    let stem = Path::new(name).file_stem().and_then(|stem| stem.to_str()).unwrap_or("");
    let title: String = tidy(stem).chars().take(TEXT_CHARACTERS).collect();
    if title.is_empty() { "Untitled".into() } else { title }
}

/// The file name's extension in lower case, if it looks like one.
fn extension(file_name: Option<&str>) -> Option<String> {
    let (_, extension) = file_name?.rsplit_once('.')?;
    let plain = (1..=8).contains(&extension.len()) && extension.bytes().all(|byte| byte.is_ascii_alphanumeric());
    plain.then(|| extension.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use axum::http::StatusCode;
    use storage::blobs::Allowance;
    use tempfile::TempDir;

    use super::*;

    const LIMIT: u64 = 5_000_000;

    fn form(fields: &[(&str, Option<&str>, &[u8])]) -> Vec<u8> {
        let mut body = Vec::new();
        for (name, file_name, content) in fields {
            body.extend(format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"").bytes());
            if let Some(file_name) = file_name {
                body.extend(format!("; filename=\"{file_name}\"").bytes());
            }
            body.extend(b"\r\n\r\n");
            body.extend(*content);
            body.extend(b"\r\n");
        }
        body.extend(b"--b--\r\n");
        body
    }

    fn request(body: impl Into<Body>) -> Request {
        Request::post("/songs/upload")
            .header("content-type", "multipart/form-data; boundary=b")
            .body(body.into())
            .unwrap()
    }

    async fn receive(folder: &TempDir, request: Request) -> Result<Received, ApiError> {
        let blobs = Blobs::open(folder.path(), Allowance::default()).unwrap();
        Incoming::new(request, LIMIT).receive(&blobs).await
    }

    /// The status and code of a refusal, after a look at the disk.
    async fn refused(request: Request) -> (StatusCode, &'static str) {
        let folder = tempfile::tempdir().unwrap();
        let Err(error) = receive(&folder, request).await else { panic!("it was taken") };
        for left in ["staging", "blobs"] {
            assert_eq!(std::fs::read_dir(folder.path().join(left)).unwrap().count(), 0, "something is in {left}");
        }
        assert!(error.to_string().len() > 20);
        error.kind()
    }

    #[tokio::test]
    async fn a_form_is_read_whatever_its_order() {
        let folder = tempfile::tempdir().unwrap();
        let body = form(&[
            ("file", Some("a.MP3"), b"music"),
            ("colour", None, b"blue"),
            ("priority", None, b"high"),
            ("workers", None, b" outside "),
            ("title", None, " Ne\nw ".as_bytes()),
        ]);
        let received = receive(&folder, request(body)).await.unwrap();
        assert_eq!(received.title.as_deref(), Some("Ne w"));
        assert_eq!(received.priority, Priority::High);
        assert_eq!(received.workers, Some(Workers::Outside));
        assert_eq!(extension(received.file_name.as_deref()).as_deref(), Some("mp3"));
        assert_eq!(std::fs::read(received.staged.path()).unwrap(), b"music");
        let (_, length) = received.staged.commit().await.unwrap();
        assert_eq!(length, 5);

        let received = receive(&folder, request(form(&[("file", Some("a"), &vec![7; LIMIT as usize])]))).await.unwrap();
        assert_eq!(received.staged.len(), LIMIT);
        assert_eq!(received.priority, Priority::Normal);

        let received =
            receive(&folder, request(form(&[("file", Some("C:\\songs\\Blue.in.Green.flac"), b"x")]))).await.unwrap();
        assert_eq!(received.title, None);
        assert_eq!(title_of(received.file_name.as_deref()), "Blue.in.Green");
    }

    #[tokio::test]
    async fn what_is_wrong_with_a_form_is_told_and_leaves_nothing() {
        let large = vec![0; LIMIT as usize + 1];
        let long = "x".repeat(10_000);
        for (body, expected) in [
            (form(&[("title", None, b"t")]), (StatusCode::BAD_REQUEST, "no_file")),
            (form(&[("file", Some(""), b"")]), (StatusCode::BAD_REQUEST, "no_file")),
            (form(&[("file", Some("a.mp3"), b"")]), (StatusCode::UNPROCESSABLE_ENTITY, "empty_file")),
            (form(&[("file", Some("a.mp3"), &large)]), (StatusCode::PAYLOAD_TOO_LARGE, "too_large")),
            (
                form(&[("file", Some("a.mp3"), b"x"), ("title", None, long.as_bytes())]),
                (StatusCode::UNPROCESSABLE_ENTITY, "title_too_long"),
            ),
            (
                form(&[("title", None, "ü".repeat(201).as_bytes()), ("file", Some("a.mp3"), b"x")]),
                (StatusCode::UNPROCESSABLE_ENTITY, "title_too_long"),
            ),
            (
                form(&[("file", Some("a.mp3"), b"x"), ("file", Some("b.mp3"), b"y")]),
                (StatusCode::BAD_REQUEST, "malformed"),
            ),
            (
                form(&[("file", Some("a.mp3"), b"x"), ("title", None, &[0xff, 0xfe])]),
                (StatusCode::BAD_REQUEST, "malformed"),
            ),
            (
                form(&[("file", Some("a.mp3"), b"x"), ("priority", None, b"now")]),
                (StatusCode::BAD_REQUEST, "malformed"),
            ),
            (
                form(&[("file", Some("a.mp3"), b"x"), ("workers", None, b"mine")]),
                (StatusCode::BAD_REQUEST, "malformed"),
            ),
            (form(&[("file", Some("a.mp3"), &[1; 5000])])[..3000].to_vec(), (StatusCode::BAD_REQUEST, "broken_upload")),
            (Vec::new(), (StatusCode::BAD_REQUEST, "broken_upload")),
        ] {
            assert_eq!(refused(request(body)).await, expected);
        }
        let no_form = Request::post("/songs/upload").body(Body::from("music")).unwrap();
        assert_eq!(refused(no_form).await, (StatusCode::BAD_REQUEST, "malformed"));
        let mut announced = request("");
        announced.headers_mut().insert(header::CONTENT_LENGTH, (LIMIT + FORM_BYTES + 1).into());
        assert_eq!(refused(announced).await, (StatusCode::PAYLOAD_TOO_LARGE, "too_large"));
    }

    #[tokio::test]
    async fn a_connection_that_breaks_or_rests_is_told_from_one_that_ends() {
        let beginning = Bytes::from(form(&[("file", Some("a.mp3"), &[1; 100])])[..100].to_vec());
        let broken = stream::iter([Ok(beginning.clone()), Err(std::io::Error::other("reset"))]);
        assert_eq!(refused(request(Body::from_stream(broken))).await.1, "broken_upload");

        tokio::time::pause();
        let resting = stream::iter([Ok::<_, std::io::Error>(beginning)]).chain(stream::pending());
        assert_eq!(refused(request(Body::from_stream(resting))).await, (StatusCode::REQUEST_TIMEOUT, "idle"));
    }

    #[test]
    fn a_title_is_found_for_every_file() {
        for (name, title) in [
            (Some("So What.mp3"), "So What"),
            (Some("../../etc/passwd"), "passwd"),
            (Some(".mp3"), ".mp3"),
            (Some("\u{7}\u{1b}.mp3"), "Untitled"),
            (Some(""), "Untitled"),
            (None, "Untitled"),
        ] {
            assert_eq!(title_of(name), title, "{name:?}");
        }
        assert_eq!(title_of(Some(&"x".repeat(500))).len(), TEXT_CHARACTERS);
        assert_eq!(extension(Some("a.b/c")), None);
        assert_eq!(extension(Some("a.")), None);
    }
}
