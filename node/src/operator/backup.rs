//! Backup and restore: the state as one file, and every blob that the state refers to.
//!
//! ```text
//! backup.json   format, version, time, log position of the state, number of blobs
//! state         the state, with a checksum
//! blobs/        the blobs, named by their SHA-256
//! ```
//!
//! Blobs are fetched with the protocol that nodes use among themselves: from any node, verified piece by piece.
//! `backup.json` is written last, when no blob of `state` is missing; without it, a backup is incomplete. If a song is
//! deleted while its blobs are fetched, a newer state is fetched and the backup continues.

use std::collections::HashSet;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use raft::archive::{self, At};
use replication::{Replication, ReplicationError};
use serde::{Deserialize, Serialize};
use storage::blobs::{Blobs, Hash, Quota};

use super::client::{OperatorClient, references};
use crate::configuration::Configuration;

const FORMAT: u32 = 1;
/// How many times a newer state is fetched because blobs were deleted meanwhile.
const MAX_STATES: usize = 20;

/// `backup.json`.
#[derive(Debug, Serialize, Deserialize)]
struct Description {
    /// The version of the folder's format.
    format: u32,
    /// The version of the program that wrote it.
    version: String,
    /// Seconds since 1970.
    made_at: u64,
    /// The log position of the state.
    at: At,
    /// The number of blobs.
    files: usize,
}

/// Creates or updates a backup.
pub(crate) async fn make(client: &OperatorClient, folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder).with_context(|| format!("cannot create the folder {}", folder.display()))?;
    // Learn the addresses of members that the cluster file does not name.
    client.overview().await?;
    let blobs = Blobs::open(folder, Quota::default())?;
    let replication = Replication::start(blobs, client.peer().clone());
    for _ in 0..MAX_STATES {
        let unfinished = folder.join("state.new");
        let at = client.fetch_state(&unfinished).await?;
        let files = references(&unfinished, &folder.join("scratch")).await?;
        if !fetch_files(&replication, &files).await? {
            eprintln!("a song was deleted meanwhile; fetching a newer state");
            continue;
        }
        std::fs::rename(&unfinished, folder.join("state"))?;
        let description = Description {
            format: FORMAT,
            version: env!("CARGO_PKG_VERSION").into(),
            made_at: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
            at,
            files: files.len(),
        };
        let text = serde_json::to_string_pretty(&description)?;
        let written = folder.join("backup.json.new");
        std::fs::write(&written, text)?;
        std::fs::File::open(&written)?.sync_all()?;
        std::fs::rename(&written, folder.join("backup.json"))?;
        std::fs::File::open(folder)?.sync_all()?;
        // Remove blobs that only an earlier backup needed.
        let (blobs, count) = (replication.blobs().clone(), files.len());
        tokio::task::spawn_blocking(move || blobs.collect_garbage(&files, Instant::now(), Duration::ZERO)).await??;
        eprintln!("backup complete in {}: log entry {}, {count} files", folder.display(), at.index);
        return Ok(());
    }
    bail!("songs were deleted during each of {MAX_STATES} attempts; try again when fewer songs are deleted")
}

/// Fetches the missing blobs. Returns false if no node has one of them.
async fn fetch_files(replication: &Replication, files: &HashSet<Hash>) -> Result<bool> {
    let style = ProgressStyle::with_template("files {wide_bar} {pos}/{len}, {eta} left")?;
    let bar = ProgressBar::new(files.len() as u64).with_style(style);
    for file in files {
        match replication.fetch(file).await {
            Ok(()) => bar.inc(1),
            Err(ReplicationError::Unavailable { .. }) => return Ok(false),
            Err(error) => return Err(error.into()),
        }
    }
    bar.finish_and_clear();
    Ok(true)
}

/// Restores a backup to an empty node, as the first member of a new cluster.
pub(crate) async fn restore(configuration: &Configuration, folder: &Path) -> Result<()> {
    let description_file = folder.join("backup.json");
    let text = std::fs::read_to_string(&description_file).with_context(|| {
        format!("{} is not a complete backup: cannot read {}", folder.display(), description_file.display())
    })?;
    let description: Description =
        serde_json::from_str(&text).with_context(|| format!("{} is not a backup", folder.display()))?;
    ensure!(
        description.format <= FORMAT,
        "the backup was written by Quartet {} in a newer format; restore it with that version",
        description.version
    );
    let me = configuration.me();
    let database = me.data.join("database");
    ensure!(!database.exists(), "{} already has the data of a node; restore to an empty folder", me.data.display());

    let state = folder.join("state");
    std::fs::create_dir_all(&me.data).with_context(|| me.data.display().to_string())?;
    let files = references(&state, &me.data.join("restoring")).await?;
    let (from, to) = (Blobs::open(folder, Quota::default())?, Blobs::open(&me.data, configuration.allowance())?);
    let style = ProgressStyle::with_template("files {wide_bar} {pos}/{len}, {eta} left")?;
    let bar = ProgressBar::new(files.len() as u64).with_style(style);
    for file in &files {
        if !to.contains(file) {
            let (found, _) = to
                .import(&from.path(file))
                .await
                .with_context(|| format!("cannot import the file {file} of the backup"))?;
            if found != *file {
                to.remove(&found)?;
                bail!("the file {file} of the backup is damaged; nothing was restored");
            }
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    // The database is written last, so that a node with a database has all its blobs.
    let (id, address, at) = (me.id, me.quic.clone(), description.at);
    tokio::task::spawn_blocking(move || archive::restore(&state, at, &database, id, address)).await??;
    eprintln!(
        "node {id} is restored as the only member of a new cluster. Start it, then start each other node with an empty folder \
         and add it:  node --id ID --cluster cluster.toml join"
    );
    Ok(())
}
