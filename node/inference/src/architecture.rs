//! A kind of network: its name, the checkpoints that hold it, and how to build it.

use crate::checkpoint::{BuildError, Checkpoint};
use crate::separator::Separator;

/// An entry of the registry (`models/registry.rs`).
pub(crate) struct Architecture {
    /// Its name in manifests.
    pub(crate) name: &'static str,
    /// The Python classes, with their modules, whose checkpoints it opens.
    pub(crate) classes: &'static [&'static str],
    /// Builds the network of one checkpoint.
    pub(crate) load: Loader,
}

/// Builds the network of one checkpoint. It must check the names of the sources with [`check_sources`], take every
/// tensor, and refuse arguments that it does not support.
pub(crate) type Loader = fn(Checkpoint, LoadOptions<'_>) -> Result<Box<dyn Separator>, BuildError>;

/// The settings of a manifest that affect a network.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LoadOptions<'a> {
    /// The name of the model.
    pub(crate) name: &'a str,
    /// The length of a segment in frames, if not the checkpoint's own.
    pub(crate) segment: Option<usize>,
}

/// Fails unless the sources are 1 to 16 distinct words, since they become file names.
pub(crate) fn check_sources(sources: &[String]) -> Result<(), BuildError> {
    if sources.is_empty() || sources.len() > 16 {
        return Err(BuildError::Config("the number of sources must be 1 to 16".into()));
    }
    let is_word = |name: &String| {
        !name.is_empty()
            && name.len() <= 32
            && name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
    };
    for (at, source) in sources.iter().enumerate() {
        if !is_word(source) || source == "song" || sources[..at].contains(source) {
            return Err(BuildError::Config(format!("{source:?} cannot be a source's name")));
        }
    }
    Ok(())
}
