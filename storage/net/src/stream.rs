//! A request and its answer on one QUIC stream, as frames.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::PeerError;
use crate::request::RequestId;

/// The largest frame in bytes, without its length. Bulk data goes around frames, through [`Stream::send`] and
/// [`Stream::recv`].
pub const MAX_FRAME_BYTES: usize = 16 << 20;

/// A bidirectional QUIC stream that carries one request.
pub struct Stream {
    /// The direction to the other node.
    pub send: quinn::SendStream,
    /// The direction from the other node.
    pub recv: quinn::RecvStream,
    /// Bytes to send before the first frame.
    prefix: Vec<u8>,
}

impl Stream {
    /// A stream without a request id.
    pub(crate) fn plain(send: quinn::SendStream, recv: quinn::RecvStream) -> Self {
        Self { send, recv, prefix: Vec::new() }
    }

    /// A stream that this node opened. If the other node supports request ids, the stream begins with the id of the
    /// current request: its length as one byte (0 for no id), then the id.
    pub(crate) fn opened(send: quinn::SendStream, recv: quinn::RecvStream, request_ids: bool) -> Self {
        let mut prefix = Vec::new();
        if request_ids {
            let id = RequestId::current();
            let id = id.as_ref().map_or("", RequestId::as_str);
            prefix.push(u8::try_from(id.len()).unwrap_or(0));
            prefix.extend(id.as_bytes());
        }
        Self { send, recv, prefix }
    }

    /// Reads the request id that [`Stream::opened`] sends.
    pub(crate) async fn read_request_id(&mut self) -> Result<Option<RequestId>, PeerError> {
        let mut length = [0];
        self.recv.read_exact(&mut length).await?;
        let mut id = vec![0; usize::from(length[0])];
        self.recv.read_exact(&mut id).await?;
        if id.is_empty() {
            return Ok(None);
        }
        RequestId::new(&id).map(Some).ok_or_else(|| PeerError::Protocol("invalid request id".into()))
    }

    /// Sends a value: its length as four bytes, big-endian, then the encoded value.
    pub async fn write_frame<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), PeerError> {
        let bytes = codec::encode(value)?;
        let length = u32::try_from(bytes.len()).ok().filter(|length| *length as usize <= MAX_FRAME_BYTES);
        let length = length.ok_or_else(|| too_long(bytes.len()))?;
        let mut head = std::mem::take(&mut self.prefix);
        head.extend(length.to_be_bytes());
        self.send.write_all(&head).await?;
        self.send.write_all(&bytes).await?;
        Ok(())
    }

    /// Receives a value that [`Stream::write_frame`] sent.
    pub async fn read_frame<T: DeserializeOwned>(&mut self) -> Result<T, PeerError> {
        let mut length = [0; 4];
        self.recv.read_exact(&mut length).await?;
        let length = u32::from_be_bytes(length) as usize;
        if length > MAX_FRAME_BYTES {
            return Err(too_long(length));
        }
        let mut bytes = vec![0; length];
        self.recv.read_exact(&mut bytes).await?;
        Ok(codec::decode(&bytes)?)
    }

    /// Ends the direction to the other node: nothing more will be sent.
    pub fn finish(&mut self) -> Result<(), PeerError> {
        self.send.finish().map_err(|_| PeerError::Protocol("the stream is closed already".into()))
    }
}

fn too_long(bytes: usize) -> PeerError {
    PeerError::Protocol(format!("a frame has {bytes} bytes, more than {MAX_FRAME_BYTES}"))
}
