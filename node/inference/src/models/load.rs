//! From checkpoints to a separator.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::bag::Bag;
use super::manifest::Manifest;
use super::registry;
use crate::architecture::{Architecture, LoadOptions};
use crate::checkpoint::{self, BuildError, CheckpointError};
use crate::separator::Separator;

/// A model's files on this machine and how they are used.
#[derive(Debug, Clone, Copy)]
pub struct ModelSpec<'a> {
    /// The model's name.
    pub name: &'a str,
    /// The architecture of all its checkpoints; without it, each checkpoint's class determines it.
    pub architecture: Option<&'a str>,
    /// Where its checkpoints are.
    pub checkpoints: &'a [PathBuf],
    /// The weight of each checkpoint (rows) for each stem (columns); without it, all are equal.
    pub weights: Option<&'a [Vec<f32>]>,
    /// The length of a segment in frames, if not the checkpoints' own.
    pub segment: Option<usize>,
}

impl Manifest {
    /// This model with its checkpoints at `checkpoints`, in the manifest's order.
    pub fn spec<'a>(&'a self, name: &'a str, checkpoints: &'a [PathBuf]) -> ModelSpec<'a> {
        ModelSpec {
            name,
            architecture: self.architecture.as_deref(),
            checkpoints,
            weights: self.weights.as_deref(),
            segment: self.segment_frames(),
        }
    }
}

/// A model cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A checkpoint cannot be read.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The manifest names an architecture that is not in the registry.
    #[error("the model {model} needs the unknown architecture {architecture:?}; known are {}", registry::names())]
    Architecture {
        /// The model.
        model: String,
        /// The architecture that its manifest names.
        architecture: String,
    },
    /// No architecture opens checkpoints of this class.
    #[error("{path} holds a model of the unknown class {class}; known are {}", registry::classes())]
    Class {
        /// The checkpoint.
        path: PathBuf,
        /// Its class.
        class: String,
    },
    /// The manifest names an architecture, and the checkpoint is of another.
    #[error("{path} holds a model of the class {class}, which is not of the architecture {architecture}")]
    OtherArchitecture {
        /// The checkpoint.
        path: PathBuf,
        /// Its class.
        class: String,
        /// The architecture that the manifest names.
        architecture: String,
    },
    /// The network cannot be built.
    #[error("cannot build a network from {path}: {source}")]
    Build {
        /// The checkpoint.
        path: PathBuf,
        /// What does not fit.
        source: BuildError,
    },
    /// The networks do not fit together.
    #[error("the checkpoints of the model {name} do not fit together: {reason}")]
    Bag {
        /// The model.
        name: String,
        /// What does not fit.
        reason: String,
    },
}

/// Builds a model from its checkpoints.
pub fn load(spec: &ModelSpec<'_>) -> Result<Arc<dyn Separator>, LoadError> {
    let known = |name: &str| {
        let unknown = || LoadError::Architecture { model: spec.name.into(), architecture: name.into() };
        registry::by_name(name).ok_or_else(unknown)
    };
    let architecture = spec.architecture.map(known).transpose()?;
    let options = LoadOptions { name: spec.name, segment: spec.segment };
    let open = |path: &PathBuf| Ok(load_checkpoint(path, architecture, options)?.1);
    let networks = spec.checkpoints.iter().map(open).collect::<Result<_, LoadError>>()?;
    let bag = Bag::new(spec.name, networks, spec.weights);
    Ok(Arc::new(bag.map_err(|reason| LoadError::Bag { name: spec.name.into(), reason })?))
}

/// Builds the network of one checkpoint, and returns its architecture too. Without `architecture`, the checkpoint's
/// class determines it.
pub(super) fn load_checkpoint(
    path: &Path,
    architecture: Option<&'static Architecture>,
    options: LoadOptions<'_>,
) -> Result<(&'static Architecture, Box<dyn Separator>), LoadError> {
    let checkpoint = checkpoint::read(path)?;
    let class = &checkpoint.class;
    let architecture = match architecture {
        Some(architecture) if architecture.classes.contains(&class.as_str()) => architecture,
        Some(Architecture { name, .. }) => {
            let (class, architecture) = (class.clone(), (*name).into());
            return Err(LoadError::OtherArchitecture { path: path.into(), class, architecture });
        }
        None => {
            registry::by_class(class).ok_or_else(|| LoadError::Class { path: path.into(), class: class.clone() })?
        }
    };
    let separator =
        (architecture.load)(checkpoint, options).map_err(|source| LoadError::Build { path: path.into(), source })?;
    Ok((architecture, separator))
}
