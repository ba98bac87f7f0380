//! A folder of models: checkpoints with the first eight digits of their SHA-256 in their names, and a `NAME.toml` for
//! every model, its [`Manifest`].
//!
//! A model exists if its `NAME.toml` does: that file is written last and removed first. Files are written under a
//! temporary name and renamed, so the folder never holds an incomplete file under its final name.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::catalogue::{RELEASED, Released};
use super::load::{LoadError, load, load_checkpoint};
use super::manifest::{Manifest, is_name};
use super::registry::{DEFAULT_MODEL, built_in};
use crate::architecture::LoadOptions;
use crate::separator::Separator;

/// An operation on the folder failed.
#[derive(Debug, thiserror::Error)]
pub enum LibraryError {
    /// The disk failed.
    #[error("cannot read or write {path}: {source}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The name is not valid for a model.
    #[error("invalid model name {0:?}: use letters, digits, '-', '_' and '.'")]
    Name(String),
    /// The model is a released one that is not in the folder.
    #[error("the model {0} is not downloaded; run `node model fetch {0}`")]
    NotFetched(String),
    /// The model is neither in the folder nor a released one.
    #[error(
        "there is no model {name:?}; downloaded are {}. `node model list` shows all that can be downloaded, and \
         `node model import FILE` adds your own checkpoint",
        known.join(", ")
    )]
    Unknown {
        /// The name that was given.
        name: String,
        /// The names of the models in the folder.
        known: Vec<String>,
    },
    /// The folder has a model of this name.
    #[error("the model {0} exists already; choose another name with --name, or remove it first")]
    Taken(String),
    /// The file's extension is not that of a checkpoint.
    #[error("{0} is not a checkpoint: use a .th or .safetensors file")]
    Extension(PathBuf),
    /// `NAME.toml` is not a valid manifest.
    #[error("{path} is not a valid manifest: {reason}")]
    Manifest {
        /// The manifest.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A file's SHA-256 is not the one in its name.
    #[error("{path} is damaged: its SHA-256 begins with {found}, not {expected}; remove the model and fetch it again")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The digits in its name.
        expected: String,
        /// The first digits of its SHA-256.
        found: String,
    },
    /// The model cannot be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> LibraryError + '_ {
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
    /// It is a released model that can be downloaded.
    Released,
}

/// An entry of the list of models.
#[derive(Debug, Clone, PartialEq)]
pub struct Kept {
    /// Its name.
    pub name: String,
    /// Whether it is in the folder.
    pub state: State,
    /// The total size of its files in the folder, in bytes.
    pub bytes: u64,
}

/// A folder of models.
#[derive(Debug, Clone)]
pub struct Library {
    folder: PathBuf,
}

impl Library {
    /// Opens a folder, which need not exist.
    pub fn at(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// The path of the folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    fn manifest_path(&self, name: &str) -> Result<PathBuf, LibraryError> {
        if !is_name(name) {
            return Err(LibraryError::Name(name.into()));
        }
        Ok(self.folder.join(format!("{name}.toml")))
    }

    /// Loads the model of this name.
    pub fn separator(&self, name: &str) -> Result<Arc<dyn Separator>, LibraryError> {
        if let Some(separator) = built_in(name) {
            return Ok(separator);
        }
        let manifest = self.manifest(name)?;
        let paths = self.paths(&manifest);
        if let Some(missing) = paths.iter().find(|path| !path.exists()) {
            return Err(io_error(missing)(io::Error::new(io::ErrorKind::NotFound, "a file of the model is missing")));
        }
        Ok(load(&manifest.spec(name, &paths))?)
    }

    /// The paths of a model's checkpoints, whether or not they exist.
    pub fn paths(&self, manifest: &Manifest) -> Vec<PathBuf> {
        manifest.files.iter().map(|file| self.folder.join(file)).collect()
    }

    /// The manifest of a model in the folder.
    pub fn manifest(&self, name: &str) -> Result<Manifest, LibraryError> {
        let path = self.manifest_path(name)?;
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(if Released::find(name).is_some() {
                    LibraryError::NotFetched(name.into())
                } else {
                    let known = self.names()?;
                    let known = [DEFAULT_MODEL.to_owned()].into_iter().chain(known).collect();
                    LibraryError::Unknown { name: name.into(), known }
                });
            }
            Err(error) => return Err(io_error(&path)(error)),
        };
        let manifest: Manifest = toml::from_str(&text)
            .map_err(|error| LibraryError::Manifest { path: path.clone(), reason: error.message().into() })?;
        match manifest.files.iter().find(|file| !is_name(file)) {
            Some(file) => Err(LibraryError::Manifest { path, reason: format!("{file:?} is not a valid file name") }),
            None => Ok(manifest),
        }
    }

    /// The names of the models in the folder, sorted.
    pub fn names(&self) -> Result<Vec<String>, LibraryError> {
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(io_error(&self.folder)(error)),
        };
        let mut names = Vec::new();
        for entry in entries {
            let name = entry.map_err(io_error(&self.folder))?.file_name();
            let name = name.to_str().and_then(|name| name.strip_suffix(".toml")).filter(|name| is_name(name));
            names.extend(name.map(str::to_owned));
        }
        names.sort();
        Ok(names)
    }

    /// Lists the built-in model, the models in the folder, and the released models that are not in it.
    pub fn list(&self) -> Result<Vec<Kept>, LibraryError> {
        let mut list = vec![Kept { name: DEFAULT_MODEL.into(), state: State::BuiltIn, bytes: 0 }];
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

    /// Adds a checkpoint as a model of its own, and returns its name. It builds the model once, to check that it works.
    /// Without a name, the model is named after its file.
    pub fn import(&self, file: &Path, name: Option<&str>) -> Result<String, LibraryError> {
        let kind = extension(file).ok_or_else(|| LibraryError::Extension(file.into()))?;
        let stem = file.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        let name = name.unwrap_or(stem);
        let manifest_path = self.manifest_path(name)?;
        if manifest_path.exists() || built_in(name).is_some() {
            return Err(LibraryError::Taken(name.into()));
        }
        let (architecture, _) = load_checkpoint(file, None, LoadOptions { name, segment: None })?;
        fs::create_dir_all(&self.folder).map_err(io_error(&self.folder))?;
        let digest = checksum_of(file)?;
        let kept = format!("{name}-{}.{kind}", &digest[..8]);
        let place = self.folder.join(&kept);
        let half = self.folder.join(format!(".{kept}.half"));
        fs::copy(file, &half).map_err(io_error(&half))?;
        rename_durably(&half, &place)?;
        let architecture = Some(architecture.name.into());
        self.add(name, &Manifest { architecture, files: vec![kept], ..Manifest::default() })?;
        Ok(name.to_owned())
    }

    /// Adds a model whose files are all in the folder.
    pub fn add(&self, name: &str, manifest: &Manifest) -> Result<(), LibraryError> {
        let path = self.manifest_path(name)?;
        let text = toml::to_string(manifest)
            .map_err(|error| LibraryError::Manifest { path: path.clone(), reason: error.to_string() })?;
        let half = self.folder.join(format!(".{name}.toml.half"));
        let written = File::create(&half).and_then(|mut file| file.write_all(text.as_bytes()));
        written.map_err(io_error(&half))?;
        rename_durably(&half, &path)
    }

    /// Removes a model, and those of its files that no other model uses.
    pub fn remove(&self, name: &str) -> Result<(), LibraryError> {
        let manifest = self.manifest(name)?;
        let path = self.manifest_path(name)?;
        fs::remove_file(&path).map_err(io_error(&path))?;
        let mut needed = Vec::new();
        for other in self.names()? {
            needed.extend(self.manifest(&other)?.files);
        }
        for file in manifest.files.iter().filter(|file| !needed.contains(file)) {
            let path = self.folder.join(file);
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io_error(&path)(error)),
                _ => {}
            }
        }
        Ok(())
    }

    /// Checks that the checksums of all a model's files match their names, and that the model can be built.
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

/// The first eight digits of the SHA-256 in a file's name, as in `NAME-8726e21a.th`.
pub fn checksum_in(path: &Path) -> Option<String> {
    let (_, digits) = path.file_stem()?.to_str()?.rsplit_once('-')?;
    let digits_only = digits.len() == 8 && digits.chars().all(|digit| digit.is_ascii_hexdigit());
    digits_only.then(|| digits.to_ascii_lowercase())
}

/// A file's SHA-256 in hex.
pub fn checksum_of(path: &Path) -> Result<String, LibraryError> {
    let mut file = File::open(path).map_err(io_error(path))?;
    let (mut hasher, mut block) = (Sha256::new(), vec![0; 1 << 18]);
    loop {
        match file.read(&mut block).map_err(io_error(path))? {
            0 => break,
            count => hasher.update(&block[..count]),
        }
    }
    Ok(hex::encode(hasher.finalize()))
}

/// Renames a complete file to its final name, durably.
fn rename_durably(half: &Path, place: &Path) -> Result<(), LibraryError> {
    File::open(half).and_then(|file| file.sync_all()).map_err(io_error(half))?;
    fs::rename(half, place).map_err(io_error(place))?;
    let folder = place.parent().unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(io_error(folder))
}

/// The extension of a file that can hold a checkpoint.
fn extension(path: &Path) -> Option<&str> {
    path.extension().and_then(|extension| extension.to_str()).filter(|kind| matches!(*kind, "th" | "safetensors"))
}
