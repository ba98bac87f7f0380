//! The body of an upload, limited in size and in time.
//!
//! Requests are refused as early as possible. A client that is still sending would see a reset connection instead of
//! the response, so the rest of a refused body is read and discarded, within limits. For a client that waits for `100
//! Continue` that is not necessary.
//!
//! A reader of the body, such as the parser of a form, only notices that it ended. [`UploadBody::failure`] tells why.

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

use crate::http::error::ApiError;

/// The most bytes besides the file: the other fields and delimiters of a form, or the headers of a tar file.
pub(crate) const OVERHEAD_BYTES: u64 = 64 << 10;
/// The longest time without data.
const IDLE: Duration = Duration::from_secs(60);
/// The most bytes of a refused body that are read and discarded.
const DRAIN_BYTES: usize = 64 << 20;
/// The longest time for which a refused body is read.
const DRAIN_FOR: Duration = Duration::from_secs(10);

/// Whether the body was read, and why it ended early.
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

/// The body of an upload.
pub(crate) struct UploadBody {
    headers: HeaderMap,
    body: Arc<Mutex<BodyDataStream>>,
    limit: u64,
    progress: Arc<Progress>,
}

impl UploadBody {
    /// The body of a request. `limit` is the most bytes of its file, or of all files together.
    pub(crate) fn new(request: Request, limit: u64) -> Self {
        let (head, body) = request.into_parts();
        Self {
            headers: head.headers,
            body: Arc::new(Mutex::new(body.into_data_stream())),
            limit,
            progress: Arc::default(),
        }
    }

    /// The most bytes of the file.
    pub(crate) fn limit(&self) -> u64 {
        self.limit
    }

    /// The error of a file that exceeds the limit.
    pub(crate) fn too_large(&self) -> ApiError {
        ApiError::TooLarge { limit: self.limit }
    }

    /// Refuses a body before its first byte if its Content-Length exceeds the limit, or if the disk has no space for
    /// it.
    pub(crate) async fn expect_room(&self, blobs: &Blobs) -> Result<(), ApiError> {
        let length =
            self.headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        if length.is_some_and(|length| length > self.limit.saturating_add(OVERHEAD_BYTES)) {
            return Err(self.too_large());
        }
        let (blobs, file) = (blobs.clone(), length.unwrap_or(0).saturating_sub(OVERHEAD_BYTES));
        Ok(crate::http::blocking("reserving space", move || blobs.check_free(file)).await??)
    }

    /// The request, with a body that ends early after the limit or a timeout.
    pub(crate) fn request(&self) -> Request {
        let mut request = Request::new(self.watched());
        *request.headers_mut() = self.headers.clone();
        // The body has its own limit. That of axum, 2 MB, is for bodies in memory.
        DefaultBodyLimit::disable().apply(&mut request);
        request
    }

    /// The body of [`Self::request`].
    pub(crate) fn watched(&self) -> Body {
        let (body, progress) = (Arc::clone(&self.body), Arc::clone(&self.progress));
        let left = self.limit.saturating_add(OVERHEAD_BYTES);
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

    /// The error of a body that ended early.
    pub(crate) fn failure(&self) -> Option<ApiError> {
        match self.progress.get() {
            Progress::IDLE => Some(ApiError::Idle(IDLE.as_secs())),
            Progress::TOO_LARGE => Some(self.too_large()),
            Progress::BROKEN => Some(ApiError::Broken("the connection broke".into())),
            _ => None,
        }
    }

    /// Reads and discards the rest of a refused body, within limits.
    pub(crate) async fn drain(&self) {
        let is_waiting = self.progress.get() == Progress::UNREAD && self.headers.contains_key(header::EXPECT);
        // A client that waits for `100 Continue` sends nothing, and an idle one had enough time.
        if is_waiting || self.progress.get() == Progress::IDLE {
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
    fn body(expects: bool) -> (UploadBody, Arc<AtomicUsize>) {
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
        (UploadBody::new(request, 1), read)
    }

    #[tokio::test]
    async fn body_is_not_drained_while_the_client_waits_to_continue() {
        for (expects, drained) in [(false, 2), (true, 0)] {
            let (upload, read) = body(expects);
            upload.drain().await;
            assert_eq!(read.load(Ordering::Relaxed), drained, "expects: {expects}");
        }
        let (begun, read) = body(true);
        begun.watched().into_data_stream().next().await.unwrap().unwrap();
        begun.drain().await;
        assert_eq!(read.load(Ordering::Relaxed), 2, "the server sent 100 Continue");
    }
}
