//! Songs: uploaded files with a title.

use serde::{Deserialize, Serialize};
use storage::blobs::Hash;

use crate::{Facts, JobState};

/// An uploaded file with a title. Two uploads of one file are two songs with one hash.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Song {
    /// Its number.
    pub id: u64,
    /// Its title.
    pub title: String,
    /// The file.
    pub hash: Hash,
    /// The length of the file in bytes.
    pub size: u64,
    /// The file's extension in lower case.
    pub format: String,
    /// Its length in frames at 44.1 kHz.
    pub frames: u64,
    /// The user who uploaded it; none for anonymous uploads.
    pub uploader_id: Option<u64>,
    /// The job that separates it.
    pub job: u64,
    /// The time of the upload, in milliseconds since 1970.
    pub added_at: u64,
    /// Artist, album and so on.
    pub credits: Credits,
}

/// Artist, album and so on: from the file's tags, or as the owner has changed them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Credits {
    /// The artist.
    pub artist: Option<String>,
    /// The album.
    pub album: Option<String>,
    /// The kind of music.
    pub genre: Option<String>,
    /// The year in which it was recorded or published.
    pub year: Option<u16>,
    /// Its number on the album.
    pub track: Option<u16>,
    /// The tempo in hundredths of beats per minute. It overrides the detected tempo.
    pub bpm: Option<u32>,
    /// The key, as "F# minor". It overrides the detected key.
    pub key: Option<String>,
    /// The picture on the front cover.
    pub cover: Option<Cover>,
}

/// A change of an optional value.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Edit<T> {
    /// The value stays.
    #[default]
    Keep,
    /// The new value.
    Set(T),
    /// The value is removed.
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

/// A change of a song's title and credits.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct SongEdit {
    /// The new title.
    pub title: Option<String>,
    /// The artist.
    pub artist: Edit<String>,
    /// The album.
    pub album: Edit<String>,
    /// The kind of music.
    pub genre: Edit<String>,
    /// The year.
    pub year: Edit<u16>,
    /// Its number on the album.
    pub track: Edit<u16>,
    /// The tempo in hundredths of beats per minute; if cleared, the detected tempo applies.
    pub bpm: Edit<u32>,
    /// The key; if cleared, the detected key applies.
    pub key: Edit<String>,
    /// The picture on the front cover.
    pub cover: Edit<Cover>,
}

impl Song {
    /// The tempo in beats per minute: from the credits, or else from the facts that its job found.
    pub fn bpm(&self, facts: Option<&Facts>) -> Option<f64> {
        let detected = || facts?.tempo.map(|(bpm, _)| bpm);
        self.credits.bpm.map(|hundredths| f64::from(hundredths) / 100.0).or_else(detected)
    }

    /// The key: from the credits, or else from the facts that its job found.
    pub fn key(&self, facts: Option<&Facts>) -> Option<String> {
        let detected = || facts?.key.as_ref().map(|(key, _)| key.clone());
        self.credits.key.clone().or_else(detected)
    }
}

impl SongEdit {
    pub(crate) fn apply(&self, song: &mut Song) {
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

/// The progress of a song, which is that of its own job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum SongStatus {
    /// It waits for a worker.
    Uploaded,
    /// Workers separate it.
    Splitting,
    /// Its stems exist.
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
