//! The messages of [`Protocol::Blobs`](net::Protocol::Blobs).
//!
//! | request | answer | then |
//! | --- | --- | --- |
//! | `Manifest` | the manifest, or none | |
//! | `Pieces` | whether the pieces follow | the pieces from `first` on, as plain bytes |
//! | `Push` | `Wanted` or a final answer | the pieces from the caller; then `Stored`, `Full`, `WrongBytes` or `Refused` |
//! | `Holds` | for each blob, whether it is here | |
//! | `Verify` | true | the receiver verifies its copy |
//!
//! A node resets the stream of a request that it does not know, which the caller sees as an error.
//!
//! Receivers verify the bytes, because a sender can only verify them before they leave. A receiver of wrong bytes
//! reports them, and the sender then verifies its copy.

use serde::{Deserialize, Serialize};

use storage::blobs::{Hash, Manifest};

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum BlobRequest {
    /// Asks for the hashes of a blob's pieces. The receiver keeps the blob for a while.
    Manifest(Hash),
    /// Asks for the bytes from piece `first` on.
    Pieces { hash: Hash, first: usize },
    /// Offers a blob.
    Push { hash: Hash, manifest: Manifest },
    /// Asks which of these blobs the receiver holds. The receiver may remove them at any time.
    Holds(Vec<Hash>),
    /// Reports that wrong bytes arrived for this blob.
    #[serde(rename = "Doubt")]
    Verify(Hash),
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum PushAnswer {
    /// The caller should send the pieces.
    Wanted,
    /// The blob is on the receiver's disk.
    Stored,
    /// The receiver could not store the blob.
    Refused(String),
    /// The receiver has no space for the blob.
    Full,
    /// The bytes do not match the manifest or the hash.
    WrongBytes,
}
