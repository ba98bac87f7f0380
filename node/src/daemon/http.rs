//! The HTTP server.

use std::sync::Arc;

use anyhow::{Context, Result};
use audio::sandbox::Sandbox;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use work::plan::{built_in_models, segments};
use work::runner::empty_folder;
use work::runner::facts::facts_of;

use super::foundation::Foundation;
use super::tasks::{self, HOOKS, Tasks};
use crate::configuration::{Configuration, Registration};
use crate::http_server;
use crate::metrics::Sources;
use crate::tls_listener::TlsListener;

/// Binds the server's address. The node does this first, so that a port in use is reported at once.
pub(super) async fn bind(configuration: &Configuration) -> Result<TcpListener> {
    let address = &configuration.me().http;
    TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on the HTTP address {address}; is another program using it?"))
}

/// Starts the server until `stopping`.
pub(super) fn start(
    configuration: &Configuration,
    foundation: &Foundation,
    tasks: &Tasks,
    listener: TcpListener,
    sandbox: Sandbox,
    recorder: PrometheusHandle,
    stopping: &CancellationToken,
) -> Result<JoinHandle<()>> {
    let Foundation { cluster, peer, replication, live, blobs, .. } = foundation;
    let sources = Sources {
        cluster: cluster.clone(),
        peer: peer.clone(),
        live: live.clone(),
        broker: tasks.broker.clone(),
        blobs: blobs.clone(),
    };
    let cache = tasks::cache(&configuration.me().data).join("web");
    let app = web::App {
        cluster: cluster.clone(),
        replication: replication.clone(),
        live: live.clone(),
        broker: tasks.broker.clone(),
        sandbox,
        limits: web::Limits {
            max_upload_bytes: configuration.limits.upload_bytes,
            max_seconds: configuration.limits.song_seconds,
            jobs_per_user: configuration.limits.jobs_per_user,
        },
        accounts: web::auth::accounts::Accounts {
            anonymous: configuration.accounts.anonymous,
            open: configuration.accounts.registration == Registration::Open,
            https: configuration.http.tls.is_some(),
            proxies: configuration.http.trusted_proxies.clone(),
            seal: foundation.secret_box("tokens")?,
        },
        webhooks: web::webhook_url::Webhooks {
            seal: foundation.secret_box(HOOKS)?,
            allow_private: configuration.hooks.allow_private,
        },
        external_workers: configuration.external.as_ref().map(|external| {
            web::auth::external_workers::ExternalWorkers {
                tokens: external.token_sha256.clone(),
                first: external.first,
                max_bytes: external.max_bytes,
            }
        }),
        cache_folder: empty_folder(cache).context("the cache folder")?,
        built_in_models: built_in_models(),
        segments,
        facts: facts_of,
        default_model: configuration.workers.model.clone(),
        max_attempts: configuration.workers.max_attempts,
        segments_per_task: configuration.workers.segments_per_task,
        metrics: Arc::new(move || sources.text(&recorder)),
        stopping: stopping.clone(),
    };
    let address = listener.local_addr()?;
    let (router, stop) = (web::router(app), stopping.clone());
    Ok(if let Some(tls) = &configuration.http.tls {
        let listener = TlsListener::start(listener, tls, stopping)?;
        tracing::info!("ready: open https://{address}/");
        tokio::spawn(http_server::serve(listener, router, stop))
    } else {
        tracing::info!("ready: open http://{address}/");
        tokio::spawn(http_server::serve(listener, router, stop))
    })
}
