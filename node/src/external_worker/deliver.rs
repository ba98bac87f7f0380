//! Handing stems over to the cluster: any of its nodes will do, so the next one is asked when one fails.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde::Deserialize;
use storage::blobs::Hash;
use tar::Header;
use tokio_util::sync::CancellationToken;
use ureq::http::StatusCode;
use ureq::http::uri::{Scheme, Uri};
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::{Agent, SendBody};

use work::amqp::is_local;
use work::tls::TlsRoots;

/// The pause before all nodes are asked again, which doubles each time, up to the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// How long one delivery may take: the node decodes all stems before it answers.
const DELIVER_WITHIN: Duration = Duration::from_secs(1800);
/// The longest answer that is read, in bytes.
const LARGEST_ANSWER: u64 = 1 << 20;

/// What a worker shows to be let in. It is shown to nobody else.
#[derive(Clone)]
pub(crate) struct Token(pub String);

impl fmt::Debug for Token {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Token(...)")
    }
}

/// The TLS configuration of the HTTP client.
fn tls_config(roots: &TlsRoots) -> TlsConfig {
    let certificates = match roots.certificates() {
        Some(certificates) => {
            let certificates = certificates.iter().map(|certificate| Certificate::from_der(certificate).to_owned());
            RootCerts::Specific(Arc::new(certificates.collect()))
        }
        None => RootCerts::WebPki,
    };
    let provider = Arc::clone(roots.crypto_provider());
    TlsConfig::builder().root_certs(certificates).unversioned_rustls_crypto_provider(provider).build()
}

/// What the cluster said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Told {
    /// It has the stems.
    Taken,
    /// It does not need them any more.
    NotNeeded(String),
    /// It does not take them, and would not the next time.
    Refused(String),
    /// It does not know this worker.
    Unknown(String),
    /// This worker stops.
    Stopped,
}

/// The cluster's nodes.
pub(crate) struct Backends {
    urls: Vec<String>,
    token: Token,
    agent: Agent,
    roots: TlsRoots,
    /// Which one answered last.
    at: AtomicUsize,
}

#[derive(Deserialize)]
struct Envelope {
    #[serde(default)]
    errors: Vec<Problem>,
    data: Option<Data>,
}

#[derive(Deserialize)]
struct Problem {
    message: String,
}

#[derive(Deserialize)]
struct Data {
    job: Job,
}

#[derive(Deserialize)]
struct Job {
    finished_at: Option<u64>,
}

impl Backends {
    /// The nodes at these addresses, whose certificates must be signed by `roots`.
    pub(crate) fn new(urls: &[String], token: Token, roots: TlsRoots) -> Self {
        let agent = Agent::config_builder()
            .timeout_connect(Some(Duration::from_secs(10)))
            .timeout_global(Some(DELIVER_WITHIN))
            // Or the token might go to whoever is named.
            .max_redirects(0)
            .http_status_as_error(false)
            .tls_config(tls_config(&roots))
            .user_agent(concat!("quartet/", env!("CARGO_PKG_VERSION")))
            .build()
            .into();
        let urls = urls.iter().map(|url| url.trim_end_matches('/').to_owned()).collect();
        Self { urls, token, agent, roots, at: AtomicUsize::new(0) }
    }

    /// The nodes, the one that answered last at the beginning.
    fn in_turn(&self) -> impl Iterator<Item = (usize, &String)> {
        let (count, first) = (self.urls.len(), self.at.load(Ordering::Relaxed));
        (0..count).map(move |step| (first + step) % count).map(|at| (at, &self.urls[at]))
    }

    fn explain(&self, url: &str, error: ureq::Error) -> String {
        let advice = match &error {
            ureq::Error::Io(error) => self.roots.explain(error, url),
            _ => None,
        };
        advice.unwrap_or_else(|| format!("{url}: {error}"))
    }

    /// Whether a job is known to have ended. If nobody says so, it has not.
    pub(crate) fn has_ended(&self, job: u64) -> bool {
        for (at, url) in self.in_turn() {
            let asked =
                self.agent.get(format!("{url}/jobs/{job}")).config().timeout_global(Some(LONGEST_PAUSE)).build();
            let Ok(mut answer) = asked.call() else { continue };
            match answer.status() {
                StatusCode::OK => {}
                StatusCode::NOT_FOUND => return true,
                _ => continue,
            }
            self.at.store(at, Ordering::Relaxed);
            return envelope(&mut answer).and_then(|said| said.data).is_some_and(|data| data.job.finished_at.is_some());
        }
        false
    }

    /// Delivers until the cluster says something final, or `stop`.
    pub(crate) async fn deliver(
        self: &Arc<Self>,
        hash: Hash,
        job: Option<u64>,
        stems: Vec<(String, PathBuf)>,
        stop: &CancellationToken,
    ) -> Told {
        let (stems, mut pause) = (Arc::new(stems), FIRST_PAUSE);
        loop {
            let (backends, again) = (Arc::clone(self), Arc::clone(&stems));
            let delivering = tokio::task::spawn_blocking(move || backends.deliver_once(hash, job, &again));
            let delivered = tokio::select! {
                delivered = delivering => delivered,
                () = stop.cancelled() => return Told::Stopped,
            };
            let reason = match delivered {
                Ok(Ok(told)) => return told,
                Ok(Err(reason)) => reason,
                Err(error) => error.to_string(),
            };
            tracing::warn!(song = %hash, reason, seconds = pause.as_secs(), "the stems wait for the cluster");
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = stop.cancelled() => return Told::Stopped,
            }
            pause = (2 * pause).min(LONGEST_PAUSE);
        }
    }

    /// Asks each node once; an error is the last one's reason.
    fn deliver_once(&self, hash: Hash, job: Option<u64>, stems: &[(String, PathBuf)]) -> Result<Told, String> {
        let mut reason = String::new();
        for (at, url) in self.in_turn() {
            let address = match job {
                Some(job) => format!("{url}/songs/{hash}/upload_result?job={job}"),
                None => format!("{url}/songs/{hash}/upload_result"),
            };
            let mut archive = archive(stems).map_err(|error| format!("the stems cannot be read: {error}"))?;
            let sent = self
                .agent
                .post(&address)
                .header("authorization", format!("Bearer {}", self.token.0))
                .header("content-type", "application/x-tar")
                // Whoever refuses says so before the stems travel.
                .header("expect", "100-continue")
                .send(SendBody::from_reader(&mut archive));
            let mut answer = match sent {
                Ok(answer) => answer,
                Err(error) => {
                    reason = self.explain(url, error);
                    continue;
                }
            };
            let status = answer.status();
            let said = envelope(&mut answer).and_then(|said| said.errors.into_iter().next());
            let said = format!("{url}: {status}: {}", said.map_or_else(String::new, |problem| problem.message));
            match meaning(status, said) {
                Ok(told) => {
                    self.at.store(at, Ordering::Relaxed);
                    return Ok(told);
                }
                Err(passing) => reason = passing,
            }
        }
        Err(reason)
    }
}

/// Where a node is reached.
pub(crate) fn address(url: &str) -> Result<Uri, String> {
    let uri: Option<Uri> = url.parse().ok();
    let uri = uri.filter(|uri| uri.scheme().is_some_and(|scheme| [Scheme::HTTP, Scheme::HTTPS].contains(scheme)));
    match uri.as_ref().and_then(Uri::authority) {
        // It would stand in the log.
        Some(authority) if authority.as_str().contains('@') => {
            Err("a node's address holds no user and no password; the token lets a worker in".into())
        }
        Some(_) => uri.ok_or_else(String::new),
        None => Err(format!("{url:?} is no address; write http://HOST:PORT or https://HOST:PORT")),
    }
}

/// Whether what goes to a node can be read on the way.
pub(crate) fn is_in_the_clear(address: &Uri) -> bool {
    address.scheme() == Some(&Scheme::HTTP) && !address.host().is_some_and(is_local)
}

/// What an answer means; an error is one that may pass.
fn meaning(status: StatusCode, said: String) -> Result<Told, String> {
    match status {
        status if status.is_success() => Ok(Told::Taken),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Ok(Told::Unknown(said)),
        StatusCode::NOT_FOUND | StatusCode::CONFLICT | StatusCode::GONE => Ok(Told::NotNeeded(said)),
        StatusCode::PAYLOAD_TOO_LARGE | StatusCode::UNSUPPORTED_MEDIA_TYPE | StatusCode::UNPROCESSABLE_ENTITY => {
            Ok(Told::Refused(said))
        }
        // What broke off on the way, and what the cluster cannot do now.
        _ => Err(said),
    }
}

fn envelope(answer: &mut ureq::http::Response<ureq::Body>) -> Option<Envelope> {
    let text = answer.body_mut().with_config().limit(LARGEST_ANSWER).read_to_string().ok()?;
    serde_json::from_str(&text).ok()
}

/// The stems as a tar file that is read as it goes.
fn archive(stems: &[(String, PathBuf)]) -> io::Result<Box<dyn Read>> {
    let mut all: Box<dyn Read> = Box::new(io::empty());
    for (name, path) in stems {
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        let mut header = Header::new_ustar();
        header.set_path(format!("{name}.mp3"))?;
        header.set_size(length);
        header.set_mode(0o644);
        header.set_cksum();
        let filling = io::repeat(0).take(length.next_multiple_of(512) - length);
        all = Box::new(all.chain(io::Cursor::new(*header.as_bytes())).chain(file.take(length)).chain(filling));
    }
    // Two blocks of nothing are the end.
    Ok(Box::new(all.chain(io::repeat(0).take(1024))))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_token_is_never_shown() {
        assert!(!format!("{:?}", Token("secret".into())).contains("secret"));
    }

    #[test]
    fn any_tar_program_reads_the_archive() {
        let folder = tempfile::tempdir().unwrap();
        let stems: Vec<(String, PathBuf)> = [("bass", 0), ("drums", 512), ("other", 700_001), ("vocals", 3)]
            .map(|(name, length): (&str, usize)| {
                let path = folder.path().join(name);
                std::fs::write(&path, vec![7; length]).unwrap();
                (name.to_owned(), path)
            })
            .into();
        let mut read = tar::Archive::new(archive(&stems).unwrap());
        let found: Vec<(String, usize)> = read
            .entries()
            .unwrap()
            .map(|entry| {
                let (mut entry, mut content) = (entry.unwrap(), Vec::new());
                entry.read_to_end(&mut content).unwrap();
                (entry.path().unwrap().to_str().unwrap().to_owned(), content.len())
            })
            .collect();
        let expected = [("bass.mp3", 0), ("drums.mp3", 512), ("other.mp3", 700_001), ("vocals.mp3", 3)];
        assert_eq!(found, expected.map(|(name, length)| (name.to_owned(), length)));
        let mut bytes = Vec::new();
        archive(&stems).unwrap().read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes.len() % 512, 0);
    }

    #[test]
    fn what_the_cluster_says_is_final_or_passes() {
        for (status, told) in [
            (200, Some(Told::Taken)),
            (401, Some(Told::Unknown(String::new()))),
            (403, Some(Told::Unknown(String::new()))),
            (404, Some(Told::NotNeeded(String::new()))),
            (409, Some(Told::NotNeeded(String::new()))),
            (410, Some(Told::NotNeeded(String::new()))),
            (413, Some(Told::Refused(String::new()))),
            (422, Some(Told::Refused(String::new()))),
            (400, None),
            (408, None),
            (429, None),
            (500, None),
            (503, None),
            (507, None),
        ] {
            assert_eq!(meaning(StatusCode::from_u16(status).unwrap(), String::new()).ok(), told, "{status}");
        }
    }
}
