//! Commands on the separations of a song besides that of its own job.

use serde::{Deserialize, Serialize};

use crate::command::answer::{Answer, Refusal};
use crate::command::apply::{Applied, Apply, DONE, granted, refuse};
use crate::jobs::spec::Spec;
use crate::jobs::{request, songs as job_songs};
use crate::songs::index;
use crate::tables::JOBS_OF_SONG;
use crate::{Actor, Event, JobOptions, JobSpec, JobState, Read, SeparationSpec, Transaction};

/// How many separations a song may have besides that of its own job.
const MOST: usize = 50;

/// Separates a song once more: with another model, into other formats, or into other stems. Instead of an own job that
/// failed or was cancelled, the new one becomes the song's own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Separate {
    /// The song.
    pub song: u64,
    /// Who asks. The song must be theirs to change.
    pub actor: Actor,
    /// The separation.
    pub separation: SeparationSpec,
    /// How the job is done.
    pub job: JobOptions,
    /// The time.
    pub at: u64,
}

impl Apply for Separate {
    fn apply(&self, state: &mut Transaction) -> Applied<Answer> {
        let Some(mut song) = state.song(self.song)?.filter(|song| self.actor.may_change(song)) else {
            refuse!(Refusal::NoSuchSong(self.song));
        };
        if self.separation.plan.is_empty() {
            refuse!(Refusal::EmptyPlan);
        }
        let separation = self.separation.of_file(song.hash, &song.format);
        if let Some(key) = separation.dedup_key()
            && let Some(job) = state.job_like(&key)?
            && state.has_job(&song, job.id)?
        {
            return Ok(Ok(Answer::Job(job.id)));
        }
        if state.count(JOBS_OF_SONG.under(song.id), MOST)? >= MOST {
            refuse!(Refusal::TooManySeparations(MOST));
        }
        let job = granted!(request::find_or_add(state, JobSpec::Separation(separation), &self.job, self.at)?);
        let own = state.job(song.job)?.map(|own| own.state);
        if matches!(own, Some(JobState::Failed | JobState::Cancelled)) {
            state.put(JOBS_OF_SONG, (song.id, song.job), &song.job)?;
            song.job = job;
            index::put_song(state, &song)?;
        } else {
            state.put(JOBS_OF_SONG, (song.id, job), &job)?;
        }
        state.emit(Event::Song { id: song.id });
        Ok(Ok(Answer::Job(job)))
    }
}

/// Removes one of a song's separations, which is not that of its own job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DropSeparation {
    /// The song.
    pub song: u64,
    /// Who asks. The song must be theirs to change.
    pub actor: Actor,
    /// The job of the separation.
    pub job: u64,
}

impl Apply for DropSeparation {
    fn apply(&self, state: &mut Transaction) -> Applied<Answer> {
        let Some(song) = state.song(self.song)?.filter(|song| self.actor.may_change(song)) else {
            refuse!(Refusal::NoSuchSong(self.song));
        };
        if song.job == self.job {
            refuse!(Refusal::OwnJob { song: song.id, job: self.job });
        }
        if !state.has(JOBS_OF_SONG, (song.id, self.job))? {
            refuse!(Refusal::NoSuchJob(self.job));
        }
        state.delete(JOBS_OF_SONG, (song.id, self.job));
        state.emit(Event::Song { id: song.id });
        job_songs::remove_if_unused(state, self.job)?;
        DONE
    }
}
