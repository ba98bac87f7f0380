//! The networks that this program can run.
//!
//! A new architecture is a folder with an [`Architecture`], and a line in [`ARCHITECTURES`].
//! `docs/contributing/adding-a-model.md` describes each step.

use std::sync::Arc;

use crate::architecture::Architecture;
use crate::demucs::{hdemucs, htdemucs};
use crate::separator::Separator;
use crate::spectral::Spectral;

/// All architectures that are opened from checkpoints.
const ARCHITECTURES: &[&Architecture] = &[
    &htdemucs::ARCHITECTURE, // Demucs v4
    &hdemucs::ARCHITECTURE,  // Demucs v3
];

/// The model for requests that name none. It needs no checkpoint.
pub const DEFAULT_MODEL: &str = Spectral::NAME;

/// The architecture of this name.
pub(super) fn by_name(name: &str) -> Option<&'static Architecture> {
    ARCHITECTURES.iter().copied().find(|architecture| architecture.name == name)
}

/// The architecture that opens checkpoints of this Python class.
pub(super) fn by_class(class: &str) -> Option<&'static Architecture> {
    ARCHITECTURES.iter().copied().find(|architecture| architecture.classes.contains(&class))
}

/// The names of all architectures, for messages.
pub(super) fn names() -> String {
    ARCHITECTURES.iter().map(|architecture| architecture.name).collect::<Vec<_>>().join(", ")
}

/// The Python classes of all architectures, for messages.
pub(super) fn classes() -> String {
    ARCHITECTURES.iter().flat_map(|architecture| architecture.classes).copied().collect::<Vec<_>>().join(", ")
}

/// The model of this name, if it needs no checkpoint.
pub fn built_in(name: &str) -> Option<Arc<dyn Separator>> {
    match name {
        Spectral::NAME => Some(Arc::new(Spectral::new())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_and_classes_are_unique() {
        let names: HashSet<_> = ARCHITECTURES.iter().map(|architecture| architecture.name).collect();
        assert_eq!(names.len(), ARCHITECTURES.len());
        let classes = || ARCHITECTURES.iter().flat_map(|architecture| architecture.classes);
        assert_eq!(classes().collect::<HashSet<_>>().len(), classes().count());
    }

    #[test]
    fn released_models_name_known_architectures() {
        for released in crate::models::RELEASED {
            let architecture = released.manifest().architecture.unwrap();
            assert!(by_name(&architecture).is_some(), "{}: {architecture}", released.name);
        }
    }
}
