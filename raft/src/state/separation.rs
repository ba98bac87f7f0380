//! Applying what has to do with several separations of one song.
//!
//! A song has a job of its own, which decides its status. It may have others: with another model, in other formats, or of
//! a few of the stems. Like any job they are done once for all songs with the file, and go with the last song that has them.

use super::transaction::{Applied, refuse};
use super::{
    Asker, Event, Job, JobState, Plan, Priority, Read, Road, Selection, Song, Transaction, ViewError, apply, index,
    keys,
};
use crate::command::{Answer, Refusal};

/// How many separations besides its own job a song may have.
const MOST: usize = 50;

/// A separation that is asked for.
pub(super) struct Wanted<'a> {
    pub(super) song: u64,
    pub(super) asker: Asker,
    pub(super) plan: &'a Plan,
    pub(super) model: &'a str,
    pub(super) formats: &'a [String],
    pub(super) selection: &'a Selection,
    pub(super) max_attempts: u32,
    pub(super) priority: Priority,
    pub(super) owner: &'a str,
    pub(super) jobs_per_owner: u32,
}

pub(super) fn separate(state: &mut Transaction, wanted: &Wanted<'_>, at: u64) -> Applied<Answer> {
    let Some(mut song) = state.song(wanted.song)?.filter(|song| wanted.asker.may_change(song)) else {
        refuse!(Refusal::NoSuchSong(wanted.song));
    };
    if wanted.plan.segments == 0 || wanted.plan.segments_per_task == 0 {
        refuse!(Refusal::EmptyPlan);
    }
    let known = state.job_for(&song.hash, wanted.model, wanted.formats, wanted.selection)?;
    if let Some(job) = &known
        && state.has_job(&song, job.id)?
    {
        return Ok(Ok(Answer::Job(job.id)));
    }
    if state.scan(keys::separations_of(song.id))?.len() >= MOST {
        refuse!(Refusal::TooManySeparations(MOST));
    }
    let job = match known {
        Some(job) => apply::join(state, job, wanted.owner, wanted.priority)?,
        None => {
            if let Err(refusal) = state.admits(wanted.owner, wanted.jobs_per_owner)? {
                refuse!(refusal);
            }
            let job = Job {
                id: state.next("job")?,
                hash: song.hash,
                model: wanted.model.into(),
                formats: wanted.formats.to_vec(),
                plan: *wanted.plan,
                format: song.format.clone(),
                priority: wanted.priority,
                owner: wanted.owner.into(),
                road: Road::Inside,
                state: JobState::Pending,
                tasks: 0,
                done: 0,
                max_attempts: wanted.max_attempts,
                error: None,
                created_at: at,
                finished_at: None,
                stems: None,
                selection: wanted.selection.clone(),
                history: Vec::new(),
            };
            apply::add_job(state, job)?
        }
    };
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
    if state.songs_with(&job)?.is_empty() {
        apply::remove_job(state, id)?;
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
