//! The pattern of `--filename`: the path of a stem within the model's folder.
//!
//! A pattern is a relative path with placeholders, as in Demucs: `{track}` and `{trackext}` are the name and extension of
//! the song, `{stem}` and `{ext}` those of the stem; `{{` and `}}` are braces. A pattern is parsed once, so placeholders in
//! the name of a song are not replaced. Paths stay within the folder, and their components are valid file names on all
//! systems.

use std::path::{Component, Path, PathBuf};
use std::str::FromStr;

use web::files::file_name::file_name;

/// The most bytes of literal text in a component, which leaves enough for the names.
const MAX_LITERAL_BYTES: usize = 128;

/// A pattern is invalid. The messages follow the name of the option.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PatternError {
    /// All stems of a song would have the same path.
    #[error("add {{stem}}, otherwise all stems of a song would have the same path")]
    NoStem,
    /// A placeholder is unknown.
    #[error(
        "unknown placeholder {{{0}}}; use {{track}}, {{trackext}}, {{stem}} and {{ext}}, and {{{{ for a literal brace"
    )]
    Unknown(String),
    /// A brace is not closed or not opened.
    #[error("unmatched brace; write {{{{ or }}}} for a literal brace")]
    Brace,
    /// The path leaves the folder.
    #[error("use a path within the folder of --out, without .. and without a leading /")]
    Outside,
    /// The path is a folder.
    #[error("the pattern must end with a file name, not with /")]
    Folder,
    /// A component has too much literal text.
    #[error("a component has more than 128 bytes besides its placeholders")]
    TooLong,
}

/// A placeholder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Placeholder {
    Track,
    TrackExtension,
    Stem,
    Extension,
}

/// A part of a component.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Literal(String),
    Placeholder(Placeholder),
}

/// The values of the placeholders.
#[derive(Debug, Clone, Copy)]
pub(super) struct Names<'a> {
    /// The song's name.
    pub(super) track: &'a str,
    /// The number that distinguishes songs with the same name. It is kept when the name is shortened.
    pub(super) suffix: &'a str,
    /// The song's extension.
    pub(super) track_extension: &'a str,
    /// The stem's name.
    pub(super) stem: &'a str,
    /// The stem's extension.
    pub(super) extension: &'a str,
}

/// A valid pattern: the pieces of each component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PathPattern(Vec<Vec<Piece>>);

impl FromStr for PathPattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        if !Path::new(text).components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir)) {
            return Err(PatternError::Outside);
        }
        if text.is_empty() || text.ends_with('/') {
            return Err(PatternError::Folder);
        }
        let components = text.split('/').filter(|part| !part.is_empty() && *part != ".");
        let pattern = Self(components.map(parse_component).collect::<Result<_, _>>()?);
        if pattern.0.is_empty() {
            return Err(PatternError::Folder);
        }
        if !pattern.has(Placeholder::Stem) {
            return Err(PatternError::NoStem);
        }
        Ok(pattern)
    }
}

/// Parses a component.
fn parse_component(component: &str) -> Result<Vec<Piece>, PatternError> {
    let (mut pieces, mut literal) = (Vec::new(), String::new());
    let mut rest = component;
    while let Some(at) = rest.find(['{', '}']) {
        let (before, brace) = rest.split_at(at);
        literal.push_str(before);
        if let Some(behind) = brace.strip_prefix("{{").or_else(|| brace.strip_prefix("}}")) {
            literal.push_str(&brace[..1]);
            rest = behind;
            continue;
        }
        let (name, behind) =
            brace.strip_prefix('{').and_then(|name| name.split_once('}')).ok_or(PatternError::Brace)?;
        let placeholder = match name {
            "track" => Placeholder::Track,
            "trackext" => Placeholder::TrackExtension,
            "stem" => Placeholder::Stem,
            "ext" => Placeholder::Extension,
            _ => return Err(PatternError::Unknown(name.into())),
        };
        pieces.extend([Piece::Literal(std::mem::take(&mut literal)), Piece::Placeholder(placeholder)]);
        rest = behind;
    }
    pieces.push(Piece::Literal(literal + rest));
    let length: usize = pieces.iter().map(|piece| if let Piece::Literal(text) = piece { text.len() } else { 0 }).sum();
    if length > MAX_LITERAL_BYTES { Err(PatternError::TooLong) } else { Ok(pieces) }
}

impl PathPattern {
    fn has(&self, placeholder: Placeholder) -> bool {
        self.0.iter().flatten().any(|piece| *piece == Piece::Placeholder(placeholder))
    }

    /// Whether songs with different names have different paths.
    pub(super) fn has_track(&self) -> bool {
        self.has(Placeholder::Track)
    }

    /// The path of a stem, relative to the model's folder.
    pub(super) fn expand(&self, names: &Names<'_>) -> PathBuf {
        let component = |pieces: &Vec<Piece>| {
            file_name(names.track, |track| {
                let text = |piece: &Piece| match piece {
                    Piece::Literal(text) => text.clone(),
                    Piece::Placeholder(Placeholder::Track) => format!("{track}{}", names.suffix),
                    Piece::Placeholder(Placeholder::TrackExtension) => names.track_extension.into(),
                    Piece::Placeholder(Placeholder::Stem) => names.stem.into(),
                    Piece::Placeholder(Placeholder::Extension) => names.extension.into(),
                };
                pieces.iter().map(text).collect()
            })
        };
        self.0.iter().map(component).collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn expanded(pattern: &str, track: &str) -> String {
        let names = Names { track, suffix: "", track_extension: "mp3", stem: "drums", extension: "wav" };
        pattern.parse::<PathPattern>().unwrap().expand(&names).to_str().unwrap().to_owned()
    }

    #[test]
    fn placeholders_are_replaced_once() {
        const USUAL: &str = "{track}/{stem}.{ext}";
        for (pattern, track, path) in [
            (USUAL, "So What", "So What/drums.wav"),
            (USUAL, "{stem}", "{stem}/drums.wav"),
            (USUAL, "{track}{ext}", "{track}{ext}/drums.wav"),
            (USUAL, "..", "Untitled/drums.wav"),
            (USUAL, "NUL", "_NUL/drums.wav"),
            (USUAL, "a:b", "a_b/drums.wav"),
            ("{track}.{trackext}/{stem}", "song", "song.mp3/drums"),
            ("./a//{stem} of {track}.{ext}", "song", "a/drums of song.wav"),
            ("{{{track}}}-{stem}.{ext}", "song", "{song}-drums.wav"),
            ("{stem}.{ext}", "song", "drums.wav"),
        ] {
            assert_eq!(expanded(pattern, track), path, "{pattern} {track}");
        }
    }

    #[test]
    fn long_names_are_shortened_and_keep_their_number() {
        let track = "音".repeat(85);
        let pattern: PathPattern = "{track}/{track} - {stem}.{ext}".parse().unwrap();
        let names = Names { track: &track, suffix: " (2)", track_extension: "mp3", stem: "drums", extension: "wav" };
        let path = pattern.expand(&names);
        for part in path.iter().map(|part| part.to_str().unwrap()) {
            assert!(part.len() <= 255 && part.contains(" (2)"), "{part}");
        }
        assert!(path.to_str().unwrap().ends_with(" (2) - drums.wav"));
    }

    #[test]
    fn invalid_patterns_are_rejected() {
        for (pattern, error) in [
            ("{track}.{ext}", PatternError::NoStem),
            ("{{stem}}", PatternError::NoStem),
            ("{stem}/{title}.{ext}", PatternError::Unknown("title".into())),
            ("{stem}{}", PatternError::Unknown(String::new())),
            ("{stem", PatternError::Brace),
            ("stem}", PatternError::Brace),
            ("/tmp/{stem}", PatternError::Outside),
            ("../{stem}", PatternError::Outside),
            ("{track}/../../{stem}", PatternError::Outside),
            ("{stem}/", PatternError::Folder),
            ("", PatternError::Folder),
            (".", PatternError::Folder),
        ] {
            assert_eq!(pattern.parse::<PathPattern>(), Err(error), "{pattern}");
        }
        assert_eq!(format!("{{stem}}{}", "x".repeat(129)).parse::<PathPattern>(), Err(PatternError::TooLong));
    }
}
