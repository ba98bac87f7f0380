//! Which songs have which jobs.
//!
//! A song has a job of its own, which decides its status. It may have others: with another model, in other formats, or of
//! some of the stems. A job is done once for all songs with its file.

use super::store;
use crate::songs::index;
use crate::tables::{JOBS_OF_SONG, SONGS_OF_FILE};
use crate::{Event, Read, Song, Transaction, ViewError};

/// Takes all jobs from a song that is removed.
pub(crate) fn remove_song(state: &mut Transaction, song: &Song) -> Result<(), ViewError> {
    for job in state.jobs_of(song)? {
        state.delete(JOBS_OF_SONG, (song.id, job));
        remove_if_unused(state, job)?;
    }
    Ok(())
}

/// Removes a job if no song has it any more.
pub(crate) fn remove_if_unused(state: &mut Transaction, id: u64) -> Result<(), ViewError> {
    let Some(job) = state.job(id)? else { return Ok(()) };
    let Some(file) = job.spec.file() else { return Ok(()) };
    // One file may have very many songs, and the first that has the job is enough.
    for song in state.list(SONGS_OF_FILE, SONGS_OF_FILE.under(file))? {
        if let Some(song) = state.song(song)?
            && state.has_job(&song, id)?
        {
            return Ok(());
        }
    }
    store::remove(state, id)
}

/// Gives these songs, which have the job `from`, the job `to` instead.
pub(crate) fn move_songs(state: &mut Transaction, songs: Vec<Song>, from: u64, to: u64) -> Result<(), ViewError> {
    for mut song in songs {
        state.delete(JOBS_OF_SONG, (song.id, from));
        if song.job == from {
            song.job = to;
            state.delete(JOBS_OF_SONG, (song.id, to));
            index::put_song(state, &song)?;
        } else if song.job != to {
            state.put(JOBS_OF_SONG, (song.id, to), &to)?;
        }
        state.emit(Event::Song { id: song.id });
    }
    Ok(())
}
