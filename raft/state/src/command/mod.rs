//! Everything that can be asked of the cluster, and what it answers.
//!
//! A command carries all that applying it needs, the time included, since applying reads no clock. Commands and
//! answers are written to the log and to peers, by the names of their variants and fields: those never change, and a
//! field added later carries `#[serde(default)]`.

mod answer;

use serde::{Deserialize, Serialize};
use storage::NodeId;
use storage::blobs::Hash;
use uuid::Uuid;

pub use answer::{Answer, Refusal};

use crate::{
    Asker, Audience, Count, Credits, JobState, Legacy, Line, Model, Output, Plan, Priority, Road, Sealed, Selection,
    SongEdit, Stems, TaskId, Tried, Try, Verifier,
};

/// A change of the cluster's state. Times are milliseconds since 1970.
///
/// In their order: songs, separations, jobs, tasks, models, the cluster itself, accounts, sharing, web hooks, playlists,
/// listening.
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
    /// A song is to be added that the same client may ask for again, not knowing whether it was added. With a key that
    /// stands for a song, the answer is that one, and nothing is added.
    Once {
        /// A hash of the client's key and of who the client is.
        key: Hash,
        /// A hash of who the client is. Each has so many keys; the oldest gives way.
        owner: Hash,
        /// A hash of all that is asked for, so that the key is not taken for another song.
        content: Hash,
        /// When the key is forgotten.
        until: u64,
        /// The [`Command::AddSong`].
        add: Box<Command>,
        /// When.
        at: u64,
    },
    /// A song is called something else, or is by somebody else.
    ChangeSong {
        /// Which.
        song: u64,
        /// Who asks.
        asker: Asker,
        /// What is to be different.
        edit: Box<SongEdit>,
    },
    /// The song goes; with the last song of a file go the file's jobs.
    RemoveSong {
        /// Which.
        song: u64,
        /// When.
        at: u64,
    },
    /// A song is to be separated once more: with another model, into other files, or into other stems.
    Separate {
        /// Which.
        song: u64,
        /// Who asks; the song must be theirs to change.
        #[serde(default)]
        asker: Asker,
        /// How the job is cut.
        plan: Plan,
        /// The model.
        model: String,
        /// The formats of the stems, as `inference` writes them.
        formats: Vec<String>,
        /// Which stems.
        #[serde(default)]
        selection: Selection,
        /// How often each task may fail.
        max_attempts: u32,
        /// How urgent it is.
        #[serde(default)]
        priority: Priority,
        /// Who asks, as a name that stays the same between requests; empty when nobody can tell.
        #[serde(default)]
        owner: String,
        /// How many open jobs an owner may have; 0 is any number.
        #[serde(default)]
        jobs_per_owner: u32,
        /// When.
        at: u64,
    },
    /// A song does without one of its separations.
    DropSeparation {
        /// Which song.
        song: u64,
        /// Who asks; the song must be theirs to change.
        #[serde(default)]
        asker: Asker,
        /// Which separation.
        job: u64,
    },
    /// The job is not wanted any more.
    CancelJob {
        /// Which.
        job: u64,
        /// Who asks. If songs that are not theirs have the job too, theirs leave it, and it goes on.
        #[serde(default)]
        asker: Asker,
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
        /// Who asks. If songs that are not theirs have the job too, it becomes no less urgent.
        #[serde(default)]
        asker: Asker,
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
        /// What it said of the attempt.
        #[serde(default)]
        lines: Vec<Line>,
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
        /// What it said of the attempt.
        #[serde(default)]
        lines: Vec<Line>,
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
        /// What it said of the attempt.
        #[serde(default)]
        lines: Vec<Line>,
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
    /// All members understand the commands of this level; a cluster without a name gets one. Where songs and jobs are to be
    /// listed first, the level is raised by the one of these that finds no more to list.
    SetLevel {
        /// See [`crate::LEVEL`].
        level: u32,
        /// The name for a cluster that has none.
        cluster: Uuid,
    },
    /// The node is to leave: it gets no more files, and its number is never used again.
    RetireNode {
        /// Which.
        node: NodeId,
    },
    /// Somebody wants an account. The first one's is an administrator's, whatever `closed` says.
    Register {
        /// What they want to be called.
        name: String,
        /// Where to write to.
        email: Option<String>,
        /// What their password is compared with.
        password: Verifier,
        /// Whether nobody else may come.
        closed: bool,
        /// When.
        at: u64,
    },
    /// A user is to be another one; what is none stays as it is.
    ChangeUser {
        /// Who.
        user: u64,
        /// The new name.
        name: Option<String>,
        /// The new address; an empty one is none from now on.
        email: Option<String>,
        /// The new password's verifier. All sessions end with the old one but for `keep`.
        password: Option<Verifier>,
        /// What the old password was compared with, where it had to be shown.
        old_password: Option<Verifier>,
        /// Whether everybody's things are open to the user from now on.
        administrator: Option<bool>,
        /// The session that stays.
        keep: Option<u64>,
    },
    /// The user goes, with everything that is theirs.
    RemoveUser {
        /// Who.
        user: u64,
        /// What becomes of their songs; it must be said if there are any.
        songs: Option<Legacy>,
    },
    /// Something is tried that may not be tried too often; it counts before it is known how it ends.
    CountTry {
        /// What is counted. If one of them is full, none is counted.
        counts: Vec<Count>,
        /// When.
        at: u64,
    },
    /// Somebody has shown their password.
    OpenSession {
        /// The hash of the session's secret.
        secret: Hash,
        /// Who.
        user: u64,
        /// What the password was compared with: it may have been changed since.
        password: Verifier,
        /// What the browser calls itself.
        seen: String,
        /// When the session ends by itself.
        expires_at: u64,
        /// The counters that begin anew.
        clears: Vec<Hash>,
        /// When.
        at: u64,
    },
    /// The session ends.
    EndSession {
        /// Whose it is.
        user: u64,
        /// Its number.
        session: u64,
    },
    /// All of a user's sessions end.
    EndSessionsOf {
        /// Whose.
        user: u64,
        /// But for this one.
        keep: Option<u64>,
    },
    /// A user makes a token.
    MakeToken {
        /// The hash of its secret.
        secret: Hash,
        /// The secret, sealed.
        sealed: Sealed,
        /// Whose it is.
        user: u64,
        /// What the user calls it.
        name: String,
        /// When it ends by itself.
        expires_at: Option<u64>,
        /// When.
        at: u64,
    },
    /// The token opens nothing any more.
    RevokeToken {
        /// Whose it is.
        user: u64,
        /// Its number.
        token: u64,
    },
    /// A user's song is for somebody else too.
    ShareSong {
        /// Which.
        song: u64,
        /// Whose it is.
        owner: Option<u64>,
        /// For whom it is.
        audience: Audience,
    },
    /// And not any more.
    UnshareSong {
        /// Which.
        song: u64,
        /// For whom it was.
        audience: Audience,
    },
    /// Whoever has the link hears the song until it ends.
    MakeLink {
        /// The hash of its secret.
        secret: Hash,
        /// What it opens.
        song: u64,
        /// When it ends.
        expires_at: u64,
        /// When.
        at: u64,
    },
    /// The link opens nothing any more.
    RemoveLink {
        /// What it opens.
        song: u64,
        /// Its number.
        link: u64,
    },
    /// A user wants to be told of the ends of jobs.
    MakeHook {
        /// Who.
        user: u64,
        /// Where.
        url: String,
        /// Of which ends.
        events: Vec<JobState>,
        /// What deliveries are signed with, sealed.
        sealed: Sealed,
        /// When.
        at: u64,
    },
    /// A hook is to be another one; what is none stays as it is.
    ChangeHook {
        /// Whose it is.
        user: u64,
        /// Its number.
        hook: u64,
        /// The new address.
        url: Option<String>,
        /// The ends to be told of.
        events: Option<Vec<JobState>>,
        /// Whether it is told anything. What is still to be told is given up when it is turned off.
        active: Option<bool>,
    },
    /// The hook goes, with all its deliveries.
    RemoveHook {
        /// Whose it is.
        user: u64,
        /// Its number.
        hook: u64,
    },
    /// The leader has tried to tell a hook something.
    NoteDelivery {
        /// Which hook.
        hook: u64,
        /// What.
        delivery: u64,
        /// The number of the try, from 1 on.
        number: u32,
        /// What came of it.
        tried: Tried,
        /// The try itself.
        made: Try,
    },
    /// A user makes a playlist, without songs so far.
    MakePlaylist {
        /// Whose it is.
        owner: u64,
        /// What they call it.
        name: String,
        /// What they say of it.
        description: String,
        /// When.
        at: u64,
    },
    /// A playlist is called something else; what is none stays as it is.
    ChangePlaylist {
        /// Which.
        playlist: u64,
        /// The new name.
        name: Option<String>,
        /// The new description.
        description: Option<String>,
        /// When.
        at: u64,
    },
    /// The playlist goes; its songs stay.
    RemovePlaylist {
        /// Which.
        playlist: u64,
    },
    /// Songs come into a playlist.
    AddToPlaylist {
        /// Which playlist.
        playlist: u64,
        /// The songs, in their order.
        songs: Vec<u64>,
        /// Before how many entries; at the end if it is not given.
        place: Option<u64>,
        /// Entries that leave it first.
        #[serde(default)]
        without: Vec<u64>,
        /// When.
        at: u64,
    },
    /// An entry leaves a playlist.
    TakeFromPlaylist {
        /// Which playlist.
        playlist: u64,
        /// The entry.
        entry: u64,
        /// When.
        at: u64,
    },
    /// A playlist's entries are in another order.
    OrderPlaylist {
        /// Which playlist.
        playlist: u64,
        /// All its entries, in their order.
        entries: Vec<u64>,
        /// When.
        at: u64,
    },
    /// A playlist is for somebody else too, and so are its owner's songs in it.
    SharePlaylist {
        /// Which.
        playlist: u64,
        /// For whom it is.
        audience: Audience,
    },
    /// And not any more.
    UnsharePlaylist {
        /// Which.
        playlist: u64,
        /// For whom it was.
        audience: Audience,
    },
    /// A song is a user's favourite, or no longer.
    SetFavourite {
        /// The user.
        user: u64,
        /// The song.
        song: u64,
        /// Whether it is.
        favourite: bool,
    },
    /// A song was played.
    CountPlay {
        /// Which.
        song: u64,
        /// Who played it, if they have an account.
        user: Option<u64>,
        /// How many plays of one listener count.
        count: Count,
        /// When.
        at: u64,
    },
}
