//! One node from start to orderly stop.
//!
//! Start goes up the house: disk, QUIC, Raft, work, HTTP. Stop goes down it again: no new requests, tasks handed back
//! while the cluster still stands, then Raft, then the connections. A `kill -9` instead of all this loses nothing that
//! was acknowledged; stopping in order only spares the others the wait.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use audio::sandbox::Sandbox;
use net::peer::{Peer, PeerConfig, Protocol, Secret, Swift};
use net::secret_box::SecretBox;
use raft::{Cluster, ClusterConfig};
use replication::Sharing;
use storage::blobs::Blobs;
use storage::database::{Database, DatabaseError};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::amqp::Address;
use crate::configuration::{Configuration, Registration};
use crate::hooks::Messenger;
use crate::https;
use crate::models::{letter_box, publish};
use crate::numbers;
use crate::operator::OperatorService;
use crate::reports::{OwnWork, Reports};
use crate::serving;
use crate::upkeep::{self, Upkeep};
use crate::work::broker::Broker;
use crate::work::dispatcher::Dispatcher;
use crate::work::models::Models;
use crate::work::outside::Outbox;
use crate::work::reset::Reset;
use crate::work::samples::Samples;
use crate::work::service::WorkService;
use crate::work::task::Bench;
use crate::work::worker::Workers;

/// How long an orderly stop may take before the process ends all the same.
const STOP_WITHIN: Duration = Duration::from_secs(10);

/// What the secrets of web hooks are sealed for.
const HOOKS: &str = "web hooks";

/// What to do about a database that must not be used any more.
fn damaged(id: u64, reason: &str) -> anyhow::Error {
    anyhow::anyhow!(
        "{}. A node that may have forgotten what it promised, its vote among it, must not go on. Give this \
         machine a new id and an empty folder in cluster.toml, start it, and let it in with `node --id NEW --cluster \
         cluster.toml join --replace {id}`: state and files come from the other nodes. If all nodes are damaged, or it \
         is the only one, restore a backup",
        reason.trim_end_matches('.')
    )
}

/// Runs a node until it is told to stop.
pub(crate) async fn run(configuration: Configuration, sandbox: Sandbox) -> Result<()> {
    let configuration = Arc::new(configuration);
    let me = configuration.me().clone();
    let numbers = numbers::begin(configuration.id)?;

    let secret = if configuration.make_secret {
        std::fs::create_dir_all(&me.data)
            .with_context(|| format!("the data folder {} cannot be made", me.data.display()))?;
        Secret::generate_if_missing(&configuration.secret_file)
    } else {
        Secret::read(&configuration.secret_file)
    }
    .context("the cluster's secret")?;
    let accounts = web::accounts::Accounts {
        anonymous: configuration.accounts.anonymous,
        open: configuration.accounts.registration == Registration::Open,
        https: configuration.http.tls.is_some(),
        proxies: configuration.http.trusted_proxies.clone(),
        seal: SecretBox::new(&secret, "tokens")?,
    };
    let allow_private = configuration.hooks.allow_private;
    let hooks = web::hooks::Hooks { seal: SecretBox::new(&secret, HOOKS)?, allow_private };
    let broker_address = configuration.broker.as_ref().map(|broker| {
        Address::new(&broker.url, broker.ca.as_deref(), "ca under [broker]").context("the broker's address")
    });
    let broker_address = broker_address.transpose()?;
    let hook_seal = SecretBox::new(&secret, HOOKS)?;
    let database = Database::open(&me.data.join("database")).map_err(|error| match error {
        DatabaseError::Damaged { .. } => damaged(me.id, &error.to_string()),
        error => error.into(),
    })?;
    let blobs = Blobs::open(&me.data, configuration.allowance())?;
    let swift = Swift::start().context("the thread for consensus cannot be started")?;
    let peer = Peer::bind(PeerConfig {
        id: configuration.id,
        listen: resolve(&me.quic).await?,
        members: configuration.members.values().map(|member| (member.id, member.quic.clone())).collect(),
        secret,
        swift: swift.handle().clone(),
    })?;
    // Taken before Raft starts, so that a port in use is told at once.
    let listener = TcpListener::bind(&me.http)
        .await
        .with_context(|| format!("the HTTP address {} cannot be had; is another program on it?", me.http))?;
    let sharing = Sharing::start(blobs.clone(), peer.clone());

    let stopping = CancellationToken::new();
    let signalled = stopping.clone();
    tokio::spawn(async move {
        stop_signal().await;
        tracing::info!("stopping in order; a second signal ends the process at once");
        signalled.cancel();
        stop_signal().await;
        std::process::exit(130);
    });

    let raft = ClusterConfig {
        id: configuration.id,
        members: configuration.members.values().map(|member| (member.id, member.quic.clone())).collect(),
        data: me.data.clone(),
        heartbeat: Duration::from_millis(configuration.consensus.heartbeat_ms),
        election: Duration::from_millis(configuration.consensus.election_min_ms)
            ..Duration::from_millis(configuration.consensus.election_max_ms),
    };
    let started = tokio::select! {
        started = swift.handle().spawn(Cluster::start(raft, database.clone(), peer.clone())) => started?.map(Some),
        () = stopping.cancelled() => Ok(None),
    };
    let cluster = match started {
        Ok(Some(cluster)) => cluster,
        otherwise => {
            // Before the thread of the connections ends.
            peer.close().await;
            if let Some(reason) = database.damage() {
                return Err(damaged(me.id, &format!("the database is damaged: {reason}")));
            }
            return Ok(otherwise.map(drop)?);
        }
    };

    let loops = TaskTracker::new();
    let slots = configuration.workers.all_slots();
    let reset = Arc::new(Reset::new());
    let (deliveries, delivered) = mpsc::channel(1 + 4 * slots as usize);
    let broker_stop = CancellationToken::new();
    let broker = configuration.broker.clone().zip(broker_address.clone()).map(|(settings, address)| {
        let slots = u16::try_from(slots).unwrap_or(u16::MAX);
        let (broker, running) =
            Broker::start(address, settings, slots, deliveries.clone(), Arc::clone(&reset), broker_stop.clone());
        loops.spawn(running);
        broker
    });

    let own = Arc::new(OwnWork::default());
    let upkeep = Arc::new(Upkeep::default());
    let reports = Arc::new(Reports::new(
        Arc::clone(&configuration),
        cluster.clone(),
        peer.clone(),
        blobs.clone(),
        broker.clone(),
        Arc::clone(&own),
        Arc::clone(&upkeep),
    ));
    let dispatcher =
        Arc::new(Dispatcher::new(cluster.clone(), Arc::clone(&reports), broker.clone(), configuration.workers.clone()));
    peer.serve(
        Protocol::Work,
        Arc::new(WorkService {
            reports: Arc::clone(&reports),
            dispatcher: Arc::clone(&dispatcher),
            reset: Arc::clone(&reset),
        }),
    );
    let operator = OperatorService {
        cluster: cluster.clone(),
        peer: peer.clone(),
        reports: Arc::clone(&reports),
        reset: Arc::clone(&reset),
        broker: broker.clone(),
        scrubs: upkeep.scrubs(),
    };
    peer.serve(Protocol::Operator, Arc::new(operator));
    loops.spawn(Arc::clone(&dispatcher).run(stopping.clone()));
    loops.spawn(Arc::new(Messenger::new(cluster.clone(), hook_seal, allow_private)).run(stopping.clone()));
    if let (Some(outside), Some(address)) = (&configuration.outside, broker_address) {
        let outbox = Outbox::new(cluster.clone(), sharing.clone(), address, outside.clone());
        loops.spawn(outbox.run(stopping.clone()));
    }
    loops.spawn(upkeep::report(Arc::clone(&reports), peer.clone(), stopping.clone()));
    let settings = upkeep::Settings {
        repair_after: configuration.repair_after(),
        scrub: configuration.scrub_period(),
        grace: configuration.collect_grace(),
        scrub_mark: me.data.join("scrub"),
    };
    let means = upkeep::Means {
        cluster: cluster.clone(),
        peer: peer.clone(),
        sharing: sharing.clone(),
        reports: Arc::clone(&reports),
    };
    upkeep.start(&means, &settings, &loops, &stopping);
    loops.spawn(publish::run(
        cluster.clone(),
        sharing.clone(),
        letter_box(&me.data),
        configuration.own_models.clone(),
        stopping.clone(),
    ));
    loops.spawn(numbers::fold(numbers.clone(), stopping.clone()));
    let sources =
        numbers::Sources { cluster: cluster.clone(), peer: peer.clone(), reports: Arc::clone(&reports), blobs };
    let cache = me.data.join("cache");
    let bench = Bench {
        sharing: sharing.clone(),
        models: Models::new(cluster.clone(), sharing.clone()),
        samples: Samples::open(cache.join("samples"), sandbox.clone()).context("the cache folder")?,
        scratch: emptied(cache.join("scratch")).context("the cache folder")?,
    };
    let workers = Workers {
        cluster: cluster.clone(),
        peer: peer.clone(),
        dispatcher: Arc::clone(&dispatcher),
        bench: Arc::new(bench),
        broker,
        own: Arc::clone(&own),
        reset,
        settings: configuration.workers.clone(),
    };
    let working = tokio::spawn(Arc::new(workers).run(delivered, stopping.clone()));

    let app = web::App {
        cluster: cluster.clone(),
        sharing,
        nodes: reports,
        sandbox,
        limits: web::Limits {
            max_upload_bytes: configuration.limits.upload_bytes,
            max_seconds: configuration.limits.song_seconds,
            jobs_per_user: configuration.limits.jobs_per_user,
        },
        accounts,
        hooks,
        outside: configuration.outside.as_ref().map(|outside| web::outside::Outside {
            tokens: outside.token_sha256.clone(),
            first: outside.first,
            max_bytes: outside.max_bytes,
        }),
        cache: emptied(cache.join("web")).context("the cache folder")?,
        model: configuration.workers.model.clone(),
        max_attempts: configuration.workers.max_attempts,
        segments_per_task: configuration.workers.segments_per_task,
        metrics: Arc::new(move || sources.text(&numbers)),
        stopping: stopping.clone(),
    };
    let address = listener.local_addr()?;
    let (router, stop) = (web::router(app), stopping.clone());
    let mut serving = if let Some(tls) = &configuration.http.tls {
        let listener = https::Listener::start(listener, tls, &stopping)?;
        tracing::info!("ready: open https://{address}/");
        tokio::spawn(serving::serve(listener, router, stop))
    } else {
        tracing::info!("ready: open http://{address}/");
        tokio::spawn(serving::serve(listener, router, stop))
    };
    let mut broken = None;
    let ended = tokio::select! {
        () = stopping.cancelled() => None,
        reason = cluster.broken() => {
            broken = Some(reason);
            None
        }
        reason = database.damaged() => {
            tracing::error!(reason, "the database is damaged; this node ends");
            None
        }
        () = cluster.left() => {
            tracing::info!("this node has left the cluster; its data folder can be removed");
            None
        }
        ended = &mut serving => Some(ended),
    };
    stopping.cancel();

    let in_order = async {
        let _ = working.await;
        broker_stop.cancel();
        loops.close();
        loops.wait().await;
        // Downloads and event streams get a moment to end by themselves.
        if ended.is_none() {
            let _ = tokio::time::timeout(Duration::from_secs(2), serving).await;
        }
        cluster.stop().await;
        peer.close().await;
    };
    if tokio::time::timeout(STOP_WITHIN, in_order).await.is_err() {
        tracing::warn!("not everything ended in time; nothing that was acknowledged is lost");
    }
    tracing::info!("stopped");
    if let Some(reason) = database.damage() {
        return Err(damaged(me.id, &format!("the database is damaged: {reason}")));
    }
    if let Some(reason) = broken {
        // Whoever started it may start it again: what is on the disk is sound, and what is not was not acknowledged.
        anyhow::bail!("consensus cannot go on at this node: {reason}");
    }
    match ended {
        None => Ok(()),
        Some(ended) => ended.context("the HTTP server ended"),
    }
}

async fn resolve(address: &str) -> Result<SocketAddr> {
    tokio::net::lookup_host(address)
        .await
        .with_context(|| format!("the address {address} cannot be looked up"))?
        .next()
        .with_context(|| format!("the address {address} names no host"))
}

fn emptied(folder: std::path::PathBuf) -> std::io::Result<std::path::PathBuf> {
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// Returns when this process is asked to stop.
pub(crate) async fn stop_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = match signal(SignalKind::terminate()) {
        Ok(terminate) => terminate,
        Err(error) => {
            tracing::error!(%error, "SIGTERM cannot be caught");
            return std::future::pending().await;
        }
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}
