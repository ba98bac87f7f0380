//! A folder of models: checkpoints, each with the beginning of its SHA-256 in its name as the released ones have it,
//! and for every model a `NAME.toml` that says which checkpoints it is made of.
//!
//! A model is there when its `NAME.toml` is: that file is written last, and removed first. Files are written beside
//! their place and renamed, so that a folder never shows half of one.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::{Manifest, ModelsError, RELEASED, Released, extension, is_name, load};
use crate::separator::Separator;

/// The folder cannot do what is asked.
#[derive(Debug, thiserror::Error)]
pub enum LibraryError {
    /// The disk failed.
    #[error("{path}: {source}")]
    Io {
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A name that no model can have.
    #[error("{0:?} cannot be a model's name; use letters, digits, '-', '_' and '.'")]
    Name(String),
    /// It was released, but is not here.
    #[error("the model {0} is not here yet; run `node model fetch {0}`")]
    NotFetched(String),
    /// Nobody knows it.
    #[error(
        "there is no model {name:?}; here are {}, and `node model list` shows what can be had; a checkpoint of your own \
         is added with `node model import FILE`",
        known.join(", ")
    )]
    Unknown {
        /// What was asked for.
        name: String,
        /// What there is.
        known: Vec<String>,
    },
    /// A model of this name is here.
    #[error("there is a model {0} already; choose another name with --name, or remove it first")]
    Taken(String),
    /// Not a file that can hold a checkpoint.
    #[error("{0} is no checkpoint: a .th or .safetensors file is needed")]
    Extension(PathBuf),
    /// `NAME.toml` cannot be understood.
    #[error("{path} cannot be understood: {reason}")]
    Manifest {
        /// Which.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A file is not what its name says.
    #[error("{path} is damaged: its SHA-256 begins with {found}, not {expected}; remove the model and fetch it again")]
    Damaged {
        /// Which.
        path: PathBuf,
        /// What its name says.
        expected: String,
        /// What it is.
        found: String,
    },
    /// The checkpoints cannot be used.
    #[error(transparent)]
    Models(#[from] ModelsError),
}

fn told(path: &Path) -> impl FnOnce(io::Error) -> LibraryError + '_ {
    |source| LibraryError::Io { path: path.into(), source }
}

/// Whether a model is in the folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It needs no files.
    BuiltIn,
    /// All its files are there.
    Here,
    /// Some of its files are missing.
    Incomplete,
    /// It was released and can be fetched.
    Released,
}

/// A model as a list shows it.
#[derive(Debug, Clone, PartialEq)]
pub struct Kept {
    /// Its name.
    pub name: String,
    /// Whether it is there.
    pub state: State,
    /// Its files' length in bytes, as far as they are there.
    pub bytes: u64,
}

/// See the module's page.
#[derive(Debug, Clone)]
pub struct Library {
    folder: PathBuf,
}

impl Library {
    /// The folder need not exist yet.
    pub fn at(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// Where the files are.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    fn manifest_path(&self, name: &str) -> Result<PathBuf, LibraryError> {
        if !is_name(name) {
            return Err(LibraryError::Name(name.into()));
        }
        Ok(self.folder.join(format!("{name}.toml")))
    }

    /// The model of this name, ready to separate.
    pub fn separator(&self, name: &str) -> Result<Arc<dyn Separator>, LibraryError> {
        if let Some(separator) = crate::separator::built_in(name) {
            return Ok(separator);
        }
        let manifest = self.manifest(name)?;
        let paths = self.paths(&manifest);
        if let Some(missing) = paths.iter().find(|path| !path.exists()) {
            return Err(told(missing)(io::Error::new(io::ErrorKind::NotFound, "a file of the model is missing")));
        }
        Ok(load(name, &paths, manifest.weights.as_deref(), manifest.segment_frames())?)
    }

    /// Where a model's files are, or should be.
    pub fn paths(&self, manifest: &Manifest) -> Vec<PathBuf> {
        manifest.files.iter().map(|file| self.folder.join(file)).collect()
    }

    /// What a model that is here is made of.
    pub fn manifest(&self, name: &str) -> Result<Manifest, LibraryError> {
        let path = self.manifest_path(name)?;
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(if Released::find(name).is_some() {
                    LibraryError::NotFetched(name.into())
                } else {
                    let known = self.names()?;
                    let known = [crate::DEFAULT_MODEL.to_owned()].into_iter().chain(known).collect();
                    LibraryError::Unknown { name: name.into(), known }
                });
            }
            Err(error) => return Err(told(&path)(error)),
        };
        let manifest: Manifest = toml::from_str(&text)
            .map_err(|error| LibraryError::Manifest { path: path.clone(), reason: error.message().into() })?;
        match manifest.files.iter().find(|file| !is_name(file)) {
            Some(file) => {
                Err(LibraryError::Manifest { path, reason: format!("{file:?} is no name of a file in this folder") })
            }
            None => Ok(manifest),
        }
    }

    /// The names of the models that are here.
    pub fn names(&self) -> Result<Vec<String>, LibraryError> {
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(told(&self.folder)(error)),
        };
        let mut names = Vec::new();
        for entry in entries {
            let name = entry.map_err(told(&self.folder))?.file_name();
            let name = name.to_str().and_then(|name| name.strip_suffix(".toml")).filter(|name| is_name(name));
            names.extend(name.map(str::to_owned));
        }
        names.sort();
        Ok(names)
    }

    /// What is here and what can be had.
    pub fn list(&self) -> Result<Vec<Kept>, LibraryError> {
        let mut list = vec![Kept { name: crate::DEFAULT_MODEL.into(), state: State::BuiltIn, bytes: 0 }];
        let names = self.names()?;
        for name in &names {
            let files = self.paths(&self.manifest(name)?);
            let lengths: Vec<u64> = files.iter().filter_map(|file| Some(fs::metadata(file).ok()?.len())).collect();
            let state = if lengths.len() == files.len() { State::Here } else { State::Incomplete };
            list.push(Kept { name: name.clone(), state, bytes: lengths.iter().sum() });
        }
        for released in RELEASED.iter().filter(|released| !names.iter().any(|name| name == released.name)) {
            list.push(Kept { name: released.name.into(), state: State::Released, bytes: 0 });
        }
        Ok(list)
    }

    /// Adds a checkpoint from elsewhere as a model of its own, after building the model once to see that it can be
    /// used. Without a name it gets its file's.
    pub fn import(&self, file: &Path, name: Option<&str>) -> Result<String, LibraryError> {
        let kind = extension(file).ok_or_else(|| LibraryError::Extension(file.into()))?;
        let stem = file.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        let name = name.unwrap_or(stem);
        let manifest_path = self.manifest_path(name)?;
        if manifest_path.exists() || crate::separator::built_in(name).is_some() {
            return Err(LibraryError::Taken(name.into()));
        }
        load(name, &[file.to_owned()], None, None)?;
        fs::create_dir_all(&self.folder).map_err(told(&self.folder))?;
        let digest = checksum_of(file)?;
        let kept = format!("{name}-{}.{kind}", &digest[..8]);
        let place = self.folder.join(&kept);
        let half = self.folder.join(format!(".{kept}.half"));
        fs::copy(file, &half).map_err(told(&half))?;
        settle(&half, &place)?;
        self.add(name, &Manifest { files: vec![kept], weights: None, segment: None })?;
        Ok(name.to_owned())
    }

    /// Makes a model known whose files are all here.
    pub fn add(&self, name: &str, manifest: &Manifest) -> Result<(), LibraryError> {
        let path = self.manifest_path(name)?;
        let text = toml::to_string(manifest)
            .map_err(|error| LibraryError::Manifest { path: path.clone(), reason: error.to_string() })?;
        let half = self.folder.join(format!(".{name}.toml.half"));
        let written = File::create(&half).and_then(|mut file| file.write_all(text.as_bytes()));
        written.map_err(told(&half))?;
        settle(&half, &path)
    }

    /// Removes a model, and those of its files that no other model has.
    pub fn remove(&self, name: &str) -> Result<(), LibraryError> {
        let manifest = self.manifest(name)?;
        let path = self.manifest_path(name)?;
        fs::remove_file(&path).map_err(told(&path))?;
        let mut needed = Vec::new();
        for other in self.names()? {
            needed.extend(self.manifest(&other)?.files);
        }
        for file in manifest.files.iter().filter(|file| !needed.contains(file)) {
            let path = self.folder.join(file);
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(told(&path)(error)),
                _ => {}
            }
        }
        Ok(())
    }

    /// Reads all of a model's files: their checksums must be what their names say, and the model must build.
    pub fn verify(&self, name: &str) -> Result<(), LibraryError> {
        let manifest = self.manifest(name)?;
        for path in self.paths(&manifest) {
            let Some(expected) = checksum_in(&path) else { continue };
            let found = checksum_of(&path)?[..8].to_owned();
            if found != expected {
                return Err(LibraryError::Damaged { path, expected, found });
            }
        }
        self.separator(name)?;
        Ok(())
    }
}

/// The first eight digits of the SHA-256 that a file's name says: `NAME-8726e21a.th`.
pub fn checksum_in(path: &Path) -> Option<String> {
    let (_, digits) = path.file_stem()?.to_str()?.rsplit_once('-')?;
    let digits_only = digits.len() == 8 && digits.chars().all(|digit| digit.is_ascii_hexdigit());
    digits_only.then(|| digits.to_ascii_lowercase())
}

/// A file's SHA-256 in hex.
pub fn checksum_of(path: &Path) -> Result<String, LibraryError> {
    let mut file = File::open(path).map_err(told(path))?;
    let (mut hasher, mut block) = (Sha256::new(), vec![0; 1 << 18]);
    loop {
        match file.read(&mut block).map_err(told(path))? {
            0 => break,
            count => hasher.update(&block[..count]),
        }
    }
    Ok(hex::encode(hasher.finalize()))
}

/// Puts a finished file into its place, for good.
fn settle(half: &Path, place: &Path) -> Result<(), LibraryError> {
    File::open(half).and_then(|file| file.sync_all()).map_err(told(half))?;
    fs::rename(half, place).map_err(told(place))?;
    let folder = place.parent().unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(told(folder))
}
