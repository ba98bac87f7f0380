//! Live updates as server-sent events.
//!
//! An event says what something is now, not what changed: whoever missed some is right again with the next. Changes
//! that come close together make one event. After a connection broke, the browser connects again by itself and reads
//! anew what it shows; an event stream that could not keep up says `resync`, which means the same.
//!
//! A stream tells its listener of what is theirs to see, and who the listener is, is looked up anew with everything that
//! is told: a stream ends with the session that opened it.

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

use crate::State;
use crate::answer::{Answer, Empty};
use crate::api::jobs::{JobView, job_id, no_job};
use crate::api::song_view::SongView;
use crate::caller::{Caller, Visitor};
use crate::error::ApiError;

/// Changes within this time make one event.
const GATHER: Duration = Duration::from_millis(150);
/// A comment is sent when nothing happened for this long, so that both ends notice a dead connection.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// How soon a browser should try again after the connection broke.
const RETRY: Duration = Duration::from_secs(1);

type Events = Sse<axum::response::sse::KeepAliveStream<ReceiverStream<Result<Sent, Infallible>>>>;
type Sender = mpsc::Sender<Result<Sent, Infallible>>;

/// What changed since one looked last.
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

    /// Waits for a change, then gathers those that follow it closely. `None` when there will be no more.
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
struct Id {
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
            tracing::error!(%error, "an event cannot be written");
            None
        }
    }
}

/// Sends; false when nobody listens any more.
async fn send(to: &Sender, name: &str, data: &impl Serialize) -> bool {
    match event(name, data) {
        Some(event) => to.send(event).await.is_ok(),
        None => true,
    }
}

/// A stream of what is told into it, until that is all, nobody listens any more, or the node stops.
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
/// `hello` comes first, with the node's `id` and `version`. Then `song` with a song, `song_removed` with an `id`, `job`
/// with a job and its tasks, and `resync` when events were lost and everything should be read again. The stream goes
/// on until the node stops or the listener's session ends. Whoever is let in may call this, and hears of what is for them.
#[utoipa::path(get, path = "/events", tag = "events", responses(
    (status = 200, description = "Server-sent events", body = String, content_type = "text/event-stream"),
    (status = 401, description = "Nobody is let in without an account, or the token opens nothing", body = Answer<Empty>),
    (status = 503, description = "No majority of the nodes answers", body = Answer<Empty>),
))]
pub(crate) async fn all(state: State, visitor: Visitor) -> Result<Events, ApiError> {
    let listener = Listener::new(&state, visitor).await?;
    let mut events = state.app.cluster.events();
    Ok(stream(state.app.stopping.clone(), move |sender| async move {
        let hello = Hello { id: state.app.cluster.status().id, version: env!("CARGO_PKG_VERSION") };
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

/// Who listens to a stream.
struct Listener {
    visitor: Visitor,
    caller: Caller,
}

impl Listener {
    async fn new(state: &State, visitor: Visitor) -> Result<Self, ApiError> {
        // A page that polls what this node knew last should hear of its end.
        let caller = state.read_or_peek_for(&visitor, |_, caller| Ok(*caller)).await?;
        Ok(Self { visitor, caller })
    }

    /// Looks at the state as this node knows it, unless the listener is not any more who they were.
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
        state.read_or_stale(&self.visitor, true, look).await
    }
}

/// Tells what changed; false when nobody listens any more, or nobody may.
async fn tell(state: &State, listener: &Listener, sender: &Sender, changed: Changed) -> bool {
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
        if !send(sender, "song_removed", &Id { id }).await {
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
/// `job` comes at once, then on every change, with the job and its tasks as in `GET /jobs/{id}`. The stream ends after
/// the job has ended; `gone` is its last event if the job went with its song. Whoever one of its songs is for may call this.
#[utoipa::path(get, path = "/jobs/{id}/events", tag = "events", params(("id" = u64, Path)), responses(
    (status = 200, description = "Server-sent events", body = String, content_type = "text/event-stream"),
    (status = 404, description = "No such job", body = Answer<Empty>),
    (status = 503, description = "No majority of the nodes answers", body = Answer<Empty>),
))]
pub(crate) async fn of_job(state: State, visitor: Visitor, Path(id): Path<String>) -> Result<Events, ApiError> {
    let number = job_id(&id)?;
    // Listening begins before looking, so no change falls between the two.
    let mut events = state.app.cluster.events();
    let look = move |view: &View, caller: &Caller| {
        let job = JobView::with_tasks(view, caller, number)?.ok_or_else(|| no_job(&id))?;
        Ok((job, *caller))
    };
    let (mut job, caller) = state.read_for(&visitor, look).await?;
    let listener = Listener { visitor, caller };
    Ok(stream(state.app.stopping.clone(), move |sender| async move {
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
                    send(&sender, "gone", &Id { id: number }).await;
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
    async fn changes_that_come_together_are_told_together() {
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
