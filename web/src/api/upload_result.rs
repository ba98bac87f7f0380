//! `POST /songs/{hash}/upload_result`: an external worker delivers the stems of a song.
//!
//! The stems are streamed to the disk, decoded, copied to a majority of the nodes and only then committed, as for an
//! upload. A job ends once, so only the first result counts.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use audio::RATE;
use audio::analysis::{Analysis, Peaks, analyse, outline};
use audio::decode::{self, DecodeError};
use audio::sandbox::{Inspected, Sandbox};
use audio::thread::at_low_priority;
use axum::extract::{Path, Request};
use futures_util::StreamExt;
use serde::Deserialize;
use state::View;
use state::command::FinishJob;
use state::{Executor, Facts, Job, JobResult, JobSpec, Separation, Stems};
use storage::blobs::{Hash, Staged, StagedFile};
use tokio_util::io::StreamReader;
use utoipa::IntoParams;

use super::jobs::{JobData, JobView, no_job};
use super::models::model_named;
use crate::app::{App, State};
use crate::auth::request_auth::bearer;
use crate::clock::now;
use crate::files::archive::receive;
use crate::files::body::UploadBody;
use crate::http::answer::Answer;
use crate::http::error::ApiError;
use crate::http::query::Query;

/// The most bytes of MP3 per second: 320 kbit/s.
const MP3_BYTES: u64 = 40_000;
/// Additional bytes of a file: tags with a cover, and one or two frames.
const TAG_BYTES: u64 = 1 << 20;
/// The largest difference between the lengths of a stem and the song, in frames: a second.
const SLACK: u64 = RATE as u64;
/// The longest time for receiving a result.
const RECEIVE_WITHIN: Duration = Duration::from_secs(900);
/// The longest wait for decoding. It is longer than for uploads, because a result is expensive and its worker is known.
const EXAMINE_WITHIN: Duration = Duration::from_secs(600);
/// Bytes of a decoded frame.
const SAMPLE_BYTES: u64 = 8;

/// The parameters of a result.
#[derive(Debug, Clone, Copy, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct UploadResultQuery {
    /// The job, as in the header of the message. The default is the oldest open job for external workers.
    job: Option<u64>,
}

/// An open job for external workers, and the stems of its model.
struct OpenJob {
    id: u64,
    owner: String,
    separation: Separation,
    sources: Vec<String>,
}

impl OpenJob {
    fn seconds(&self) -> u64 {
        self.separation.plan.frames.div_ceil(u64::from(RATE))
    }

    /// The largest stem, in bytes.
    fn most(&self) -> u64 {
        self.seconds().saturating_add(1).saturating_mul(MP3_BYTES).saturating_add(TAG_BYTES)
    }
}

/// Accepts the stems of a song from an external worker.
///
/// The body is a tar file of exactly the stems of the job's model as MP3, such as `bass.mp3`, `drums.mp3`, `other.mp3`
/// and `vocals.mp3`. Each stem must be as long as the song. The request needs `Authorization: Bearer TOKEN` with the
/// token of a worker.
#[utoipa::path(post, path = "/songs/{hash}/upload_result", tag = "jobs",
    params(("hash" = String, Path, description = "SHA-256 of the song's file, in hex"), UploadResultQuery),
    request_body(content = Vec<u8>, content_type = "application/x-tar"),
    responses(
        (status = 200, body = Answer<JobData>),
        (status = 408),
        (status = 409, description = "The job has ended, or is not for external workers"),
        (status = 422),
        (status = 507),
    )
)]
pub(crate) async fn upload_result(
    state: State,
    Path(hash): Path<String>,
    query: Result<Query<UploadResultQuery>, ApiError>,
    request: Request,
) -> Result<Answer<JobData>, ApiError> {
    let admitted = match &state.external_workers {
        Some(outside) => outside.admit(request.headers()),
        None if bearer(request.headers()).is_none() => Err(ApiError::NoToken),
        None => Err(ApiError::NoOutside),
    };
    let found = match (admitted, query) {
        (Err(refused), _) | (_, Err(refused)) => Err(refused),
        (Ok(()), Ok(Query(UploadResultQuery { job }))) => find(&state, hash, job).await,
    };
    let wanted = match found {
        Ok(wanted) => wanted,
        Err(refused) => {
            UploadBody::new(request, 0).drain().await;
            return Err(refused);
        }
    };

    let limit = wanted.most().saturating_mul(wanted.sources.len() as u64);
    let incoming = UploadBody::new(request, limit);
    let received = {
        let receiving = async {
            let _permit = state.upload_permit()?;
            let body = incoming.watched().into_data_stream().map(|chunk| chunk.map_err(io::Error::other));
            let mut body = std::pin::pin!(StreamReader::new(body));
            let received = receive(&mut body, &wanted.sources, wanted.most(), state.replication.blobs()).await;
            received.map_err(|error| incoming.failure().unwrap_or_else(|| error.into()))
        };
        tokio::time::timeout(RECEIVE_WITHIN, receiving)
            .await
            .unwrap_or(Err(ApiError::TooSlow(RECEIVE_WITHIN.as_secs())))
    };
    let stems = match received {
        Ok(stems) => stems,
        Err(refused) => {
            incoming.drain().await;
            return Err(refused);
        }
    };
    let job = wanted.id;
    let stems = examine(&state, wanted, stems).await?;
    state.cluster.propose(FinishJob { job, result: Box::new(JobResult::Separation(stems)), at: now() }).await??;
    metrics::counter!("quartet_outside_results_total").increment(1);
    let look = move |view: &View| {
        let job = view.job(job)?.ok_or_else(|| no_job(&job.to_string()))?;
        Ok(Answer::with(JobData { job: JobView::whole(view, job, Vec::new())? }))
    };
    state.read(look).await
}

/// The job that the result finishes.
async fn find(state: &State, hash: String, id: Option<u64>) -> Result<OpenJob, ApiError> {
    let hash: Hash = hash.parse().map_err(|_| {
        ApiError::Malformed("Invalid hash in the address: use the SHA-256 of the song's file in hex.".into())
    })?;
    let app = Arc::clone(state);
    state.read(move |view| choose(view, &app, &hash, id)).await
}

fn choose(view: &View, app: &App, hash: &Hash, id: Option<u64>) -> Result<OpenJob, ApiError> {
    let mut jobs = view.jobs_with(hash)?;
    jobs.retain(|job| id.is_none_or(|id| job.id == id));
    let Some(first) = jobs.first().map(|job| job.id) else {
        return Err(ApiError::NoJob(id.map_or_else(|| format!("for {hash}"), |id| id.to_string())));
    };
    let open = |job: &Job| job.state.is_open() && job.executor != Executor::Cluster;
    let Some(job) = jobs.into_iter().find(open) else {
        return Err(ApiError::Conflict(format!(
            "The job {first} has ended, or the cluster separates it itself. The stems are not needed."
        )));
    };
    let JobSpec::Separation(separation) = job.spec;
    let Some(model) = model_named(view, app, &separation.model)? else {
        return Err(ApiError::Conflict(format!("The cluster no longer has the model {}.", separation.model)));
    };
    Ok(OpenJob { id: job.id, owner: job.owner, separation, sources: model.sources })
}

/// Checks every stem, analyses the song, and replicates the files.
async fn examine(state: &State, wanted: OpenJob, stems: BTreeMap<String, Staged>) -> Result<Stems, ApiError> {
    let (replication, blobs) = (&state.replication, state.replication.blobs());
    let song = replication.fetch_verified(&wanted.separation.hash).await?;
    let (room, frames) = (blobs.clone(), wanted.separation.plan.frames);
    let scratch = crate::http::blocking("reserving space", move || {
        room.check_free(frames.saturating_mul(SAMPLE_BYTES))?;
        room.stage_file()
    })
    .await??;
    let files = stems.iter().map(|(name, staged)| (name.clone(), staged.path().to_owned())).collect();
    let (peaks, facts) = {
        let owner = format!("results of {}", wanted.owner);
        let (turn, sandbox) = (state.decode_queue.turn(owner, EXAMINE_WITHIN).await?, state.sandbox.clone());
        let facts = state.facts;
        let look = move || {
            let _turn = turn;
            look(&sandbox, &wanted, &song, files, &scratch, facts)
        };
        at_low_priority("examine", look).await??
    };

    let mut staged = blobs.stage(peaks.len() as u64).await?;
    staged.write(&peaks).await?;
    let (peaks, _) = staged.commit().await?;
    let (mut hashes, mut files) = (vec![peaks], BTreeMap::new());
    for (name, staged) in stems {
        let (hash, _) = staged.commit().await?;
        hashes.push(hash);
        files.insert(name, BTreeMap::from([("mp3".to_owned(), hash)]));
    }
    replication.replicate(&hashes).await?;
    Ok(Stems { files, facts: Some(facts), peaks: Some(peaks) })
}

/// Decodes the song and the stems: their waveforms as JSON, and the facts about the song.
fn look(
    sandbox: &Sandbox,
    wanted: &OpenJob,
    song: &FilePath,
    stems: BTreeMap<String, PathBuf>,
    scratch: &StagedFile,
    facts: fn(&Analysis) -> Box<Facts>,
) -> Result<(Vec<u8>, Box<Facts>), ApiError> {
    let describe = |name: &str, error: DecodeError| match ApiError::from(error) {
        ApiError::NotAudio(reason) => ApiError::NotAudio(format!("{name}.mp3: {reason}")),
        ApiError::Damaged(reason) => ApiError::Damaged(format!("{name}.mp3: {reason}")),
        ApiError::TooLong(reason) => ApiError::TooLong(format!("{name}.mp3: {reason}")),
        ApiError::EmptyFile => ApiError::Damaged(format!("{name}.mp3 is empty.")),
        error => error,
    };
    let io = |error: io::Error| ApiError::io("reading the samples", &error);
    let limits = decode::Limits { max_seconds: wanted.seconds() + 2 };
    let frames = wanted.separation.plan.frames;
    let mut outlines: BTreeMap<String, Peaks> = BTreeMap::new();
    for (name, path) in stems {
        // First without writing the samples, because the length in the header may be wrong.
        let Inspected { probe, .. } = sandbox.inspect(&path, &limits).map_err(|error| describe(&name, error))?;
        if probe.format != "mp3" {
            return Err(ApiError::NotAudio(format!("{name}.mp3 is {}, not MP3.", probe.format)));
        }
        if probe.frames.abs_diff(frames) > SLACK {
            return Err(ApiError::Damaged(format!(
                "{name}.mp3 is {:.1} seconds long, but the song {:.1} seconds.",
                probe.frames as f64 / f64::from(RATE),
                frames as f64 / f64::from(RATE)
            )));
        }
        let decoded = sandbox.decode_known(&path, scratch.path(), probe.frames);
        let pcm = decoded.map_err(|error| describe(&name, error))?;
        outlines.insert(name, outline(&pcm).map_err(io)?);
    }
    let pcm = sandbox.decode_known(song, scratch.path(), frames)?;
    let (analysis, of_song) = analyse(&pcm).map_err(io)?;
    outlines.insert("song".into(), of_song);
    let json =
        serde_json::to_vec(&outlines).map_err(|error| ApiError::internal("serializing the waveforms", &error))?;
    Ok((json, facts(&analysis)))
}
