//! The state machine: applies committed entries to the state, and builds and installs snapshots.
//!
//! Invariants:
//!
//! - One batch writes the changes of an entry and the position up to which the log is applied, so a crash neither loses
//!   a part of an entry nor applies it twice.
//! - Applying does not wait for the disk. The entries are synced on a majority, and entries whose changes a power failure
//!   lost are applied again. The log is purged by a synced write, so only entries whose changes are synced are purged.
//! - A received snapshot becomes the current one before it is installed, because openraft purges the log up to it
//!   meanwhile.
//! - A snapshot is installed as a new generation of the state beside the old one, in several batches; the last batch
//!   switches to it. After a crash before that the old generation is used, and the next start installs the snapshot.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Instant;

use codec::CodecError;
use net::NodeId;
use openraft::storage::RaftStateMachine;
use openraft::{
    Entry, EntryPayload, ErrorSubject, ErrorVerb, Membership, OptionalSend, RaftSnapshotBuilder, Snapshot,
    SnapshotMeta, StoredMembership,
};
use parking_lot::{Mutex, MutexGuard};
use serde::{Deserialize, Serialize};
use storage::database::{Batch, Database, DatabaseError, Pair, Table};
use tokio::sync::broadcast;

use super::flusher::LogFlusher;
use super::snapshot::{SnapshotFile, SnapshotReader, SnapshotWriter};
use super::{Answers, LogId, Member, StorageError, Types, on_disk};
use state::{Event, Transaction, View, ViewError, apply, within};

const POSITION: &[u8] = b"state/position";
const SNAPSHOT: &[u8] = b"state/snapshot";
/// How many pairs of a snapshot one batch writes.
const BATCH_PAIRS: usize = 4096;

#[derive(Debug, thiserror::Error)]
pub(crate) enum MachineError {
    #[error(transparent)]
    Database(#[from] DatabaseError),
    #[error(transparent)]
    Wire(#[from] CodecError),
    #[error(transparent)]
    View(#[from] ViewError),
    #[error("the snapshot cannot be read or written: {0}")]
    Snapshot(#[from] io::Error),
}

/// Fills an empty database with the pairs of a snapshot, as the state after entry `at` of a cluster with these members.
pub(crate) fn bootstrap_from(
    database: &Database,
    pairs: impl Iterator<Item = io::Result<Pair>>,
    at: LogId,
    members: BTreeMap<NodeId, Member>,
) -> Result<(), MachineError> {
    let mut batch = Batch::new();
    for pair in pairs {
        let (key, value) = pair?;
        batch.put(Table::State, within(0, &key), value);
        if batch.len() == BATCH_PAIRS {
            database.write(std::mem::take(&mut batch))?;
        }
    }
    let membership = Membership::new(vec![members.keys().copied().collect()], members);
    let position =
        Position { generation: 0, applied: Some(at), membership: StoredMembership::new(Some(at), membership) };
    batch.put(Table::Meta, POSITION, codec::encode(&position)?);
    Ok(database.write(batch)?)
}

/// The position of the state in the log.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Position {
    generation: u8,
    applied: Option<LogId>,
    membership: StoredMembership<NodeId, Member>,
}

struct MachineInner {
    database: Database,
    flusher: LogFlusher,
    folder: PathBuf,
    /// Locked during writes of the state, so that the holder of the lock sees a position that matches the database.
    position: Mutex<Position>,
    /// A copy of the position's generation, for readers that must not wait for the disk.
    generation: AtomicU8,
    /// Held while a snapshot reads a generation, so that no installation deletes it meanwhile, and while the current
    /// snapshot is replaced.
    generations: Mutex<()>,
    events: broadcast::Sender<Event>,
}

/// The state machine. Clones share one state.
#[derive(Clone)]
pub(crate) struct Machine(Arc<MachineInner>);

impl Machine {
    /// Opens the state in the database. Snapshots are stored in `folder`. Entries are applied when `flusher` has synced
    /// them.
    pub(crate) fn open(database: Database, flusher: LogFlusher, folder: PathBuf) -> Result<Self, MachineError> {
        std::fs::create_dir_all(&folder)?;
        let position: Position = match database.get(Table::Meta, POSITION)? {
            Some(bytes) => codec::decode(&bytes)?,
            None => Position::default(),
        };
        let machine = Self(Arc::new(MachineInner {
            database,
            flusher,
            folder,
            generation: AtomicU8::new(position.generation),
            position: Mutex::new(position),
            generations: Mutex::new(()),
            events: broadcast::channel(4096).0,
        }));
        // Delete what an interrupted installation wrote.
        machine.clear(machine.generation() ^ 1)?;
        let (current, applied) = (machine.current()?, machine.position().applied);
        for file in std::fs::read_dir(&machine.0.folder)? {
            let file = file?;
            // Files that were being received or built when the process ended are incomplete.
            if current.as_ref().is_none_or(|current| file.file_name() != *current.snapshot_id) {
                std::fs::remove_file(file.path())?;
            }
        }
        if let Some(meta) = current.filter(|meta| meta.last_log_id > applied) {
            tracing::info!("installing a snapshot that was received before the restart");
            machine.install(&meta, &machine.snapshot_path(&meta.snapshot_id))?;
        }
        Ok(machine)
    }

    fn position(&self) -> MutexGuard<'_, Position> {
        self.0.position.lock()
    }

    fn generation(&self) -> u8 {
        self.0.generation.load(Ordering::Acquire)
    }

    /// The state as applied now.
    pub(crate) fn view(&self) -> View {
        View::new(self.0.database.clone(), self.generation())
    }

    /// The changes of the state from now on.
    pub(crate) fn events(&self) -> broadcast::Receiver<Event> {
        self.0.events.subscribe()
    }

    fn clear(&self, generation: u8) -> Result<(), DatabaseError> {
        let mut batch = Batch::new();
        batch.delete_range(Table::State, [generation], [generation + 1]);
        self.0.database.write(batch)
    }

    /// Writes the batch together with the position, then uses the new position.
    fn advance(
        &self,
        position: Position,
        mut batch: Batch,
        write: impl Fn(&Database, Batch) -> Result<(), DatabaseError>,
    ) -> Result<(), MachineError> {
        batch.put(Table::Meta, POSITION, codec::encode(&position)?);
        let mut now = self.position();
        write(&self.0.database, batch)?;
        self.0.generation.store(position.generation, Ordering::Release);
        *now = position;
        Ok(())
    }

    fn apply_all(&self, entries: Vec<Entry<Types>>) -> Result<Vec<Answers>, MachineError> {
        let began = Instant::now();
        let mut position = self.position().clone();
        let mut state = Transaction::over(self.view());
        let mut all = Vec::with_capacity(entries.len());
        for entry in entries {
            let mut answers = Answers::default();
            match entry.payload {
                EntryPayload::Blank => {}
                EntryPayload::Membership(membership) => {
                    position.membership = StoredMembership::new(Some(entry.log_id), membership);
                }
                EntryPayload::Normal(requests) => {
                    for (offset, request) in (0u32..).zip(requests.0.iter()) {
                        let command = &request.command;
                        answers.0.push(apply(&mut state, &request.id, command, entry.log_id.index, offset)?);
                    }
                }
            }
            position.applied = Some(entry.log_id);
            all.push(answers);
        }
        let mut batch = Batch::new();
        let events = state.finish().write(position.generation, &mut batch);
        storage::failpoint!("state.applying");
        self.advance(position, batch, Database::write_unsynced)?;
        storage::failpoint!("state.applied");
        metrics::histogram!("quartet_raft_apply_seconds").record(began.elapsed().as_secs_f64());
        for event in events {
            // Fails without subscribers, which is no error.
            let _ = self.0.events.send(event);
        }
        Ok(all)
    }

    /// Writes the state to a new file and returns its position. Other writes continue meanwhile.
    fn write_state(&self, file: &Path) -> Result<Position, MachineError> {
        let _generations = self.0.generations.lock();
        let mut writer = SnapshotWriter::create(file)?;
        // The scan sees the database as of its start, which is under the lock, so the pairs match the position.
        let locked = self.position();
        let position = locked.clone();
        let generation = position.generation;
        let pairs = self.0.database.scan(Table::State, &[generation], &[generation + 1])?;
        drop(locked);
        for pair in pairs {
            let (key, value) = pair?;
            writer.pair(&key[1..], &value)?;
        }
        writer.finish()?;
        Ok(position)
    }

    fn build(&self) -> Result<Snapshot<Types>, MachineError> {
        let began = Instant::now();
        let building = self.0.folder.join(format!("building-{}", uuid::Uuid::new_v4()));
        let position = self.write_state(&building)?;
        let meta = SnapshotMeta {
            last_log_id: position.applied,
            last_membership: position.membership,
            snapshot_id: uuid::Uuid::new_v4().simple().to_string(),
        };
        let _generations = self.0.generations.lock();
        if let Some(newer) = self.current()?.filter(|current| current.last_log_id > meta.last_log_id) {
            // It was received meanwhile, and the log may already be purged beyond the older one.
            std::fs::remove_file(building)?;
            return Ok(self.snapshot(newer));
        }
        self.make_current(building, &meta)?;
        metrics::histogram!("quartet_raft_snapshot_build_seconds").record(began.elapsed().as_secs_f64());
        tracing::info!(entries = meta.last_log_id.map_or(0, |id| id.index), "a snapshot was built");
        Ok(self.snapshot(meta))
    }

    /// Writes the state to a temporary file, for a backup. Returns the last entry that it includes.
    pub(crate) fn export(&self) -> Result<(Option<LogId>, SnapshotFile), MachineError> {
        let file = SnapshotFile::temporary(&self.0.folder);
        let position = self.write_state(file.path())?;
        Ok((position.applied, file))
    }

    /// The path of a kept snapshot.
    fn snapshot_path(&self, id: &str) -> PathBuf {
        self.0.folder.join(id)
    }

    fn snapshot(&self, meta: SnapshotMeta<NodeId, Member>) -> Snapshot<Types> {
        let snapshot = Box::new(SnapshotFile::kept(self.snapshot_path(&meta.snapshot_id)));
        Snapshot { meta, snapshot }
    }

    /// Makes a complete file the current snapshot, and removes the previous one.
    fn make_current(&self, file: PathBuf, meta: &SnapshotMeta<NodeId, Member>) -> Result<(), MachineError> {
        let previous = self.current()?;
        metrics::gauge!("quartet_raft_snapshot_bytes").set(std::fs::metadata(&file)?.len() as f64);
        storage::failpoint!("snapshot.written");
        std::fs::rename(file, self.snapshot_path(&meta.snapshot_id))?;
        storage::failpoint!("snapshot.named");
        std::fs::File::open(&self.0.folder)?.sync_all()?;
        let mut batch = Batch::new();
        batch.put(Table::Meta, SNAPSHOT, codec::encode(meta)?);
        self.0.database.write(batch)?;
        if let Some(previous) = previous {
            // A transfer in progress has the file open and can go on.
            let _ = std::fs::remove_file(self.snapshot_path(&previous.snapshot_id));
        }
        Ok(())
    }

    /// The size of the current snapshot in bytes; 0 without one.
    pub(crate) fn snapshot_bytes(&self) -> u64 {
        let path = self.current().ok().flatten().map(|meta| self.snapshot_path(&meta.snapshot_id));
        path.and_then(|path| std::fs::metadata(path).ok()).map_or(0, |metadata| metadata.len())
    }

    fn current(&self) -> Result<Option<SnapshotMeta<NodeId, Member>>, MachineError> {
        Ok(self.0.database.get(Table::Meta, SNAPSHOT)?.map(|bytes| codec::decode(&bytes)).transpose()?)
    }

    /// Makes a completely received snapshot the current one, unless the current one includes as much.
    pub(crate) fn keep_received(
        &self,
        meta: &SnapshotMeta<NodeId, Member>,
        file: &SnapshotFile,
    ) -> Result<(), MachineError> {
        let _generations = self.0.generations.lock();
        if self.current()?.is_some_and(|current| current.last_log_id >= meta.last_log_id) {
            return Ok(());
        }
        let kept = self.0.folder.join(format!("kept-{}", uuid::Uuid::new_v4()));
        std::fs::hard_link(file.path(), &kept)?;
        self.make_current(kept, meta)
    }

    fn install(&self, meta: &SnapshotMeta<NodeId, Member>, file: &Path) -> Result<(), MachineError> {
        let began = Instant::now();
        SnapshotReader::verify(file)?;
        let _generations = self.0.generations.lock();
        let old = self.generation();
        let generation = old ^ 1;
        self.clear(generation)?;
        let mut batch = Batch::new();
        for pair in SnapshotReader::open(file)? {
            let (key, value) = pair?;
            batch.put(Table::State, [&[generation], key.as_slice()].concat(), value);
            if batch.len() == BATCH_PAIRS {
                self.0.database.write(std::mem::take(&mut batch))?;
            }
        }
        let position = Position { generation, applied: meta.last_log_id, membership: meta.last_membership.clone() };
        storage::failpoint!("snapshot.copied");
        self.advance(position, batch, Database::write)?;
        storage::failpoint!("snapshot.switched");
        self.clear(old)?;
        metrics::histogram!("quartet_raft_snapshot_install_seconds").record(began.elapsed().as_secs_f64());
        tracing::info!(entries = meta.last_log_id.map_or(0, |id| id.index), "a snapshot was installed");
        Ok(())
    }
}

impl RaftSnapshotBuilder<Types> for Machine {
    async fn build_snapshot(&mut self) -> Result<Snapshot<Types>, StorageError> {
        let machine = self.clone();
        on_disk(ErrorSubject::Snapshot(None), ErrorVerb::Write, move || machine.build()).await
    }
}

impl RaftStateMachine<Types> for Machine {
    type SnapshotBuilder = Self;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership<NodeId, Member>), StorageError> {
        let position = self.position().clone();
        Ok((position.applied, position.membership))
    }

    async fn apply<I>(&mut self, entries: I) -> Result<Vec<Answers>, StorageError>
    where
        I: IntoIterator<Item = Entry<Types>> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let failed =
            |subject, error| StorageError::from(openraft::StorageIOError::new(subject, ErrorVerb::Write, error));
        let entries: Vec<_> = entries.into_iter().collect();
        let last = entries.last().map_or(0, |entry| entry.log_id.index);
        let synced = self.0.flusher.wait_synced(last).await;
        synced.map_err(|error| failed(ErrorSubject::Logs, openraft::AnyError::new(&error)))?;
        // Its reads are usually in memory and its writes do not wait for the disk; moving it to another thread would take
        // longer than the work.
        self.apply_all(entries).map_err(|error| failed(ErrorSubject::StateMachine, openraft::AnyError::new(&error)))
    }

    async fn get_snapshot_builder(&mut self) -> Self {
        self.clone()
    }

    async fn begin_receiving_snapshot(&mut self) -> Result<Box<SnapshotFile>, StorageError> {
        Ok(Box::new(SnapshotFile::temporary(&self.0.folder)))
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta<NodeId, Member>,
        snapshot: Box<SnapshotFile>,
    ) -> Result<(), StorageError> {
        let (machine, meta) = (self.clone(), meta.clone());
        on_disk(ErrorSubject::Snapshot(Some(meta.signature())), ErrorVerb::Write, move || {
            machine.keep_received(&meta, &snapshot)?;
            machine.install(&meta, snapshot.path())
        })
        .await
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot<Types>>, StorageError> {
        let machine = self.clone();
        let current = on_disk(ErrorSubject::Snapshot(None), ErrorVerb::Read, move || machine.current()).await?;
        Ok(current.map(|meta| self.snapshot(meta)))
    }
}

#[cfg(test)]
mod tests {
    use openraft::CommittedLeaderId;
    use tempfile::TempDir;
    use uuid::Uuid;

    use super::super::{Request, Requests};
    use super::*;
    use state::command::RetireNode;

    fn open(folder: &TempDir) -> Machine {
        let database = Database::open(&folder.path().join("database")).unwrap();
        let flusher = LogFlusher::start(database.clone(), 0).unwrap();
        Machine::open(database, flusher, folder.path().join("snapshots")).unwrap()
    }

    /// Applies an entry that retires the node whose id is the index of the entry.
    fn retire(machine: &Machine, index: u64) {
        let request = Request { id: Uuid::new_v4(), command: RetireNode { node: index }.into() };
        let log_id = LogId { leader_id: CommittedLeaderId::new(1, 0), index };
        let payload = EntryPayload::Normal(Requests(Arc::new(vec![request])));
        machine.apply_all(vec![Entry { log_id, payload }]).unwrap();
    }

    fn files(folder: &TempDir) -> usize {
        std::fs::read_dir(folder.path().join("snapshots")).unwrap().count()
    }

    #[test]
    fn snapshot_received_before_a_crash_is_installed_at_the_next_start() {
        let (from, to) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        let source = open(&from);
        (1..=3).for_each(|index| retire(&source, index));
        let Snapshot { meta, snapshot } = source.build().unwrap();
        {
            let machine = open(&to);
            retire(&machine, 1);
            let received = SnapshotFile::temporary(&to.path().join("snapshots"));
            std::fs::copy(snapshot.path(), received.path()).unwrap();
            machine.keep_received(&meta, &received).unwrap();
            // Receiving it again, as from a leader that got no answer, changes nothing.
            machine.keep_received(&meta, &received).unwrap();
            assert_eq!(machine.position().applied.unwrap().index, 1);
            // A crash leaves the file that was being received and one that was being built.
            std::mem::forget(received);
            machine.write_state(&to.path().join("snapshots/building")).unwrap();
            // A snapshot of fewer entries that completes later does not replace it.
            assert_eq!(machine.build().unwrap().meta, meta);
        }
        let machine = open(&to);
        assert_eq!(machine.position().applied, meta.last_log_id);
        assert_eq!(machine.view().retired().unwrap(), source.view().retired().unwrap());
        assert_eq!(machine.current().unwrap().unwrap(), meta);
        assert_eq!(files(&to), 1);
        retire(&machine, 4);
        drop(machine);
        // An installed snapshot is not installed again over later entries.
        assert_eq!(open(&to).position().applied.unwrap().index, 4);
    }
}
