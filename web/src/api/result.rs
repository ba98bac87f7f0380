//! `POST /songs/{hash}/upload_result`: a worker outside of the cluster delivers the stems of a song.
//!
//! The stems are streamed to the disk, decoded to their end, spread over a majority and only then committed, as an
//! upload is. It does not matter who delivers first: a job ends once, and what comes after that is not needed any more.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path as FilePath, PathBuf};
use std::time::Duration;

use audio::RATE;
use audio::analysis::{Peaks, analyse, outline};
use audio::decode::{self, DecodeError};
use audio::sandbox::{Inspected, Sandbox};
use audio::thread::at_low_priority;
use axum::extract::{Path, Request};
use futures_util::StreamExt;
use serde::Deserialize;
use state::View;
use state::command::Command;
use state::{Facts, Job, Road, Stems};
use storage::blobs::{Hash, Staged, StagedFile};
use tokio_util::io::StreamReader;
use utoipa::IntoParams;

use super::jobs::{JobData, JobView, no_job};
use super::models::shape_of;
use crate::answer::{Answer, Empty};
use crate::archive::receive;
use crate::caller::bearer;
use crate::error::ApiError;
use crate::facts::facts_of;
use crate::incoming::Incoming;
use crate::query::Query;
use crate::{State, now};

/// The most bytes of an MP3 for each second: 320 kbit/s.
const MP3_BYTES: u64 = 40_000;
/// What a file may have besides: tags with a picture, and a frame or two.
const TAG_BYTES: u64 = 1 << 20;
/// How far a stem's length may be from the song's: a second.
const SLACK: u64 = RATE as u64;
/// The longest time that receiving may take.
const RECEIVE_WITHIN: Duration = Duration::from_secs(900);
/// How long a delivery waits for its turn to be decoded: it has travelled, and its worker is known.
const EXAMINE_WITHIN: Duration = Duration::from_secs(600);
/// Bytes of a decoded frame.
const SAMPLE_BYTES: u64 = 8;

/// Which of a song's jobs the stems are for.
#[derive(Debug, Clone, Copy, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Delivered {
    /// The job in the message's header; if it is not given, the oldest one outside.
    job: Option<u64>,
}

/// A job that can be finished from outside.
struct Wanted {
    job: Job,
    sources: Vec<String>,
}

impl Wanted {
    fn seconds(&self) -> u64 {
        self.job.plan.frames.div_ceil(u64::from(RATE))
    }

    /// The most bytes that a stem can have.
    fn most(&self) -> u64 {
        self.seconds().saturating_add(1).saturating_mul(MP3_BYTES).saturating_add(TAG_BYTES)
    }
}

/// Takes the stems of a song from a worker outside of the cluster.
///
/// The body is a tar file of the stems as MP3: `bass.mp3`, `drums.mp3`, `other.mp3` and `vocals.mp3`, or what else the
/// job's model makes; nothing else may be in it. Each must be as long as the song. Only a worker may call this: the
/// request needs `Authorization: Bearer TOKEN` with one of the cluster's tokens for workers.
#[utoipa::path(post, path = "/songs/{hash}/upload_result", tag = "jobs", security(("worker" = [])),
    params(("hash" = String, Path, description = "SHA-256 of the song's file, in hex"), Delivered),
    request_body(content = Vec<u8>, content_type = "application/x-tar"),
    responses(
        (status = 200, body = Answer<JobData>),
        (status = 400, description = "The body broke off, or an address that names no song", body = Answer<Empty>),
        (status = 401, description = "No token", body = Answer<Empty>),
        (status = 403, description = "Not a worker's token, or no worker outside is wanted", body = Answer<Empty>),
        (status = 404, description = "No job for this song", body = Answer<Empty>),
        (status = 408, description = "No byte came for a minute, or it took too long", body = Answer<Empty>),
        (status = 409, description = "The job has ended, or was never outside", body = Answer<Empty>),
        (status = 413, description = "Larger than the stems of this song can be", body = Answer<Empty>),
        (status = 415, description = "A stem is not MP3", body = Answer<Empty>),
        (status = 422, description = "Not the files asked for, or a stem is damaged or of another length",
            body = Answer<Empty>),
        (status = 503, description = "No majority of the nodes answers, or too many uploads", body = Answer<Empty>),
        (status = 507, description = "This node has no room for it, or too few others have", body = Answer<Empty>),
    )
)]
pub(crate) async fn upload_result(
    state: State,
    Path(hash): Path<String>,
    delivered: Result<Query<Delivered>, ApiError>,
    request: Request,
) -> Result<Answer<JobData>, ApiError> {
    let admitted = match &state.app.outside {
        Some(outside) => outside.admit(request.headers()),
        None if bearer(request.headers()).is_none() => Err(ApiError::NoToken),
        None => Err(ApiError::NoOutside),
    };
    let found = match (admitted, delivered) {
        (Err(refused), _) | (_, Err(refused)) => Err(refused),
        (Ok(()), Ok(Query(Delivered { job }))) => find(&state, hash, job).await,
    };
    let wanted = match found {
        Ok(wanted) => wanted,
        Err(refused) => {
            Incoming::new(request, 0).drain().await;
            return Err(refused);
        }
    };

    let limit = wanted.most().saturating_mul(wanted.sources.len() as u64);
    let incoming = Incoming::new(request, limit);
    let received = {
        let receiving = async {
            let _permit = state.upload_permit()?;
            let body = incoming.watched().into_data_stream().map(|chunk| chunk.map_err(io::Error::other));
            let mut body = std::pin::pin!(StreamReader::new(body));
            let received = receive(&mut body, &wanted.sources, wanted.most(), state.app.sharing.blobs()).await;
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
    let job = wanted.job.id;
    let stems = Box::new(examine(&state, wanted, stems).await?);
    state.app.cluster.propose(Command::FinishOutside { job, stems, at: now() }).await??;
    metrics::counter!("quartet_outside_results_total").increment(1);
    let look = move |view: &View| {
        let job = view.job(job)?.ok_or_else(|| no_job(&job.to_string()))?;
        Ok(Answer::with(JobData { job: JobView::whole(view, job, Vec::new())? }))
    };
    state.read(look).await
}

/// The job that is to be finished, as new as the newest committed change.
async fn find(state: &State, hash: String, id: Option<u64>) -> Result<Wanted, ApiError> {
    let hash: Hash = hash.parse().map_err(|_| {
        ApiError::Malformed("The address names no song: it needs the SHA-256 of the song's file, in hex.".into())
    })?;
    state.read(move |view| choose(view, &hash, id)).await
}

fn choose(view: &View, hash: &Hash, id: Option<u64>) -> Result<Wanted, ApiError> {
    let mut jobs = view.jobs_with(hash)?;
    jobs.retain(|job| id.is_none_or(|id| job.id == id));
    let Some(first) = jobs.first().map(|job| job.id) else {
        return Err(ApiError::NoJob(id.map_or_else(|| format!("for {hash}"), |id| id.to_string())));
    };
    let open = |job: &Job| job.state.is_open() && job.road != Road::Inside;
    let Some(job) = jobs.into_iter().find(open) else {
        return Err(ApiError::Conflict(format!(
            "The job {first} has ended, or is done by the cluster itself. These stems are not needed."
        )));
    };
    let Some((sources, _)) = shape_of(view, &job.model)? else {
        return Err(ApiError::Conflict(format!("The cluster does not have the model {} any more.", job.model)));
    };
    Ok(Wanted { job, sources })
}

/// Looks at every stem, and at the song itself, and shares what is to be kept.
async fn examine(state: &State, wanted: Wanted, stems: BTreeMap<String, Staged>) -> Result<Stems, ApiError> {
    let (sharing, blobs) = (&state.app.sharing, state.app.sharing.blobs());
    let song = sharing.whole(&wanted.job.hash).await?;
    let (room, frames) = (blobs.clone(), wanted.job.plan.frames);
    let scratch = crate::blocking("looking for room", move || {
        room.expect_room(frames.saturating_mul(SAMPLE_BYTES))?;
        room.stage_file()
    })
    .await??;
    let files = stems.iter().map(|(name, staged)| (name.clone(), staged.path().to_owned())).collect();
    let (peaks, facts) = {
        let owner = format!("results of {}", wanted.job.owner);
        let (turn, sandbox) = (state.probes.turn(owner, EXAMINE_WITHIN).await?, state.app.sandbox.clone());
        let look = move || {
            let _turn = turn;
            look(&sandbox, &wanted, &song, files, &scratch)
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
    sharing.spread(&hashes).await?;
    Ok(Stems { files, facts: Some(facts), peaks: Some(peaks) })
}

/// Decodes all of it: the outlines of song and stems, and what was found in the song.
fn look(
    sandbox: &Sandbox,
    wanted: &Wanted,
    song: &FilePath,
    stems: BTreeMap<String, PathBuf>,
    scratch: &StagedFile,
) -> Result<(Vec<u8>, Box<Facts>), ApiError> {
    let told = |name: &str, error: DecodeError| match ApiError::from(error) {
        ApiError::NotAudio(reason) => ApiError::NotAudio(format!("{name}.mp3: {reason}")),
        ApiError::Damaged(reason) => ApiError::Damaged(format!("{name}.mp3: {reason}")),
        ApiError::TooLong(reason) => ApiError::TooLong(format!("{name}.mp3: {reason}")),
        ApiError::EmptyFile => ApiError::Damaged(format!("{name}.mp3 is empty.")),
        error => error,
    };
    let io = |error: io::Error| ApiError::io("reading the samples", &error);
    let limits = decode::Limits { max_seconds: wanted.seconds() + 2 };
    let frames = wanted.job.plan.frames;
    let mut outlines: BTreeMap<String, Peaks> = BTreeMap::new();
    for (name, path) in stems {
        // First without writing: what it says of its length need not be true.
        let Inspected { probe, .. } = sandbox.inspect(&path, &limits).map_err(|error| told(&name, error))?;
        if probe.format != "mp3" {
            return Err(ApiError::NotAudio(format!("{name}.mp3 is {}, not MP3.", probe.format)));
        }
        if probe.frames.abs_diff(frames) > SLACK {
            return Err(ApiError::Damaged(format!(
                "{name}.mp3 is {:.1} seconds long, and the song {:.1}.",
                probe.frames as f64 / f64::from(RATE),
                frames as f64 / f64::from(RATE)
            )));
        }
        let decoded = sandbox.decode_known(&path, scratch.path(), probe.frames);
        let pcm = decoded.map_err(|error| told(&name, error))?;
        outlines.insert(name, outline(&pcm).map_err(io)?);
    }
    let pcm = sandbox.decode_known(song, scratch.path(), frames)?;
    let (analysis, of_song) = analyse(&pcm).map_err(io)?;
    outlines.insert("song".into(), of_song);
    let json = serde_json::to_vec(&outlines).map_err(|error| ApiError::internal("drawing the stems", &error))?;
    Ok((json, facts_of(&analysis)))
}
