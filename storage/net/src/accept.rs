//! Incoming connections: an endpoint verifies the other node, then serves its requests until the connection closes.

use std::pin::Pin;
use std::sync::Arc;

use quinn::Connection;
use quinn::crypto::rustls::HandshakeData;
use rustls::pki_types::{CertificateDer, ServerName};

use crate::close::CloseCode;
use crate::handshake::Hello;
use crate::identity::name_of;
use crate::{NodeId, Peer, PeerError, Protocol, Stream, runtime};

/// The work of serving one request.
pub type ServeFuture = Pin<Box<dyn Future<Output = Result<(), PeerError>> + Send>>;

/// Serves the requests of one protocol.
pub trait Service: Send + Sync + 'static {
    /// Serves one request of node `from`, whose identity is verified. An error closes the stream and is logged.
    fn serve(&self, from: NodeId, stream: Stream) -> ServeFuture;
}

impl Peer {
    /// Accepts connections until the endpoint is closed.
    pub(crate) async fn accept(self) {
        while let Some(incoming) = self.0.endpoint.accept().await {
            let peer = self.clone();
            let consensus = runtime::is_consensus_connection(&incoming.orig_dst_cid());
            self.0.runtimes.get(consensus).spawn(async move {
                let from = incoming.remote_address();
                if let Err(error) = peer.serve_connection(incoming).await {
                    tracing::debug!(%from, %error, "connection closed");
                }
            });
        }
    }

    /// Serves one incoming connection until it closes.
    async fn serve_connection(&self, incoming: quinn::Incoming) -> Result<(), PeerError> {
        let connection = incoming.await.inspect_err(|_| self.0.metrics.handshake_failed())?;
        let protocol = connection
            .handshake_data()
            .and_then(|data| data.downcast::<HandshakeData>().ok())
            .and_then(|data| data.protocol)
            .and_then(|alpn| Protocol::ALL.into_iter().find(|protocol| protocol.alpn() == alpn))
            .ok_or_else(|| PeerError::Protocol("the connection has no known protocol".into()))?;
        let (send, recv) = connection.accept_bi().await?;
        let mut stream = Stream::plain(send, recv);
        let hello: Hello = stream.read_frame().await?;
        if !certificate_names(&connection, hello.id) {
            connection.close(CloseCode::WrongCertificate.into(), b"your certificate is not that of your node id");
            return Err(PeerError::Protocol(format!("another node's certificate came with node id {}", hello.id)));
        }
        if let Some(rejection) = self.rejection(&hello, protocol) {
            connection.close(CloseCode::Rejected.into(), rejection.as_bytes());
            return Err(PeerError::Protocol(format!("node {} was rejected: {rejection}", hello.id)));
        }
        stream.write_frame(&self.hello()).await?;
        stream.finish()?;
        self.note_process(&hello);
        self.0.metrics.connected(&connection, protocol, None);
        let hello = Arc::new(hello);
        loop {
            let (send, recv) = connection.accept_bi().await?;
            let hello = Arc::clone(&hello);
            let service = self.0.services.read().get(&protocol).cloned();
            // Before a starting node has set its service, it drops the stream: the caller sees that it was reset.
            let Some(service) = service else { continue };
            tokio::spawn(async move {
                let served = serve(service, &hello, protocol, Stream::plain(send, recv)).await;
                if let Err(error) = served {
                    tracing::debug!(from = hello.id, ?protocol, %error, "request failed");
                }
            });
        }
    }
}

/// Serves one request, within the scope of its request id if the caller sent one.
async fn serve(
    service: Arc<dyn Service>,
    hello: &Hello,
    protocol: Protocol,
    mut stream: Stream,
) -> Result<(), PeerError> {
    let request = if hello.request_ids { stream.read_request_id().await? } else { None };
    match request {
        None => service.serve(hello.id, stream).await,
        Some(request) => {
            let from = hello.id;
            let served = async move {
                tracing::debug!(from, ?protocol, "request from node {from}");
                service.serve(from, stream).await
            };
            request.scope(served).await
        }
    }
}

/// Whether the other side's certificate carries the name of node `id`. TLS has verified that the cluster issued it.
fn certificate_names(connection: &Connection, id: NodeId) -> bool {
    let name = ServerName::try_from(name_of(id));
    let chain = connection.peer_identity().and_then(|chain| chain.downcast::<Vec<CertificateDer<'static>>>().ok());
    let (Ok(name), Some(chain)) = (name, chain) else {
        return false;
    };
    chain
        .first()
        .and_then(|leaf| webpki::EndEntityCert::try_from(leaf).ok())
        .is_some_and(|leaf| leaf.verify_is_valid_for_subject_name(&name).is_ok())
}
