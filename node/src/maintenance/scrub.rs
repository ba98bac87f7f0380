//! Reading every file once in a while, and fetching again what is found damaged.

use std::sync::Arc;

use anyhow::{Context, Result};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use storage::blobs::Hash;
use storage::blobs::scrub::{Finding, Scrub, ScrubTrigger};

use super::worker::{Activity, Next, Worker};
use super::{Deps, Settings};

/// What the last round that began for an order has come to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OrderedRound {
    /// The orders that were given since the node started; the last one's number.
    pub given: u64,
    /// The number of the order that it was begun for; 0 before the first.
    pub order: u64,
    /// Whether it has read all.
    pub ended: bool,
    /// Files read.
    pub files: u64,
    /// Files that there are to read.
    pub total: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Files that were damaged, and set aside.
    pub damaged: u64,
    /// Those of them that are here again.
    pub replaced: u64,
    /// Those of them that nothing refers to.
    pub unneeded: u64,
}

/// Orders a round, and says how far it is. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Scrubs {
    order: ScrubTrigger,
    round: Arc<Mutex<OrderedRound>>,
}

impl Scrubs {
    /// Has this node read all its files now, and returns the order's number.
    pub(crate) fn order(&self) -> u64 {
        self.order.trigger()
    }

    /// The last round that began for an order.
    pub(crate) fn round(&self) -> OrderedRound {
        let round = *self.round.lock();
        OrderedRound { given: self.order.last_request(), ..round }
    }

    /// Notes something about the round that was begun for `order`, if the present one was.
    fn note(&self, order: Option<u64>, what: impl FnOnce(&mut OrderedRound)) {
        let Some(order) = order else { return };
        let mut round = self.round.lock();
        if round.order != order {
            *round = OrderedRound { order, ..OrderedRound::default() };
        }
        what(&mut round);
    }
}

/// The scrub of this node's files.
pub(super) struct Scrubbing {
    deps: Deps,
    scrub: Scrub,
    scrubs: Scrubs,
}

impl Scrubbing {
    pub(super) fn new(deps: Deps, scrubs: Scrubs, settings: &Settings) -> Self {
        let (blobs, mark) = (deps.replication.blobs().clone(), settings.scrub_mark.clone());
        Self { deps, scrub: Scrub::new(blobs, settings.scrub, mark, scrubs.order.clone()), scrubs }
    }

    /// Brings back what was set aside, if anything refers to it.
    async fn replace(&self, hash: Hash) -> Result<()> {
        let order = self.scrub.requested();
        self.scrubs.note(order, |round| round.damaged += 1);
        let view = self.deps.cluster.peek();
        let needed = tokio::task::spawn_blocking(move || view.references()).await??.contains(&hash);
        if needed {
            self.deps.replication.fetch(&hash).await.context("a damaged file could not be fetched again")?;
            tracing::info!(%hash, "a damaged file was fetched again");
            self.scrubs.note(order, |round| round.replaced += 1);
        } else {
            self.scrubs.note(order, |round| round.unneeded += 1);
        }
        Ok(())
    }
}

impl Worker for Scrubbing {
    /// At most a quarter of the time, when somebody asks for a round at once.
    const TRANQUILLITY: u32 = 3;

    async fn step(&mut self, activity: &Activity) -> Result<Next> {
        let (finding, pause) = self.scrub.step().await?;
        let (done, total, bytes) = self.scrub.progress();
        activity.doing("reading", done, total, bytes);
        self.scrubs
            .note(self.scrub.requested(), |round| (round.files, round.total, round.bytes) = (done, total, bytes));
        match finding {
            Finding::Damaged(hash) => self.replace(hash).await?,
            Finding::Intact => {}
            Finding::End { request: order } => {
                activity.well();
                self.scrubs.note(order, |round| round.ended = true);
            }
        }
        Ok(match pause {
            None => Next::Again,
            Some(pause) => Next::Rest(pause),
        })
    }

    async fn woken(&mut self) {
        self.scrubs.order.triggered().await;
    }
}
