//! One signed HTTP request to a web hook.

use std::time::Duration;

use net::secret_box::{SecretBox, signature};
use raft::now;
use serde_json::json;
use state::{Delivery, Hook};
use tokio::sync::oneshot;
use ureq::Agent;
use ureq::unversioned::transport::DefaultConnector;
use web::api::webhooks::event_of;

use super::resolver::PublicResolver;

/// The time limit of a request.
pub(super) const TIMEOUT: Duration = Duration::from_secs(10);

/// A delivery failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum SendError {
    /// The web hook's secret was encrypted with another key.
    #[error("cannot decrypt the secret; create the web hook again")]
    Secret,
    /// The response was not a success.
    #[error("the response had status {0}")]
    Status(u16),
    /// There was no response.
    #[error("{0}")]
    Request(String),
}

/// Sends deliveries to web hooks.
pub(super) struct WebhookClient {
    secret_box: SecretBox,
    agent: Agent,
}

impl WebhookClient {
    pub(super) fn new(secret_box: SecretBox, allow_private: bool) -> Self {
        Self { secret_box, agent: agent(allow_private) }
    }

    /// Sends a delivery once and returns the status of the response, from 200 to 299.
    pub(super) async fn send(&self, hook: &Hook, delivery: &Delivery) -> Result<u16, SendError> {
        let secret = self.secret_box.open(&hook.sealed.0).map_err(|_| SendError::Secret)?;
        let (body, event, timestamp) = (body_of(delivery), event_of(delivery.event), (now() / 1000).to_string());
        let signed = signature(&secret, &[timestamp.as_bytes(), b".", body.as_bytes()]);
        let signed: String = signed.iter().map(|byte| format!("{byte:02x}")).collect();
        let request = self
            .agent
            .post(&hook.url)
            .header("Content-Type", "application/json")
            .header("Quartet-Delivery", delivery.id.to_string())
            .header("Quartet-Event", event)
            .header("Quartet-Timestamp", timestamp)
            .header("Quartet-Signature", format!("sha256={signed}"));
        let (sender, response) = oneshot::channel();
        let send = move || {
            let _ = sender.send(request.send(body).map(|response| response.status().as_u16()));
        };
        let failed = |error: &dyn std::error::Error| SendError::Request(error.to_string());
        // A separate thread, because a stopping runtime would wait for a blocking task.
        std::thread::Builder::new().name("web hook".into()).spawn(send).map_err(|error| failed(&error))?;
        match response.await {
            Ok(Ok(status)) if (200..300).contains(&status) => Ok(status),
            Ok(Ok(status)) => Err(SendError::Status(status)),
            Ok(Err(error)) => Err(failed(&error)),
            Err(error) => Err(failed(&error)),
        }
    }
}

fn agent(allow_private: bool) -> Agent {
    let settings = Agent::config_builder()
        .timeout_global(Some(TIMEOUT))
        .max_redirects(0)
        .http_status_as_error(false)
        // A proxy would resolve names itself, without the check of the addresses.
        .proxy(None)
        .user_agent(concat!("quartet/", env!("CARGO_PKG_VERSION")))
        .build();
    Agent::with_parts(settings, DefaultConnector::default(), PublicResolver { allow_private })
}

/// The body of the request, which is the same in every attempt.
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn private_addresses_are_not_connected_to() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        for host in ["localhost", "127.0.0.1", "[::1]", "2130706433", "127.1", "0"] {
            let sent = agent(false).post(format!("http://{host}:{port}/")).send("x");
            assert!(sent.is_err(), "{host}");
        }
        listener.set_nonblocking(true).unwrap();
        assert!(listener.accept().is_err(), "there was a connection");
    }

    #[test]
    fn redirects_are_not_followed() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 4096]).unwrap();
            let response =
                format!("HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:{port}/\r\nContent-Length: 0\r\n\r\n");
            stream.write_all(response.as_bytes()).unwrap();
            drop(stream);
            listener.set_nonblocking(true).unwrap();
            listener
        });
        let sent = agent(true).post(format!("http://127.0.0.1:{port}/")).send("x").unwrap();
        assert_eq!(sent.status(), 302);
        assert!(server.join().unwrap().accept().is_err(), "there was a second connection");
    }
}
