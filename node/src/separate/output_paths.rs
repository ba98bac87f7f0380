//! The paths of all stems, decided before the first song is separated.
//!
//! No two songs share a path, not even on a file system that ignores case: of several songs with the same name, all but the
//! first get a number. Existing files stay unless `--overwrite` is set.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::path_pattern::{Names, PathPattern};

/// A song cannot be separated, which is known before the work starts.
#[derive(Debug, thiserror::Error)]
pub(super) enum OutputPathError {
    /// There is no such file.
    #[error("no such file")]
    NoSong,
    /// The path is a folder, a device or a pipe.
    #[error("is {0}, not a file")]
    NotAFile(&'static str),
    /// The file cannot be read.
    #[error("cannot be read: {0}")]
    Unreadable(#[source] io::Error),
    /// Another song of the same command has the same output path.
    #[error("{} is also the path of a stem of {}; add {{track}} to --filename", path.display(), other.display())]
    Shared {
        /// The path.
        path: PathBuf,
        /// The other song.
        other: PathBuf,
    },
    /// The output file exists.
    #[error("{} already exists; use --overwrite to replace it, or --out for another folder", .0.display())]
    Exists(PathBuf),
}

/// The parts of the output paths that all songs share.
pub(super) struct Layout<'a> {
    /// The output folder of the model.
    pub(super) folder: &'a Path,
    /// The pattern of the paths in it.
    pub(super) pattern: &'a PathPattern,
    /// The names of the stems.
    pub(super) stems: &'a [String],
    /// The extension of the stems.
    pub(super) extension: &'a str,
    /// Whether existing files are replaced.
    pub(super) overwrite: bool,
}

/// The output paths of a song's stems.
#[derive(Debug)]
pub(super) struct OutputPaths {
    /// One path per stem, in the order of the stems.
    pub(super) files: Vec<PathBuf>,
    /// If another song has the same name: that song, and the name used for this one.
    pub(super) renamed: Option<(PathBuf, String)>,
}

impl Layout<'_> {
    /// The output paths of all songs, in the order of the songs.
    pub(super) fn plan(&self, songs: &[PathBuf]) -> Vec<Result<OutputPaths, OutputPathError>> {
        // The song of each path. Names without a number are assigned first, to the first song of each name.
        let mut taken: HashMap<String, &Path> = HashMap::new();
        let mut plan: Vec<Option<Result<OutputPaths, OutputPathError>>> = Vec::new();
        for song in songs {
            plan.push(match readable(song) {
                Err(error) => Some(Err(error)),
                Ok(()) => self.claim(song, "", &mut taken).map(|files| Ok(OutputPaths { files, renamed: None })),
            });
        }
        let plan = plan.into_iter().zip(songs).map(|(paths, song)| {
            let paths = paths.unwrap_or_else(|| self.numbered(song, &mut taken))?;
            let existing = paths.files.iter().find(|file| !self.overwrite && fs::symlink_metadata(file).is_ok());
            existing.map_or_else(|| Ok(()), |file| Err(OutputPathError::Exists(file.clone())))?;
            Ok(paths)
        });
        plan.collect()
    }

    /// The paths of a song that has the same name as an earlier one.
    fn numbered<'a>(
        &self,
        song: &'a Path,
        taken: &mut HashMap<String, &'a Path>,
    ) -> Result<OutputPaths, OutputPathError> {
        let shared = self.files(song, "").into_iter().find_map(|path| {
            let other = taken.get(&key(&path))?;
            Some((path, other.to_path_buf()))
        });
        let (path, other) = shared.unwrap_or_default();
        if !self.pattern.has_track() {
            return Err(OutputPathError::Shared { path, other });
        }
        let mut number = 2;
        loop {
            let suffix = format!(" ({number})");
            if let Some(files) = self.claim(song, &suffix, taken) {
                return Ok(OutputPaths { files, renamed: Some((other, format!("{}{suffix}", track(song)))) });
            }
            number += 1;
        }
    }

    /// Reserves the paths of a song. Returns none if another song has one of them.
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

/// A key that is equal for paths that can be the same file.
fn key(path: &Path) -> String {
    path.to_string_lossy().to_lowercase()
}

fn readable(song: &Path) -> Result<(), OutputPathError> {
    let to_error = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => OutputPathError::NoSong,
        _ => OutputPathError::Unreadable(error),
    };
    let metadata = fs::metadata(song).map_err(to_error)?;
    if metadata.is_dir() {
        return Err(OutputPathError::NotAFile("a folder"));
    }
    if !metadata.is_file() {
        return Err(OutputPathError::NotAFile("a device or a pipe"));
    }
    File::open(song).map(drop).map_err(to_error)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// Plans songs in a folder, and returns the path of each song's first stem within the folder.
    fn planned(folder: &Path, songs: &[&str], pattern: &str, overwrite: bool) -> Vec<Result<String, String>> {
        let songs: Vec<PathBuf> = songs.iter().map(|song| folder.join(song)).collect();
        let (pattern, stems) = (pattern.parse().unwrap(), ["drums".to_owned(), "bass".to_owned()]);
        let layout = Layout { folder, pattern: &pattern, stems: &stems, extension: "wav", overwrite };
        let short = |path: &Path| path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
        let first = |paths: OutputPaths| {
            assert_eq!(paths.files.len(), 2);
            short(&paths.files[0])
        };
        let plan = layout.plan(&songs);
        plan.into_iter().map(|paths| paths.map(first).map_err(|error| error.to_string())).collect()
    }

    fn files(folder: &Path, names: &[&str]) {
        for name in names {
            fs::create_dir_all(folder.join(name).parent().unwrap()).unwrap();
            fs::write(folder.join(name), "music").unwrap();
        }
    }

    #[test]
    fn songs_with_the_same_name_get_numbers() {
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
        let error = plan[1].as_ref().unwrap_err();
        for word in ["drums.wav is also", "in/song.mp3", "{track}"] {
            assert!(error.contains(word), "{error}");
        }
    }

    #[test]
    fn existing_files_stay() {
        let folder = tempfile::tempdir().unwrap();
        files(folder.path(), &["in/a.mp3", "in/b.mp3", "a/bass.wav"]);
        let songs = ["in/a.mp3", "in/b.mp3"];
        let plan = planned(folder.path(), &songs, "{track}/{stem}.{ext}", false);
        let error = plan[0].as_ref().unwrap_err();
        assert!(error.contains("a/bass.wav already exists") && error.contains("--overwrite"), "{error}");
        assert_eq!(plan[1].as_deref(), Ok("b/drums.wav"));
        let plan = planned(folder.path(), &songs, "{track}/{stem}.{ext}", true);
        assert_eq!(plan, ["a", "b"].map(|name| Ok(format!("{name}/drums.wav"))));
    }

    #[test]
    fn unreadable_songs_are_reported() {
        let folder = tempfile::tempdir().unwrap();
        files(folder.path(), &["in/a.mp3"]);
        let plan = planned(folder.path(), &["a.mp3", "in", "in/a.mp3/b", "in/a.mp3"], "{stem}", false);
        assert_eq!(plan[0], Err("no such file".into()));
        assert_eq!(plan[1], Err("is a folder, not a file".into()));
        assert_eq!(plan[2], Err("no such file".into()));
        assert_eq!(plan[3].as_deref(), Ok("drums"));
        let device = Path::new("/dev/null");
        assert_eq!(readable(device).unwrap_err().to_string(), "is a device or a pipe, not a file");
    }
}
