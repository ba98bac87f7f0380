//! The accepted files: the only list, used by the error messages, the page's form and a test of docs/using.md.

/// A kind of file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileKind {
    /// Its common name.
    pub name: &'static str,
    /// The extensions of such files, in lower case.
    pub extensions: &'static [&'static str],
}

/// Every accepted kind of file, the most common first.
pub const KINDS: &[FileKind] = &[
    FileKind { name: "MP3", extensions: &["mp3", "mp2", "mp1", "mpa"] },
    FileKind { name: "WAV", extensions: &["wav", "wave", "bwf", "rf64", "w64"] },
    FileKind { name: "FLAC", extensions: &["flac"] },
    FileKind { name: "M4A/AAC", extensions: &["m4a", "aac", "m4b", "m4r", "adts"] },
    FileKind { name: "Ogg Vorbis", extensions: &["ogg", "oga"] },
    FileKind { name: "Opus", extensions: &["opus"] },
    FileKind { name: "AIFF", extensions: &["aiff", "aif", "aifc"] },
    FileKind { name: "CAF", extensions: &["caf"] },
    FileKind { name: "Matroska/WebM", extensions: &["mka", "webm", "mkv"] },
    FileKind { name: "MP4/QuickTime video", extensions: &["mp4", "m4v", "mov"] },
];

/// The names of [`KINDS`] as a list in a sentence.
pub const ACCEPTED: &str = "MP3, WAV, FLAC, M4A/AAC, Ogg Vorbis, Opus, AIFF, CAF, Matroska/WebM or MP4/QuickTime video";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_names_every_kind() {
        let names: Vec<&str> = KINDS.iter().map(|kind| kind.name).collect();
        let (last, others) = names.split_last().unwrap();
        assert_eq!(ACCEPTED, format!("{} or {last}", others.join(", ")));
    }

    #[test]
    fn the_documentation_names_every_kind() {
        let documentation = include_str!("../../../../docs/using.md");
        for kind in KINDS {
            assert!(documentation.contains(kind.name), "docs/using.md does not name {}", kind.name);
        }
    }

    #[test]
    fn no_extension_is_listed_twice() {
        let mut extensions: Vec<&str> = KINDS.iter().flat_map(|kind| kind.extensions).copied().collect();
        let count = extensions.len();
        extensions.sort_unstable();
        extensions.dedup();
        assert_eq!(extensions.len(), count);
    }
}
