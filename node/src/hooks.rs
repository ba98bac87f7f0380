//! The leader's part in web hooks: telling them what the state says is to be told.
//!
//! Every node runs this and only the leader's does anything. What came of a try is committed, so a new leader goes on where
//! the old one was; a try that was made and not committed is made once more under the same number.
//!
//! A receiver may be slow, dead, or hostile: a try takes a bounded time, each hook has one at a time, answers are not read
//! beyond their status, no redirect is followed, and unless the configuration says otherwise only addresses of the public
//! internet are connected to, which are looked at after the name was resolved and are the ones that are connected to.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use net::secret_box::{SecretBox, signature};
use raft::Cluster;
use serde_json::json;
use state::command::RecordDelivery;
use state::{Delivery, DeliveryAttempt, DeliveryStatus, Hook, RetryAt};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use ureq::Agent;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};
use web::api::webhooks::event_of;
use web::webhook_url::is_public;

use raft::now;

/// How often the leader looks whether something is due.
const TICK: Duration = Duration::from_millis(500);
/// How many tries may be under way.
const AT_ONCE: usize = 16;
/// How many deliveries are looked at; a hook has at most a hundred.
const LOOKED_AT: usize = 4000;
/// How long a try may take.
const TRY_WITHIN: Duration = Duration::from_secs(10);
/// How long after the first failure it is tried again, in milliseconds; each time twice as long.
const FIRST_PAUSE: u64 = 5_000;
/// The longest pause.
const LONGEST_PAUSE: u64 = 3600 * 1000;
/// For how long it is tried.
const TRIED_FOR: u64 = 24 * 3600 * 1000;

/// Tells hooks while this node leads.
pub(crate) struct Messenger {
    cluster: Cluster,
    seal: SecretBox,
    agent: Agent,
}

/// Why a hook could not be told.
#[derive(Debug, thiserror::Error)]
enum TellError {
    #[error("the secret does not open; make the hook anew")]
    Sealed,
    #[error("the answer was {0}")]
    Status(u16),
    #[error("{0}")]
    Request(String),
}

impl Messenger {
    pub(crate) fn new(cluster: Cluster, seal: SecretBox, allow_private: bool) -> Self {
        let settings = Agent::config_builder()
            .timeout_global(Some(TRY_WITHIN))
            .max_redirects(0)
            .http_status_as_error(false)
            // A proxy would look names up itself.
            .proxy(None)
            .user_agent(concat!("quartet/", env!("CARGO_PKG_VERSION")))
            .build();
        let agent = Agent::with_parts(settings, DefaultConnector::default(), Outward { allow_private });
        Self { cluster, seal, agent }
    }

    /// Runs until `stop`. What is under way then is told once more by whoever leads next.
    pub(crate) async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut tries = JoinSet::new();
        let mut busy: HashSet<u64> = HashSet::new();
        loop {
            if self.cluster.is_leader() && tries.len() < AT_ONCE {
                for due in self.due().await {
                    if tries.len() < AT_ONCE && busy.insert(due.hook) {
                        let messenger = Arc::clone(&self);
                        tries.spawn(async move {
                            messenger.attempt(due).await;
                            due.hook
                        });
                    }
                }
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(TICK) => {}
                Some(ended) = tries.join_next() => match ended {
                    Ok(hook) => drop(busy.remove(&hook)),
                    // Which one broke down is not known; when none is left, none is busy.
                    Err(error) => tracing::error!(%error, "a web hook could not be told"),
                },
            }
            if tries.is_empty() {
                busy.clear();
            }
        }
    }

    /// What is to be told now.
    async fn due(&self) -> Vec<RetryAt> {
        let view = self.cluster.peek();
        let looked = tokio::task::spawn_blocking(move || view.pending_deliveries(LOOKED_AT)).await;
        let now = now();
        match looked {
            // Nothing is put off for longer than that, but a clock was wrong once.
            Ok(Ok(due)) => due.into_iter().filter(|due| due.at <= now || due.at > now + 2 * LONGEST_PAUSE).collect(),
            Ok(Err(error)) => {
                tracing::error!(%error, "the state cannot be read");
                Vec::new()
            }
            Err(_) => Vec::new(),
        }
    }

    /// Tells what is due, and commits what came of it.
    async fn attempt(&self, due: RetryAt) {
        let view = self.cluster.peek();
        let look = move || {
            let delivery = view.delivery(due.hook, due.id).ok()??;
            let hook = view.hook(delivery.user, delivery.hook).ok()??;
            matches!(delivery.status, DeliveryStatus::Pending { .. }).then_some((delivery, hook))
        };
        // It may have gone since.
        let Ok(Some((delivery, hook))) = tokio::task::spawn_blocking(look).await else { return };
        let (began, number) = (Instant::now(), delivery.attempts_made + 1);
        let told = self.tell(&hook, &delivery).await;
        let (at, took) = (now(), u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX));
        let pause = FIRST_PAUSE.saturating_mul(1 << (number - 1).min(20)).min(LONGEST_PAUSE);
        let result = match &told {
            Ok(_) => DeliveryStatus::Delivered,
            Err(TellError::Sealed) => DeliveryStatus::GivenUp,
            Err(_) if at + pause > delivery.ended_at.saturating_add(TRIED_FOR) => DeliveryStatus::GivenUp,
            Err(_) => DeliveryStatus::Pending { at: at + pause },
        };
        let outcome = match result {
            DeliveryStatus::Delivered => "delivered",
            DeliveryStatus::Pending { .. } => "failed",
            DeliveryStatus::GivenUp => "given_up",
        };
        metrics::counter!("quartet_hook_tries_total", "outcome" => outcome).increment(1);
        let (status, error) = match told {
            Ok(status) => (Some(status), None),
            Err(error) => {
                tracing::info!(hook = hook.id, delivery = delivery.id, %error, "a web hook was not told");
                let status = if let TellError::Status(status) = error { Some(status) } else { None };
                (status, Some(error.to_string()))
            }
        };
        let attempt = DeliveryAttempt { at, took, status, error };
        let note = RecordDelivery { hook: hook.id, delivery: delivery.id, number, status: result, attempt };
        match self.cluster.propose(note).await {
            // A refusal says that it has gone, or that another leader was quicker.
            Ok(Ok(_) | Err(_)) => {}
            Err(error) => {
                tracing::warn!(%error, delivery = delivery.id, "what came of a web hook could not be committed");
                // Or it would be told again and again.
                tokio::time::sleep(TRY_WITHIN).await;
            }
        }
    }

    /// Tells a hook once; the status of the answer.
    async fn tell(&self, hook: &Hook, delivery: &Delivery) -> Result<u16, TellError> {
        let secret = self.seal.open(&hook.sealed.0).map_err(|_| TellError::Sealed)?;
        let (body, event, stamp) = (body_of(delivery), event_of(delivery.event), (now() / 1000).to_string());
        let signed = signature(&secret, &[stamp.as_bytes(), b".", body.as_bytes()]);
        let signed: String = signed.iter().map(|byte| format!("{byte:02x}")).collect();
        let request = self
            .agent
            .post(&hook.url)
            .header("Content-Type", "application/json")
            .header("Quartet-Delivery", delivery.id.to_string())
            .header("Quartet-Event", event)
            .header("Quartet-Timestamp", stamp)
            .header("Quartet-Signature", format!("sha256={signed}"));
        let (answer, answered) = oneshot::channel();
        let send = move || {
            let _ = answer.send(request.send(body).map(|response| response.status().as_u16()));
        };
        let failed = |error: &dyn std::error::Error| TellError::Request(error.to_string());
        // A thread of its own: a node that stops does not wait for it.
        std::thread::Builder::new().name("web hook".into()).spawn(send).map_err(|error| failed(&error))?;
        match answered.await {
            Ok(Ok(status)) if (200..300).contains(&status) => Ok(status),
            Ok(Ok(status)) => Err(TellError::Status(status)),
            Ok(Err(error)) => Err(failed(&error)),
            Err(error) => Err(failed(&error)),
        }
    }
}

/// What is told. It is the same with every try.
fn body_of(delivery: &Delivery) -> String {
    let songs: Vec<_> = delivery.songs.iter().map(|(id, title)| json!({ "id": id, "title": title })).collect();
    json!({
        "delivery": delivery.id,
        "event": event_of(delivery.event),
        "at": delivery.ended_at,
        "job": {
            "id": delivery.job,
            "state": delivery.event.to_string(),
            "model": delivery.model,
            "error": delivery.error.as_ref().map(ToString::to_string),
            "created_at": delivery.created_at,
            "finished_at": delivery.ended_at,
        },
        "songs": songs,
    })
    .to_string()
}

/// Looks names up, and gives only addresses that hooks may lead to.
#[derive(Debug)]
struct Outward {
    allow_private: bool,
}

impl Resolver for Outward {
    fn resolve(&self, uri: &Uri, config: &Config, timeout: NextTimeout) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let found = DefaultResolver::default().resolve(uri, config, timeout)?;
        match found.iter().find(|address| !self.allow_private && !is_public(address.ip())) {
            None => Ok(found),
            // A name that stands for both is none to trust.
            Some(inside) => Err(ureq::Error::Io(std::io::Error::new(
                std::io::ErrorKind::PermissionDenied,
                format!("the name stands for {}, which is not of the public internet", inside.ip()),
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;

    fn agent(allow_private: bool) -> Agent {
        let settings = Agent::config_builder().timeout_global(Some(TRY_WITHIN)).max_redirects(0).proxy(None);
        let settings = settings.http_status_as_error(false).build();
        Agent::with_parts(settings, DefaultConnector::default(), Outward { allow_private })
    }

    #[test]
    fn names_for_this_machine_lead_nowhere() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        for host in ["localhost", "127.0.0.1", "[::1]", "2130706433", "127.1", "0"] {
            let told = agent(false).post(format!("http://{host}:{port}/")).send("x");
            assert!(told.is_err(), "{host}");
        }
        listener.set_nonblocking(true).unwrap();
        assert!(listener.accept().is_err(), "nobody came");
    }

    #[test]
    fn redirects_are_not_followed() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 4096]).unwrap();
            let answer =
                format!("HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:{port}/\r\nContent-Length: 0\r\n\r\n");
            stream.write_all(answer.as_bytes()).unwrap();
            drop(stream);
            listener.set_nonblocking(true).unwrap();
            listener
        });
        let told = agent(true).post(format!("http://127.0.0.1:{port}/")).send("x").unwrap();
        assert_eq!(told.status(), 302);
        assert!(server.join().unwrap().accept().is_err(), "nobody came a second time");
    }
}
