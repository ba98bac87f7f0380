//! What all handlers share: the node, its caches and limits, and the ways to read the state.
//!
//! The method that a handler calls decides how new the view is. [`AppState::read`] sees every change that any node has
//! acknowledged, and needs a majority. [`AppState::peek`] sees what this node applied last, and always works. Methods
//! that end in `_for` authenticate the caller in the same view first and refuse callers that the endpoint's
//! [`Access`](crate::auth::access::Access) does not allow.

use std::ops::Deref;
use std::path::PathBuf;
use std::sync::Arc;

use audio::analysis::Analysis;
use audio::sandbox::Sandbox;
use live::{BrokerStatus, Live};
use raft::Cluster;
use replication::Replication;
use serde_json::Value;
use state::command::{Answer as Applied, Command};
use state::{Facts, Model, View};
use tokio::sync::{Semaphore, SemaphorePermit, watch};
use tokio_util::sync::CancellationToken;

use crate::auth::accounts::Accounts;
use crate::auth::auth_cache::AuthCache;
use crate::auth::caller::Caller;
use crate::auth::external_workers::ExternalWorkers;
use crate::auth::passwords::Passwords;
use crate::auth::request_auth::RequestAuth;
use crate::files::cache::Cache;
use crate::files::decode_queue::DecodeQueue;
use crate::http::blocking;
use crate::http::error::ApiError;
use crate::webhook_url::Webhooks;

/// Uploads that a node receives at a time.
const UPLOADS: usize = 16;
/// The most bytes of generated files on this node's disk.
const CACHE_BYTES: u64 = 2 << 30;

/// Limits on uploads.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The largest file in bytes.
    pub max_upload_bytes: u64,
    /// The longest song in seconds.
    pub max_seconds: u64,
    /// Open jobs per user; 0 means no limit.
    pub jobs_per_user: u32,
}

/// What the interface needs from its node.
pub struct App {
    /// The replicated state.
    pub cluster: Cluster,
    /// The files.
    pub replication: Replication,
    /// The status of the nodes.
    pub live: Live,
    /// The status of the broker, if one is configured.
    pub broker: Option<watch::Receiver<BrokerStatus>>,
    /// Decodes uploads and stored files.
    pub sandbox: Sandbox,
    /// Limits on uploads.
    pub limits: Limits,
    /// Who may use the cluster.
    pub accounts: Accounts,
    /// The settings for web hooks.
    pub webhooks: Webhooks,
    /// The settings for external workers; none if the cluster has none.
    pub external_workers: Option<ExternalWorkers>,
    /// A folder for generated files. It must exist, and may be emptied before a start.
    pub cache_folder: PathBuf,
    /// The models that are part of the program and need no files.
    pub built_in_models: Vec<Model>,
    /// The number of segments into which a model cuts a song of so many frames.
    pub segments: fn(&Model, u64) -> u32,
    /// The facts that the state keeps of an analysis.
    pub facts: fn(&Analysis) -> Box<Facts>,
    /// The model for uploads that name none.
    pub default_model: String,
    /// Failures of a task after which its job fails.
    pub max_attempts: u32,
    /// Segments of a song in one task.
    pub segments_per_task: u32,
    /// Renders the node's metrics in Prometheus' text format. It may read the disk.
    pub metrics: Arc<dyn Fn() -> String + Send + Sync>,
    /// Cancelled when the node stops; event streams end then.
    pub stopping: CancellationToken,
}

/// The state of the router: the node's [`App`] and what the interface itself keeps in memory.
pub(crate) struct AppState {
    app: App,
    pub(crate) cache: Cache,
    pub(crate) passwords: Passwords,
    pub(crate) auth_cache: AuthCache,
    pub(crate) decode_queue: DecodeQueue,
    /// The OpenAPI description.
    pub(crate) description: Arc<Value>,
    uploads: Semaphore,
}

/// The state as handlers receive it.
pub(crate) type State = axum::extract::State<Arc<AppState>>;

/// Handlers write `state.cluster`: an `AppState` is its `App` with caches.
impl Deref for AppState {
    type Target = App;

    fn deref(&self) -> &App {
        &self.app
    }
}

impl AppState {
    pub(crate) fn new(app: App, description: Value) -> Self {
        Self {
            cache: Cache::new(app.cache_folder.clone(), CACHE_BYTES),
            passwords: Passwords::new(),
            auth_cache: AuthCache::default(),
            decode_queue: DecodeQueue::default(),
            description: Arc::new(description),
            app,
            uploads: Semaphore::new(UPLOADS),
        }
    }

    /// Reads the newest committed state.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        look: impl FnOnce(&View) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let view = self.cluster.read().await?;
        blocking("reading the state", move || look(&view)).await?
    }

    /// Reads the state that this node applied last. This works without a majority.
    pub(crate) async fn peek<T: Send + 'static>(
        &self,
        look: impl FnOnce(&View) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let view = self.cluster.peek();
        blocking("reading the state", move || look(&view)).await?
    }

    /// [`Self::read`] for callers with access.
    pub(crate) async fn read_for<T: Send + 'static>(
        self: &Arc<Self>,
        auth: &RequestAuth,
        look: impl FnOnce(&View, &Caller) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        self.read(self.authenticated(auth, true, look)).await
    }

    /// [`Self::peek`] if `stale`, otherwise [`Self::read`], for callers with access.
    pub(crate) async fn read_or_stale<T: Send + 'static>(
        self: &Arc<Self>,
        auth: &RequestAuth,
        stale: bool,
        look: impl FnOnce(&View, &Caller) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let look = self.authenticated(auth, !stale, look);
        if stale { self.peek(look).await } else { self.read(look).await }
    }

    /// [`Self::read`], or [`Self::peek`] while the cluster has no majority. Uploaded songs stay playable then, and the
    /// bytes of a file never change. `look` is told whether the view is the newest.
    pub(crate) async fn read_or_peek<T: Send + 'static>(
        &self,
        look: impl FnOnce(&View, bool) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let (view, newest) = match self.cluster.read().await {
            Ok(view) => (view, true),
            Err(_) => (self.cluster.peek(), false),
        };
        blocking("reading the state", move || look(&view, newest)).await?
    }

    /// [`Self::read_or_peek`] for callers with access.
    pub(crate) async fn read_or_peek_for<T: Send + 'static>(
        self: &Arc<Self>,
        auth: &RequestAuth,
        look: impl FnOnce(&View, &Caller) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let (state, auth) = (Arc::clone(self), auth.clone());
        let look = move |view: &View, newest| look(view, &auth.admit(view, &state.accounts, newest)?);
        self.read_or_peek(look).await
    }

    /// Proposes a command that creates something, and returns its id. `doing` names it in errors.
    pub(crate) async fn create(&self, doing: &str, command: impl Into<Command>) -> Result<u64, ApiError> {
        match self.cluster.propose(command).await?? {
            Applied::Made(id) => Ok(id),
            other => Err(ApiError::unexpected(doing, &other)),
        }
    }

    fn authenticated<T>(
        self: &Arc<Self>,
        auth: &RequestAuth,
        newest: bool,
        look: impl FnOnce(&View, &Caller) -> Result<T, ApiError> + Send + 'static,
    ) -> impl FnOnce(&View) -> Result<T, ApiError> + Send + 'static {
        let (state, auth) = (Arc::clone(self), auth.clone());
        move |view| look(view, &auth.admit(view, &state.accounts, newest)?)
    }

    /// Permission to receive an upload; refused while [`UPLOADS`] others are received.
    pub(crate) fn upload_permit(&self) -> Result<SemaphorePermit<'_>, ApiError> {
        self.uploads.try_acquire().map_err(|_| ApiError::Busy(format!("with {UPLOADS} other uploads")))
    }
}
