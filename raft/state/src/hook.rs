//! Web hooks: addresses that are told when jobs end.
//!
//! What is to be told is in the state from the same entry on that ends the job, so nobody can forget it. The leader tells
//! it, and commits what came of that; a leader that dies in between leaves its successor to tell it once more. So the
//! receiver hears everything at least once, and knows by the delivery's number what it has heard.
//!
//! Invariants: a delivery that is still to be made, and no other, has a mark under the time of its next try. Deliveries go
//! with their hook, and hooks with their user.

use serde::{Deserialize, Serialize};

use super::transaction::{Applied, refuse};
use super::{ACCOUNTS, Job, JobState, Read, Sealed, Transaction, ViewError, keys};
use crate::command::{Answer, Refusal};

/// How many hooks a user may have.
const MOST_HOOKS: usize = 20;
/// How many deliveries of a hook are kept. Of more, the oldest go, told or not.
const DELIVERIES_KEPT: usize = 100;
/// How many tries of a delivery are kept.
const TRIES_KEPT: usize = 10;
/// How many of a user's songs a delivery names: one file may have been uploaded very often.
const SONGS_NAMED: usize = 20;

/// An address that is told when jobs end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hook {
    /// Its number.
    pub id: u64,
    /// Whose it is. It hears of the jobs of this user's songs.
    pub user: u64,
    /// The address.
    pub url: String,
    /// How a job has to end to be told of, each once.
    pub events: Vec<JobState>,
    /// Whether it is told anything.
    pub active: bool,
    /// What deliveries are signed with, sealed with a key that follows from the cluster's secret.
    pub sealed: Sealed,
    /// When it was made.
    pub created_at: u64,
}

/// One thing that a hook is to be told, or was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// Its number, the same with every try.
    pub id: u64,
    /// Which hook.
    pub hook: u64,
    /// Whose hook.
    pub user: u64,
    /// How the job ended.
    pub event: JobState,
    /// Which job.
    pub job: u64,
    /// Its model.
    pub model: String,
    /// Why it failed.
    pub error: Option<String>,
    /// Those of the user's songs that it separates, with their titles; of very many the first.
    pub songs: Vec<(u64, String)>,
    /// When the job was made.
    pub created_at: u64,
    /// When it ended.
    pub ended_at: u64,
    /// How far it is.
    pub fate: Fate,
    /// How often it was tried.
    pub tried: u32,
    /// The tries, the oldest first; of many the latest.
    pub tries: Vec<Try>,
}

/// How far a delivery is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// It is to be tried, now or later.
    Due {
        /// When, in milliseconds since 1970.
        at: u64,
    },
    /// The receiver has it.
    Delivered,
    /// It was tried for long enough, or the hook was turned off.
    GivenUp,
}

/// One try at a delivery.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Try {
    /// When it ended, in milliseconds since 1970.
    pub at: u64,
    /// How long it took, in milliseconds.
    pub took: u64,
    /// The status of the answer, if there was one.
    pub status: Option<u16>,
    /// What went wrong.
    pub error: Option<String>,
}

/// What came of a try.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Tried {
    /// The receiver has it.
    Delivered,
    /// It is to be tried again.
    Again {
        /// When, in milliseconds since 1970.
        at: u64,
    },
    /// It was tried for long enough.
    GivenUp,
}

/// The name of a delivery that is still to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Due {
    /// When it is to be tried.
    pub at: u64,
    /// Which hook's it is.
    pub hook: u64,
    /// Its number.
    pub id: u64,
}

/// A hook that is to be.
pub(super) struct NewHook<'a> {
    pub(super) user: u64,
    pub(super) url: &'a str,
    pub(super) events: &'a [JobState],
    pub(super) sealed: &'a Sealed,
}

pub(super) fn make(state: &mut Transaction, new: &NewHook<'_>, at: u64) -> Applied<Answer> {
    if state.user(new.user)?.is_none() {
        refuse!(Refusal::NoSuchUser(new.user));
    }
    if state.scan(keys::hooks_of(new.user))?.len() >= MOST_HOOKS {
        refuse!(Refusal::TooManyHooks(MOST_HOOKS));
    }
    let hook = Hook {
        id: state.next("hook")?,
        user: new.user,
        url: new.url.into(),
        events: new.events.to_vec(),
        active: true,
        sealed: new.sealed.clone(),
        created_at: at,
    };
    state.put(keys::hook(hook.user, hook.id), &hook)?;
    Ok(Ok(Answer::Made(hook.id)))
}

/// What is to be different about a hook.
pub(super) struct Changed<'a> {
    pub(super) url: Option<&'a String>,
    pub(super) events: Option<&'a Vec<JobState>>,
    pub(super) active: Option<bool>,
}

pub(super) fn change(state: &mut Transaction, user: u64, id: u64, changed: &Changed<'_>) -> Applied<Answer> {
    let Some(mut hook) = state.value::<Hook>(&keys::hook(user, id))? else { refuse!(Refusal::NoSuchHook(id)) };
    if let Some(url) = changed.url {
        hook.url.clone_from(url);
    }
    if let Some(events) = changed.events {
        hook.events.clone_from(events);
    }
    if let Some(active) = changed.active {
        hook.active = active;
    }
    if !hook.active {
        for delivery in state.values::<Delivery>(keys::deliveries_of(id))? {
            end(state, delivery, Fate::GivenUp)?;
        }
    }
    state.put(keys::hook(user, id), &hook)?;
    Ok(Ok(Answer::Done))
}

pub(super) fn remove(state: &mut Transaction, user: u64, id: u64) -> Applied<Answer> {
    if state.get(&keys::hook(user, id))?.is_none() {
        refuse!(Refusal::NoSuchHook(id));
    }
    for delivery in state.values::<Delivery>(keys::deliveries_of(id))? {
        forget(state, &delivery);
    }
    state.delete(keys::hook(user, id));
    Ok(Ok(Answer::Done))
}

/// Removes the hooks of a user who goes.
pub(super) fn forget_user(state: &mut Transaction, user: u64) -> Result<(), ViewError> {
    for hook in state.values::<Hook>(keys::hooks_of(user))? {
        // It is there, so nothing is refused.
        let _ = remove(state, user, hook.id)?;
    }
    Ok(())
}

/// A job has ended: whoever wants to hear of it is to be told.
pub(super) fn announce(state: &mut Transaction, job: &Job) -> Result<(), ViewError> {
    let Some(ended_at) = job.finished_at.filter(|_| !job.state.is_open()) else { return Ok(()) };
    if !state.has_level(ACCOUNTS)? {
        return Ok(());
    }
    let mut songs = state.songs_with(job)?;
    songs.sort_by_key(|song| (song.uploader_id, song.id));
    for songs in songs.chunk_by(|one, two| one.uploader_id == two.uploader_id) {
        let Some(user) = songs.first().and_then(|song| song.uploader_id) else { continue };
        for hook in state.values::<Hook>(keys::hooks_of(user))? {
            if !hook.active || !hook.events.contains(&job.state) {
                continue;
            }
            make_room(state, hook.id)?;
            let delivery = Delivery {
                id: state.next("delivery")?,
                hook: hook.id,
                user,
                event: job.state,
                job: job.id,
                model: job.model.clone(),
                error: job.error.clone(),
                songs: songs.iter().take(SONGS_NAMED).map(|song| (song.id, song.title.clone())).collect(),
                created_at: job.created_at,
                ended_at,
                fate: Fate::Due { at: ended_at },
                tried: 0,
                tries: Vec::new(),
            };
            put(state, &delivery)?;
        }
    }
    Ok(())
}

/// Writes down what came of a try. One that was overtaken by another counts for nothing.
pub(super) fn note(
    state: &mut Transaction,
    (hook, id): (u64, u64),
    number: u32,
    tried: Tried,
    made: &Try,
) -> Applied<Answer> {
    let Some(mut delivery) = state.value::<Delivery>(&keys::delivery(hook, id))? else {
        refuse!(Refusal::NoSuchDelivery(id));
    };
    let Fate::Due { at } = delivery.fate else { refuse!(Refusal::NoSuchDelivery(id)) };
    if delivery.tried + 1 != number {
        refuse!(Refusal::NoSuchDelivery(id));
    }
    state.delete(keys::due(at, id));
    delivery.tried = number;
    delivery.tries.push(made.clone());
    let old = delivery.tries.len().saturating_sub(TRIES_KEPT);
    delivery.tries.drain(..old);
    delivery.fate = match tried {
        Tried::Delivered => Fate::Delivered,
        Tried::Again { at } => Fate::Due { at },
        Tried::GivenUp => Fate::GivenUp,
    };
    put(state, &delivery)?;
    Ok(Ok(Answer::Done))
}

/// Stores a delivery, with a mark if it is still to be made.
fn put(state: &mut Transaction, delivery: &Delivery) -> Result<(), ViewError> {
    let Delivery { id, hook, .. } = *delivery;
    if let Fate::Due { at } = delivery.fate {
        state.put(keys::due(at, id), &Due { at, hook, id })?;
    }
    state.put(keys::delivery(hook, id), delivery)
}

/// A delivery that is still to be made is not to be made any more.
fn end(state: &mut Transaction, mut delivery: Delivery, fate: Fate) -> Result<(), ViewError> {
    if let Fate::Due { at } = delivery.fate {
        state.delete(keys::due(at, delivery.id));
        delivery.fate = fate;
        put(state, &delivery)?;
    }
    Ok(())
}

fn forget(state: &mut Transaction, delivery: &Delivery) {
    if let Fate::Due { at } = delivery.fate {
        state.delete(keys::due(at, delivery.id));
    }
    state.delete(keys::delivery(delivery.hook, delivery.id));
}

/// Forgets the oldest deliveries of a hook, so that one more can be kept.
fn make_room(state: &mut Transaction, hook: u64) -> Result<(), ViewError> {
    let kept = state.values::<Delivery>(keys::deliveries_of(hook))?;
    for oldest in kept.iter().take((kept.len() + 1).saturating_sub(DELIVERIES_KEPT)) {
        forget(state, oldest);
    }
    Ok(())
}
