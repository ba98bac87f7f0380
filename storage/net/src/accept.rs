//! The answering side: who comes is checked, and then served until the connection ends.

use std::pin::Pin;
use std::sync::{Arc, PoisonError};

use quinn::crypto::rustls::HandshakeData;
use quinn::{Connection, VarInt};
use rustls::pki_types::{CertificateDer, ServerName};

use crate::handshake::Hello;
use crate::identity::name_of;
use crate::{NodeId, Peer, PeerError, Protocol, Stream, runtime};

/// What serving a request comes to.
pub type ServeFuture = Pin<Box<dyn Future<Output = Result<(), PeerError>> + Send>>;

/// Answers one protocol.
pub trait Service: Send + Sync + 'static {
    /// Answers one request of node `from`, whose certificate was checked.
    fn serve(&self, from: NodeId, stream: Stream) -> ServeFuture;
}

impl Peer {
    /// Takes connections until the endpoint is closed.
    pub(crate) async fn accept(self) {
        while let Some(incoming) = self.0.endpoint.accept().await {
            let peer = self.clone();
            self.0.runtimes.of(runtime::is_consensus_connection(&incoming.orig_dst_cid())).spawn(async move {
                let from = incoming.remote_address();
                if let Err(error) = peer.welcome(incoming).await {
                    tracing::debug!(%from, %error, "a connection ended");
                }
            });
        }
    }

    /// Serves one incoming connection until it ends.
    async fn welcome(&self, incoming: quinn::Incoming) -> Result<(), PeerError> {
        let connection = incoming.await.inspect_err(|_| self.0.metrics.handshake_failed())?;
        let protocol = connection
            .handshake_data()
            .and_then(|data| data.downcast::<HandshakeData>().ok())
            .and_then(|data| data.protocol)
            .and_then(|alpn| Protocol::ALL.into_iter().find(|protocol| protocol.alpn() == alpn))
            .ok_or_else(|| PeerError::Protocol("no known protocol was chosen".into()))?;
        let (send, recv) = connection.accept_bi().await?;
        let mut stream = Stream::plain(send, recv);
        let hello: Hello = stream.read_frame().await?;
        if !certificate_names(&connection, hello.id) {
            connection.close(VarInt::from_u32(1), b"your certificate does not carry that node id");
            return Err(PeerError::Protocol(format!("somebody else came as node {}", hello.id)));
        }
        if let Some(objection) = self.objection(&hello, protocol) {
            connection.close(VarInt::from_u32(5), objection.as_bytes());
            return Err(PeerError::Protocol(format!("node {} was refused: {objection}", hello.id)));
        }
        stream.write_frame(&self.hello()).await?;
        stream.finish()?;
        self.met(&hello);
        self.0.metrics.connected(&connection, protocol, None);
        let hello = Arc::new(hello);
        loop {
            let (send, recv) = connection.accept_bi().await?;
            let hello = Arc::clone(&hello);
            let service = self.0.services.read().unwrap_or_else(PoisonError::into_inner).get(&protocol).cloned();
            // A node that is still starting does not answer; dropping the streams says so.
            let Some(service) = service else { continue };
            tokio::spawn(async move {
                let served = serve(service, &hello, protocol, Stream::plain(send, recv)).await;
                if let Err(error) = served {
                    tracing::debug!(from = hello.id, ?protocol, %error, "a request was not served");
                }
            });
        }
    }
}

/// Serves one stream, under the id of the request that it is asked for.
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
                tracing::debug!(from, ?protocol, "asked by node {from}");
                service.serve(from, stream).await
            };
            request.scope(served).await
        }
    }
}

/// Whether the other side's certificate, which is of this cluster, is that of node `id`.
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
