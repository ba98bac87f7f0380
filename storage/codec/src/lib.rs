//! The encoding of values on disk and between nodes: MessagePack, with the names of fields.
//!
//! Field names make values longer, but nodes of different versions understand each other: a reader skips unknown
//! fields, and a new field has `#[serde(default)]`, so values without it can still be read.
//!
//! This is a crate of its own, because the network and the disk both need it and neither should depend on the other.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// A value could not be encoded or decoded.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// MessagePack cannot represent the value.
    #[error("cannot encode a value: {0}")]
    Encode(#[from] rmp_serde::encode::Error),
    /// The bytes do not encode a value of the expected type.
    #[error("cannot decode a value: {0}")]
    Decode(#[from] rmp_serde::decode::Error),
}

/// Encodes a value.
pub fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, CodecError> {
    Ok(rmp_serde::to_vec_named(value)?)
}

/// Decodes a value that [`encode`] encoded.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    Ok(rmp_serde::from_slice(bytes)?)
}
