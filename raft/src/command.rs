//! Everything that can be asked of the cluster, and what it answers.
//!
//! A command carries all that applying it needs, the time included, since applying reads no clock. Commands and
//! answers are written to the log and to peers; a field added later carries `#[serde(default)]`.

use serde::{Deserialize, Serialize};
use storage::NodeId;
use storage::blobs::Hash;
use uuid::Uuid;

use crate::state::{Credits, Model, Output, Plan, Priority, Road, Song, Stems, Task, TaskId};

/// A change of the cluster's state. Times are milliseconds since 1970, for people to read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Command {
    /// A song whose file a majority holds. The same file, model and formats share one job.
    AddSong {
        /// What people call it.
        title: String,
        /// The file.
        hash: Hash,
        /// Its length in bytes.
        size: u64,
        /// The file's extension in lower case.
        format: String,
        /// Whose it is; nobody's for anonymous uploads.
        uploader_id: Option<u64>,
        /// What the file says of itself.
        #[serde(default)]
        credits: Box<Credits>,
        /// How its job is cut.
        plan: Plan,
        /// The model of its job.
        model: String,
        /// The formats of the stems, as `inference` writes them.
        formats: Vec<String>,
        /// How often each task may fail.
        max_attempts: u32,
        /// How urgent its job is. A job that is there already becomes this urgent if it was less.
        #[serde(default)]
        priority: Priority,
        /// Who asks, as a name that stays the same between requests; empty when nobody can tell.
        #[serde(default)]
        owner: String,
        /// How many open jobs an owner may have; 0 is any number. Only a new job is counted.
        #[serde(default)]
        jobs_per_owner: u32,
        /// Who does its job. A job that is there already stays where it is.
        #[serde(default)]
        road: Road,
        /// When.
        at: u64,
    },
    /// The song goes; with the last song of a file go the file's jobs.
    RemoveSong {
        /// Which.
        song: u64,
        /// When.
        at: u64,
    },
    /// A worker takes a task.
    ClaimTask {
        /// Which.
        task: TaskId,
        /// The attempt that it wants to make.
        attempt: u32,
        /// The worker's node.
        node: NodeId,
        /// When.
        at: u64,
    },
    /// A worker has a task's result on its disk.
    FinishTask {
        /// Which.
        task: TaskId,
        /// The attempt that it made.
        attempt: u32,
        /// The worker's node.
        node: NodeId,
        /// The result.
        output: Output,
        /// When.
        at: u64,
    },
    /// A worker could not do a task.
    FailTask {
        /// Which.
        task: TaskId,
        /// The attempt that it made.
        attempt: u32,
        /// The worker's node.
        node: NodeId,
        /// Why.
        reason: String,
        /// When.
        at: u64,
    },
    /// A worker that stops hands its task back; this is no failure.
    ReleaseTask {
        /// Which.
        task: TaskId,
        /// The attempt that it had begun.
        attempt: u32,
        /// The worker's node.
        node: NodeId,
        /// When.
        at: u64,
    },
    /// The leader ends a claim whose worker is gone. It counts as a failure, or a task that kills its workers would
    /// go round for ever.
    ExpireTask {
        /// Which.
        task: TaskId,
        /// The attempt that ends.
        attempt: u32,
        /// Why.
        reason: String,
        /// When.
        at: u64,
    },
    /// A finished task whose part is lost is to be done again.
    ReopenTask {
        /// Which.
        task: TaskId,
        /// Why.
        reason: String,
        /// When.
        at: u64,
    },
    /// The job is not wanted any more.
    CancelJob {
        /// Which.
        job: u64,
        /// When.
        at: u64,
    },
    /// A job that failed or was cancelled is to be tried again; what it has done stays done. If another job has come
    /// to do the same since, its songs go over to that one, for a file is never separated twice alike.
    RetryJob {
        /// Which.
        job: u64,
        /// How many open jobs an owner may have; 0 is any number.
        #[serde(default)]
        jobs_per_owner: u32,
        /// When.
        at: u64,
    },
    /// A job that has not ended is to be more urgent, or less.
    SetPriority {
        /// Which.
        job: u64,
        /// How urgent it is from now on.
        priority: Priority,
    },
    /// A job's song is in the queue for workers outside.
    SendOutside {
        /// Which.
        job: u64,
    },
    /// Nobody outside took the job: the cluster's own workers do it.
    TakeInside {
        /// Which.
        job: u64,
    },
    /// A worker outside has delivered the stems of a job, and a majority holds them. It counts whoever is at the job
    /// now, as long as the job once was outside and has not ended.
    FinishOutside {
        /// Which.
        job: u64,
        /// Its result.
        stems: Box<Stems>,
        /// When.
        at: u64,
    },
    /// A model whose files a majority holds.
    AddModel {
        /// All of it.
        model: Box<Model>,
    },
    /// The model goes. Jobs that still need it fail when their next task begins; finished ones stay.
    RemoveModel {
        /// Which.
        name: String,
    },
    /// All members understand the commands of this level; a cluster without a name gets one.
    SetLevel {
        /// See [`crate::state::LEVEL`].
        level: u32,
        /// The name for a cluster that has none.
        cluster: Uuid,
    },
    /// The node is to leave: it gets no more files, and its number is never used again.
    RetireNode {
        /// Which.
        node: NodeId,
    },
}

/// What a command came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Answer {
    /// It is so.
    Done,
    /// The new song.
    Song(Song),
    /// The task, now the asker's.
    Claimed(Task),
    /// The job that does what was asked for.
    Job(u64),
}

/// Why a command changed nothing. Every replica comes to the same refusal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// No such song.
    #[error("there is no song {0}")]
    NoSuchSong(u64),
    /// No such job.
    #[error("there is no job {0}")]
    NoSuchJob(u64),
    /// Somebody else has the task, or it needs no work any more.
    #[error("the task is not this worker's")]
    ClaimLost,
    /// The job is in a state in which this cannot be done.
    #[error("job {job} is {state}; it cannot be {wish}")]
    WrongState {
        /// Which.
        job: u64,
        /// What it is.
        state: String,
        /// What was wanted.
        wish: String,
    },
    /// The owner has as many open jobs as one may have.
    #[error("there may be {limit} open jobs for one user; wait until one of them has ended, or cancel one")]
    TooManyJobs {
        /// How many there may be.
        limit: u32,
    },
    /// Another model has this name.
    #[error("there is another model {0} already; remove it first")]
    ModelTaken(String),
    /// No such model.
    #[error("there is no model {0}")]
    NoSuchModel(String),
    /// The plan has no segments, or tasks without any.
    #[error("a song needs at least one segment, and a task too")]
    EmptyPlan,
}
