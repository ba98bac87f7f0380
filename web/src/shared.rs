//! What all handlers share: the node, its caches and limits, and the ways to look at the state.
//!
//! A handler says how new its look has to be by the way that it takes. [`Shared::read`] sees every change that was
//! answered before, at whichever node, and needs a majority. [`Shared::peek`] sees what this node last knew and works
//! always. What ends in `_for` first finds out, in the same view, who asks, and refuses who is not let in.

use std::sync::Arc;

use state::View;
use state::command::{Answer as Applied, Command};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::cache::Cache;
use crate::caller::{Caller, Visitor};
use crate::error::ApiError;
use crate::passwords::Passwords;
use crate::probes::Probes;
use crate::remembered::Remembered;
use crate::{App, blocking};

/// Uploads that are received at a time.
const UPLOADS: usize = 16;
/// The bytes that made files may take on this node's disk.
const CACHE_BYTES: u64 = 2 << 30;

/// What handlers share.
pub(crate) struct Shared {
    pub(crate) app: App,
    pub(crate) cache: Cache,
    pub(crate) passwords: Passwords,
    pub(crate) remembered: Remembered,
    pub(crate) probes: Probes,
    uploads: Semaphore,
}

pub(crate) type State = axum::extract::State<Arc<Shared>>;

impl Shared {
    pub(crate) fn new(app: App) -> Self {
        Self {
            cache: Cache::new(app.cache.clone(), CACHE_BYTES),
            passwords: Passwords::new(),
            remembered: Remembered::default(),
            probes: Probes::default(),
            app,
            uploads: Semaphore::new(UPLOADS),
        }
    }

    /// Looks at the state as of now, whichever node changed it last.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        look: impl FnOnce(&View) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let view = self.app.cluster.read().await?;
        blocking("reading the state", move || look(&view)).await?
    }

    /// Looks at the state as this node last knew it; this works without a majority.
    pub(crate) async fn peek<T: Send + 'static>(
        &self,
        look: impl FnOnce(&View) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let view = self.app.cluster.peek();
        blocking("reading the state", move || look(&view)).await?
    }

    /// [`Self::read`] for whoever is let in, once it is known who that is.
    pub(crate) async fn read_for<T: Send + 'static>(
        self: &Arc<Self>,
        visitor: &Visitor,
        look: impl FnOnce(&View, &Caller) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        self.read(self.admitting(visitor, true, look)).await
    }

    /// [`Self::peek`] for whoever is content with a stale answer, [`Self::read`] for others.
    pub(crate) async fn read_or_stale<T: Send + 'static>(
        self: &Arc<Self>,
        visitor: &Visitor,
        stale: bool,
        look: impl FnOnce(&View, &Caller) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let look = self.admitting(visitor, !stale, look);
        if stale { self.peek(look).await } else { self.read(look).await }
    }

    /// Like [`Self::read`], but while the cluster has no majority like [`Self::peek`]: what was uploaded stays audible,
    /// and a file's bytes never change. `look` is told whether the view is as new as can be.
    pub(crate) async fn read_or_peek<T: Send + 'static>(
        &self,
        look: impl FnOnce(&View, bool) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let (view, certain) = match self.app.cluster.read().await {
            Ok(view) => (view, true),
            Err(_) => (self.app.cluster.peek(), false),
        };
        blocking("reading the state", move || look(&view, certain)).await?
    }

    /// [`Self::read_or_peek`] for whoever is let in, once it is known who that is.
    pub(crate) async fn read_or_peek_for<T: Send + 'static>(
        self: &Arc<Self>,
        visitor: &Visitor,
        look: impl FnOnce(&View, &Caller) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let (shared, visitor) = (Arc::clone(self), visitor.clone());
        let look = move |view: &View, certain| look(view, &visitor.admit(view, &shared.app.accounts, certain)?);
        self.read_or_peek(look).await
    }

    /// Proposes to make something, and gives its number.
    pub(crate) async fn make(&self, doing: &str, command: Command) -> Result<u64, ApiError> {
        match self.app.cluster.propose(command).await?? {
            Applied::Made(id) => Ok(id),
            other => Err(ApiError::unexpected(doing, &other)),
        }
    }

    fn admitting<T>(
        self: &Arc<Self>,
        visitor: &Visitor,
        certain: bool,
        look: impl FnOnce(&View, &Caller) -> Result<T, ApiError> + Send + 'static,
    ) -> impl FnOnce(&View) -> Result<T, ApiError> + Send + 'static {
        let (shared, visitor) = (Arc::clone(self), visitor.clone());
        move |view| look(view, &visitor.admit(view, &shared.app.accounts, certain)?)
    }

    pub(crate) fn upload_permit(&self) -> Result<SemaphorePermit<'_>, ApiError> {
        self.uploads.try_acquire().map_err(|_| ApiError::Busy(format!("with {UPLOADS} other uploads")))
    }
}
