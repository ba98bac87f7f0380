//! Separations: jobs that separate a file into stems by one model.
//!
//! Stage 0 separates runs of segments in parallel, stage 1 merges their parts into the stems.

use serde::{Deserialize, Serialize};
use storage::blobs::Hash;

use super::spec::{JobResult, Spec};
use crate::{Output, Selection, Task, TaskKind};

/// Frames per second of a [`Plan`].
const RATE: u64 = 44_100;

/// The separation of one file by one model into files of some formats.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Separation {
    /// The file.
    pub hash: Hash,
    /// The file's extension in lower case.
    pub format: String,
    /// The name of the model.
    pub model: String,
    /// The formats of the stems, such as `mp3:320`; no two with the same extension.
    pub formats: Vec<String>,
    /// The division into tasks.
    pub plan: Plan,
    /// The stems to make.
    pub selection: Selection,
}

/// A requested separation. The file is that of the command's song.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeparationSpec {
    /// The name of the model.
    pub model: String,
    /// The formats of the stems, such as `mp3:320`; no two with the same extension.
    pub formats: Vec<String>,
    /// The division into tasks.
    pub plan: Plan,
    /// The stems to make.
    pub selection: Selection,
}

/// The division of a song into segments and tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The song's length in frames at 44.1 kHz.
    pub frames: u64,
    /// The number of the model's segments in it.
    pub segments: u32,
    /// The number of segments in a task; the last task may have fewer.
    pub segments_per_task: u32,
}

impl Plan {
    /// Whether it has no tasks that separate, or no end to them.
    pub(crate) fn is_empty(&self) -> bool {
        self.segments == 0 || self.segments_per_task == 0
    }
}

impl SeparationSpec {
    /// This separation of a file.
    pub(crate) fn of_file(&self, hash: Hash, format: &str) -> Separation {
        let Self { model, formats, plan, selection } = self.clone();
        Separation { hash, format: format.into(), model, formats, plan, selection }
    }
}

/// The key under which the job that separates this file in this way is found.
pub(crate) fn dedup_key(hash: &Hash, model: &str, formats: &[String], selection: &Selection) -> String {
    format!("separation of {hash} by {model} into {}: {selection}", formats.join(","))
}

impl Spec for Separation {
    fn stages(&self) -> Vec<Vec<TaskKind>> {
        let Plan { segments, segments_per_task: size, .. } = self.plan;
        let separate = (0..segments.div_ceil(size)).map(|index| {
            let first = index * size;
            TaskKind::Separate { first, count: size.min(segments - first) }
        });
        vec![separate.collect(), vec![TaskKind::Merge]]
    }

    fn dedup_key(&self) -> Option<String> {
        Some(dedup_key(&self.hash, &self.model, &self.formats, &self.selection))
    }

    fn file(&self) -> Option<&Hash> {
        Some(&self.hash)
    }

    fn accepts(&self, kind: TaskKind, output: &Output) -> bool {
        matches!((kind, output), (TaskKind::Separate { .. }, Output::Part(_)) | (TaskKind::Merge, Output::Stems(_)))
    }

    fn result(&self, tasks: Vec<Task>) -> Option<JobResult> {
        tasks.into_iter().find_map(|task| match task.output {
            Some(Output::Stems(stems)) => Some(JobResult::Separation(stems)),
            _ => None,
        })
    }

    fn audio_seconds(&self, kind: TaskKind) -> u64 {
        let Plan { frames, segments, .. } = self.plan;
        let frames = match kind {
            TaskKind::Separate { count, .. } => {
                frames.saturating_mul(u64::from(count)).div_ceil(u64::from(segments.max(1)))
            }
            TaskKind::Merge => frames,
        };
        frames.div_ceil(RATE)
    }
}
