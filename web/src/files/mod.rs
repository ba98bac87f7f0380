//! Files: receiving them, storing them, generating them and sending them.

pub(crate) mod archive;
pub(crate) mod body;
pub(crate) mod cache;
pub(crate) mod decode_queue;
pub mod file_name;
pub(crate) mod file_response;
pub(crate) mod keyed_locks;
pub(crate) mod part_header;
pub(crate) mod source;
pub(crate) mod zip;
