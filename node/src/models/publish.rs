//! From a node's inbox into the cluster.

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

/// How often the inbox is looked into.
const EVERY: Duration = Duration::from_secs(2);
/// The pause after something went wrong.
const PAUSE: Duration = Duration::from_secs(30);
/// `NAME.removal` asks the node to remove the model.
const REMOVAL: &str = "removal";

/// Asks the node to remove a model from its cluster.
pub(super) fn ask_removal(library: &Library, name: &str) -> Result<()> {
    anyhow::ensure!(inference::models::is_name(name), "{name:?} is no model's name");
    fs::create_dir_all(library.folder())?;
    fs::write(library.folder().join(format!("{name}.{REMOVAL}")), "")?;
    Ok(())
}

/// Publishes what is put into the inbox, and removes what is asked to go, until `stop`.
///
/// `own` is the folder of whoever runs a cluster of one: its models are published too, and stay there.
pub(crate) async fn run(
    cluster: Cluster,
    sharing: Replication,
    inbox: Library,
    own: Option<Library>,
    stop: CancellationToken,
) {
    let publisher = Publisher { cluster, sharing };
    loop {
        let pause = match publisher.look(&inbox, own.as_ref()).await {
            Ok(()) => EVERY,
            Err(error) => {
                tracing::warn!(error = format!("{error:#}"), "the models cannot be published yet");
                PAUSE
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
    sharing: Replication,
}

impl Publisher {
    async fn look(&self, inbox: &Library, own: Option<&Library>) -> Result<()> {
        for (name, request) in removals(inbox)? {
            match self.cluster.propose(RemoveModel { name: name.clone() }).await? {
                Ok(_) => tracing::info!(model = name, "the model was removed"),
                Err(refusal) => tracing::warn!(%refusal, "a model was to be removed"),
            }
            fs::remove_file(&request)?;
        }
        // A model that cannot be published does not keep the others from it.
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
        // Building it once shows that it can be used, and tells what planning needs to know.
        let (built, model, from) = (name.to_owned(), manifest.clone(), paths.clone());
        let separator = at_low_priority("model", move || load(&model.spec(&built, &from))).await??;
        let geometry = separator.geometry();
        let mut files = Vec::new();
        for (path, file) in paths.iter().zip(manifest.files) {
            let (hash, size) = self.sharing.blobs().import(path).await?;
            files.push(ModelFile { name: file, hash, size });
        }
        let hashes: Vec<Hash> = files.iter().map(|file| file.hash).collect();
        self.sharing.replicate(&hashes).await?;
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
        tracing::info!(model = name, "the cluster has the model");
        Ok(())
    }
}

/// The models that are asked to go, and the files that ask it.
fn removals(library: &Library) -> io::Result<Vec<(String, PathBuf)>> {
    let entries = match fs::read_dir(library.folder()) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let asks = path.extension().is_some_and(|extension| extension == REMOVAL);
        if let (true, Some(name)) = (asks, path.file_stem().and_then(|name| name.to_str())) {
            found.push((name.to_owned(), path.clone()));
        }
    }
    Ok(found)
}
