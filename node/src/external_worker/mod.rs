//! `node worker`: a worker on a machine that is no node of the cluster, a GPU box say.
//!
//! It keeps nothing. It takes one whole song at a time from the queue, separates it, delivers the stems to any node over
//! HTTP, and acknowledges the message only when the cluster has them or does not need them any more. So a worker that is
//! killed costs the work it had begun: the broker gives its song to another. A session with the broker that ends while a
//! song is separated is no reason to drop it: the stems are delivered all the same, and when the song comes again the
//! cluster is asked first whether it still needs it.

mod deliver;
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
use inference::models::Library;
use inference::{DEFAULT_MODEL, Separator};
use lapin::message::Delivery as Message;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions};
use lapin::types::FieldTable;
use storage::blobs::Hash;
use tokio_util::sync::CancellationToken;
use ureq::http::uri::Scheme;
use work::amqp::{Address, BrokerError, LogOnce, with_timeout};
use work::external::{ExternalMessage, queue};
use work::tls::TlsRoots;

use deliver::{Backends, Token, Told, address, is_in_the_clear};
use scratch::Scratch;
use song::separate;

/// The variable that may hold the token, so that it does not stand in the list of processes.
const TOKEN_VARIABLE: &str = "QUARTET_WORKER_TOKEN";
/// What names a file of authorities.
const CA: &str = "--ca FILE";
/// The pause before connecting again, and before a song that could not be done here is handed back.
const PAUSE: Duration = Duration::from_secs(2);

/// How `node worker` works.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// RabbitMQ, as amqps://USER:PASSWORD@HOST:PORT/%2f, or amqp:// without TLS. Others on this machine see what stands on a
    /// command line; they do not see the variable.
    #[arg(long, value_name = "URL", env = "QUARTET_WORKER_BROKER", hide_env_values = true)]
    pub broker: String,
    /// A node of the cluster, as https://HOST:PORT, or http:// without TLS. Given several times, the next is asked when one fails.
    #[arg(long, value_name = "URL", required = true)]
    pub backend: Vec<String>,
    /// A PEM file with the authorities that may have signed the certificates of RabbitMQ and the nodes, instead of the public
    /// ones.
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// The worker's token. It is better kept in a file or in QUARTET_WORKER_TOKEN.
    #[arg(long, value_name = "TOKEN", conflicts_with = "token_file", value_parser = |text: &str| Ok::<_, String>(Token(text.into())))]
    pub token: Option<Token>,
    /// A file with the token.
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// The queue that songs come from.
    #[arg(long, value_name = "NAME", default_value = "vocalizer_queue")]
    pub queue: String,
    /// The model for songs that come without the name of one.
    #[arg(long, value_name = "MODEL", default_value = DEFAULT_MODEL)]
    pub model: String,
    /// The largest song that is taken, in bytes.
    #[arg(long, value_name = "BYTES", default_value_t = 128 << 20)]
    pub max_bytes: usize,
    /// How many threads work; otherwise as many as there are processors.
    #[arg(short, long, value_name = "N", default_value_t = 0, value_parser = crate::command_line::jobs)]
    pub jobs: usize,
}

impl Options {
    fn token(&self) -> Result<Token> {
        let text = match (&self.token, &self.token_file) {
            (Some(token), _) => token.0.clone(),
            (None, Some(file)) => {
                std::fs::read_to_string(file).with_context(|| format!("the token in {}", file.display()))?
            }
            (None, None) => std::env::var(TOKEN_VARIABLE)
                .with_context(|| format!("a token is needed: --token-file FILE, {TOKEN_VARIABLE} or --token"))?,
        };
        let token = text.trim();
        ensure!(!token.is_empty(), "the token is empty");
        ensure!(token.chars().all(|letter| letter.is_ascii_graphic()), "a token has letters, digits and signs only");
        Ok(Token(token.into()))
    }
}

/// What became of a song.
enum Verdict {
    /// The cluster has the stems, or does not need them.
    Settled,
    /// Nobody can do it: to the dead letters.
    Hopeless,
    /// Somebody else may.
    Returned,
    /// This worker is none.
    Unwelcome(String),
}

/// A worker.
struct Worker {
    options: Options,
    broker: Address,
    backends: Arc<Backends>,
    library: Library,
    sandbox: Sandbox,
    /// The model used last.
    model: tokio::sync::Mutex<Arc<dyn Separator>>,
    scratch: Scratch,
    stop: CancellationToken,
}

/// Works until it is told to stop, or turned away.
pub(crate) async fn run(options: Options, library: Library, sandbox: Sandbox) -> Result<()> {
    let token = options.token()?;
    let over_tls = options.broker.starts_with("amqps:");
    let broker = Address::new(&options.broker, options.ca.as_deref().filter(|_| over_tls), CA).context("--broker")?;
    let nodes: Vec<_> = options.backend.iter().map(|url| address(url).map_err(Error::msg)).collect::<Result<_>>()?;
    ensure!(
        options.ca.is_none() || over_tls || nodes.iter().any(|node| node.scheme() == Some(&Scheme::HTTPS)),
        "--ca names authorities, and no address goes over TLS; write amqps:// and https://"
    );
    let roots = TlsRoots::new(options.ca.as_deref(), CA)?;
    if broker.is_plain_text() || nodes.iter().any(is_in_the_clear) {
        tracing::warn!(
            "songs, the broker's password or this worker's token can be read on the way; write amqps:// and https:// unless \
             the line is your own"
        );
    }
    // Threads inherit the priority of those that start them.
    let jobs = options.jobs;
    at_low_priority("threads", move || rayon::ThreadPoolBuilder::new().num_threads(jobs).build_global()).await??;
    let (own, name) = (library.clone(), options.model.clone());
    let model = at_low_priority("model", move || own.separator(&name)).await??;
    let stop = CancellationToken::new();
    let signalled = stop.clone();
    tokio::spawn(async move {
        crate::daemon::stop_signal().await;
        tracing::info!("stopping; the song at hand goes back to the queue");
        signalled.cancel();
    });
    let worker = Worker {
        broker,
        backends: Arc::new(Backends::new(&options.backend, token, roots)),
        library,
        sandbox,
        model: tokio::sync::Mutex::new(model),
        scratch: Scratch::open(&std::env::temp_dir()).context("the folder for songs")?,
        stop,
        options,
    };
    worker.run().await
}

impl Worker {
    async fn run(&self) -> Result<()> {
        let mut log = LogOnce::default();
        loop {
            let ended = tokio::select! {
                ended = self.session(&mut log) => ended,
                // A session watches for this itself wherever it would leave something undone.
                () = self.stopped_for(PAUSE) => return Ok(()),
            };
            match ended {
                Ok(None) => return Ok(()),
                Ok(Some(reason)) => bail!("the cluster turns this worker away: {reason}"),
                Err(error) if log.is_new(&error) => {
                    tracing::warn!(%error, "the broker does not answer; trying on");
                }
                Err(_) => {}
            }
            tokio::select! {
                () = self.stop.cancelled() => return Ok(()),
                () = tokio::time::sleep(PAUSE) => {}
            }
        }
    }

    /// Returns a while after this worker was told to stop.
    async fn stopped_for(&self, time: Duration) {
        self.stop.cancelled().await;
        tokio::time::sleep(time).await;
    }

    /// One session with the broker: without an error when this worker stops, with the reason if it was turned away.
    async fn session(&self, log: &mut LogOnce) -> Result<Option<String>, BrokerError> {
        let connection = self.broker.connect("quartet worker").await?;
        queue::declare(&connection, &self.options.queue).await?;
        let channel = with_timeout(connection.create_channel()).await?;
        with_timeout(channel.basic_qos(1, BasicQosOptions::default())).await?;
        let (name, consume) = (self.options.queue.as_str().into(), BasicConsumeOptions::default());
        let mut songs = with_timeout(channel.basic_consume(name, "".into(), consume, FieldTable::default())).await?;
        log.reset();
        tracing::info!(queue = self.options.queue, "waiting for songs");
        loop {
            let mut message = tokio::select! {
                () = self.stop.cancelled() => break,
                message = songs.next() => message.ok_or(BrokerError::Ended)??,
            };
            let back = BasicNackOptions { requeue: true, ..Default::default() };
            match self.follow(&mut message).await {
                Verdict::Settled => drop(with_timeout(message.ack(BasicAckOptions::default())).await?),
                Verdict::Hopeless => drop(with_timeout(message.nack(BasicNackOptions::default())).await?),
                Verdict::Returned => {
                    tokio::select! {
                        () = self.stop.cancelled() => {}
                        () = tokio::time::sleep(PAUSE) => {}
                    }
                    with_timeout(message.nack(back)).await?;
                }
                Verdict::Unwelcome(reason) => {
                    with_timeout(message.nack(back)).await?;
                    let _ = with_timeout(connection.close(200, "bye".into())).await;
                    return Ok(Some(reason));
                }
            }
        }
        let _ = with_timeout(connection.close(200, "bye".into())).await;
        Ok(None)
    }

    /// Sees one song through.
    async fn follow(&self, delivery: &mut Message) -> Verdict {
        let (bytes, redelivered) = (std::mem::take(&mut delivery.data), delivery.redelivered);
        let Some(message) = ExternalMessage::of(&delivery.properties) else {
            tracing::warn!("a message without the SHA-256 of its song as message_id was put aside");
            return Verdict::Hopeless;
        };
        if bytes.len() > self.options.max_bytes {
            tracing::warn!(song = %message.hash, bytes = bytes.len(), "a song larger than --max-bytes was put aside");
            return Verdict::Hopeless;
        }
        if let Some(job) = message.job {
            let backends = Arc::clone(&self.backends);
            if tokio::task::spawn_blocking(move || backends.has_ended(job)).await.unwrap_or(false) {
                tracing::info!(song = %message.hash, job, "the job has ended already");
                return Verdict::Settled;
            }
        }
        let Some(separator) = self.separator(message.model.as_deref()).await else { return Verdict::Returned };
        let folder = match self.scratch.for_song() {
            Ok(folder) => folder,
            Err(error) => {
                tracing::error!(%error, "there is no room for a song");
                return Verdict::Returned;
            }
        };
        tracing::info!(song = %message.hash, job = message.job, model = separator.name(), redelivered, "separating");
        let stems = match self.separate(message.hash, bytes, folder.path(), separator).await {
            Ok(stems) => stems,
            Err(verdict) => return verdict,
        };
        let song = message.hash;
        match self.backends.deliver(song, message.job, stems, &self.stop).await {
            Told::Taken => {
                tracing::info!(%song, "delivered");
                Verdict::Settled
            }
            Told::NotNeeded(said) => {
                tracing::info!(%song, said, "the stems are not needed any more");
                Verdict::Settled
            }
            Told::Refused(said) => {
                tracing::error!(%song, said, "the cluster does not take the stems; the song was put aside");
                Verdict::Hopeless
            }
            Told::Unknown(said) => Verdict::Unwelcome(said),
            Told::Stopped => Verdict::Returned,
        }
    }

    /// The stems' files, or what becomes of the song instead.
    async fn separate(
        &self,
        hash: Hash,
        bytes: Vec<u8>,
        folder: &Path,
        separator: Arc<dyn Separator>,
    ) -> Result<Vec<(String, PathBuf)>, Verdict> {
        let (folder, flag) = (folder.to_owned(), Arc::new(AtomicBool::new(false)));
        let (raised, sandbox) = (Arc::clone(&flag), self.sandbox.clone());
        let work = at_low_priority("separate", move || {
            if Hash::of(&bytes) != hash {
                tracing::warn!(song = %hash, "a message whose body is not what its message_id says was put aside");
                return Err(Verdict::Hopeless);
            }
            let file = folder.join("song");
            if let Err(error) = std::fs::write(&file, bytes) {
                tracing::error!(%error, "there is no room for a song");
                return Err(Verdict::Returned);
            }
            separate(&sandbox, &file, &folder, separator.as_ref(), &raised).map_err(|error| {
                if raised.load(Ordering::Relaxed) {
                    return Verdict::Returned;
                }
                tracing::error!(song = %hash, %error, "the song cannot be separated here");
                if error.is_the_songs() { Verdict::Hopeless } else { Verdict::Returned }
            })
        });
        let worked = tokio::select! {
            worked = work => worked,
            () = self.stop.cancelled() => {
                flag.store(true, Ordering::Relaxed);
                return Err(Verdict::Returned);
            }
        };
        worked.unwrap_or(Err(Verdict::Returned))
    }

    /// The model of this name; none if it is not here, which another worker may have.
    async fn separator(&self, name: Option<&str>) -> Option<Arc<dyn Separator>> {
        let name = name.unwrap_or(&self.options.model).to_owned();
        let mut kept = self.model.lock().await;
        if kept.name() != name {
            let library = self.library.clone();
            let loaded = match at_low_priority("model", move || library.separator(&name)).await {
                Ok(loaded) => loaded.map_err(anyhow::Error::from),
                Err(error) => Err(error.into()),
            };
            match loaded {
                Ok(loaded) => *kept = loaded,
                Err(error) => {
                    tracing::warn!(%error, "a song asks for a model that this worker does not have");
                    return None;
                }
            }
        }
        Some(Arc::clone(&kept))
    }
}
