//! Applying what has to do with several separations of one song.
//!
//! A song has a job of its own, which decides its status. It may have others: with another model, in other formats, or of
//! a few of the stems. Like any job they are done once for all songs with the file, and go with the last song that has them.

use super::job::{self, Wanted};
use super::transaction::{Applied, granted, refuse};
use super::{Asker, Event, JobState, Read, Song, Transaction, ViewError, index, keys};
use crate::command::{Answer, Refusal};

/// How many separations besides its own job a song may have.
const MOST: usize = 50;

pub(super) fn separate(
    state: &mut Transaction,
    song: u64,
    asker: Asker,
    wanted: &Wanted<'_>,
    at: u64,
) -> Applied<Answer> {
    let Some(mut song) = state.song(song)?.filter(|song| asker.may_change(song)) else {
        refuse!(Refusal::NoSuchSong(song));
    };
    if wanted.plan.is_empty() {
        refuse!(Refusal::EmptyPlan);
    }
    if let Some(job) = state.job_for(&song.hash, wanted.model, wanted.formats, wanted.selection)?
        && state.has_job(&song, job.id)?
    {
        return Ok(Ok(Answer::Job(job.id)));
    }
    if state.scan(keys::separations_of(song.id))?.len() >= MOST {
        refuse!(Refusal::TooManySeparations(MOST));
    }
    let job = granted!(job::find_or_add(state, &song.hash, &song.format, wanted, at)?);
    let own = state.job(song.job)?.map(|own| own.state);
    if matches!(own, Some(JobState::Failed | JobState::Cancelled)) {
        // What came to nothing does not stand for the song any more.
        state.put(keys::separation(song.id, song.job), &song.job)?;
        song.job = job;
        index::put_song(state, &song)?;
    } else {
        state.put(keys::separation(song.id, job), &job)?;
    }
    state.tell(Event::Song { id: song.id });
    Ok(Ok(Answer::Job(job)))
}

/// A song does without one of its separations, which is not its own job.
pub(super) fn drop(state: &mut Transaction, song: u64, asker: Asker, job: u64) -> Applied<Answer> {
    let Some(song) = state.song(song)?.filter(|song| asker.may_change(song)) else {
        refuse!(Refusal::NoSuchSong(song));
    };
    if song.job == job {
        refuse!(Refusal::OwnJob { song: song.id, job });
    }
    let mark = keys::separation(song.id, job);
    if state.get(&mark)?.is_none() {
        refuse!(Refusal::NoSuchJob(job));
    }
    state.delete(mark);
    state.tell(Event::Song { id: song.id });
    end_if_unwanted(state, job)?;
    Ok(Ok(Answer::Done))
}

/// Takes a song that goes from all jobs that it has.
pub(super) fn forget_song(state: &mut Transaction, song: &Song) -> Result<(), ViewError> {
    for job in state.jobs_of(song)? {
        state.delete(keys::separation(song.id, job));
        end_if_unwanted(state, job)?;
    }
    Ok(())
}

/// Removes a job that no song has any more.
fn end_if_unwanted(state: &mut Transaction, id: u64) -> Result<(), ViewError> {
    let Some(job) = state.job(id)? else { return Ok(()) };
    if !state.is_wanted(&job)? {
        job::remove(state, id)?;
    }
    Ok(())
}

/// These songs, which have the job `from`, have `to` instead.
pub(super) fn hand_on(state: &mut Transaction, songs: Vec<Song>, from: u64, to: u64) -> Result<(), ViewError> {
    for mut song in songs {
        state.delete(keys::separation(song.id, from));
        if song.job == from {
            song.job = to;
            state.delete(keys::separation(song.id, to));
            index::put_song(state, &song)?;
        } else if song.job != to {
            state.put(keys::separation(song.id, to), &to)?;
        }
        state.tell(Event::Song { id: song.id });
    }
    Ok(())
}
