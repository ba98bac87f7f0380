//! Songs: adding, changing and removing them.
//!
//! Invariants: a song has a job of its own, and perhaps others. It stands in the list of its file, in the lists of its
//! audiences, and in the index under its entry. All of that is removed together with it.

pub(crate) mod index;
pub mod index_entry;
pub(crate) mod song;

use serde::{Deserialize, Serialize};
use storage::blobs::Hash;

use crate::command::answer::{Answer, Refusal};
use crate::command::apply::{Applied, Apply, DONE, granted, refuse};
use crate::jobs::{request, songs as job_songs};
use crate::tables::{SONGS, SONGS_OF_FILE};
use crate::{
    Actor, Credits, Event, JobOptions, JobSpec, Read, SeparationSpec, Song, SongEdit, Transaction, listening,
    playlists, sharing,
};

/// Adds a song whose file a majority of the nodes holds. Songs with the same file and separation share one job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AddSong {
    /// Its title.
    pub title: String,
    /// The file.
    pub hash: Hash,
    /// The length of the file in bytes.
    pub size: u64,
    /// The file's extension in lower case.
    pub format: String,
    /// The user who uploads it; none for anonymous uploads.
    pub uploader_id: Option<u64>,
    /// The credits from the file's tags.
    pub credits: Box<Credits>,
    /// The separation of its own job.
    pub separation: SeparationSpec,
    /// How its own job is done. An open job that it joins becomes as urgent as this, and keeps its executor.
    pub job: JobOptions,
    /// The time.
    pub at: u64,
}

impl Apply for AddSong {
    fn apply(&self, state: &mut Transaction) -> Applied<Answer> {
        if self.separation.plan.is_empty() {
            refuse!(Refusal::EmptyPlan);
        }
        if let Some(user) = self.uploader_id
            && state.user(user)?.is_none()
        {
            refuse!(Refusal::NoSuchUser(user));
        }
        let spec = JobSpec::Separation(self.separation.of_file(self.hash, &self.format));
        let job = granted!(request::find_or_add(state, spec, &self.job, self.at)?);
        let song = Song {
            id: state.next("song")?,
            title: self.title.clone(),
            hash: self.hash,
            size: self.size,
            format: self.format.clone(),
            frames: self.separation.plan.frames,
            uploader_id: self.uploader_id,
            credits: Credits::clone(&self.credits),
            job,
            added_at: self.at,
        };
        index::put_song(state, &song)?;
        state.put(SONGS_OF_FILE, (&song.hash, song.id), &song.id)?;
        sharing::show(state, &song)?;
        state.emit(Event::Song { id: song.id });
        Ok(Ok(Answer::Song(song)))
    }
}

/// Changes a song's title or credits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeSong {
    /// The song.
    pub song: u64,
    /// Who asks.
    pub actor: Actor,
    /// The change.
    pub edit: Box<SongEdit>,
}

impl Apply for ChangeSong {
    fn apply(&self, state: &mut Transaction) -> Applied<Answer> {
        let Some(mut song) = state.song(self.song)?.filter(|song| self.actor.may_change(song)) else {
            refuse!(Refusal::NoSuchSong(self.song));
        };
        self.edit.apply(&mut song);
        index::put_song(state, &song)?;
        state.emit(Event::Song { id: song.id });
        DONE
    }
}

/// Removes a song. The jobs of a file are removed together with the last song that has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoveSong {
    /// The song.
    pub song: u64,
}

impl Apply for RemoveSong {
    fn apply(&self, state: &mut Transaction) -> Applied<Answer> {
        let Some(song) = state.song(self.song)? else { refuse!(Refusal::NoSuchSong(self.song)) };
        state.delete(SONGS, song.id);
        state.delete(SONGS_OF_FILE, (&song.hash, song.id));
        sharing::hide(state, &song)?;
        job_songs::remove_song(state, &song)?;
        index::remove(state, song.id)?;
        playlists::remove_song(state, &song)?;
        listening::remove_song(state, song.id)?;
        DONE
    }
}
