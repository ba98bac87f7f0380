//! The cluster's HTTP API as an external worker uses it: asks whether a job has ended, and uploads stems.
//!
//! Every node can answer. If a node fails, the client tries the next one.

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

/// The pause after all nodes failed. It doubles each time up to the longest pause.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const MAX_PAUSE: Duration = Duration::from_secs(60);
/// The time limit of an upload. The node decodes all stems before it answers.
const UPLOAD_TIMEOUT: Duration = Duration::from_secs(1800);
/// The largest response that is read, in bytes.
const MAX_RESPONSE_BYTES: u64 = 1 << 20;

/// The token that authenticates a worker. Its debug output hides the value.
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

/// The final result of an upload. The texts are the cluster's reasons.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum UploadOutcome {
    /// The cluster has stored the stems.
    Accepted,
    /// The cluster does not need the stems any more.
    NotNeeded(String),
    /// The stems are invalid; another attempt would fail too.
    Rejected(String),
    /// The worker's token is invalid.
    Unauthorized(String),
    /// This worker is stopping.
    Stopped,
}

/// A client of all nodes of the cluster.
pub(crate) struct ApiClient {
    urls: Vec<String>,
    token: Token,
    agent: Agent,
    roots: TlsRoots,
    /// The index of the node that answered last.
    last: AtomicUsize,
}

#[derive(Deserialize)]
struct ApiResponse {
    #[serde(default)]
    errors: Vec<ApiError>,
    data: Option<ResponseData>,
}

#[derive(Deserialize)]
struct ApiError {
    message: String,
}

#[derive(Deserialize)]
struct ResponseData {
    job: JobStatus,
}

#[derive(Deserialize)]
struct JobStatus {
    finished_at: Option<u64>,
}

impl ApiClient {
    /// A client of the nodes at `urls`, whose certificates must be signed by `roots`.
    pub(crate) fn new(urls: &[String], token: Token, roots: TlsRoots) -> Self {
        let agent = Agent::config_builder()
            .timeout_connect(Some(Duration::from_secs(10)))
            .timeout_global(Some(UPLOAD_TIMEOUT))
            // A redirect could send the token to another server.
            .max_redirects(0)
            .http_status_as_error(false)
            .tls_config(tls_config(&roots))
            .user_agent(concat!("quartet/", env!("CARGO_PKG_VERSION")))
            .build()
            .into();
        let urls = urls.iter().map(|url| url.trim_end_matches('/').to_owned()).collect();
        Self { urls, token, agent, roots, last: AtomicUsize::new(0) }
    }

    /// All nodes, starting with the one that answered last.
    fn nodes(&self) -> impl Iterator<Item = (usize, &String)> {
        let (count, first) = (self.urls.len(), self.last.load(Ordering::Relaxed));
        (0..count).map(move |step| (first + step) % count).map(|at| (at, &self.urls[at]))
    }

    fn explain(&self, url: &str, error: ureq::Error) -> String {
        let advice = match &error {
            ureq::Error::Io(error) => self.roots.explain(error, url),
            _ => None,
        };
        advice.unwrap_or_else(|| format!("{url}: {error}"))
    }

    /// Whether a job has ended. False if no node answers.
    pub(crate) fn has_ended(&self, job: u64) -> bool {
        for (at, url) in self.nodes() {
            let request = self.agent.get(format!("{url}/jobs/{job}")).config().timeout_global(Some(MAX_PAUSE)).build();
            let Ok(mut response) = request.call() else { continue };
            match response.status() {
                StatusCode::OK => {}
                StatusCode::NOT_FOUND => return true,
                _ => continue,
            }
            self.last.store(at, Ordering::Relaxed);
            return parse_response(&mut response)
                .and_then(|response| response.data)
                .is_some_and(|data| data.job.finished_at.is_some());
        }
        false
    }

    /// Uploads the stems of a song. Retries until the outcome is final, or `stop`.
    pub(crate) async fn upload(
        self: &Arc<Self>,
        hash: Hash,
        job: Option<u64>,
        stems: Vec<(String, PathBuf)>,
        stop: &CancellationToken,
    ) -> UploadOutcome {
        let (stems, mut pause) = (Arc::new(stems), FIRST_PAUSE);
        loop {
            let (client, files) = (Arc::clone(self), Arc::clone(&stems));
            let uploading = tokio::task::spawn_blocking(move || client.upload_once(hash, job, &files));
            let result = tokio::select! {
                result = uploading => result,
                () = stop.cancelled() => return UploadOutcome::Stopped,
            };
            let reason = match result {
                Ok(Ok(outcome)) => return outcome,
                Ok(Err(reason)) => reason,
                Err(error) => error.to_string(),
            };
            tracing::warn!(song = %hash, reason, seconds = pause.as_secs(), "cannot upload the stems, retrying");
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = stop.cancelled() => return UploadOutcome::Stopped,
            }
            pause = (2 * pause).min(MAX_PAUSE);
        }
    }

    /// Tries each node once. The error is that of the last node.
    fn upload_once(&self, hash: Hash, job: Option<u64>, stems: &[(String, PathBuf)]) -> Result<UploadOutcome, String> {
        let mut reason = String::new();
        for (at, url) in self.nodes() {
            let address = match job {
                Some(job) => format!("{url}/songs/{hash}/upload_result?job={job}"),
                None => format!("{url}/songs/{hash}/upload_result"),
            };
            let mut archive = archive(stems).map_err(|error| format!("cannot read the stems: {error}"))?;
            let sent = self
                .agent
                .post(&address)
                .header("authorization", format!("Bearer {}", self.token.0))
                .header("content-type", "application/x-tar")
                // The node checks the token and the job before the worker sends the stems.
                .header("expect", "100-continue")
                .send(SendBody::from_reader(&mut archive));
            let mut response = match sent {
                Ok(response) => response,
                Err(error) => {
                    reason = self.explain(url, error);
                    continue;
                }
            };
            let status = response.status();
            let error = parse_response(&mut response).and_then(|response| response.errors.into_iter().next());
            let message = format!("{url}: {status}: {}", error.map_or_else(String::new, |error| error.message));
            match outcome_of(status, message) {
                Ok(outcome) => {
                    self.last.store(at, Ordering::Relaxed);
                    return Ok(outcome);
                }
                Err(temporary) => reason = temporary,
            }
        }
        Err(reason)
    }
}

/// Parses the address of a node.
pub(crate) fn parse_address(url: &str) -> Result<Uri, String> {
    let uri: Option<Uri> = url.parse().ok();
    let uri = uri.filter(|uri| uri.scheme().is_some_and(|scheme| [Scheme::HTTP, Scheme::HTTPS].contains(scheme)));
    match uri.as_ref().and_then(Uri::authority) {
        // It would appear in logs.
        Some(authority) if authority.as_str().contains('@') => {
            Err("remove user and password from the address; the token authenticates the worker".into())
        }
        Some(_) => uri.ok_or_else(String::new),
        None => Err(format!("invalid address {url:?}; use http://HOST:PORT or https://HOST:PORT")),
    }
}

/// Whether the connection to a node is unencrypted and leaves this machine.
pub(crate) fn is_unencrypted(address: &Uri) -> bool {
    address.scheme() == Some(&Scheme::HTTP) && !address.host().is_some_and(is_local)
}

/// The outcome of an upload by the status of the response. An error is temporary.
fn outcome_of(status: StatusCode, message: String) -> Result<UploadOutcome, String> {
    match status {
        status if status.is_success() => Ok(UploadOutcome::Accepted),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Ok(UploadOutcome::Unauthorized(message)),
        StatusCode::NOT_FOUND | StatusCode::CONFLICT | StatusCode::GONE => Ok(UploadOutcome::NotNeeded(message)),
        StatusCode::PAYLOAD_TOO_LARGE | StatusCode::UNSUPPORTED_MEDIA_TYPE | StatusCode::UNPROCESSABLE_ENTITY => {
            Ok(UploadOutcome::Rejected(message))
        }
        // An interrupted upload, or a cluster that cannot accept it now.
        _ => Err(message),
    }
}

fn parse_response(response: &mut ureq::http::Response<ureq::Body>) -> Option<ApiResponse> {
    let text = response.body_mut().with_config().limit(MAX_RESPONSE_BYTES).read_to_string().ok()?;
    serde_json::from_str(&text).ok()
}

/// The stems as a tar archive, which reads the files as it is sent.
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
        let padding = io::repeat(0).take(length.next_multiple_of(512) - length);
        all = Box::new(all.chain(io::Cursor::new(*header.as_bytes())).chain(file.take(length)).chain(padding));
    }
    // Two empty blocks end the archive.
    Ok(Box::new(all.chain(io::repeat(0).take(1024))))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn debug_output_hides_the_token() {
        assert!(!format!("{:?}", Token("secret".into())).contains("secret"));
    }

    #[test]
    fn archive_is_a_valid_tar_file() {
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
    fn statuses_are_final_or_temporary() {
        for (status, outcome) in [
            (200, Some(UploadOutcome::Accepted)),
            (401, Some(UploadOutcome::Unauthorized(String::new()))),
            (403, Some(UploadOutcome::Unauthorized(String::new()))),
            (404, Some(UploadOutcome::NotNeeded(String::new()))),
            (409, Some(UploadOutcome::NotNeeded(String::new()))),
            (410, Some(UploadOutcome::NotNeeded(String::new()))),
            (413, Some(UploadOutcome::Rejected(String::new()))),
            (422, Some(UploadOutcome::Rejected(String::new()))),
            (400, None),
            (408, None),
            (429, None),
            (500, None),
            (503, None),
            (507, None),
        ] {
            assert_eq!(outcome_of(StatusCode::from_u16(status).unwrap(), String::new()).ok(), outcome, "{status}");
        }
    }
}
