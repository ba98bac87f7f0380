//! Moves finished stems to their paths, without replacing files that another process created meanwhile.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Moves files from their first to their second path. Without `overwrite`, fails if a target exists, before any file is
/// moved.
pub(super) fn move_files(files: &[(PathBuf, PathBuf)], overwrite: bool) -> Result<()> {
    let mut reserved = Reserved(Vec::new());
    for (_, target) in files {
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent).with_context(|| format!("cannot create the folder {}", parent.display()))?;
        }
        if !overwrite {
            // Creating an empty file reserves the path: only one process can create it, and only that one replaces it.
            File::create_new(target).with_context(|| format!("cannot create {}", target.display()))?;
            reserved.0.push(target);
        }
    }
    for (source, target) in files {
        fs::rename(source, target).with_context(|| format!("cannot write {}", target.display()))?;
        reserved.0.retain(|path| path != target);
    }
    Ok(())
}

/// Empty files that reserve paths. Those that no stem has replaced are removed on drop.
struct Reserved<'a>(Vec<&'a Path>);

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        for path in &self.0 {
            // A failure cannot be handled here.
            let _ = fs::remove_file(path);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn files_are_replaced_only_with_overwrite() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let made = || {
            fs::write(at("made-1"), "new").unwrap();
            fs::write(at("made-2"), "new").unwrap();
            [(at("made-1"), at("song/drums")), (at("made-2"), at("song/bass"))]
        };
        fs::create_dir(at("song")).unwrap();
        fs::write(at("song/bass"), "old").unwrap();
        let error = move_files(&made(), false).unwrap_err();
        assert!(format!("{error:#}").contains("song/bass"), "{error:#}");
        assert_eq!(fs::read_to_string(at("song/bass")).unwrap(), "old");
        assert!(!at("song/drums").exists());

        move_files(&made(), true).unwrap();
        assert_eq!(fs::read_to_string(at("song/bass")).unwrap(), "new");
        fs::remove_dir_all(at("song")).unwrap();
        move_files(&made(), false).unwrap();
        assert_eq!(fs::read_to_string(at("song/drums")).unwrap(), "new");
        assert!(!at("made-1").exists());
    }
}
