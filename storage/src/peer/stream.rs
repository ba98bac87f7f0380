//! One request and its answer, framed.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::PeerError;
use crate::wire;

/// The longest frame, in bytes. Bulk travels outside of frames.
pub const LONGEST_FRAME: usize = 16 << 20;

/// Both directions of a QUIC stream.
pub struct Stream {
    /// To the other node.
    pub send: quinn::SendStream,
    /// From it.
    pub recv: quinn::RecvStream,
}

impl Stream {
    /// Writes a value: its length as four bytes, big-endian, then the value.
    pub async fn write_frame<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), PeerError> {
        let bytes = wire::encode(value)?;
        let length = u32::try_from(bytes.len()).ok().filter(|length| *length as usize <= LONGEST_FRAME);
        let length = length.ok_or_else(|| PeerError::Protocol(format!("a frame of {} bytes", bytes.len())))?;
        self.send.write_all(&length.to_be_bytes()).await?;
        self.send.write_all(&bytes).await?;
        Ok(())
    }

    /// Reads a value.
    pub async fn read_frame<T: DeserializeOwned>(&mut self) -> Result<T, PeerError> {
        let mut length = [0; 4];
        self.recv.read_exact(&mut length).await?;
        let length = u32::from_be_bytes(length) as usize;
        if length > LONGEST_FRAME {
            return Err(PeerError::Protocol(format!("a frame of {length} bytes was announced")));
        }
        let mut bytes = vec![0; length];
        self.recv.read_exact(&mut bytes).await?;
        Ok(wire::decode(&bytes)?)
    }

    /// Says that nothing more will be written.
    pub fn finish(&mut self) -> Result<(), PeerError> {
        self.send.finish().map_err(|_| PeerError::Protocol("the stream was closed already".into()))
    }
}
