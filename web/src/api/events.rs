//! Live updates as server-sent events.
//!
//! An event holds the new state of a song or job, not a difference, so a client that missed events is up to date again
//! after the next. Changes within a short time make one event. After a connection breaks, the browser reconnects and
//! reads everything again. A stream that could not keep up sends `resync`, which requires the same.
//!
//! A stream contains only what its listener may see. The listener is authenticated again for every event, so a stream
//! ends with the session that opened it.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::time::Duration;

use axum::extract::Path;
use axum::response::sse::{Event as Sent, KeepAlive, Sse};
use serde::Serialize;
use state::View;
use state::{Audience, Event};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

use crate::api::jobs::{JobView, job_id, no_job};
use crate::api::song_view::SongView;
use crate::app::State;
use crate::auth::caller::Caller;
use crate::auth::request_auth::RequestAuth;
use crate::http::answer::Empty;
use crate::http::error::ApiError;

/// Changes within this time are gathered into one event.
const GATHER: Duration = Duration::from_millis(150);
/// The interval of comments without events, by which both ends detect a dead connection.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// The time after which a browser should reconnect.
const RETRY: Duration = Duration::from_secs(1);

type Events = Sse<axum::response::sse::KeepAliveStream<ReceiverStream<Result<Sent, Infallible>>>>;
type Sender = mpsc::Sender<Result<Sent, Infallible>>;

/// Changes since the last event.
#[derive(Debug, Default, PartialEq, Eq)]
struct Changed {
    songs: BTreeSet<u64>,
    removed: BTreeSet<(u64, Audience)>,
    jobs: BTreeSet<u64>,
    missed: bool,
}

impl Changed {
    fn add(&mut self, event: &Event) {
        match event {
            Event::Song { id } => {
                self.songs.insert(*id);
            }
            Event::SongRemoved { id, audience } => {
                self.removed.insert((*id, *audience));
            }
            Event::Job { id } => {
                self.jobs.insert(*id);
            }
        }
    }

    /// Waits for a change, and gathers those that follow within [`GATHER`]. `None` at the end of all changes.
    async fn next(events: &mut Receiver<Event>) -> Option<Self> {
        let mut changed = Self::default();
        match events.recv().await {
            Ok(event) => changed.add(&event),
            Err(RecvError::Lagged(_)) => changed.missed = true,
            Err(RecvError::Closed) => return None,
        }
        tokio::time::sleep(GATHER).await;
        loop {
            match events.try_recv() {
                Ok(event) => changed.add(&event),
                Err(TryRecvError::Lagged(_)) => changed.missed = true,
                Err(TryRecvError::Empty | TryRecvError::Closed) => return Some(changed),
            }
        }
    }
}

#[derive(Serialize)]
struct IdData {
    id: u64,
}

#[derive(Serialize)]
struct Hello {
    id: u64,
    version: &'static str,
}

fn event(name: &str, data: &impl Serialize) -> Option<Result<Sent, Infallible>> {
    match Sent::default().event(name).json_data(data) {
        Ok(event) => Some(Ok(event)),
        Err(error) => {
            tracing::error!(%error, "an event cannot be serialized");
            None
        }
    }
}

/// Sends an event. Returns false if the client has disconnected.
async fn send(to: &Sender, name: &str, data: &impl Serialize) -> bool {
    match event(name, data) {
        Some(event) => to.send(event).await.is_ok(),
        None => true,
    }
}

/// A stream of the events that `tell` sends. It ends with `tell`, when the client disconnects, or when the node stops.
fn stream<F>(stopping: CancellationToken, tell: impl FnOnce(Sender) -> F) -> Events
where
    F: Future<Output = ()> + Send + 'static,
{
    let (sender, receiver) = mpsc::channel(16);
    let listener = sender.clone();
    let telling = tell(sender);
    tokio::spawn(async move {
        let _ = listener.send(Ok(Sent::default().retry(RETRY))).await;
        tokio::select! {
            () = telling => {}
            () = listener.closed() => {}
            () = stopping.cancelled() => {}
        }
    });
    Sse::new(ReceiverStream::new(receiver)).keep_alive(KeepAlive::new().interval(KEEP_ALIVE).text("still here"))
}

/// Streams every change of songs and jobs as server-sent events.
///
/// The first event is `hello` with the node's `id` and `version`. Then follow `song` with a song, `song_removed` with
/// an `id`, `job` with a job and its tasks, and `resync` if events were lost and the client must read everything again.
/// The stream contains only what the caller may see, and ends when the node stops or the session ends.
#[utoipa::path(get, path = "/events", tag = "events", responses(
    (status = 200, description = "Server-sent events", body = String, content_type = "text/event-stream"),
))]
pub(crate) async fn all(state: State, auth: RequestAuth) -> Result<Events, ApiError> {
    let listener = StreamListener::new(&state, auth).await?;
    let mut events = state.cluster.events();
    Ok(stream(state.stopping.clone(), move |sender| async move {
        let hello = Hello { id: state.cluster.status().id, version: env!("CARGO_PKG_VERSION") };
        if !send(&sender, "hello", &hello).await {
            return;
        }
        while let Some(changed) = Changed::next(&mut events).await {
            if !tell(&state, &listener, &sender, changed).await {
                return;
            }
        }
    }))
}

/// The listener of a stream.
struct StreamListener {
    auth: RequestAuth,
    caller: Caller,
}

impl StreamListener {
    async fn new(state: &State, auth: RequestAuth) -> Result<Self, ApiError> {
        // Without a majority, the page still needs events to notice the end of that state.
        let caller = state.read_or_peek_for(&auth, |_, caller| Ok(*caller)).await?;
        Ok(Self { auth, caller })
    }

    /// Reads the state of this node, unless the caller is not the one who opened the stream.
    async fn look<T: Send + 'static>(
        &self,
        state: &State,
        look: impl FnOnce(&View, &Caller) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let began_as = self.caller;
        let look = move |view: &View, caller: &Caller| {
            if *caller != began_as {
                return Err(ApiError::NotLoggedIn);
            }
            look(view, caller)
        };
        state.read_or_stale(&self.auth, true, look).await
    }
}

/// Sends the changes. Returns false if the client has disconnected or has no access any more.
async fn tell(state: &State, listener: &StreamListener, sender: &Sender, changed: Changed) -> bool {
    let missed = changed.missed;
    let look = move |view: &View, caller: &Caller| {
        let mut jobs = Vec::new();
        for id in changed.jobs {
            jobs.extend(JobView::with_tasks(view, caller, id)?);
        }
        let (mut songs, mut removed) = (Vec::new(), BTreeSet::new());
        let gone = changed.removed.iter().filter(|(_, audience)| caller.belongs_to(*audience)).map(|(id, _)| *id);
        let ids: BTreeSet<u64> = changed.songs.iter().copied().chain(gone.clone()).collect();
        for id in ids {
            match view.song(id)? {
                Some(song) if caller.may_see(view, &song)? => songs.push(SongView::of(view, caller, song)?),
                _ => {
                    removed.insert(id);
                }
            }
        }
        let gone: BTreeSet<u64> = gone.collect();
        removed.retain(|id| gone.contains(id));
        Ok((jobs, songs, removed))
    };
    let (jobs, songs, removed) = match listener.look(state, look).await {
        Ok(looked) => looked,
        Err(ApiError::NotLoggedIn | ApiError::UnknownToken) => return false,
        Err(_) => return send(sender, "resync", &Empty {}).await,
    };
    if missed && !send(sender, "resync", &Empty {}).await {
        return false;
    }
    for id in removed {
        if !send(sender, "song_removed", &IdData { id }).await {
            return false;
        }
    }
    for job in jobs {
        if !send(sender, "job", &job).await {
            return false;
        }
    }
    for song in songs {
        if !send(sender, "song", &song).await {
            return false;
        }
    }
    true
}

/// Streams one job's progress as server-sent events.
///
/// The stream begins with `job`, which holds the job and its tasks as in `GET /jobs/{id}`, and repeats it on every
/// change. It ends after the end of the job, or with `gone` if the job was deleted. Callers who may listen to one of
/// its songs have access.
#[utoipa::path(get, path = "/jobs/{id}/events", tag = "events", params(("id" = u64, Path)), responses(
    (status = 200, description = "Server-sent events", body = String, content_type = "text/event-stream"),
))]
pub(crate) async fn of_job(state: State, auth: RequestAuth, Path(id): Path<String>) -> Result<Events, ApiError> {
    let number = job_id(&id)?;
    // Subscribe before reading, so that no change is missed between the two.
    let mut events = state.cluster.events();
    let look = move |view: &View, caller: &Caller| {
        let job = JobView::with_tasks(view, caller, number)?.ok_or_else(|| no_job(&id))?;
        Ok((job, *caller))
    };
    let (mut job, caller) = state.read_for(&auth, look).await?;
    let listener = StreamListener { auth, caller };
    Ok(stream(state.stopping.clone(), move |sender| async move {
        loop {
            if !send(&sender, "job", &job).await || job.has_ended() {
                return;
            }
            loop {
                let Some(changed) = Changed::next(&mut events).await else {
                    return;
                };
                if changed.missed || changed.jobs.contains(&number) {
                    break;
                }
            }
            match listener.look(&state, move |view, caller| JobView::with_tasks(view, caller, number)).await {
                Ok(Some(now)) => job = now,
                Ok(None) => {
                    send(&sender, "gone", &IdData { id: number }).await;
                    return;
                }
                Err(_) => return,
            }
        }
    }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn changes_within_a_short_time_make_one_event() {
        let (sender, mut events) = tokio::sync::broadcast::channel(4);
        for event in [Event::Job { id: 1 }, Event::Song { id: 2 }, Event::Job { id: 1 }] {
            sender.send(event).unwrap();
        }
        let changed = Changed::next(&mut events).await.unwrap();
        assert_eq!(changed, Changed { jobs: [1].into(), songs: [2].into(), ..Changed::default() });

        sender.send(Event::Song { id: 3 }).unwrap();
        let audience = Audience::Everybody;
        sender.send(Event::SongRemoved { id: 3, audience }).unwrap();
        let changed = Changed::next(&mut events).await.unwrap();
        assert_eq!(changed, Changed { songs: [3].into(), removed: [(3, audience)].into(), ..Changed::default() });

        for id in 0..10 {
            sender.send(Event::Job { id }).unwrap();
        }
        assert!(Changed::next(&mut events).await.unwrap().missed);
        drop(sender);
        assert!(Changed::next(&mut events).await.is_none());
    }
}
