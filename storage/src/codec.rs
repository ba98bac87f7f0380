//! How values are written to disk and to peers: MessagePack with field names.
//!
//! Names cost some bytes and buy that a node of one version reads what another wrote: unknown fields are skipped, and
//! new ones carry `#[serde(default)]`.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// A value could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// The value has no MessagePack form.
    #[error("cannot write a value: {0}")]
    Encode(#[from] rmp_serde::encode::Error),
    /// The bytes are not such a value.
    #[error("cannot read a value: {0}")]
    Decode(#[from] rmp_serde::decode::Error),
}

/// Writes a value.
pub fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, CodecError> {
    Ok(rmp_serde::to_vec_named(value)?)
}

/// Reads a value.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    Ok(rmp_serde::from_slice(bytes)?)
}
