//! Tests of the whole state machine.

mod invariants;
mod levels;
mod readable;
mod scripts;
mod stages;

use storage::blobs::Hash;
use storage::database::{Batch, Database};
use tempfile::TempDir;
use uuid::Uuid;

use crate::command::apply::Applied;
use crate::command::{AddSong, Answer, Command, Refusal};
use crate::{Changes, Event, JobOptions, Plan, Selection, SeparationSpec, Transaction, View, apply};

pub use levels::NextLevel;
pub(crate) use stages::Planted;

const GENERATION: u8 = 0;

/// A state machine on a disk of its own.
pub(crate) struct Machine {
    _folder: TempDir,
    database: Database,
    index: u64,
}

impl Machine {
    /// A machine with an empty state.
    pub(crate) fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let database = Database::open(folder.path()).unwrap();
        Self { _folder: folder, database, index: 0 }
    }

    pub(crate) fn view(&self) -> View {
        View::new(self.database.clone(), GENERATION)
    }

    /// Applies a command as a new request.
    pub(crate) fn apply(&mut self, command: impl Into<Command>) -> Result<Answer, Refusal> {
        self.apply_as(Uuid::new_v4(), &command.into()).0
    }

    /// The number of log entries applied so far.
    pub(crate) fn applied(&self) -> u64 {
        self.index
    }

    /// Applies a command as the request of this id.
    pub(crate) fn apply_as(&mut self, id: Uuid, command: &Command) -> (Result<Answer, Refusal>, Vec<Event>) {
        let (outcome, changes) = self.prepare(id, command);
        (outcome, self.commit(changes))
    }

    /// Applies a command as the request of this id, and leaves it to the caller to commit the changes.
    pub(crate) fn prepare(&mut self, id: Uuid, command: &Command) -> (Result<Answer, Refusal>, Changes) {
        self.index += 1;
        let mut state = Transaction::over(self.view());
        let outcome = apply(&mut state, &id, command, self.index, 0).unwrap();
        (outcome, state.finish())
    }

    /// Changes the state without a command.
    pub(crate) fn change<T>(&mut self, change: impl FnOnce(&mut Transaction) -> Applied<T>) -> Result<T, Refusal> {
        let mut state = Transaction::over(self.view());
        let outcome = change(&mut state).unwrap();
        self.commit(state.finish());
        outcome
    }

    /// Writes changes.
    pub(crate) fn commit(&mut self, changes: Changes) -> Vec<Event> {
        let mut batch = Batch::new();
        let events = changes.write(GENERATION, &mut batch);
        self.database.write(batch).unwrap();
        events.into_iter().collect()
    }

    /// Skips log entries, as if they had changed nothing.
    pub(crate) fn skip(&mut self, entries: u64) {
        self.index += entries;
    }
}

/// A separation with two tasks that separate and one that merges.
pub(crate) fn separation() -> SeparationSpec {
    SeparationSpec {
        model: "spectral".into(),
        formats: vec!["mp3".into()],
        plan: Plan { frames: 10, segments: 3, segments_per_task: 2 },
        selection: Selection::All,
    }
}

/// An anonymous upload.
pub(crate) fn add_song(title: &str) -> AddSong {
    AddSong {
        title: title.into(),
        hash: Hash::of(b"file"),
        size: 1,
        format: "wav".into(),
        uploader_id: None,
        credits: Box::default(),
        separation: separation(),
        job: JobOptions { max_attempts: 2, ..JobOptions::default() },
        at: 0,
    }
}
