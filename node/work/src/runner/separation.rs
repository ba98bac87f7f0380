//! The tasks of a separation: some segments of a song through the model, and the merge of all parts into stems.

use std::collections::BTreeMap;
use std::error::Error;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use audio::analysis::{Peaks, analyse};
use audio::encode::{EncodeError, Format};
use audio::thread::{Panicked, at_low_priority};
use futures_util::future::BoxFuture;
use inference::merge::{Export, MergeError, Parts, Wanted, merge};
use inference::part::{Cut, PartError, separate_part};
use replication::ReplicationError;
use state::{JobSpec, Output, Selection, Stems, TaskId, TaskKind, TaskState};
use storage::blobs::{BlobError, Hash};

use super::facts::facts_of;
use super::models::ModelError;
use super::samples::SamplesError;
use super::{Assignment, Runner, TaskContext, TaskError};

/// Bytes of a decoded frame: two channels of 32 bits.
const SAMPLE_BYTES: u64 = 8;
/// Bytes of a stem's frame during a merge: scratch and blobs in the usual formats.
const STEM_BYTES: u64 = 10;

/// Why a separation task failed.
#[derive(Debug, thiserror::Error)]
enum SeparationError {
    /// The song's file is not available.
    #[error("cannot get the song's file: {0}")]
    Song(#[source] ReplicationError),
    /// The song cannot be decoded.
    #[error(transparent)]
    Samples(#[from] Arc<SamplesError>),
    /// The merge started before all parts were made.
    #[error("the merge started before task {0} had made its part")]
    Unfinished(TaskId),
    /// The model is not available.
    #[error(transparent)]
    Model(#[from] Arc<ModelError>),
    /// The model makes none of the selected stems.
    #[error("the model {model} makes none of the selected stems ({selection})")]
    NoStems {
        /// The model.
        model: String,
        /// The selection.
        selection: String,
    },
    /// The model failed.
    #[error("the separation failed: {0}")]
    Separate(#[from] PartError),
    /// The merge failed.
    #[error("the merge failed: {0}")]
    Merge(#[from] MergeError),
    /// A result cannot be stored.
    #[error("cannot store the result: {0}")]
    Store(#[from] BlobError),
    /// A result cannot be replicated to a majority.
    #[error("cannot replicate the stems: {0}")]
    Replicate(#[source] ReplicationError),
    /// The thread panicked.
    #[error(transparent)]
    Panicked(#[from] Panicked),
}

impl SeparationError {
    /// Whether the only cause is a full disk of this node.
    fn is_no_space(&self) -> bool {
        let mut cause: Option<&(dyn Error + 'static)> = Some(self);
        while let Some(error) = cause {
            if error.downcast_ref().is_some_and(|error: &io::Error| error.kind() == io::ErrorKind::StorageFull) {
                return true;
            }
            cause = error.source();
        }
        let is_full = |error: &ReplicationError| {
            matches!(error, ReplicationError::Full { .. } | ReplicationError::Blob(BlobError::Full))
        };
        match self {
            Self::Store(error) => matches!(error, BlobError::Full),
            Self::Song(error) | Self::Replicate(error) => is_full(error),
            Self::Model(error) => matches!(&**error, ModelError::File { source, .. } if is_full(source)),
            _ => false,
        }
    }

    /// Whether the cause is a file or node that is not available at the moment.
    fn is_unavailable(&self) -> bool {
        match self {
            Self::Song(_) | Self::Replicate(_) => true,
            Self::Model(error) => matches!(**error, ModelError::File { .. }),
            _ => false,
        }
    }
}

impl From<SeparationError> for TaskError {
    fn from(error: SeparationError) -> Self {
        if error.is_no_space() {
            Self::NoSpace(error.into())
        } else if error.is_unavailable() {
            Self::Unavailable(error.into())
        } else {
            Self::Failed(error.into())
        }
    }
}

/// Runs some segments of a song through the model.
pub(super) struct Separate(pub(super) Arc<TaskContext>);

impl Runner for Separate {
    fn run<'a>(&'a self, assignment: &'a Assignment) -> BoxFuture<'a, Result<Output, TaskError>> {
        Box::pin(async move { Ok(self.separate(assignment).await?) })
    }
}

impl Separate {
    async fn separate(&self, Assignment { job, task, aborted, .. }: &Assignment) -> Result<Output, SeparationError> {
        let TaskKind::Separate { first, count } = task.kind else {
            return Err(SeparationError::Unfinished(task.id));
        };
        let JobSpec::Separation(spec) = &job.spec;
        let began = Instant::now();
        let separator = self.0.models.get(&spec.model).await?;
        let blobs = self.0.replication.blobs();
        let song = self.0.replication.fetch_verified(&spec.hash).await.map_err(SeparationError::Song)?;
        blobs.check_free(spec.plan.frames.saturating_mul(SAMPLE_BYTES))?;
        let decoded = self.0.samples.get(spec.hash, &song, spec.plan.frames).await?;
        let staged = blobs.stage_file()?;
        let (path, aborted) = (staged.path().to_owned(), Arc::clone(aborted));
        at_low_priority("separate", move || {
            let cut = Cut { geometry: separator.geometry(), delay: 0, first, count };
            separate_part(separator.as_ref(), &decoded.pcm, cut, &path, &aborted, &|_| {})
        })
        .await??;
        // A part stays on this node. If the node dies before the merge, the part is made again.
        let (part, _) = blobs.commit_file(staged).await?;
        storage::failpoint!("part.stored");
        let seconds = format!("{:.2}", began.elapsed().as_secs_f64());
        tracing::info!(task = %task.id, segments = count, first, %seconds, "separated with {}", spec.model);
        Ok(Output::Part(part))
    }
}

/// Merges all parts into stems.
pub(super) struct Merge(pub(super) Arc<TaskContext>);

impl Runner for Merge {
    fn run<'a>(&'a self, assignment: &'a Assignment) -> BoxFuture<'a, Result<Output, TaskError>> {
        Box::pin(async move {
            let began = Instant::now();
            let parts = self.parts(assignment).await?;
            let stems = self.merge(assignment, parts).await?;
            let seconds = format!("{:.2}", began.elapsed().as_secs_f64());
            tracing::info!(task = %assignment.task.id, %seconds, "merged, encoded and replicated");
            Ok(Output::Stems(stems))
        })
    }
}

impl Merge {
    /// The files of the parts, on this node.
    async fn parts(&self, assignment: &Assignment) -> Result<Vec<PathBuf>, TaskError> {
        let mut files = Vec::new();
        for task in assignment.tasks.iter().filter(|task| matches!(task.kind, TaskKind::Separate { .. })) {
            let (Some(Output::Part(part)), TaskState::Done { node }) = (&task.output, &task.state) else {
                return Err(SeparationError::Unfinished(task.id).into());
            };
            files.push(self.0.replication.fetch_verified(part).await.map_err(|error| match error {
                ReplicationError::Blob(full @ BlobError::Full) => SeparationError::Store(full).into(),
                error => TaskError::LostInput { task: task.id, node: *node, cause: error.into() },
            })?);
        }
        Ok(files)
    }

    async fn merge(&self, assignment: &Assignment, files: Vec<PathBuf>) -> Result<Stems, SeparationError> {
        let Assignment { job, aborted, .. } = assignment;
        let JobSpec::Separation(spec) = &job.spec;
        let (replication, blobs) = (&self.0.replication, self.0.replication.blobs());
        let separator = self.0.models.get(&spec.model).await?;
        let song = replication.fetch_verified(&spec.hash).await.map_err(SeparationError::Song)?;
        let sources = separator.sources();
        let stem_bytes = sources.len() as u64 * STEM_BYTES;
        blobs.check_free(spec.plan.frames.saturating_mul(SAMPLE_BYTES + stem_bytes))?;
        let decoded = self.0.samples.get(spec.hash, &song, spec.plan.frames).await?;
        let folder = self.0.scratch.join(uuid::Uuid::new_v4().to_string());
        std::fs::create_dir_all(&folder).map_err(MergeError::from)?;
        let _removed = Scratch(folder.clone());
        let parts = Parts { files, geometry: separator.geometry(), sources: sources.len(), frames: spec.plan.frames };
        let formats = spec.formats.iter().map(|format| format.parse()).collect::<Result<Vec<Format>, _>>();
        let formats = formats.map_err(|error| MergeError::from(EncodeError::from(error)))?;
        let tags = self.0.samples.tags_of(&song).await.map_err(Arc::new)?;
        let stems = selected(sources, &spec.selection);
        if stems.is_empty() {
            return Err(SeparationError::NoStems { model: spec.model.clone(), selection: spec.selection.to_string() });
        }
        let export = Export { stems, formats, tags, ..Export::default() };
        let (aborted, peaks_file) = (Arc::clone(aborted), folder.join("peaks.json"));
        let written = peaks_file.clone();
        let (made, analysis) = at_low_priority("merge", move || {
            let made = merge(&parts, None, &folder, &export, &aborted, &|_, _| {})?;
            let (analysis, of_song) = analyse(&decoded.pcm)?;
            let of_stems = made.iter().map(|stem| (stem.name.as_str(), &stem.peaks));
            let all: BTreeMap<&str, &Peaks> = of_stems.chain([("song", &of_song)]).collect();
            std::fs::write(&written, serde_json::to_vec(&all).map_err(io::Error::from)?)?;
            Ok::<_, MergeError>((made, analysis))
        })
        .await??;
        let (peaks, _) = blobs.import(&peaks_file).await?;
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
        replication.replicate(&hashes).await.map_err(SeparationError::Replicate)?;
        storage::failpoint!("merge.shared");
        Ok(Stems { files, facts: Some(facts_of(&analysis)), peaks: Some(peaks) })
    }
}

/// The selected stems of those that a model makes. A model that was replaced may no longer make them.
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

/// A folder that is removed when this is dropped.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            tracing::warn!(%error, path = %self.0.display(), "cannot remove a scratch folder");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_that_fills_up_during_a_task_is_no_failure() {
        let errors = |kind: io::ErrorKind| -> [TaskError; 2] {
            let (path, encode) = (PathBuf::from("part"), EncodeError::Io(kind.into()));
            [
                SeparationError::from(PartError::Io { path, source: kind.into() }).into(),
                SeparationError::from(MergeError::from(encode)).into(),
            ]
        };
        let is_no_space = |error: &TaskError| matches!(error, TaskError::NoSpace(_));
        assert!(errors(io::ErrorKind::StorageFull).iter().all(is_no_space));
        assert!(!errors(io::ErrorKind::PermissionDenied).iter().any(is_no_space));
    }

    #[test]
    fn two_stems_add_up_to_the_song() {
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
