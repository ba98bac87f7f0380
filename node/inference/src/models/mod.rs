//! Models: the registry of architectures, the released models, and folders of models.

mod bag;
mod catalogue;
mod library;
mod load;
mod manifest;
mod registry;

pub use catalogue::{OFFICIAL, RELEASED, Released};
pub use library::{Kept, Library, LibraryError, State, checksum_in, checksum_of};
pub use load::{LoadError, ModelSpec, load};
pub use manifest::{Manifest, is_name};
pub use registry::{DEFAULT_MODEL, built_in};
