//! Backups: the state as one file, and beside it every file that the state refers to.
//!
//! ```text
//! backup.json   what this is, how far the state is, how many songs and files
//! state         the state, with a checksum
//! blobs/        the files, named by their SHA-256
//! ```
//!
//! Files are fetched as nodes fetch them from each other: checked piece by piece, from whoever has them. The backup
//! counts from the moment at which `backup.json` is written, last of all, when nothing that `state` refers to is
//! missing. A song that is deleted meanwhile takes its files with it; then a newer state is fetched.

use std::collections::HashSet;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use raft::archive::{self, At};
use replication::{Replication, ReplicationError};
use serde::{Deserialize, Serialize};
use storage::blobs::{Blobs, Hash, Quota};

use super::client::{Client, references};
use crate::configuration::Configuration;

const FORMAT: u32 = 1;
/// The most states that are fetched because files went meanwhile.
const TRIES: usize = 20;

/// `backup.json`.
#[derive(Debug, Serialize, Deserialize)]
struct Description {
    /// The layout of the folder.
    format: u32,
    /// The program that wrote it.
    version: String,
    /// Seconds since 1970.
    made_at: u64,
    /// How far the state is.
    at: At,
    /// Files that it refers to.
    files: usize,
}

/// Makes a backup, or brings one up to date.
pub(crate) async fn make(client: &Client, folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder).with_context(|| format!("the folder {} cannot be made", folder.display()))?;
    // Who else holds files is learnt here.
    client.overview().await?;
    let blobs = Blobs::open(folder, Quota::default())?;
    let sharing = Replication::start(blobs, client.peer().clone());
    for _ in 0..TRIES {
        let unfinished = folder.join("state.new");
        let at = client.fetch_state(&unfinished).await?;
        let files = references(&unfinished, &folder.join("scratch")).await?;
        if !fetch_files(&sharing, &files).await? {
            eprintln!("a song was deleted meanwhile; looking again");
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
        // What an earlier backup needed and this one does not.
        let (blobs, count) = (sharing.blobs().clone(), files.len());
        tokio::task::spawn_blocking(move || blobs.collect_garbage(&files, Instant::now(), Duration::ZERO)).await??;
        eprintln!("the backup in {} is complete: log entry {}, {count} files", folder.display(), at.index);
        return Ok(());
    }
    bail!("files went faster than they could be fetched, {TRIES} times; try again when fewer songs are deleted")
}

/// Fetches what is not here yet; false when one cannot be had from anybody.
async fn fetch_files(sharing: &Replication, files: &HashSet<Hash>) -> Result<bool> {
    let style = ProgressStyle::with_template("files {wide_bar} {pos}/{len}, {eta} to go")?;
    let bar = ProgressBar::new(files.len() as u64).with_style(style);
    for file in files {
        match sharing.fetch(file).await {
            Ok(()) => bar.inc(1),
            Err(ReplicationError::Unavailable { .. }) => return Ok(false),
            Err(error) => return Err(error.into()),
        }
    }
    bar.finish_and_clear();
    Ok(true)
}

/// Makes an empty node the first of a new cluster.
pub(crate) async fn restore(configuration: &Configuration, folder: &Path) -> Result<()> {
    let named = folder.join("backup.json");
    let text = std::fs::read_to_string(&named)
        .with_context(|| format!("{} is no complete backup: {} cannot be read", folder.display(), named.display()))?;
    let description: Description =
        serde_json::from_str(&text).with_context(|| format!("{} is no backup", folder.display()))?;
    ensure!(
        description.format <= FORMAT,
        "the backup was made by Quartet {}, which writes another layout; restore it with that program",
        description.version
    );
    let me = configuration.me();
    let database = me.data.join("database");
    ensure!(!database.exists(), "{} holds a node already; restore to an empty folder", me.data.display());

    let state = folder.join("state");
    std::fs::create_dir_all(&me.data).with_context(|| me.data.display().to_string())?;
    let files = references(&state, &me.data.join("restoring")).await?;
    let (from, to) = (Blobs::open(folder, Quota::default())?, Blobs::open(&me.data, configuration.allowance())?);
    let style = ProgressStyle::with_template("files {wide_bar} {pos}/{len}, {eta} to go")?;
    let bar = ProgressBar::new(files.len() as u64).with_style(style);
    for file in &files {
        if !to.contains(file) {
            let (found, _) = to.import(&from.path(file)).await.with_context(|| format!("the backup's file {file}"))?;
            if found != *file {
                to.remove(&found)?;
                bail!("the backup's file {file} is damaged; nothing was restored");
            }
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    // Last: a node whose database is there has all its files.
    let (id, address, at) = (me.id, me.quic.clone(), description.at);
    tokio::task::spawn_blocking(move || archive::restore(&state, at, &database, id, address)).await??;
    eprintln!(
        "node {id} is restored, as the only member of a new cluster. Start it, start the others with empty folders, and \
         let each in:  node --id ID --cluster cluster.toml join"
    );
    Ok(())
}
