//! Live updates as server-sent events.
//!
//! An event says what something is now, not what changed: whoever missed some is right again with the next. Changes
//! that come close together make one event. After a connection broke, the browser connects again by itself and reads
//! anew what it shows; an event stream that could not keep up says `resync`, which means the same.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::time::Duration;

use axum::extract::Path;
use axum::response::sse::{Event as Sent, KeepAlive, Sse};
use futures_util::Stream;
use raft::state::Event;
use serde::Serialize;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::State;
use crate::answer::{Answer, Empty};
use crate::api::jobs::{JobView, job_id, no_job};
use crate::api::songs::SongView;
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
    removed: BTreeSet<u64>,
    jobs: BTreeSet<u64>,
    missed: bool,
}

impl Changed {
    fn add(&mut self, event: &Event) {
        match event {
            Event::Song { id } => {
                self.songs.insert(*id);
            }
            Event::SongRemoved { id } => {
                self.songs.remove(id);
                self.removed.insert(*id);
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

fn answer(receiver: mpsc::Receiver<Result<Sent, Infallible>>) -> Events {
    Sse::new(ReceiverStream::new(receiver)).keep_alive(KeepAlive::new().interval(KEEP_ALIVE).text("still here"))
}

/// Streams every change of songs and jobs as server-sent events.
///
/// `hello` comes first, with the node's `id` and `version`. Then `song` with a song, `song_removed` with an `id`, `job`
/// with a job and its tasks, and `resync` when events were lost and everything should be read again. The stream goes
/// on until the node stops. Anyone who reaches the port may call this.
#[utoipa::path(get, path = "/events", tag = "events", responses(
    (status = 200, description = "Server-sent events", body = String, content_type = "text/event-stream"),
))]
pub(crate) async fn all(state: State) -> Sse<impl Stream<Item = Result<Sent, Infallible>>> {
    let mut events = state.app.cluster.events();
    let (sender, receiver) = mpsc::channel(16);
    let stopping = state.app.stopping.clone();
    tokio::spawn(async move {
        let telling = async {
            let hello = Hello { id: state.app.cluster.status().id, version: env!("CARGO_PKG_VERSION") };
            let _ = sender.send(Ok(Sent::default().retry(RETRY))).await;
            if !send(&sender, "hello", &hello).await {
                return;
            }
            while let Some(changed) = Changed::next(&mut events).await {
                if !tell(&state, &sender, changed).await {
                    return;
                }
            }
        };
        tokio::select! {
            () = telling => {}
            () = sender.closed() => {}
            () = stopping.cancelled() => {}
        }
    });
    answer(receiver)
}

/// Tells what changed; false when nobody listens any more.
async fn tell(state: &State, sender: &Sender, changed: Changed) -> bool {
    if changed.missed && !send(sender, "resync", &Empty {}).await {
        return false;
    }
    for id in &changed.removed {
        if !send(sender, "song_removed", &Id { id: *id }).await {
            return false;
        }
    }
    let looked = state
        .peek(move |view| {
            let mut jobs = Vec::new();
            for id in changed.jobs {
                jobs.extend(JobView::with_tasks(view, id)?);
            }
            let mut songs = Vec::new();
            for id in changed.songs {
                if let Some(song) = view.song(id)? {
                    songs.push(SongView::of(view, song)?);
                }
            }
            Ok((jobs, songs))
        })
        .await;
    let Ok((jobs, songs)) = looked else {
        return send(sender, "resync", &Empty {}).await;
    };
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
/// the job has ended; `gone` is its last event if the job went with its song. Anyone who reaches the port may call this.
#[utoipa::path(get, path = "/jobs/{id}/events", tag = "events", params(("id" = u64, Path)), responses(
    (status = 200, description = "Server-sent events", body = String, content_type = "text/event-stream"),
    (status = 404, description = "No such job", body = Answer<Empty>),
    (status = 503, description = "No majority of the nodes answers", body = Answer<Empty>),
))]
pub(crate) async fn of_job(
    state: State,
    Path(id): Path<String>,
) -> Result<Sse<impl Stream<Item = Result<Sent, Infallible>>>, ApiError> {
    let number = job_id(&id)?;
    // Listening begins before looking, so no change falls between the two.
    let mut events = state.app.cluster.events();
    let mut job = state.read(move |view| JobView::with_tasks(view, number)?.ok_or_else(|| no_job(&id))).await?;
    let (sender, receiver) = mpsc::channel(16);
    let stopping = state.app.stopping.clone();
    tokio::spawn(async move {
        let telling = async {
            let _ = sender.send(Ok(Sent::default().retry(RETRY))).await;
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
                match state.peek(move |view| JobView::with_tasks(view, number)).await {
                    Ok(Some(now)) => job = now,
                    Ok(None) => {
                        send(&sender, "gone", &Id { id: number }).await;
                        return;
                    }
                    Err(_) => return,
                }
            }
        };
        tokio::select! {
            () = telling => {}
            () = sender.closed() => {}
            () = stopping.cancelled() => {}
        }
    });
    Ok(answer(receiver))
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
        sender.send(Event::SongRemoved { id: 3 }).unwrap();
        let changed = Changed::next(&mut events).await.unwrap();
        assert_eq!(changed, Changed { removed: [3].into(), ..Changed::default() });

        for id in 0..10 {
            sender.send(Event::Job { id }).unwrap();
        }
        assert!(Changed::next(&mut events).await.unwrap().missed);
        drop(sender);
        assert!(Changed::next(&mut events).await.is_none());
    }
}
