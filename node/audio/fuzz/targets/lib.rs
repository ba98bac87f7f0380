//! What the fuzz targets share.

pub mod checksums;
pub mod input;
