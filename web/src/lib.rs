//! The HTTP interface of a node: the JSON API, files, live events, the OpenSubsonic protocol and the web page.
//!
//! Every node serves the whole interface, and clients may use any node. A change is committed in the cluster before it
//! is acknowledged. A read returns the newest committed state. Exceptions are documented at the endpoint: `/cluster`,
//! the event streams and reads with `stale=true` may be a moment old. Without a majority, files and models are served
//! from the state that this node applied last.
//!
//! Invariants:
//! - An upload is acknowledged only after its file is on a majority of the nodes and its song is committed.
//! - A request that fails or is interrupted leaves no files on the disk.
//! - No upload, file or mix is ever held in memory as a whole.
//! - A request for a resource that the caller cannot access returns the same 404 as one for a resource that does not
//!   exist.
//! - The caller is looked up in the same view of the state as the requested resource. A session that was ended at one
//!   node is therefore ended at all of them.
//!
//! Modules, each using only those above it:
//! - `text`, `clock`, `webhook_url`: helpers without dependencies inside the crate
//! - `http`: envelope, errors, bodies, queries, ranges, entity tags
//! - `auth`: who sends a request, passwords, secrets, rate limits
//! - `files`: uploads to the disk, stored files as responses, archives, the cache of generated files
//! - `app`: what all handlers share
//! - `search`: finding songs, artists, albums and genres
//! - `api` and `subsonic`: the endpoints
//! - `middleware`, `page`, `router`: what surrounds the endpoints

pub mod api;
mod app;
pub mod auth;
mod clock;
pub mod files;
mod http;
mod middleware;
mod page;
mod router;
mod search;
mod subsonic;
mod text;
pub mod webhook_url;

pub use crate::app::{App, Limits};
pub use crate::router::router;
