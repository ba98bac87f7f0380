//! Web hooks: addresses that get a delivery when jobs end.
//!
//! A delivery is added by the same change that ends the job, so none is lost. The leader sends it and records the outcome;
//! if the leader dies in between, the next one sends it again. So the receiver gets every delivery at least once, and
//! recognizes repetitions by the number.
//!
//! Invariants: pending deliveries, and no others, are listed under the time of their next attempt. Deliveries are removed
//! together with their hook, and hooks together with their user.

pub(crate) mod types;

use serde::{Deserialize, Serialize};

use self::types::{Delivery, DeliveryAttempt, DeliveryStatus, Hook, RetryAt};
use crate::command::answer::{Answer, Refusal};
use crate::command::apply::{Applied, Apply, DONE, refuse};
use crate::tables::{DELIVERIES, HOOKS, PENDING_DELIVERIES};
use crate::{Job, JobState, Read, Sealed, Transaction, ViewError};

/// How many hooks a user may have.
const MOST_HOOKS: usize = 20;
/// How many deliveries of a hook are kept. A new one replaces the oldest, even if that is pending.
const DELIVERIES_KEPT: usize = 100;
/// How many attempts of a delivery are kept.
const ATTEMPTS_KEPT: usize = 10;
/// How many of a user's songs a delivery names: one file may have been uploaded very often.
const SONGS_NAMED: usize = 20;

/// Makes a hook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MakeHook {
    /// The user.
    pub user: u64,
    /// The address.
    pub url: String,
    /// The final states of jobs that cause a delivery.
    pub events: Vec<JobState>,
    /// The secret that signs deliveries, encrypted.
    pub sealed: Sealed,
    /// The time.
    pub at: u64,
}

impl Apply for MakeHook {
    fn apply(&self, state: &mut Transaction) -> Applied<Answer> {
        if state.user(self.user)?.is_none() {
            refuse!(Refusal::NoSuchUser(self.user));
        }
        if state.count(HOOKS.under(self.user), MOST_HOOKS)? >= MOST_HOOKS {
            refuse!(Refusal::TooManyHooks(MOST_HOOKS));
        }
        let hook = Hook {
            id: state.next("hook")?,
            user: self.user,
            url: self.url.clone(),
            events: self.events.clone(),
            active: true,
            sealed: self.sealed.clone(),
            created_at: self.at,
        };
        state.put(HOOKS, (hook.user, hook.id), &hook)?;
        Ok(Ok(Answer::Made(hook.id)))
    }
}

/// Changes a hook. Fields without a value leave the hook as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeHook {
    /// The user.
    pub user: u64,
    /// The number of the hook.
    pub hook: u64,
    /// The new address.
    pub url: Option<String>,
    /// The final states of jobs that cause a delivery.
    pub events: Option<Vec<JobState>>,
    /// Whether it gets new deliveries. If not, pending ones are given up.
    pub active: Option<bool>,
}

impl Apply for ChangeHook {
    fn apply(&self, state: &mut Transaction) -> Applied<Answer> {
        let Some(mut hook) = state.get(HOOKS, (self.user, self.hook))? else { refuse!(Refusal::NoSuchHook(self.hook)) };
        if let Some(url) = &self.url {
            hook.url.clone_from(url);
        }
        if let Some(events) = &self.events {
            hook.events.clone_from(events);
        }
        if let Some(active) = self.active {
            hook.active = active;
        }
        if !hook.active {
            for delivery in state.list(DELIVERIES, DELIVERIES.under(hook.id))? {
                give_up(state, delivery)?;
            }
        }
        state.put(HOOKS, (hook.user, hook.id), &hook)?;
        DONE
    }
}

/// Removes a hook with all its deliveries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoveHook {
    /// The user.
    pub user: u64,
    /// The number of the hook.
    pub hook: u64,
}

impl Apply for RemoveHook {
    fn apply(&self, state: &mut Transaction) -> Applied<Answer> {
        if !state.has(HOOKS, (self.user, self.hook))? {
            refuse!(Refusal::NoSuchHook(self.hook));
        }
        remove(state, self.user, self.hook)?;
        DONE
    }
}

/// Records an attempt at a delivery. If another one was recorded as this attempt, this one is refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordDelivery {
    /// The number of the hook.
    pub hook: u64,
    /// The number of the delivery.
    pub delivery: u64,
    /// The number of the attempt, from 1 on.
    pub number: u32,
    /// The new status of the delivery.
    pub status: DeliveryStatus,
    /// The attempt.
    pub attempt: DeliveryAttempt,
}

impl Apply for RecordDelivery {
    fn apply(&self, state: &mut Transaction) -> Applied<Answer> {
        let Some(mut delivery) = state.get(DELIVERIES, (self.hook, self.delivery))? else {
            refuse!(Refusal::NoSuchDelivery(self.delivery));
        };
        let DeliveryStatus::Pending { at } = delivery.status else { refuse!(Refusal::NoSuchDelivery(self.delivery)) };
        if delivery.attempts_made + 1 != self.number {
            refuse!(Refusal::NoSuchDelivery(self.delivery));
        }
        state.delete(PENDING_DELIVERIES, (at, delivery.id));
        delivery.attempts_made = self.number;
        delivery.attempts.push(self.attempt.clone());
        let old = delivery.attempts.len().saturating_sub(ATTEMPTS_KEPT);
        delivery.attempts.drain(..old);
        delivery.status = self.status;
        put(state, &delivery)?;
        DONE
    }
}

/// Adds deliveries about a job that has ended, one for each hook of each user with songs that have the job.
pub(crate) fn announce(state: &mut Transaction, job: &Job) -> Result<(), ViewError> {
    let Some(ended_at) = job.finished_at.filter(|_| !job.state.is_open()) else { return Ok(()) };
    let mut songs = state.songs_with(job)?;
    songs.sort_by_key(|song| (song.uploader_id, song.id));
    for songs in songs.chunk_by(|one, two| one.uploader_id == two.uploader_id) {
        let Some(user) = songs.first().and_then(|song| song.uploader_id) else { continue };
        for hook in state.list(HOOKS, HOOKS.under(user))? {
            if !hook.active || !hook.events.contains(&job.state) {
                continue;
            }
            remove_oldest(state, hook.id)?;
            let delivery = Delivery {
                id: state.next("delivery")?,
                hook: hook.id,
                user,
                event: job.state,
                job: job.id,
                model: job.separation().map(|separation| separation.model.clone()),
                error: job.error.clone(),
                songs: songs.iter().take(SONGS_NAMED).map(|song| (song.id, song.title.clone())).collect(),
                created_at: job.created_at,
                ended_at,
                status: DeliveryStatus::Pending { at: ended_at },
                attempts_made: 0,
                attempts: Vec::new(),
            };
            put(state, &delivery)?;
        }
    }
    Ok(())
}

/// Removes the hooks of a user who is removed.
pub(crate) fn remove_user(state: &mut Transaction, user: u64) -> Result<(), ViewError> {
    for hook in state.list(HOOKS, HOOKS.under(user))? {
        remove(state, user, hook.id)?;
    }
    Ok(())
}

fn remove(state: &mut Transaction, user: u64, hook: u64) -> Result<(), ViewError> {
    for delivery in state.list(DELIVERIES, DELIVERIES.under(hook))? {
        remove_delivery(state, &delivery);
    }
    state.delete(HOOKS, (user, hook));
    Ok(())
}

/// Stores a delivery, and lists it if it is pending.
fn put(state: &mut Transaction, delivery: &Delivery) -> Result<(), ViewError> {
    let Delivery { id, hook, .. } = *delivery;
    if let DeliveryStatus::Pending { at } = delivery.status {
        state.put(PENDING_DELIVERIES, (at, id), &RetryAt { at, hook, id })?;
    }
    state.put(DELIVERIES, (hook, id), delivery)
}

/// Gives a delivery up if it is pending.
fn give_up(state: &mut Transaction, mut delivery: Delivery) -> Result<(), ViewError> {
    if let DeliveryStatus::Pending { at } = delivery.status {
        state.delete(PENDING_DELIVERIES, (at, delivery.id));
        delivery.status = DeliveryStatus::GivenUp;
        put(state, &delivery)?;
    }
    Ok(())
}

fn remove_delivery(state: &mut Transaction, delivery: &Delivery) {
    if let DeliveryStatus::Pending { at } = delivery.status {
        state.delete(PENDING_DELIVERIES, (at, delivery.id));
    }
    state.delete(DELIVERIES, (delivery.hook, delivery.id));
}

/// Removes the oldest deliveries of a hook, so that there is room for one more.
fn remove_oldest(state: &mut Transaction, hook: u64) -> Result<(), ViewError> {
    let kept = state.list(DELIVERIES, DELIVERIES.under(hook))?;
    for oldest in kept.iter().take((kept.len() + 1).saturating_sub(DELIVERIES_KEPT)) {
        remove_delivery(state, oldest);
    }
    Ok(())
}
