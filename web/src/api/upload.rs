//! Uploads. A file is streamed to the disk and hashed, then decoded, copied to a majority of the nodes, and only then
//! committed as a song.

use std::sync::Arc;

use audio::decode;
use audio::sandbox::Inspected;
use audio::tags::Cover as Picture;
use audio::thread::at_low_priority;
use axum::extract::Request;
use state::command::{AddSong, Answer as Applied, Command};
use state::{Cover, JobOptions, Plan, Selection, SeparationSpec};

use super::credits::{credits_of, title};
use super::idempotency::{IdempotentUpload, key_of};
use super::job_params::is_external;
use super::models::required_model;
use super::song_view::SongView;
use super::songs::SongData;
use super::upload_form::{Received, UploadForm, receive};
use crate::app::State;
use crate::auth::accounts::owner_of;
use crate::auth::caller::Caller;
use crate::auth::request_auth::RequestAuth;
use crate::clock::now;
use crate::files::body::UploadBody;
use crate::files::decode_queue;
use crate::http::answer::Answer;
use crate::http::error::ApiError;

/// Uploads a song and starts its separation.
///
/// The response is sent when the file is on a majority of the nodes and the song is committed. Everybody may listen to
/// anonymous uploads. The songs of a user are private until they are shared.
///
/// After a lost response, a client may send an upload with an `Idempotency-Key` again, to any node. For a day, the
/// response is the existing song.
#[utoipa::path(post, path = "/songs/upload", tag = "songs",
    params(("Idempotency-Key" = Option<String>, Header, min_length = 1, max_length = 255, pattern = "^[ -~]+$",
        description = "A key that is unique among the uploads of the caller, such as a random UUID")),
    request_body(content = UploadForm, content_type = "multipart/form-data"),
    responses(
        (status = 200, body = Answer<SongData>),
        (status = 408),
        (status = 409, description = "There are no external workers, or the song with this key was deleted"),
        (status = 422),
        (status = 429),
        (status = 507),
    )
)]
pub(crate) async fn upload(state: State, auth: RequestAuth, request: Request) -> Result<Answer<SongData>, ApiError> {
    let caller = state.read_for(&auth, |_, caller| Ok(*caller)).await;
    let key = key_of(request.headers());
    let incoming = UploadBody::new(request, state.limits.max_upload_bytes);
    let admitted = caller.and_then(|caller| Ok((caller, key?, state.upload_permit()?)));
    let (caller, key, received) = match admitted {
        Err(refused) => {
            incoming.drain().await;
            return Err(refused);
        }
        // The permit covers receiving only. The later steps have limits of their own.
        Ok((caller, key, _permit)) => (caller, key, receive(incoming, state.replication.blobs()).await?),
    };
    add(&state, &auth, &caller, key, received).await
}

/// Checks, replicates and commits a received upload.
async fn add(
    state: &State,
    auth: &RequestAuth,
    caller: &Caller,
    key: Option<String>,
    received: Received,
) -> Result<Answer<SongData>, ApiError> {
    let owner = owner_of(&auth.client, caller.user());
    let name = received.model.clone().unwrap_or_else(|| state.default_model.clone());
    let shared = Arc::clone(state);
    let model = state.read(move |view| required_model(view, &shared, &name)).await?;

    // An existing song, or an upload that will be refused, need not be decoded.
    let hash = received.staged.hash()?;
    let once = key.map(|key| IdempotentUpload::new(&key, &owner, &hash, &received.fingerprint()));
    if let Some(once) = &once
        && let Some(done) = once.existing(state, *caller).await?
    {
        return Ok(done);
    }
    let (asked, formats, whose) = (model.name.clone(), received.formats.clone(), owner.clone());
    let limit = state.limits.jobs_per_user;
    state.read(move |view| Ok(view.would_accept(&hash, &asked, &formats, &whose, limit)?)).await??;

    let Inspected { probe, tags, cover: picture } = examine(state, &owner, &received).await?;
    let plan = Plan {
        frames: probe.frames,
        segments: (state.segments)(&model, probe.frames),
        segments_per_task: state.segments_per_task,
    };
    let (hash, size) = received.staged.commit().await?;
    let external = is_external(state, received.workers, received.named.then_some(&received.formats), size)?;
    let mut hashes = vec![hash];
    let cover = match picture {
        None => None,
        Some(picture) => Some(store(state, &picture).await?),
    };
    hashes.extend(cover.as_ref().map(|cover| cover.hash));
    // Right before the proposal: garbage collection keeps these files until the command has committed, also while an
    // older song with the same file is being deleted.
    state.replication.replicate(&hashes).await?;
    storage::failpoint!("upload.shared");
    let command = AddSong {
        title: title(received.title.as_deref(), &tags, received.file_name.as_deref()),
        credits: Box::new(credits_of(tags, cover)),
        hash,
        size,
        format: probe.format.to_string(),
        uploader_id: caller.user(),
        separation: SeparationSpec { model: model.name, formats: received.formats, plan, selection: Selection::All },
        job: JobOptions {
            max_attempts: state.max_attempts,
            priority: received.priority,
            owner,
            jobs_per_owner: limit,
            external,
        },
        at: now(),
    };
    let command = match once {
        Some(once) => Command::from(once.wrap(command)),
        None => command.into(),
    };
    let song = match state.cluster.propose(command).await?? {
        Applied::Song(song) => song,
        other => return Err(ApiError::unexpected("adding the song", &other)),
    };
    storage::failpoint!("upload.committed");
    metrics::counter!("quartet_uploads_total").increment(1);
    metrics::counter!("quartet_upload_bytes_total").increment(size);
    tracing::info!(song = song.id, job = song.job, bytes = size, "a song was uploaded");
    // A linearizable read includes the song.
    let caller = *caller;
    let song = state.read(move |view| SongView::of(view, &caller, song)).await?;
    Ok(Answer::with(SongData { song }))
}

/// Decodes the whole file and reads its tags.
async fn examine(state: &State, owner: &str, received: &Received) -> Result<Inspected, ApiError> {
    let path = received.staged.path().to_owned();
    let limits = decode::Limits { max_seconds: state.limits.max_seconds };
    let sandbox = state.sandbox.clone();
    let turn = state.decode_queue.turn(owner.to_owned(), decode_queue::PATIENCE).await?;
    let look = move || {
        // The turn lasts until the file is decoded, also if the client disconnects.
        let _turn = turn;
        sandbox.inspect(&path, &limits)
    };
    Ok(at_low_priority("probe", look).await??)
}

/// Stores the cover in a song's file as a file of its own.
async fn store(state: &State, picture: &Picture) -> Result<Cover, ApiError> {
    let mut staged = state.replication.blobs().stage(picture.bytes.len() as u64).await?;
    staged.write(&picture.bytes).await?;
    let (hash, _) = staged.commit().await?;
    Ok(Cover { hash, mime: picture.mime.into() })
}
