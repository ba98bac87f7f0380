//! A body that arrives: bounded in length and in time, read as it comes, and read to its end where it is refused.
//!
//! Refusals come as early as they can. A client that is still sending when it is refused would see a reset connection
//! instead of the answer, so what it sends is read and thrown away for a while; a client that waits for `100 Continue`
//! is answered without that.
//!
//! What reads the body (a form's parser, a tar file's reader) only knows that it ended; [`Incoming::failure`] tells why.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use axum::body::{Body, BodyDataStream, Bytes};
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::{HeaderMap, header};
use futures_util::{StreamExt, stream};
use storage::blobs::Blobs;
use tokio::sync::Mutex;

use crate::error::ApiError;

/// The most bytes that anything but the file may have: a form's other fields and its own lines, or a tar file's headers.
pub(crate) const BESIDE_BYTES: u64 = 64 << 10;
/// A body of which no byte came for this long is given up.
const IDLE: Duration = Duration::from_secs(60);
/// How much of a refused body is read and thrown away, in bytes and in time.
const DRAIN_BYTES: usize = 64 << 20;
/// See [`DRAIN_BYTES`].
const DRAIN_FOR: Duration = Duration::from_secs(10);

/// How far the body is, and why it ended early if it did.
#[derive(Default)]
struct Progress(AtomicU8);

impl Progress {
    const UNREAD: u8 = 0;
    const READ: u8 = 1;
    const IDLE: u8 = 2;
    const TOO_LARGE: u8 = 3;
    const BROKEN: u8 = 4;

    fn set(&self, progress: u8) {
        self.0.store(progress, Ordering::Relaxed);
    }

    fn get(&self) -> u8 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A request whose body is arriving.
pub(crate) struct Incoming {
    headers: HeaderMap,
    body: Arc<Mutex<BodyDataStream>>,
    limit: u64,
    progress: Arc<Progress>,
}

impl Incoming {
    /// A request whose file, or files together, may have `limit` bytes.
    pub(crate) fn new(request: Request, limit: u64) -> Self {
        let (head, body) = request.into_parts();
        Self {
            headers: head.headers,
            body: Arc::new(Mutex::new(body.into_data_stream())),
            limit,
            progress: Arc::default(),
        }
    }

    /// The most bytes that the file may have.
    pub(crate) fn limit(&self) -> u64 {
        self.limit
    }

    /// What is said to a file of more bytes than it may have.
    pub(crate) fn too_large(&self) -> ApiError {
        ApiError::TooLarge { limit: self.limit }
    }

    /// Refuses before the first byte what would be refused before the last: a body that says itself that it is too
    /// large, and one for which the disk has no room.
    pub(crate) async fn expect_room(&self, blobs: &Blobs) -> Result<(), ApiError> {
        let announced =
            self.headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        if announced.is_some_and(|announced| announced > self.limit.saturating_add(BESIDE_BYTES)) {
            return Err(self.too_large());
        }
        let (blobs, file) = (blobs.clone(), announced.unwrap_or(0).saturating_sub(BESIDE_BYTES));
        Ok(crate::blocking("looking for room", move || blobs.expect_room(file)).await??)
    }

    /// The request, with a body that ends early when nothing comes or too much.
    pub(crate) fn request(&self) -> Request {
        let mut request = Request::new(self.watched());
        *request.headers_mut() = self.headers.clone();
        // The body has limits of its own; axum's of 2 MB is for what is read whole.
        DefaultBodyLimit::disable().apply(&mut request);
        request
    }

    /// The body alone, as [`Self::request`] has it.
    pub(crate) fn watched(&self) -> Body {
        let (body, progress) = (Arc::clone(&self.body), Arc::clone(&self.progress));
        let left = self.limit.saturating_add(BESIDE_BYTES);
        Body::from_stream(stream::unfold(Some(left), move |left| {
            let (body, progress) = (Arc::clone(&body), Arc::clone(&progress));
            async move {
                let left = left?;
                progress.set(Progress::READ);
                let fail = |why: u8, kind: io::ErrorKind| {
                    progress.set(why);
                    Some((Err(io::Error::from(kind)), None))
                };
                let chunk: Bytes = match tokio::time::timeout(IDLE, async { body.lock().await.next().await }).await {
                    Err(_) => return fail(Progress::IDLE, io::ErrorKind::TimedOut),
                    Ok(None) => return None,
                    Ok(Some(Err(_))) => return fail(Progress::BROKEN, io::ErrorKind::ConnectionReset),
                    Ok(Some(Ok(chunk))) => chunk,
                };
                match left.checked_sub(chunk.len() as u64) {
                    None => fail(Progress::TOO_LARGE, io::ErrorKind::FileTooLarge),
                    Some(left) => Some((Ok(chunk), Some(left))),
                }
            }
        }))
    }

    /// Why the body ended early, if it did.
    pub(crate) fn failure(&self) -> Option<ApiError> {
        match self.progress.get() {
            Progress::IDLE => Some(ApiError::Idle(IDLE.as_secs())),
            Progress::TOO_LARGE => Some(self.too_large()),
            Progress::BROKEN => Some(ApiError::Broken("the connection broke off".into())),
            _ => None,
        }
    }

    /// Reads and throws away what still comes of a refused body, within limits.
    pub(crate) async fn drain(&self) {
        let is_awaited = self.progress.get() == Progress::UNREAD && self.headers.contains_key(header::EXPECT);
        // A client that waits to be told to go on sends nothing, and one that was idle has been waited for long enough.
        if is_awaited || self.progress.get() == Progress::IDLE {
            return;
        }
        let draining = async {
            let mut left = DRAIN_BYTES;
            while let Some(Ok(chunk)) = self.body.lock().await.next().await {
                match left.checked_sub(chunk.len()) {
                    Some(rest) => left = rest,
                    None => return,
                }
            }
        };
        let _ = tokio::time::timeout(DRAIN_FOR, draining).await;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::atomic::AtomicUsize;

    use super::*;

    /// A body of two chunks, and how many of them were read.
    fn body(expects: bool) -> (Incoming, Arc<AtomicUsize>) {
        let read = Arc::new(AtomicUsize::new(0));
        let noted = Arc::clone(&read);
        let chunks = stream::iter(0..2).map(move |_| {
            noted.fetch_add(1, Ordering::Relaxed);
            Ok::<_, io::Error>(Bytes::from_static(b"x"))
        });
        let mut request = Request::new(Body::from_stream(chunks));
        if expects {
            request.headers_mut().insert(header::EXPECT, "100-continue".parse().unwrap());
        }
        (Incoming::new(request, 1), read)
    }

    #[tokio::test]
    async fn a_client_that_waits_to_be_told_to_go_on_is_not_told() {
        for (expects, drained) in [(false, 2), (true, 0)] {
            let (incoming, read) = body(expects);
            incoming.drain().await;
            assert_eq!(read.load(Ordering::Relaxed), drained, "expects: {expects}");
        }
        let (begun, read) = body(true);
        begun.watched().into_data_stream().next().await.unwrap().unwrap();
        begun.drain().await;
        assert_eq!(read.load(Ordering::Relaxed), 2, "it was told, and sends");
    }
}
