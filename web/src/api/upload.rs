//! Uploads: a form with a file, streamed to the disk while it is hashed, checked, shared with a majority, and only
//! then made a song.

use audio::decode;
use audio::sandbox::Inspected;
use audio::tags::Cover as Picture;
use audio::thread::at_low_priority;
use axum::extract::Request;
use state::command::{Answer as Applied, Command};
use state::{Cover, Plan};

use super::credits::{credits_of, title};
use super::job_wishes::road;
use super::models::geometry_of;
use super::once::{Once, key_of};
use super::song_view::SongView;
use super::songs::SongData;
use super::upload_form::{Received, UploadForm, receive};
use crate::accounts::owner_of;
use crate::answer::{Answer, Empty};
use crate::caller::{Caller, Visitor};
use crate::error::ApiError;
use crate::incoming::Incoming;
use crate::probes;
use crate::{State, now};

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
        (status = 422, description = "Empty, damaged or cut off, too long, or more than may be taken to decode it; or its title is too long, or another upload had this key", body = Answer<Empty>),
        (status = 429, description = "The user has too many open jobs", body = Answer<Empty>),
        (status = 503, description = "No majority of the nodes answers, or too many uploads, or earlier uploads of the same owner take too long", body = Answer<Empty>),
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
        Ok((caller, key, _permit)) => (caller, key, receive(incoming, state.app.sharing.blobs()).await?),
    };
    add(&state, &visitor, &caller, key, received).await
}

/// Checks, shares and commits what was received.
async fn add(
    state: &State,
    visitor: &Visitor,
    caller: &Caller,
    key: Option<String>,
    received: Received,
) -> Result<Answer<SongData>, ApiError> {
    let (app, owner) = (&state.app, owner_of(&visitor.client, caller.user()));
    let model = received.model.clone().unwrap_or_else(|| app.model.clone());
    let (asked, default) = (model.clone(), app.model.clone());
    let geometry = state.read(move |view| geometry_of(view, &asked, &default)).await?;

    // What is there already, or will be refused, need not be decoded.
    let hash = received.staged.hash()?;
    let once = key.map(|key| Once::new(&key, &owner, &hash, &received.words()));
    if let Some(once) = &once
        && let Some(done) = once.done(state, *caller).await?
    {
        return Ok(done);
    }
    let (asked, formats, whose) = (model.clone(), received.formats.clone(), owner.clone());
    let limit = app.limits.jobs_per_user;
    state.read(move |view| Ok(view.would_take(&hash, &asked, &formats, &whose, limit)?)).await??;

    let Inspected { probe, tags, cover: picture } = examine(state, &owner, &received).await?;
    let plan = Plan {
        frames: probe.frames,
        segments: geometry.segments(probe.frames),
        segments_per_task: app.segments_per_task,
    };
    let (hash, size) = received.staged.commit().await?;
    let road = road(state, received.workers, received.named.then_some(&received.formats), size).await?;
    let mut hashes = vec![hash];
    let cover = match picture {
        None => None,
        Some(picture) => Some(store(state, &picture).await?),
    };
    hashes.extend(cover.as_ref().map(|cover| cover.hash));
    // Last before the proposal: what is confirmed now outlasts any collection until that has committed, also where an
    // older song with this file is being deleted.
    app.sharing.spread(&hashes).await?;
    storage::failpoint!("upload.shared");
    let command = Command::AddSong {
        title: title(received.title.as_deref(), &tags, received.file_name.as_deref()),
        credits: Box::new(credits_of(tags, cover)),
        hash,
        size,
        format: probe.format.to_string(),
        uploader_id: caller.user(),
        plan,
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
        other => return Err(ApiError::unexpected("adding the song", &other)),
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

/// Decodes the file to its end and reads its tags.
async fn examine(state: &State, owner: &str, received: &Received) -> Result<Inspected, ApiError> {
    let path = received.staged.path().to_owned();
    let limits = decode::Limits { max_seconds: state.app.limits.max_seconds };
    let sandbox = state.app.sandbox.clone();
    let turn = state.probes.turn(owner.to_owned(), probes::PATIENCE).await?;
    let look = move || {
        // The file is read to its end, also when the client has gone.
        let _turn = turn;
        sandbox.inspect(&path, &limits)
    };
    Ok(at_low_priority("probe", look).await??)
}

/// Keeps the picture that came in a song's file as a file of its own.
async fn store(state: &State, picture: &Picture) -> Result<Cover, ApiError> {
    let mut staged = state.app.sharing.blobs().stage(picture.bytes.len() as u64).await?;
    staged.write(&picture.bytes).await?;
    let (hash, _) = staged.commit().await?;
    Ok(Cover { hash, mime: picture.mime.into() })
}
