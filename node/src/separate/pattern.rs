//! The pattern of `--filename`: where a stem goes within the model's folder.
//!
//! A pattern is a relative path with placeholders, as in Demucs: `{track}` and `{trackext}` are the song's name and
//! extension, `{stem}` and `{ext}` the stem's; `{{` and `}}` are braces. It is cut into pieces once, so a song that is
//! called "{stem}" keeps its name. No component leaves the folder, and each is a name that every system takes.

use std::path::{Component, Path, PathBuf};
use std::str::FromStr;

use web::files::file_name::file_name;

/// The most bytes of plain text in a component, which leaves room for the names.
const PLAIN_BYTES: usize = 128;

/// A pattern cannot be used. The messages follow the name of the option.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PatternError {
    /// Every stem of a song would be the same file.
    #[error("it must contain {{stem}}, or all stems of a song would be one file")]
    NoStem,
    /// A placeholder that stands for nothing.
    #[error("{{{0}}} stands for nothing; use {{track}}, {{trackext}}, {{stem}} and {{ext}}, and {{{{ for a brace")]
    Unknown(String),
    /// A brace without its other half.
    #[error("a brace has no other half; write {{{{ or }}}} for the brace itself")]
    Brace,
    /// It leads out of the folder.
    #[error("it must be a path within the folder of --out, without .. and without / at the beginning")]
    Outside,
    /// It ends in a folder.
    #[error("it must end in the name of a file and not in /")]
    Folder,
    /// Nothing would be left for the names.
    #[error("a part of it is longer than 128 bytes")]
    TooLong,
}

/// A piece of a component.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Track,
    TrackExtension,
    Stem,
    Extension,
}

/// A part of a component.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Plain(String),
    Named(Place),
}

/// What the placeholders stand for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Names<'a> {
    /// The song's name.
    pub(super) track: &'a str,
    /// What tells the song from others of its name; it stays when the name is shortened.
    pub(super) suffix: &'a str,
    /// The song's extension.
    pub(super) track_extension: &'a str,
    /// The stem's name.
    pub(super) stem: &'a str,
    /// The stem's extension.
    pub(super) extension: &'a str,
}

/// A pattern that was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pattern(Vec<Vec<Piece>>);

impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        if !Path::new(text).components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir)) {
            return Err(PatternError::Outside);
        }
        if text.is_empty() || text.ends_with('/') {
            return Err(PatternError::Folder);
        }
        let components = text.split('/').filter(|part| !part.is_empty() && *part != ".");
        let pattern = Self(components.map(pieces).collect::<Result<_, _>>()?);
        if pattern.0.is_empty() {
            return Err(PatternError::Folder);
        }
        if !pattern.has(Place::Stem) {
            return Err(PatternError::NoStem);
        }
        Ok(pattern)
    }
}

/// Cuts a component into pieces.
fn pieces(component: &str) -> Result<Vec<Piece>, PatternError> {
    let (mut pieces, mut plain) = (Vec::new(), String::new());
    let mut rest = component;
    while let Some(at) = rest.find(['{', '}']) {
        let (before, brace) = rest.split_at(at);
        plain.push_str(before);
        if let Some(behind) = brace.strip_prefix("{{").or_else(|| brace.strip_prefix("}}")) {
            plain.push_str(&brace[..1]);
            rest = behind;
            continue;
        }
        let (name, behind) =
            brace.strip_prefix('{').and_then(|name| name.split_once('}')).ok_or(PatternError::Brace)?;
        let place = match name {
            "track" => Place::Track,
            "trackext" => Place::TrackExtension,
            "stem" => Place::Stem,
            "ext" => Place::Extension,
            _ => return Err(PatternError::Unknown(name.into())),
        };
        pieces.extend([Piece::Plain(std::mem::take(&mut plain)), Piece::Named(place)]);
        rest = behind;
    }
    pieces.push(Piece::Plain(plain + rest));
    let length: usize = pieces.iter().map(|piece| if let Piece::Plain(text) = piece { text.len() } else { 0 }).sum();
    if length > PLAIN_BYTES { Err(PatternError::TooLong) } else { Ok(pieces) }
}

impl Pattern {
    fn has(&self, place: Place) -> bool {
        self.0.iter().flatten().any(|piece| *piece == Piece::Named(place))
    }

    /// Whether songs of different names have different paths.
    pub(super) fn has_track(&self) -> bool {
        self.has(Place::Track)
    }

    /// The path of a stem, relative to the model's folder.
    pub(super) fn expand(&self, names: &Names<'_>) -> PathBuf {
        let component = |pieces: &Vec<Piece>| {
            file_name(names.track, |track| {
                let text = |piece: &Piece| match piece {
                    Piece::Plain(text) => text.clone(),
                    Piece::Named(Place::Track) => format!("{track}{}", names.suffix),
                    Piece::Named(Place::TrackExtension) => names.track_extension.into(),
                    Piece::Named(Place::Stem) => names.stem.into(),
                    Piece::Named(Place::Extension) => names.extension.into(),
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
        pattern.parse::<Pattern>().unwrap().expand(&names).to_str().unwrap().to_owned()
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
    fn names_are_bounded_and_keep_what_tells_them_apart() {
        let track = "音".repeat(85);
        let pattern: Pattern = "{track}/{track} - {stem}.{ext}".parse().unwrap();
        let names = Names { track: &track, suffix: " (2)", track_extension: "mp3", stem: "drums", extension: "wav" };
        let path = pattern.expand(&names);
        for part in path.iter().map(|part| part.to_str().unwrap()) {
            assert!(part.len() <= 255 && part.contains(" (2)"), "{part}");
        }
        assert!(path.to_str().unwrap().ends_with(" (2) - drums.wav"));
    }

    #[test]
    fn patterns_that_cannot_be_used_are_refused() {
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
            assert_eq!(pattern.parse::<Pattern>(), Err(error), "{pattern}");
        }
        assert_eq!(format!("{{stem}}{}", "x".repeat(129)).parse::<Pattern>(), Err(PatternError::TooLong));
    }
}
