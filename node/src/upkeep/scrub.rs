//! Reading every file once in a while, and fetching again what is found damaged.

use anyhow::{Context, Result};
use storage::blobs::Hash;
use storage::blobs::scrub::{Finding, Scrub, ScrubOrder};

use super::worker::{Activity, Next, Worker};
use super::{Means, Settings};

/// The scrub of this node's files.
pub(super) struct Scrubbing {
    means: Means,
    scrub: Scrub,
    order: ScrubOrder,
}

impl Scrubbing {
    pub(super) fn new(means: Means, settings: &Settings) -> Self {
        let scrub = Scrub::new(means.sharing.blobs().clone(), settings.scrub, settings.scrub_mark.clone());
        Self { means, order: scrub.order(), scrub }
    }

    /// Brings back what was set aside, if anything refers to it.
    async fn replace(&self, hash: Hash) -> Result<()> {
        let view = self.means.cluster.peek();
        let needed = tokio::task::spawn_blocking(move || view.references()).await??.contains(&hash);
        if needed {
            self.means.sharing.fetch(&hash).await.context("a damaged file could not be fetched again")?;
            tracing::info!(%hash, "a damaged file was fetched again");
        }
        Ok(())
    }
}

impl Worker for Scrubbing {
    /// At most a quarter of the time, when somebody asks for a round at once.
    const TRANQUILLITY: u32 = 3;

    async fn step(&mut self, activity: &Activity) -> Result<Next> {
        let (finding, pause) = self.scrub.step().await?;
        match finding {
            Finding::Damaged(hash) => self.replace(hash).await?,
            Finding::Sound => {}
            Finding::End => activity.well(),
        }
        let (done, total, bytes) = self.scrub.progress();
        activity.doing("reading", done, total, bytes);
        Ok(match pause {
            None => Next::Again,
            Some(pause) => Next::Rest(pause),
        })
    }

    async fn woken(&mut self) {
        self.order.asked().await;
    }
}
