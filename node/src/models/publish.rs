//! Publishes the models in a node's inbox to the cluster.
//!
//! The files of a model become blobs, which a majority of the nodes stores before the model is added to the state. The
//! model is then removed from the inbox. A file `NAME.removal` in the inbox requests the removal of a model.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use audio::thread::at_low_priority;
use inference::models::{Library, load};
use raft::Cluster;
use replication::Replication;
use state::command::{AddModel, RemoveModel};
use state::{Model, ModelFile};
use storage::blobs::Hash;
use tokio_util::sync::CancellationToken;

use raft::now;

/// How often the inbox is checked.
const CHECK_INTERVAL: Duration = Duration::from_secs(2);
/// The pause after an error.
const ERROR_PAUSE: Duration = Duration::from_secs(30);
/// The extension of a file that requests the removal of a model.
const REMOVAL: &str = "removal";

/// Requests the removal of a model from the cluster of the inbox's node.
pub(super) fn request_removal(library: &Library, name: &str) -> Result<()> {
    anyhow::ensure!(inference::models::is_name(name), "{name:?} is not a valid name of a model");
    fs::create_dir_all(library.folder())?;
    fs::write(library.folder().join(format!("{name}.{REMOVAL}")), "")?;
    Ok(())
}

/// Publishes the models of the inbox and removes models on request, until `stop`.
///
/// `own` is the user's folder, for a standalone node: its models are published too, but stay in the folder.
pub(crate) async fn run(
    cluster: Cluster,
    replication: Replication,
    inbox: Library,
    own: Option<Library>,
    stop: CancellationToken,
) {
    let publisher = Publisher { cluster, replication };
    loop {
        let pause = match publisher.check(&inbox, own.as_ref()).await {
            Ok(()) => CHECK_INTERVAL,
            Err(error) => {
                tracing::warn!(error = format!("{error:#}"), "cannot publish models, retrying");
                ERROR_PAUSE
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

struct Publisher {
    cluster: Cluster,
    replication: Replication,
}

impl Publisher {
    async fn check(&self, inbox: &Library, own: Option<&Library>) -> Result<()> {
        for (name, request) in removals(inbox)? {
            match self.cluster.propose(RemoveModel { name: name.clone() }).await? {
                Ok(_) => tracing::info!(model = name, "removed the model from the cluster"),
                Err(refusal) => tracing::warn!(%refusal, "cannot remove a model"),
            }
            fs::remove_file(&request)?;
        }
        // Continue with the other models after an error.
        let mut failed = Ok(());
        for name in inbox.names()? {
            let published = self.publish(inbox, &name).await.with_context(|| name.clone());
            match published {
                Ok(()) => inbox.remove(&name)?,
                Err(error) => failed = Err(error),
            }
        }
        failed?;
        if let Some(own) = own {
            for name in own.names()? {
                if self.cluster.peek().model(&name)?.is_none() {
                    self.publish(own, &name).await.with_context(|| name.clone())?;
                }
            }
        }
        Ok(())
    }

    async fn publish(&self, library: &Library, name: &str) -> Result<()> {
        let manifest = library.manifest(name)?;
        let paths = library.paths(&manifest);
        // Loading the model checks that it works, and gives the geometry that the planning of jobs needs.
        let (built, model, from) = (name.to_owned(), manifest.clone(), paths.clone());
        let separator = at_low_priority("model", move || load(&model.spec(&built, &from))).await??;
        let geometry = separator.geometry();
        let mut files = Vec::new();
        for (path, file) in paths.iter().zip(manifest.files) {
            let (hash, size) = self.replication.blobs().import(path).await?;
            files.push(ModelFile { name: file, hash, size });
        }
        let hashes: Vec<Hash> = files.iter().map(|file| file.hash).collect();
        self.replication.replicate(&hashes).await?;
        let model = Model {
            name: name.into(),
            files,
            weights: manifest.weights,
            sources: separator.sources().to_vec(),
            segment: geometry.segment as u64,
            stride: geometry.stride as u64,
            added_at: now(),
        };
        self.cluster.propose(AddModel { model: Box::new(model) }).await??;
        tracing::info!(model = name, "added the model to the cluster");
        Ok(())
    }
}

/// The names of the models to remove, and the files that request it.
fn removals(library: &Library) -> io::Result<Vec<(String, PathBuf)>> {
    let entries = match fs::read_dir(library.folder()) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let is_request = path.extension().is_some_and(|extension| extension == REMOVAL);
        if let (true, Some(name)) = (is_request, path.file_stem().and_then(|name| name.to_str())) {
            found.push((name.to_owned(), path.clone()));
        }
    }
    Ok(found)
}
