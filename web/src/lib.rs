//! What people and programs touch: the HTTP interface, live events, and the page inside the binary.
//!
//! Every node serves all of it, and it does not matter which one is asked: what a request changes is committed in the
//! cluster before the answer, and what it reads is as new as the newest committed change, whoever made that. Only
//! what says so in its description (`/cluster`, the event streams) may be a moment old.
//!
//! Invariants: an upload is acknowledged after its file lies on a majority and its song is committed, never before. A
//! request that fails or breaks off leaves nothing on the disk. No upload, file or mix is ever whole in memory.
//!
//! Everybody finds what is for them and nothing else: what is not answers as what never was. Who asks is looked up in the
//! same view of the state as what is asked for, so ending a session at one node ends it at all.

pub mod accounts;
pub mod answer;
pub mod api;
mod archive;
pub mod cache;
mod caller;
pub mod client;
mod codes;
mod conditional;
mod dates;
pub mod error;
pub mod events;
pub mod facts;
mod fields;
mod guard;
pub mod hooks;
mod incoming;
pub mod outside;
mod passwords;
mod query;
pub mod ranges;
mod remembered;
mod search;
mod secret;
mod subsonic;
mod ui;
mod zip;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::Method;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{delete, get, patch, post, put};
use futures_util::future::BoxFuture;
use raft::state::{Line, TaskId};
use raft::{Cluster, View};
use storage::sharing::Sharing;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio_util::sync::CancellationToken;

use crate::accounts::Accounts;
use crate::api::cluster::{BrokerReport, NodeReport};
use crate::cache::Cache;
use crate::caller::{Caller, Visitor};
use crate::error::ApiError;
use crate::hooks::Hooks;
use crate::outside::Outside;
use crate::passwords::Passwords;
use crate::remembered::Remembered;

/// Uploads that are received at a time.
const UPLOADS: usize = 16;
/// Uploads that are decoded to their end at a time.
const PROBES: usize = 2;
/// The bytes that made files may take on this node's disk.
const CACHE_BYTES: u64 = 2 << 30;

/// The most bytes of what people fill in. Uploads and deliveries have limits of their own.
const FIELDS_BYTES: usize = 64 << 10;

/// What nodes say of themselves; the node's process knows.
pub trait Nodes: Send + Sync + 'static {
    /// Every member, in the order of their ids.
    fn overview(&self) -> Vec<NodeReport>;
    /// The way tasks take to the workers.
    fn broker(&self) -> BrokerReport;
    /// What a node has said so far of an attempt that it makes; nothing if it does not answer in a moment.
    fn lines(&self, node: u64, task: TaskId, attempt: u32) -> BoxFuture<'static, Vec<Line>>;
}

/// What an upload may be.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The largest file in bytes.
    pub max_upload_bytes: u64,
    /// The longest song in seconds.
    pub max_seconds: u64,
    /// Jobs that one user may have open; 0 is any number.
    pub jobs_per_user: u32,
}

/// All that the interface needs of its node.
pub struct App {
    /// The state that all nodes agree on.
    pub cluster: Cluster,
    /// The files.
    pub sharing: Sharing,
    /// What nodes say of themselves.
    pub nodes: Arc<dyn Nodes>,
    /// What an upload may be.
    pub limits: Limits,
    /// Who may do what.
    pub accounts: Accounts,
    /// Where web hooks may lead, and what their secrets are kept under.
    pub hooks: Hooks,
    /// Workers outside of the cluster, if it has any.
    pub outside: Option<Outside>,
    /// A folder for files that can be made again; it must exist and may be emptied at any start.
    pub cache: PathBuf,
    /// The model that uploaded songs are separated with.
    pub model: String,
    /// How often a task may fail.
    pub max_attempts: u32,
    /// How many of the model's segments make a task.
    pub segments_per_task: u32,
    /// Writes down the node's numbers for `/metrics`, in Prometheus' text format. It may look at the disk.
    pub metrics: Arc<dyn Fn() -> String + Send + Sync>,
    /// Raised when the node stops: event streams end then.
    pub stopping: CancellationToken,
}

/// What handlers share.
pub(crate) struct Shared {
    pub(crate) app: App,
    pub(crate) cache: Cache,
    pub(crate) passwords: Passwords,
    pub(crate) remembered: Remembered,
    uploads: Semaphore,
    probes: Semaphore,
}

pub(crate) type State = axum::extract::State<Arc<Shared>>;

impl Shared {
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

    pub(crate) async fn probe_permit(&self) -> Result<SemaphorePermit<'_>, ApiError> {
        self.probes.acquire().await.map_err(|_| ApiError::Stopping)
    }
}

/// Runs what may wait for the disk on a thread where it may.
pub(crate) async fn blocking<T: Send + 'static>(
    doing: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ApiError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| ApiError::internal(doing, &error))
}

/// Milliseconds since 1970, for people to read.
pub(crate) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// The whole interface.
pub fn router(app: App) -> Router {
    let shared = Arc::new(Shared {
        cache: Cache::new(app.cache.clone(), CACHE_BYTES),
        passwords: Passwords::new(),
        remembered: Remembered::default(),
        app,
        uploads: Semaphore::new(UPLOADS),
        probes: Semaphore::new(PROBES),
    });
    Router::new()
        .route("/auth/register", post(api::auth::register))
        .route("/auth/login", post(api::auth::login))
        .route("/auth/logout", post(api::auth::logout))
        .route("/auth/me", get(api::auth::me))
        .route("/users", get(api::users::list))
        .route("/users/", get(api::users::list))
        .route("/users/{id}", get(api::users::one).patch(api::users::change).delete(api::users::remove))
        .route("/users/{id}/sessions", get(api::sessions::list).delete(api::sessions::end_all))
        .route("/users/{id}/sessions/{session}", delete(api::sessions::end))
        .route("/users/{id}/tokens", get(api::tokens::list).post(api::tokens::make))
        .route("/users/{id}/tokens/{token}", delete(api::tokens::revoke))
        .route("/users/{id}/webhooks", get(api::hooks::list).post(api::hooks::make))
        .route("/users/{id}/webhooks/{hook}", patch(api::hooks::change).delete(api::hooks::remove))
        .route("/users/{id}/webhooks/{hook}/deliveries", get(api::hooks::deliveries))
        .route("/shared/{secret}", get(api::links::song))
        .route("/shared/{secret}/mix.mp3", get(api::mix::mix_by_link))
        .route("/shared/{secret}/stems.zip", get(api::stems::all_by_link))
        .route("/shared/{secret}/cover", get(api::files::cover_by_link))
        .route("/shared/{secret}/{file}", get(api::files::file_by_link))
        .route("/songs", get(api::songs::list))
        .route("/songs/", get(api::songs::list))
        .route("/songs/upload", post(api::upload::upload))
        .route("/songs/{id}", get(api::songs::one).patch(api::songs::change).delete(api::songs::remove))
        .route("/songs/{id}/shares", get(api::shares::list).post(api::shares::share))
        .route("/songs/{id}/shares/{with}", delete(api::shares::unshare))
        .route("/songs/{id}/links", get(api::links::list).post(api::links::make))
        .route("/songs/{id}/links/{link}", delete(api::links::remove))
        .route("/songs/{id}/upload_result", post(api::result::upload_result))
        .route("/songs/{id}/separate", post(api::separations::make))
        .route("/songs/{id}/separations", get(api::separations::list))
        .route("/songs/{id}/separations/{job}", delete(api::separations::remove))
        .route("/songs/{id}/stems.zip", get(api::stems::all))
        .route("/songs/{id}/mix.mp3", get(api::mix::mix))
        .route("/songs/{id}/cover", get(api::files::cover).put(api::cover::put).delete(api::cover::remove))
        .route("/songs/{id}/{file}", get(api::files::file))
        .route("/songs/{id}/plays", post(api::listening::play))
        .route("/songs/{id}/favourite", put(api::listening::favour).delete(api::listening::forget))
        .route("/artists", get(api::groups::artists))
        .route("/albums", get(api::groups::albums))
        .route("/genres", get(api::groups::genres))
        .route("/playlists", get(api::playlists::list).post(api::playlists::make))
        .route("/playlists/", get(api::playlists::list).post(api::playlists::make))
        .route("/playlists/{id}", get(api::playlists::one).patch(api::playlists::change).delete(api::playlists::remove))
        .route(
            "/playlists/{id}/songs",
            post(api::playlists::add).layer(DefaultBodyLimit::max(api::playlists::ENTRIES_BYTES)),
        )
        .route("/playlists/{id}/songs/{entry}", delete(api::playlists::take))
        .route(
            "/playlists/{id}/order",
            put(api::playlists::order).layer(DefaultBodyLimit::max(api::playlists::ENTRIES_BYTES)),
        )
        .route("/playlists/{id}/shares", get(api::playlists::shares).post(api::playlists::share))
        .route("/playlists/{id}/shares/{with}", delete(api::playlists::unshare))
        .route("/jobs", get(api::jobs::list))
        .route("/jobs/", get(api::jobs::list))
        .route("/jobs/{id}", get(api::jobs::one).patch(api::jobs::change))
        .route("/jobs/{id}/cancel", post(api::jobs::cancel))
        .route("/jobs/{id}/retry", post(api::jobs::retry))
        .route("/jobs/{id}/log", get(api::lines::log))
        .route("/stats/series", get(api::series::series))
        .route("/jobs/{id}/events", get(events::of_job))
        .route("/models", get(api::models::list))
        .route("/events", get(events::all))
        .route("/cluster", get(api::cluster::cluster))
        .route("/healthz", get(api::health::alive))
        .route("/readyz", get(api::health::ready))
        .route("/metrics", get(api::health::metrics))
        .route("/api/openapi.json", get(api::openapi))
        .route(
            "/rest/{method}",
            get(subsonic::answer).post(subsonic::answer).layer(DefaultBodyLimit::max(api::playlists::ENTRIES_BYTES)),
        )
        .fallback(ui::serve)
        .method_not_allowed_fallback(async |method: Method| ApiError::Method(method.to_string()))
        .layer(DefaultBodyLimit::max(FIELDS_BYTES))
        .layer(from_fn(conditional::tag))
        .layer(from_fn_with_state(Arc::clone(&shared), guard::guard))
        .with_state(shared)
}
