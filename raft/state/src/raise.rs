//! Raising the level of a cluster, with the lists that its songs and jobs stand in from a level on.
//!
//! A cluster from below [`ACCOUNTS`] has no such lists, and those of a million songs are too much for one command. So each
//! command that asks for the level lists some of the songs and jobs; the one that finds no more raises the level.
//!
//! Invariant: while that goes on, what has a number up to the one that is reached is listed, and stays so whatever is
//! changed meanwhile. What comes meanwhile has a higher number, and is listed by a later command.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::transaction::Applied;
use super::{ACCOUNTS, Job, Mark, Read, Song, Transaction, ViewError, history, index, keys, sharing};
use crate::command::Answer;

/// How many songs, and how many jobs, one command lists; tests have few.
const AT_A_TIME: usize = if cfg!(test) { 2 } else { 500 };

/// How far the songs and jobs are listed, by their numbers.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Reached {
    song: u64,
    job: u64,
}

fn reached(state: &Transaction) -> Result<Reached, ViewError> {
    Ok(state.value(&keys::reached())?.unwrap_or_default())
}

/// Whether this song is to stand in lists and rows.
pub(super) fn lists_song(state: &Transaction, id: u64) -> Result<bool, ViewError> {
    Ok(state.has_level(ACCOUNTS)? || reached(state)?.song >= id)
}

/// Whether this job is to stand in lists.
pub(super) fn lists_job(state: &Transaction, id: u64) -> Result<bool, ViewError> {
    Ok(state.has_level(ACCOUNTS)? || reached(state)?.job >= id)
}

/// Raises the level, or comes nearer to it; a cluster without a name gets this one.
pub(super) fn raise(state: &mut Transaction, level: u32, name: Uuid) -> Applied<Answer> {
    let mark = state.mark()?.unwrap_or(Mark { cluster: name, level: 1 });
    let waits = mark.level < ACCOUNTS && level >= ACCOUNTS && !list_more(state)?;
    let level = if waits { mark.level } else { mark.level.max(level) };
    state.put(keys::mark(), &Mark { level, ..mark })?;
    Ok(Ok(Answer::Done))
}

/// Lists the next songs and jobs. True once there are no more.
fn list_more(state: &mut Transaction) -> Result<bool, ViewError> {
    let before = reached(state)?;
    let songs = state.some_values::<Song>(keys::songs_behind(before.song), AT_A_TIME)?;
    let jobs = state.some_values::<Job>(keys::jobs_behind(before.job), AT_A_TIME)?;
    let now = Reached {
        song: songs.last().map_or(before.song, |song| song.id),
        job: jobs.last().map_or(before.job, |job| job.id),
    };
    state.put(keys::reached(), &now)?;
    for song in &songs {
        sharing::show(state, song)?;
        index::put(state, song)?;
    }
    for job in &jobs {
        history::list(state, None, job)?;
    }
    let all = songs.len() < AT_A_TIME && jobs.len() < AT_A_TIME;
    if all {
        state.delete(keys::reached());
    }
    Ok(all)
}
