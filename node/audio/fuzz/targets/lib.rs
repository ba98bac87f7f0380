//! Common parts of the fuzz targets.

pub mod checksums;
pub mod input;
