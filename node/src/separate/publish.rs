//! Finished stems to their places, without replacing what somebody put there meanwhile.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Moves files to their places, all or none. Without `overwrite`, a place where something is ends it.
pub(super) fn publish(files: &[(PathBuf, PathBuf)], overwrite: bool) -> Result<()> {
    let mut claims = Claims(Vec::new());
    for (_, place) in files {
        if let Some(parent) = place.parent() {
            fs::create_dir_all(parent).with_context(|| format!("{} cannot be made", parent.display()))?;
        }
        if !overwrite {
            // Only one process can create a file, and this one may replace the file that it created.
            File::create_new(place).with_context(|| format!("{} cannot be made", place.display()))?;
            claims.0.push(place);
        }
    }
    for (made, place) in files {
        fs::rename(made, place).with_context(|| format!("{} cannot be written", place.display()))?;
        claims.0.retain(|claimed| claimed != place);
    }
    Ok(())
}

/// Empty files that keep places, removed unless stems replaced them.
struct Claims<'a>(Vec<&'a Path>);

impl Drop for Claims<'_> {
    fn drop(&mut self) {
        for place in &self.0 {
            // Nothing more can be done about one that stays.
            let _ = fs::remove_file(place);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn nothing_is_replaced_unasked() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let made = || {
            fs::write(at("made-1"), "new").unwrap();
            fs::write(at("made-2"), "new").unwrap();
            [(at("made-1"), at("song/drums")), (at("made-2"), at("song/bass"))]
        };
        fs::create_dir(at("song")).unwrap();
        fs::write(at("song/bass"), "old").unwrap();
        let error = publish(&made(), false).unwrap_err();
        assert!(format!("{error:#}").contains("song/bass"), "{error:#}");
        assert_eq!(fs::read_to_string(at("song/bass")).unwrap(), "old");
        assert!(!at("song/drums").exists());

        publish(&made(), true).unwrap();
        assert_eq!(fs::read_to_string(at("song/bass")).unwrap(), "new");
        fs::remove_dir_all(at("song")).unwrap();
        publish(&made(), false).unwrap();
        assert_eq!(fs::read_to_string(at("song/drums")).unwrap(), "new");
        assert!(!at("made-1").exists());
    }
}
