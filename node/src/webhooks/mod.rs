//! Delivery of web hooks by the leader.
//!
//! Every node runs the loop, but only the leader sends. The result of each attempt is committed, so a new leader continues
//! where the old one stopped. An attempt whose result was not committed is repeated with the same number, so a receiver can
//! get a delivery more than once.
//!
//! A receiver can be slow, dead or hostile. An attempt has a time limit ([`request`]), each web hook has one attempt at a
//! time, only the status of a response is read, redirects are not followed, and only public addresses are connected to
//! unless the configuration allows private ones ([`resolver`]).

mod request;
mod resolver;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use net::secret_box::SecretBox;
use raft::{Cluster, now};
use state::command::RecordDelivery;
use state::{DeliveryAttempt, DeliveryStatus, RetryAt};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use request::{SendError, WebhookClient};

/// How often the leader looks for due deliveries.
const POLL_INTERVAL: Duration = Duration::from_millis(500);
/// The largest number of concurrent attempts.
const MAX_CONCURRENT: usize = 16;
/// How many due deliveries are read at a time. A web hook has at most a hundred.
const MAX_DUE: usize = 4000;
/// The pause after the first failed attempt, in milliseconds. It doubles with each attempt.
const FIRST_PAUSE_MS: u64 = 5_000;
/// The longest pause between two attempts, in milliseconds.
const MAX_PAUSE_MS: u64 = 3600 * 1000;
/// After this time since the end of the job, a delivery is given up. In milliseconds.
const GIVE_UP_AFTER_MS: u64 = 24 * 3600 * 1000;

/// Sends due deliveries while this node is the leader.
pub(crate) struct WebhookSender {
    cluster: Cluster,
    client: WebhookClient,
}

impl WebhookSender {
    /// `secret_box` decrypts the secrets of web hooks. With `allow_private`, web hooks may have private addresses.
    pub(crate) fn new(cluster: Cluster, secret_box: SecretBox, allow_private: bool) -> Self {
        Self { cluster, client: WebhookClient::new(secret_box, allow_private) }
    }

    /// Runs until `stop`. Attempts in progress at that time are repeated by the next leader.
    pub(crate) async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut attempts = JoinSet::new();
        let mut busy: HashSet<u64> = HashSet::new();
        loop {
            if self.cluster.is_leader() && attempts.len() < MAX_CONCURRENT {
                for due in self.due().await {
                    if attempts.len() < MAX_CONCURRENT && busy.insert(due.hook) {
                        let sender = Arc::clone(&self);
                        attempts.spawn(async move {
                            sender.attempt(due).await;
                            due.hook
                        });
                    }
                }
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(POLL_INTERVAL) => {}
                Some(ended) = attempts.join_next() => match ended {
                    Ok(hook) => drop(busy.remove(&hook)),
                    // The web hook of a task that panicked is unknown, so `busy` is cleared when no attempt is left.
                    Err(error) => tracing::error!(%error, "an attempt to deliver a web hook panicked"),
                },
            }
            if attempts.is_empty() {
                busy.clear();
            }
        }
    }

    /// The deliveries to attempt now.
    async fn due(&self) -> Vec<RetryAt> {
        let view = self.cluster.peek();
        let looked = tokio::task::spawn_blocking(move || view.pending_deliveries(MAX_DUE)).await;
        let now = now();
        match looked {
            // No delivery is postponed for longer than this, unless the clock was wrong when it was postponed.
            Ok(Ok(due)) => due.into_iter().filter(|due| due.at <= now || due.at > now + 2 * MAX_PAUSE_MS).collect(),
            Ok(Err(error)) => {
                tracing::error!(%error, "cannot read the due deliveries");
                Vec::new()
            }
            Err(_) => Vec::new(),
        }
    }

    /// Attempts a delivery, and commits the result.
    async fn attempt(&self, due: RetryAt) {
        let view = self.cluster.peek();
        let look = move || {
            let delivery = view.delivery(due.hook, due.id).ok()??;
            let hook = view.hook(delivery.user, delivery.hook).ok()??;
            matches!(delivery.status, DeliveryStatus::Pending { .. }).then_some((delivery, hook))
        };
        // The delivery or its web hook may have been removed meanwhile.
        let Ok(Some((delivery, hook))) = tokio::task::spawn_blocking(look).await else { return };
        let (began, number) = (Instant::now(), delivery.attempts_made + 1);
        let sent = self.client.send(&hook, &delivery).await;
        let (at, took) = (now(), u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX));
        let pause = FIRST_PAUSE_MS.saturating_mul(1 << (number - 1).min(20)).min(MAX_PAUSE_MS);
        let result = match &sent {
            Ok(_) => DeliveryStatus::Delivered,
            Err(SendError::Secret) => DeliveryStatus::GivenUp,
            Err(_) if at + pause > delivery.ended_at.saturating_add(GIVE_UP_AFTER_MS) => DeliveryStatus::GivenUp,
            Err(_) => DeliveryStatus::Pending { at: at + pause },
        };
        let outcome = match result {
            DeliveryStatus::Delivered => "delivered",
            DeliveryStatus::Pending { .. } => "failed",
            DeliveryStatus::GivenUp => "given_up",
        };
        metrics::counter!("quartet_hook_tries_total", "outcome" => outcome).increment(1);
        let (status, error) = match sent {
            Ok(status) => (Some(status), None),
            Err(error) => {
                tracing::info!(hook = hook.id, delivery = delivery.id, %error, "a delivery to a web hook failed");
                let status = if let SendError::Status(status) = error { Some(status) } else { None };
                (status, Some(error.to_string()))
            }
        };
        let attempt = DeliveryAttempt { at, took, status, error };
        let record = RecordDelivery { hook: hook.id, delivery: delivery.id, number, status: result, attempt };
        match self.cluster.propose(record).await {
            // A refusal means that the delivery was removed, or that another leader committed its attempt first.
            Ok(Ok(_) | Err(_)) => {}
            Err(error) => {
                tracing::warn!(%error, delivery = delivery.id, "cannot commit the result of a delivery to a web hook");
                // Do not repeat the delivery at once.
                tokio::time::sleep(request::TIMEOUT).await;
            }
        }
    }
}
