//! Where the stems of every song go, decided before the first song is separated.
//!
//! No two songs have a path in common, also where a file system takes small and capital letters for the same: of songs with
//! one name, all but the first get a number. What is there from an earlier run stays unless the options say otherwise.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::pattern::{Names, Pattern};

/// A song cannot be separated, as is known before anything is done.
#[derive(Debug, thiserror::Error)]
pub(super) enum PlaceError {
    /// There is none.
    #[error("no such file")]
    NoSong,
    /// It is a folder, or a device.
    #[error("not a file but {0}")]
    NotAFile(&'static str),
    /// It cannot be read.
    #[error("cannot be read: {0}")]
    Unreadable(#[source] io::Error),
    /// Another song of the same command has its path.
    #[error("{} is also where a stem of {} goes; add {{track}} to --filename", path.display(), other.display())]
    Shared {
        /// The path.
        path: PathBuf,
        /// The other song.
        other: PathBuf,
    },
    /// Something is there.
    #[error("{} exists already; --overwrite replaces it, and --out names another folder", .0.display())]
    Exists(PathBuf),
}

/// What is the same for all songs.
pub(super) struct Naming<'a> {
    /// The model's folder.
    pub(super) folder: &'a Path,
    /// The pattern of the paths in it.
    pub(super) pattern: &'a Pattern,
    /// The names of the stems.
    pub(super) stems: &'a [String],
    /// Their extension.
    pub(super) extension: &'a str,
    /// Whether files that are there are replaced.
    pub(super) overwrite: bool,
}

/// The places of a song's stems.
#[derive(Debug)]
pub(super) struct Places {
    /// A path for every stem, in their order.
    pub(super) files: Vec<PathBuf>,
    /// The song whose name this one has, and what its own stems are called instead.
    pub(super) renamed: Option<(PathBuf, String)>,
}

impl Naming<'_> {
    /// The places of all songs, in their order.
    pub(super) fn plan(&self, songs: &[PathBuf]) -> Vec<Result<Places, PlaceError>> {
        // Who has a path. The first songs get the names that all would have without the others.
        let mut taken: HashMap<String, &Path> = HashMap::new();
        let mut plan: Vec<Option<Result<Places, PlaceError>>> = Vec::new();
        for song in songs {
            plan.push(match readable(song) {
                Err(error) => Some(Err(error)),
                Ok(()) => self.claim(song, "", &mut taken).map(|files| Ok(Places { files, renamed: None })),
            });
        }
        let places = plan.into_iter().zip(songs).map(|(place, song)| {
            let places = place.unwrap_or_else(|| self.numbered(song, &mut taken))?;
            let there = places.files.iter().find(|file| !self.overwrite && fs::symlink_metadata(file).is_ok());
            there.map_or_else(|| Ok(()), |file| Err(PlaceError::Exists(file.clone())))?;
            Ok(places)
        });
        places.collect()
    }

    /// The places of a song whose name another one has.
    fn numbered<'a>(&self, song: &'a Path, taken: &mut HashMap<String, &'a Path>) -> Result<Places, PlaceError> {
        let shared = self.files(song, "").into_iter().find_map(|path| {
            let other = taken.get(&key(&path))?;
            Some((path, other.to_path_buf()))
        });
        let (path, other) = shared.unwrap_or_default();
        if !self.pattern.has_track() {
            return Err(PlaceError::Shared { path, other });
        }
        let mut number = 2;
        loop {
            let suffix = format!(" ({number})");
            if let Some(files) = self.claim(song, &suffix, taken) {
                return Ok(Places { files, renamed: Some((other, format!("{}{suffix}", track(song)))) });
            }
            number += 1;
        }
    }

    /// Takes a song's paths, or none if another song has one of them.
    fn claim<'a>(&self, song: &'a Path, suffix: &str, taken: &mut HashMap<String, &'a Path>) -> Option<Vec<PathBuf>> {
        let files = self.files(song, suffix);
        let keys: Vec<String> = files.iter().map(|file| key(file)).collect();
        if keys.iter().any(|key| taken.contains_key(key)) {
            return None;
        }
        taken.extend(keys.into_iter().map(|key| (key, song)));
        Some(files)
    }

    fn files(&self, song: &Path, suffix: &str) -> Vec<PathBuf> {
        let (track, extension) = (track(song), song.extension().unwrap_or_default().to_string_lossy());
        let names =
            |stem| Names { track: &track, suffix, track_extension: &extension, stem, extension: self.extension };
        self.stems.iter().map(|stem| self.folder.join(self.pattern.expand(&names(stem)))).collect()
    }
}

fn track(song: &Path) -> String {
    song.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

/// Paths with the same key can be the same file.
fn key(path: &Path) -> String {
    path.to_string_lossy().to_lowercase()
}

fn readable(song: &Path) -> Result<(), PlaceError> {
    let told = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => PlaceError::NoSong,
        _ => PlaceError::Unreadable(error),
    };
    let about = fs::metadata(song).map_err(told)?;
    if about.is_dir() {
        return Err(PlaceError::NotAFile("a folder"));
    }
    if !about.is_file() {
        return Err(PlaceError::NotAFile("a device or a pipe"));
    }
    File::open(song).map(drop).map_err(told)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// Plans for songs in a folder, and gives the first stem's path within it, and its new name.
    fn planned(folder: &Path, songs: &[&str], pattern: &str, overwrite: bool) -> Vec<Result<String, String>> {
        let songs: Vec<PathBuf> = songs.iter().map(|song| folder.join(song)).collect();
        let (pattern, stems) = (pattern.parse().unwrap(), ["drums".to_owned(), "bass".to_owned()]);
        let naming = Naming { folder, pattern: &pattern, stems: &stems, extension: "wav", overwrite };
        let short = |path: &Path| path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
        let told = |places: Places| {
            assert_eq!(places.files.len(), 2);
            short(&places.files[0])
        };
        let plan = naming.plan(&songs);
        plan.into_iter().map(|places| places.map(told).map_err(|error| error.to_string())).collect()
    }

    fn files(folder: &Path, names: &[&str]) {
        for name in names {
            fs::create_dir_all(folder.join(name).parent().unwrap()).unwrap();
            fs::write(folder.join(name), "music").unwrap();
        }
    }

    #[test]
    fn songs_of_one_name_are_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let songs = ["in/song.mp3", "in/song.wav", "in/b/SONG.mp3", "in/song (2).mp3", "in/other.mp3"];
        files(folder.path(), &songs);
        let plan = planned(folder.path(), &songs, "{track}/{stem}.{ext}", false);
        let names = ["song", "song (3)", "SONG (4)", "song (2)", "other"];
        assert_eq!(plan, names.map(|name| Ok(format!("{name}/drums.wav"))));

        let plan = planned(folder.path(), &songs[..2], "{track}.{trackext}/{stem}.{ext}", false);
        assert_eq!(plan, ["song.mp3", "song.wav"].map(|name| Ok(format!("{name}/drums.wav"))));

        let plan = planned(folder.path(), &songs[..2], "{stem}.{ext}", false);
        assert_eq!(plan[0].as_deref(), Ok("drums.wav"));
        let refused = plan[1].as_ref().unwrap_err();
        for word in ["drums.wav is also", "in/song.mp3", "{track}"] {
            assert!(refused.contains(word), "{refused}");
        }
    }

    #[test]
    fn what_is_there_stays() {
        let folder = tempfile::tempdir().unwrap();
        files(folder.path(), &["in/a.mp3", "in/b.mp3", "a/bass.wav"]);
        let songs = ["in/a.mp3", "in/b.mp3"];
        let plan = planned(folder.path(), &songs, "{track}/{stem}.{ext}", false);
        let refused = plan[0].as_ref().unwrap_err();
        assert!(refused.contains("a/bass.wav exists") && refused.contains("--overwrite"), "{refused}");
        assert_eq!(plan[1].as_deref(), Ok("b/drums.wav"));
        let plan = planned(folder.path(), &songs, "{track}/{stem}.{ext}", true);
        assert_eq!(plan, ["a", "b"].map(|name| Ok(format!("{name}/drums.wav"))));
    }

    #[test]
    fn songs_that_cannot_be_read_are_named_before() {
        let folder = tempfile::tempdir().unwrap();
        files(folder.path(), &["in/a.mp3"]);
        let plan = planned(folder.path(), &["a.mp3", "in", "in/a.mp3/b", "in/a.mp3"], "{stem}", false);
        assert_eq!(plan[0], Err("no such file".into()));
        assert_eq!(plan[1], Err("not a file but a folder".into()));
        assert_eq!(plan[2], Err("no such file".into()));
        assert_eq!(plan[3].as_deref(), Ok("drums"));
        let device = Path::new("/dev/null");
        assert_eq!(readable(device).unwrap_err().to_string(), "not a file but a device or a pipe");
    }
}
