//! One claimed task, from the files it needs to the file it makes.

use std::collections::BTreeMap;
use std::error::Error;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use audio::analysis::{Peaks, analyse};
use audio::encode::{EncodeError, Format};
use inference::Separator;
use inference::merge::{Export, MergeError, Parts, Wanted, merge};
use inference::part::{Cut, PartError, separate_part};
use replication::{ShareError, Sharing};
use state::{Job, Output, Selection, Stems, Task, TaskId, TaskKind, TaskState};
use storage::NodeId;
use storage::blobs::{BlobError, Hash};

use super::models::{ModelError, Models};
use super::samples::{Samples, SamplesError};
use audio::thread::{Panicked, at_low_priority};
use web::facts::facts_of;

/// Bytes of a decoded frame: two channels of 32 bits.
const SAMPLE_BYTES: u64 = 8;
/// Bytes of a stem's frame while a job is merged: in the formats that most ask for, as scratch and as blobs.
const STEM_BYTES: u64 = 10;

/// Why a task gave no result.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TaskError {
    /// The song's file cannot be had.
    #[error("the song's file cannot be had: {0}")]
    Song(#[source] ShareError),
    /// The song cannot be decoded.
    #[error(transparent)]
    Samples(#[from] SamplesError),
    /// A part that the merge needs cannot be had; it has to be made again.
    #[error("the part of task {task}, made by node {node}, cannot be had: {source}")]
    LostPart {
        /// The task that made it.
        task: TaskId,
        /// Where it was made.
        node: NodeId,
        /// Why.
        source: ShareError,
    },
    /// The state holds a merge whose parts are not all made.
    #[error("the merge was begun before task {0} had its part")]
    Unfinished(TaskId),
    /// The model cannot be had.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The model does not find what was chosen.
    #[error("the model {model} finds none of the stems that were chosen ({selection})")]
    NoStems {
        /// Which.
        model: String,
        /// What was chosen.
        selection: String,
    },
    /// The separation failed.
    #[error("the separation failed: {0}")]
    Separate(#[from] PartError),
    /// The merge failed.
    #[error("the merge failed: {0}")]
    Merge(#[from] MergeError),
    /// A result cannot be stored.
    #[error("the result cannot be stored: {0}")]
    Store(#[from] BlobError),
    /// A result cannot be shared with a majority.
    #[error("the stems cannot be shared: {0}")]
    Share(#[source] ShareError),
    /// The thread broke down.
    #[error(transparent)]
    Panicked(#[from] Panicked),
    /// It took longer than its length allows.
    #[error("the task did not finish within {} s", .0.as_secs())]
    Overran(Duration),
}

impl TaskError {
    /// Whether nothing is wrong but that this node has no room, be it that other programs have filled the disk meanwhile.
    pub(crate) fn no_room(&self) -> bool {
        let mut cause: Option<&(dyn Error + 'static)> = Some(self);
        while let Some(error) = cause {
            if error.downcast_ref().is_some_and(|error: &io::Error| error.kind() == io::ErrorKind::StorageFull) {
                return true;
            }
            cause = error.source();
        }
        let shared = |error: &ShareError| matches!(error, ShareError::Full { .. } | ShareError::Blob(BlobError::Full));
        match self {
            Self::Store(error) => matches!(error, BlobError::Full),
            Self::Song(error) | Self::Share(error) | Self::Model(ModelError::File { source: error, .. }) => {
                shared(error)
            }
            _ => false,
        }
    }

    /// Whether the same attempt may well succeed a moment later, when nodes that are away are back.
    pub(crate) fn may_pass(&self) -> bool {
        matches!(self, Self::Song(_) | Self::Share(_) | Self::Model(ModelError::File { .. }))
    }
}

/// What tasks run with.
pub(crate) struct Bench {
    /// The files.
    pub sharing: Sharing,
    /// The decoded songs.
    pub samples: Samples,
    /// The models.
    pub models: Models,
    /// A folder for half-made results; emptied at start.
    pub scratch: PathBuf,
}

impl Bench {
    /// Runs the task. `all` are the job's tasks, for a merge; `stop` ends it early, with whatever error.
    pub(crate) async fn run(
        &self,
        job: &Job,
        task: &Task,
        all: &[Task],
        stop: Arc<AtomicBool>,
    ) -> Result<Output, TaskError> {
        let separator = self.models.of(&job.model).await?;
        let began = Instant::now();
        let output = match task.kind {
            TaskKind::Separate { first, count } => self.separate(job, separator, first, count, &stop).await?,
            TaskKind::Merge => self.merge(job, separator, all, &stop).await?,
        };
        let seconds = format!("{:.2}", began.elapsed().as_secs_f64());
        match task.kind {
            TaskKind::Separate { first, count } => {
                tracing::info!(task = %task.id, segments = count, first, %seconds, "separated with {}", job.model);
            }
            TaskKind::Merge => tracing::info!(task = %task.id, %seconds, "merged, encoded and shared"),
        }
        Ok(output)
    }

    async fn separate(
        &self,
        job: &Job,
        separator: Arc<dyn Separator>,
        first: u32,
        count: u32,
        stop: &Arc<AtomicBool>,
    ) -> Result<Output, TaskError> {
        let song = self.sharing.whole(&job.hash).await.map_err(TaskError::Song)?;
        self.sharing.blobs().expect_room(job.plan.frames.saturating_mul(SAMPLE_BYTES))?;
        let decoded = self.samples.of(job.hash, &song, job.plan.frames).await?;
        let staged = self.sharing.blobs().stage_file()?;
        let (path, stop) = (staged.path().to_owned(), Arc::clone(stop));
        at_low_priority("separate", move || {
            let cut = Cut { geometry: separator.geometry(), delay: 0, first, count };
            separate_part(separator.as_ref(), &decoded.pcm, cut, &path, &stop, &|_| {})
        })
        .await??;
        // A part stays where it was made: if its node dies before the merge, the part is made again.
        let (part, _) = self.sharing.blobs().commit_file(staged).await?;
        storage::failpoint!("part.stored");
        Ok(Output::Part(part))
    }

    async fn merge(
        &self,
        job: &Job,
        separator: Arc<dyn Separator>,
        all: &[Task],
        stop: &Arc<AtomicBool>,
    ) -> Result<Output, TaskError> {
        let mut files = Vec::new();
        for task in all.iter().filter(|task| matches!(task.kind, TaskKind::Separate { .. })) {
            let (Some(Output::Part(part)), TaskState::Done { node }) = (&task.output, &task.state) else {
                return Err(TaskError::Unfinished(task.id));
            };
            let lost = |source| match source {
                ShareError::Blob(full @ BlobError::Full) => TaskError::Store(full),
                source => TaskError::LostPart { task: task.id, node: *node, source },
            };
            files.push(self.sharing.whole(part).await.map_err(lost)?);
        }
        let song = self.sharing.whole(&job.hash).await.map_err(TaskError::Song)?;
        let stems = separator.sources().len() as u64 * STEM_BYTES;
        self.sharing.blobs().expect_room(job.plan.frames.saturating_mul(SAMPLE_BYTES + stems))?;
        let decoded = self.samples.of(job.hash, &song, job.plan.frames).await?;
        let folder = self.scratch.join(uuid::Uuid::new_v4().to_string());
        std::fs::create_dir_all(&folder).map_err(MergeError::from)?;
        let _removed = Scratch(folder.clone());
        let sources = separator.sources();
        let parts = Parts { files, geometry: separator.geometry(), sources: sources.len(), frames: job.plan.frames };
        let formats = job.formats.iter().map(|format| format.parse()).collect::<Result<Vec<Format>, _>>();
        let formats = formats.map_err(|error| MergeError::from(EncodeError::from(error)))?;
        let tags = self.samples.tags_of(&song).await?;
        let stems = selected(sources, &job.selection);
        if stems.is_empty() {
            return Err(TaskError::NoStems { model: job.model.clone(), selection: job.selection.to_string() });
        }
        let export = Export { stems, formats, tags, ..Export::default() };
        let (stop, outlines) = (Arc::clone(stop), folder.join("peaks.json"));
        let written = outlines.clone();
        let (made, analysis) = at_low_priority("merge", move || {
            let made = merge(&parts, None, &folder, &export, &stop, &|_, _| {})?;
            let (analysis, of_song) = analyse(&decoded.pcm)?;
            let of_stems = made.iter().map(|stem| (stem.name.as_str(), &stem.peaks));
            let all: BTreeMap<&str, &Peaks> = of_stems.chain([("song", &of_song)]).collect();
            std::fs::write(&written, serde_json::to_vec(&all).map_err(std::io::Error::from)?)?;
            Ok::<_, MergeError>((made, analysis))
        })
        .await??;
        let blobs = self.sharing.blobs();
        let (peaks, _) = blobs.import(&outlines).await?;
        let mut hashes = vec![peaks];
        let mut files: BTreeMap<String, BTreeMap<String, Hash>> = BTreeMap::new();
        for stem in made {
            let of_stem = files.entry(stem.name).or_default();
            for (format, file) in &stem.files {
                let (hash, _) = blobs.import(file).await?;
                hashes.push(hash);
                of_stem.insert(format.extension().to_owned(), hash);
            }
        }
        storage::failpoint!("merge.stored");
        self.sharing.spread(&hashes).await.map_err(TaskError::Share)?;
        storage::failpoint!("merge.shared");
        Ok(Output::Stems(Stems { files, facts: Some(facts_of(&analysis)), peaks: Some(peaks) }))
    }
}

/// The stems of a selection, of those that a model finds. A model that was replaced may not find them any more.
fn selected(sources: &[String], selection: &Selection) -> Vec<Wanted> {
    let mut stems = Wanted::each(sources);
    match selection {
        Selection::All => {}
        Selection::Only(names) => stems.retain(|stem| names.contains(&stem.name)),
        Selection::Two(name) => {
            stems.retain(|stem| stem.name == *name);
            let rest = stems.first().map(Wanted::rest);
            stems.extend(rest);
        }
    }
    stems
}

/// A folder that goes when it is no longer needed.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            tracing::warn!(%error, path = %self.0.display(), "a scratch folder cannot be removed");
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_disk_that_fills_up_in_the_middle_is_no_fault_of_the_task() {
        let failed = |kind: io::ErrorKind| {
            let (path, encode) = (PathBuf::from("part"), EncodeError::Io(kind.into()));
            [PartError::Io { path, source: kind.into() }.into(), MergeError::from(encode).into()]
        };
        assert!(failed(io::ErrorKind::StorageFull).iter().all(TaskError::no_room));
        assert!(!failed(io::ErrorKind::PermissionDenied).iter().any(TaskError::no_room));
    }

    #[test]
    fn two_stems_are_all_of_the_song() {
        let sources = ["drums", "bass", "other", "vocals"].map(str::to_owned);
        let named = |selection: &Selection| {
            selected(&sources, selection).into_iter().map(|stem| (stem.name, stem.gains)).collect::<Vec<_>>()
        };
        assert_eq!(named(&Selection::All).len(), 4);
        assert_eq!(
            named(&Selection::Two("bass".into())),
            [("bass".to_owned(), vec![0.0, 1.0, 0.0, 0.0]), ("no_bass".to_owned(), vec![1.0, 0.0, 1.0, 1.0])]
        );
        let without_vocals = Selection::Only(vec!["bass".into(), "drums".into(), "other".into()]);
        assert_eq!(
            named(&without_vocals).iter().map(|stem| stem.0.as_str()).collect::<Vec<_>>(),
            ["drums", "bass", "other"]
        );
        assert_eq!(named(&Selection::Two("kazoo".into())), []);
    }
}
