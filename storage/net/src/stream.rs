//! One request and its answer, framed.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::PeerError;
use crate::request::RequestId;

/// The longest frame, in bytes. Bulk travels outside of frames.
pub const MAX_FRAME_BYTES: usize = 16 << 20;

/// Both directions of a QUIC stream.
pub struct Stream {
    /// To the other node.
    pub send: quinn::SendStream,
    /// From it.
    pub recv: quinn::RecvStream,
    /// What goes out before the first frame.
    before: Vec<u8>,
}

impl Stream {
    /// A stream with nothing before its first frame.
    pub(crate) fn plain(send: quinn::SendStream, recv: quinn::RecvStream) -> Self {
        Self { send, recv, before: Vec::new() }
    }

    /// A stream of this node's opening. Where the other side understands it, the id of the request that this task works
    /// on comes first: its length as one byte, 0 if there is none, then the id.
    pub(crate) fn opened(send: quinn::SendStream, recv: quinn::RecvStream, request_ids: bool) -> Self {
        let mut before = Vec::new();
        if request_ids {
            let id = RequestId::current();
            let id = id.as_ref().map_or("", RequestId::as_str);
            before.push(u8::try_from(id.len()).unwrap_or(0));
            before.extend(id.as_bytes());
        }
        Self { send, recv, before }
    }

    /// Reads what [`Stream::opened`] has put first at the other side.
    pub(crate) async fn read_request_id(&mut self) -> Result<Option<RequestId>, PeerError> {
        let mut length = [0];
        self.recv.read_exact(&mut length).await?;
        let mut id = vec![0; usize::from(length[0])];
        self.recv.read_exact(&mut id).await?;
        if id.is_empty() {
            return Ok(None);
        }
        let told = RequestId::new(&id).ok_or_else(|| PeerError::Protocol("a request's id is not one".into()))?;
        Ok(Some(told))
    }

    /// Writes a value: its length as four bytes, big-endian, then the value.
    pub async fn write_frame<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), PeerError> {
        let bytes = codec::encode(value)?;
        let length = u32::try_from(bytes.len()).ok().filter(|length| *length as usize <= MAX_FRAME_BYTES);
        let length = length.ok_or_else(|| PeerError::Protocol(format!("a frame of {} bytes", bytes.len())))?;
        let mut head = std::mem::take(&mut self.before);
        head.extend(length.to_be_bytes());
        self.send.write_all(&head).await?;
        self.send.write_all(&bytes).await?;
        Ok(())
    }

    /// Reads a value.
    pub async fn read_frame<T: DeserializeOwned>(&mut self) -> Result<T, PeerError> {
        let mut length = [0; 4];
        self.recv.read_exact(&mut length).await?;
        let length = u32::from_be_bytes(length) as usize;
        if length > MAX_FRAME_BYTES {
            return Err(PeerError::Protocol(format!("a frame of {length} bytes was announced")));
        }
        let mut bytes = vec![0; length];
        self.recv.read_exact(&mut bytes).await?;
        Ok(codec::decode(&bytes)?)
    }

    /// Says that nothing more will be written.
    pub fn finish(&mut self) -> Result<(), PeerError> {
        self.send.finish().map_err(|_| PeerError::Protocol("the stream was closed already".into()))
    }
}
