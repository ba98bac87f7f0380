//! `node worker`: an external worker, on a machine that is not a node of the cluster, for example one with a GPU.
//!
//! The worker is stateless. It takes one whole song at a time from the queue, separates it, uploads the stems to any node
//! over HTTP ([`api_client`]), and acknowledges the message only when the cluster has the stems or does not need them any
//! more. If a worker is killed, the broker gives its song to another worker. If the connection to the broker ends while a
//! song is separated, the worker still uploads the stems. When the broker delivers a song again, the worker first asks the
//! cluster whether the job has ended.

mod api_client;
mod options;
mod scratch;
mod song;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Error, Result, bail, ensure};
use audio::sandbox::Sandbox;
use audio::thread::at_low_priority;
use futures_util::StreamExt;
use inference::Separator;
use inference::models::Library;
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions};
use lapin::types::FieldTable;
use storage::blobs::Hash;
use tokio_util::sync::CancellationToken;
use ureq::http::uri::Scheme;
use work::amqp::{Address, BrokerError, LogOnce, with_timeout};
use work::external::{ExternalMessage, queue};
use work::tls::TlsRoots;

use api_client::{ApiClient, UploadOutcome, is_unencrypted, parse_address};
pub(crate) use options::WorkerOptions;
use scratch::Scratch;
use song::separate;

/// The option that names a file of certificate authorities, for error messages.
const CA_OPTION: &str = "--ca FILE";
/// The pause before a new connection, and before a song that failed here is requeued.
const RETRY_PAUSE: Duration = Duration::from_secs(2);

/// What to do with a song's message.
enum Disposition {
    /// Acknowledge it: the cluster has the stems, or does not need them.
    Acknowledge,
    /// Reject it: no worker can separate this song. The broker moves it to the dead-letter queue.
    Reject,
    /// Requeue it: another worker, or this one later, may succeed.
    Requeue,
    /// Requeue it and end this worker, because its token is invalid. With the cluster's reason.
    Unauthorized(String),
}

/// A running worker.
struct ExternalWorker {
    options: WorkerOptions,
    broker: Address,
    api: Arc<ApiClient>,
    library: Library,
    sandbox: Sandbox,
    /// The model used last.
    model: tokio::sync::Mutex<Arc<dyn Separator>>,
    scratch: Scratch,
    stop: CancellationToken,
}

/// Runs until a signal to stop, or until the cluster rejects the token.
pub(crate) async fn run(options: WorkerOptions, library: Library, sandbox: Sandbox) -> Result<()> {
    let token = options.token()?;
    let over_tls = options.broker.starts_with("amqps:");
    let broker =
        Address::new(&options.broker, options.ca.as_deref().filter(|_| over_tls), CA_OPTION).context("--broker")?;
    let nodes: Vec<_> =
        options.backend.iter().map(|url| parse_address(url).map_err(Error::msg)).collect::<Result<_>>()?;
    ensure!(
        options.ca.is_none() || over_tls || nodes.iter().any(|node| node.scheme() == Some(&Scheme::HTTPS)),
        "--ca has no effect because no address uses TLS; use amqps:// and https://"
    );
    let roots = TlsRoots::new(options.ca.as_deref(), CA_OPTION)?;
    if broker.is_plain_text() || nodes.iter().any(is_unencrypted) {
        tracing::warn!(
            "unencrypted connection: others on the network can read songs, the broker's password or this worker's token; use \
             amqps:// and https:// unless the network is private"
        );
    }
    // Threads inherit the priority of the thread that starts them.
    let jobs = options.jobs;
    at_low_priority("threads", move || rayon::ThreadPoolBuilder::new().num_threads(jobs).build_global()).await??;
    let (own, name) = (library.clone(), options.model.clone());
    let model = at_low_priority("model", move || own.separator(&name)).await??;
    let stop = CancellationToken::new();
    let signalled = stop.clone();
    tokio::spawn(async move {
        crate::signals::stop_signal().await;
        tracing::info!("stopping; the current song is requeued");
        signalled.cancel();
    });
    let worker = ExternalWorker {
        broker,
        api: Arc::new(ApiClient::new(&options.backend, token, roots)),
        library,
        sandbox,
        model: tokio::sync::Mutex::new(model),
        scratch: Scratch::open(&std::env::temp_dir()).context("cannot create a temporary folder")?,
        stop,
        options,
    };
    worker.run().await
}

impl ExternalWorker {
    async fn run(&self) -> Result<()> {
        let mut log = LogOnce::default();
        loop {
            let ended = tokio::select! {
                ended = self.session(&mut log) => ended,
                // A session stops by itself; this is for a session that does not return.
                () = self.stopped_for(RETRY_PAUSE) => return Ok(()),
            };
            match ended {
                Ok(None) => return Ok(()),
                Ok(Some(reason)) => bail!("the cluster rejected the token of this worker: {reason}"),
                Err(error) if log.is_new(&error) => {
                    tracing::warn!(%error, "cannot reach RabbitMQ, retrying");
                }
                Err(_) => {}
            }
            tokio::select! {
                () = self.stop.cancelled() => return Ok(()),
                () = tokio::time::sleep(RETRY_PAUSE) => {}
            }
        }
    }

    /// Returns `time` after the signal to stop.
    async fn stopped_for(&self, time: Duration) {
        self.stop.cancelled().await;
        tokio::time::sleep(time).await;
    }

    /// Runs one session with the broker. Returns none when this worker stops, and the reason if its token was rejected.
    async fn session(&self, log: &mut LogOnce) -> Result<Option<String>, BrokerError> {
        let connection = self.broker.connect("quartet worker").await?;
        queue::declare(&connection, &self.options.queue).await?;
        let channel = with_timeout(connection.create_channel()).await?;
        with_timeout(channel.basic_qos(1, BasicQosOptions::default())).await?;
        let (name, consume) = (self.options.queue.as_str().into(), BasicConsumeOptions::default());
        let mut deliveries =
            with_timeout(channel.basic_consume(name, "".into(), consume, FieldTable::default())).await?;
        log.reset();
        tracing::info!(queue = self.options.queue, "waiting for songs");
        loop {
            let mut delivery = tokio::select! {
                () = self.stop.cancelled() => break,
                delivery = deliveries.next() => delivery.ok_or(BrokerError::Ended)??,
            };
            let requeue = BasicNackOptions { requeue: true, ..Default::default() };
            match self.handle(&mut delivery).await {
                Disposition::Acknowledge => drop(with_timeout(delivery.ack(BasicAckOptions::default())).await?),
                Disposition::Reject => drop(with_timeout(delivery.nack(BasicNackOptions::default())).await?),
                Disposition::Requeue => {
                    tokio::select! {
                        () = self.stop.cancelled() => {}
                        () = tokio::time::sleep(RETRY_PAUSE) => {}
                    }
                    with_timeout(delivery.nack(requeue)).await?;
                }
                Disposition::Unauthorized(reason) => {
                    with_timeout(delivery.nack(requeue)).await?;
                    let _ = with_timeout(connection.close(200, "bye".into())).await;
                    return Ok(Some(reason));
                }
            }
        }
        let _ = with_timeout(connection.close(200, "bye".into())).await;
        Ok(None)
    }

    /// Separates the song of one message and uploads its stems.
    async fn handle(&self, delivery: &mut Delivery) -> Disposition {
        let (bytes, redelivered) = (std::mem::take(&mut delivery.data), delivery.redelivered);
        let Some(message) = ExternalMessage::of(&delivery.properties) else {
            tracing::warn!("rejected a message: its message_id is not the SHA-256 of a song");
            return Disposition::Reject;
        };
        if bytes.len() > self.options.max_bytes {
            tracing::warn!(song = %message.hash, bytes = bytes.len(), "rejected a song that is larger than --max-bytes");
            return Disposition::Reject;
        }
        if let Some(job) = message.job {
            let api = Arc::clone(&self.api);
            if tokio::task::spawn_blocking(move || api.has_ended(job)).await.unwrap_or(false) {
                tracing::info!(song = %message.hash, job, "skipped a song: its job has ended");
                return Disposition::Acknowledge;
            }
        }
        let Some(separator) = self.separator(message.model.as_deref()).await else { return Disposition::Requeue };
        let folder = match self.scratch.for_song() {
            Ok(folder) => folder,
            Err(error) => {
                tracing::error!(%error, "cannot write to the temporary folder");
                return Disposition::Requeue;
            }
        };
        tracing::info!(song = %message.hash, job = message.job, model = separator.name(), redelivered, "separating");
        let stems = match self.separate(message.hash, bytes, folder.path(), separator).await {
            Ok(stems) => stems,
            Err(disposition) => return disposition,
        };
        let song = message.hash;
        match self.api.upload(song, message.job, stems, &self.stop).await {
            UploadOutcome::Accepted => {
                tracing::info!(%song, "uploaded the stems");
                Disposition::Acknowledge
            }
            UploadOutcome::NotNeeded(reason) => {
                tracing::info!(%song, reason, "the cluster does not need the stems any more");
                Disposition::Acknowledge
            }
            UploadOutcome::Rejected(reason) => {
                tracing::error!(%song, reason, "the cluster rejected the stems; the song was rejected");
                Disposition::Reject
            }
            UploadOutcome::Unauthorized(reason) => Disposition::Unauthorized(reason),
            UploadOutcome::Stopped => Disposition::Requeue,
        }
    }

    /// Separates a song. Returns the names and files of its stems, or what to do with the message if that fails.
    async fn separate(
        &self,
        hash: Hash,
        bytes: Vec<u8>,
        folder: &Path,
        separator: Arc<dyn Separator>,
    ) -> Result<Vec<(String, PathBuf)>, Disposition> {
        let (folder, stop) = (folder.to_owned(), Arc::new(AtomicBool::new(false)));
        let (stopped, sandbox) = (Arc::clone(&stop), self.sandbox.clone());
        let separating = at_low_priority("separate", move || {
            if Hash::of(&bytes) != hash {
                tracing::warn!(song = %hash, "rejected a message: its message_id is not the SHA-256 of its body");
                return Err(Disposition::Reject);
            }
            let file = folder.join("song");
            if let Err(error) = std::fs::write(&file, bytes) {
                tracing::error!(%error, "cannot write to the temporary folder");
                return Err(Disposition::Requeue);
            }
            separate(&sandbox, &file, &folder, separator.as_ref(), &stopped).map_err(|error| {
                if stopped.load(Ordering::Relaxed) {
                    return Disposition::Requeue;
                }
                tracing::error!(song = %hash, %error, "cannot separate the song");
                if error.is_caused_by_file() { Disposition::Reject } else { Disposition::Requeue }
            })
        });
        let result = tokio::select! {
            result = separating => result,
            () = self.stop.cancelled() => {
                stop.store(true, Ordering::Relaxed);
                return Err(Disposition::Requeue);
            }
        };
        result.unwrap_or(Err(Disposition::Requeue))
    }

    /// The model with this name, or `--model` without a name. None if this worker does not have it; another may.
    async fn separator(&self, name: Option<&str>) -> Option<Arc<dyn Separator>> {
        let name = name.unwrap_or(&self.options.model).to_owned();
        let mut current = self.model.lock().await;
        if current.name() != name {
            let library = self.library.clone();
            let loaded = match at_low_priority("model", move || library.separator(&name)).await {
                Ok(loaded) => loaded.map_err(anyhow::Error::from),
                Err(error) => Err(error.into()),
            };
            match loaded {
                Ok(loaded) => *current = loaded,
                Err(error) => {
                    tracing::warn!(%error, "cannot load the model of a song; the song is requeued");
                    return None;
                }
            }
        }
        Some(Arc::clone(&current))
    }
}
