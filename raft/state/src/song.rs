//! Songs: files with a title.
//!
//! Invariants: a song has a job of its own, and maybe others. It stands in the list of its file, and from the level
//! [`ACCOUNTS`] on in the lists of those it is for and in the rows of its card. All of that goes with it.

use serde::{Deserialize, Serialize};
use storage::blobs::Hash;

use super::job::{self, Wanted};
use super::mark::{ACCOUNTS, JOBS, OUTSIDE};
use super::transaction::{Applied, granted, refuse};
use super::{
    Asker, Event, Facts, JobState, Priority, Read, Road, Transaction, ViewError, index, keys, listening, playlist,
    separation, sharing,
};
use crate::command::{Answer, Refusal};

/// An uploaded file with a title. Two people who upload the same file have two songs with one hash.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Song {
    /// Its number.
    pub id: u64,
    /// What people call it.
    pub title: String,
    /// The file.
    pub hash: Hash,
    /// The file's length in bytes.
    pub size: u64,
    /// The file's extension in lower case.
    pub format: String,
    /// Its length in frames at 44.1 kHz.
    pub frames: u64,
    /// Whose it is; nobody's for anonymous uploads.
    pub uploader_id: Option<u64>,
    /// The job that separates it.
    pub job: u64,
    /// When it was added, in milliseconds since 1970.
    pub added_at: u64,
    /// Who made it and what it is.
    #[serde(default)]
    pub credits: Credits,
}

/// What a song's file says of itself, until somebody knows better.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Credits {
    /// Who plays.
    pub artist: Option<String>,
    /// Where it was published.
    pub album: Option<String>,
    /// The kind of music.
    #[serde(default)]
    pub genre: Option<String>,
    /// The year in which it was recorded or published.
    #[serde(default)]
    pub year: Option<u16>,
    /// Its number on the album.
    #[serde(default)]
    pub track: Option<u16>,
    /// The tempo in hundredths of beats per minute. It goes before what the song's job finds.
    #[serde(default)]
    pub bpm: Option<u32>,
    /// The key, as "F# minor". It goes before what the song's job finds.
    #[serde(default)]
    pub key: Option<String>,
    /// The picture on its front.
    pub cover: Option<Cover>,
}

/// What is to become of something that may be known or not.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Edit<T> {
    /// It stays.
    #[default]
    Keep,
    /// It is this from now on.
    Set(T),
    /// It is not known from now on.
    Clear,
}

impl<T: Clone> Edit<T> {
    fn apply(&self, to: &mut Option<T>) {
        match self {
            Self::Keep => {}
            Self::Set(value) => *to = Some(value.clone()),
            Self::Clear => *to = None,
        }
    }
}

/// What is to be different about a song.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct SongEdit {
    /// The new title.
    pub title: Option<String>,
    /// Who plays.
    pub artist: Edit<String>,
    /// Where it was published.
    pub album: Edit<String>,
    /// The kind of music.
    pub genre: Edit<String>,
    /// The year.
    pub year: Edit<u16>,
    /// Its number on the album.
    pub track: Edit<u16>,
    /// The tempo in hundredths of beats per minute; cleared, it is what the song's job finds.
    pub bpm: Edit<u32>,
    /// The key; cleared, it is what the song's job finds.
    pub key: Edit<String>,
    /// The picture on its front.
    pub cover: Edit<Cover>,
}

impl Song {
    /// The tempo in beats per minute: what its file or somebody says, or else what its job found.
    pub fn bpm(&self, facts: Option<&Facts>) -> Option<f64> {
        let found = || facts?.tempo.map(|(bpm, _)| bpm);
        self.credits.bpm.map(|hundredths| f64::from(hundredths) / 100.0).or_else(found)
    }

    /// The key: what its file or somebody says, or else what its job found.
    pub fn key(&self, facts: Option<&Facts>) -> Option<String> {
        let found = || facts?.key.as_ref().map(|(key, _)| key.clone());
        self.credits.key.clone().or_else(found)
    }
}

impl SongEdit {
    pub(super) fn apply(&self, song: &mut Song) {
        if let Some(title) = &self.title {
            song.title.clone_from(title);
        }
        let credits = &mut song.credits;
        self.artist.apply(&mut credits.artist);
        self.album.apply(&mut credits.album);
        self.genre.apply(&mut credits.genre);
        self.year.apply(&mut credits.year);
        self.track.apply(&mut credits.track);
        self.bpm.apply(&mut credits.bpm);
        self.key.apply(&mut credits.key);
        self.cover.apply(&mut credits.cover);
    }
}

/// A picture.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cover {
    /// The file.
    pub hash: Hash,
    /// Its media type, as `image/jpeg`.
    pub mime: String,
}

/// How far a song is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum SongStatus {
    /// Here, and waiting for a worker.
    Uploaded,
    /// Being worked on.
    Splitting,
    /// Its stems are here.
    Split,
    /// Its job failed.
    Failed,
    /// Its job was cancelled.
    Cancelled,
}

impl From<JobState> for SongStatus {
    fn from(state: JobState) -> Self {
        match state {
            JobState::Pending => Self::Uploaded,
            JobState::Running => Self::Splitting,
            JobState::Done => Self::Split,
            JobState::Failed => Self::Failed,
            JobState::Cancelled => Self::Cancelled,
        }
    }
}

/// A song that is to be added.
pub(super) struct NewSong<'a> {
    pub(super) title: &'a str,
    pub(super) hash: Hash,
    pub(super) size: u64,
    pub(super) format: &'a str,
    pub(super) uploader_id: Option<u64>,
    pub(super) credits: &'a Credits,
    /// Its own job.
    pub(super) job: Wanted<'a>,
}

pub(super) fn add(state: &mut Transaction, new: &NewSong<'_>, at: u64) -> Applied<Answer> {
    if new.job.plan.is_empty() {
        refuse!(Refusal::EmptyPlan);
    }
    let accounts = state.has_level(ACCOUNTS)?;
    if let Some(user) = new.uploader_id
        && accounts
        && state.user(user)?.is_none()
    {
        refuse!(Refusal::NoSuchUser(user));
    }
    let job = granted!(job::find_or_add(state, &new.hash, new.format, &understood(state, new.job)?, at)?);
    let song = Song {
        id: state.next("song")?,
        title: new.title.into(),
        hash: new.hash,
        size: new.size,
        format: new.format.into(),
        frames: new.job.plan.frames,
        uploader_id: new.uploader_id,
        credits: new.credits.clone(),
        job,
        added_at: at,
    };
    index::put_song(state, &song)?;
    state.put(keys::song_of(&song.hash, song.id), &song.id)?;
    if accounts {
        sharing::show(state, &song)?;
    }
    state.tell(Event::Song { id: song.id });
    Ok(Ok(Answer::Song(song)))
}

/// What is wanted, as far as all members understand it.
fn understood<'a>(state: &Transaction, mut wanted: Wanted<'a>) -> Result<Wanted<'a>, ViewError> {
    if !state.has_level(JOBS)? {
        wanted = Wanted { priority: Priority::Normal, owner: "", jobs_per_owner: 0, ..wanted };
    }
    // How far it is on its road is not for whoever asks to say.
    let outside = wanted.road != Road::Inside && state.has_level(OUTSIDE)?;
    Ok(Wanted { road: if outside { Road::Outside } else { Road::Inside }, ..wanted })
}

pub(super) fn change(state: &mut Transaction, id: u64, asker: Asker, edit: &SongEdit) -> Applied<Answer> {
    let Some(mut song) = state.song(id)?.filter(|song| asker.may_change(song)) else {
        refuse!(Refusal::NoSuchSong(id));
    };
    edit.apply(&mut song);
    index::put_song(state, &song)?;
    state.tell(Event::Song { id });
    Ok(Ok(Answer::Done))
}

pub(super) fn remove(state: &mut Transaction, id: u64) -> Applied<Answer> {
    let Some(song) = state.song(id)? else { refuse!(Refusal::NoSuchSong(id)) };
    state.delete(keys::song(id));
    state.delete(keys::song_of(&song.hash, id));
    sharing::hide(state, &song)?;
    separation::forget_song(state, &song)?;
    index::remove(state, id)?;
    playlist::forget_song(state, &song)?;
    listening::forget_song(state, id)?;
    Ok(Ok(Answer::Done))
}
