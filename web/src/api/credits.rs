//! The title and the credits of a new song: from the upload, the tags of the file, or the file's name.

use std::path::Path;

use audio::tags::Tags;
use state::{Cover, Credits};

use super::song_fields::TEXT_CHARACTERS;
use crate::text::{first_characters, sanitize};

/// A text as the state stores it: sanitized and shortened; none if it has no visible character.
fn kept(text: &str) -> Option<String> {
    let text = sanitize(text);
    let text = first_characters(&text, TEXT_CHARACTERS).trim_end();
    (!text.is_empty()).then(|| text.to_owned())
}

/// The title in the upload, or else in the tags, or else the file's name. Titles without visible characters are
/// ignored.
pub(super) fn title(given: Option<&str>, tags: &Tags, file_name: Option<&str>) -> String {
    let given = given.and_then(kept);
    given.or_else(|| kept(tags.title.as_deref()?)).unwrap_or_else(|| title_of(file_name))
}

/// The title of a song without one in the upload and the tags.
pub(super) fn title_of(file_name: Option<&str>) -> String {
    // Some programs send a whole path, with the separators of their system.
    let name = file_name.unwrap_or("").rsplit(['/', '\\']).next().unwrap_or("");
    let stem = Path::new(name).file_stem().and_then(|stem| stem.to_str()).unwrap_or("");
    kept(stem).unwrap_or_else(|| "Untitled".into())
}

/// The credits in the tags of a file.
pub(super) fn credits_of(tags: Tags, cover: Option<Cover>) -> Credits {
    let text = |text: Option<String>| kept(&text?);
    let number = |text: Option<String>| text?.parse().ok().filter(|number| (1..=9999).contains(number));
    Credits {
        artist: text(tags.artist),
        album: text(tags.album),
        genre: text(tags.genre),
        year: number(tags.year),
        track: number(tags.track),
        bpm: tags.bpm,
        key: tags.key.map(|key| key.to_string()),
        cover,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_has_a_title() {
        for (name, title) in [
            (Some("So What.mp3"), "So What"),
            (Some("../../etc/passwd"), "passwd"),
            (Some(".mp3"), ".mp3"),
            (Some("\u{7}\u{1b}.mp3"), "Untitled"),
            (Some(""), "Untitled"),
            (None, "Untitled"),
        ] {
            assert_eq!(title_of(name), title, "{name:?}");
        }
        assert_eq!(title_of(Some(&"x".repeat(500))).len(), TEXT_CHARACTERS);
    }

    #[test]
    fn invisible_titles_are_ignored() {
        let tagged = |title: &str| Tags { title: Some(title.into()), ..Tags::default() };
        for (given, tag, name, expected) in [
            (Some("Given"), "Tag", "name.mp3", "Given"),
            (Some("\u{200B} "), "Tag", "name.mp3", "Tag"),
            (None, "Tag", "name.mp3", "Tag"),
            (None, "A\nB\0", "name.mp3", "A B"),
            (None, "\u{FEFF}", "name.mp3", "name"),
            (Some(" "), "\u{202E}", "\u{2060}.mp3", "Untitled"),
        ] {
            assert_eq!(title(given, &tagged(tag), Some(name)), expected, "{given:?} {tag:?} {name:?}");
        }
    }
}
