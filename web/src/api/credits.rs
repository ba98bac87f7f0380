//! What a new song is called, and what else is known of it: what its uploader says, the tags in its file, its file's name.

use std::path::Path;

use audio::tags::Tags;
use state::{Cover, Credits};

use super::song_fields::TEXT_CHARACTERS;
use crate::text::{first_characters, tidy};

/// A text as songs have it: tidy, and cut to the longest; none if nothing of it can be seen.
fn kept(text: &str) -> Option<String> {
    let text = tidy(text);
    let text = first_characters(&text, TEXT_CHARACTERS).trim_end();
    (!text.is_empty()).then(|| text.to_owned())
}

/// The title that was given, or else the one in the file's tags, or else the file's name. One without a visible
/// character does not count.
pub(super) fn title(given: Option<&str>, tags: &Tags, file_name: Option<&str>) -> String {
    let given = given.and_then(kept);
    given.or_else(|| kept(tags.title.as_deref()?)).unwrap_or_else(|| title_of(file_name))
}

/// A title for a song that came without one.
pub(super) fn title_of(file_name: Option<&str>) -> String {
    // Some programs send a whole path, with the slashes of their system.
    let name = file_name.unwrap_or("").rsplit(['/', '\\']).next().unwrap_or("");
    let stem = Path::new(name).file_stem().and_then(|stem| stem.to_str()).unwrap_or("");
    kept(stem).unwrap_or_else(|| "Untitled".into())
}

/// What the state keeps of a file's tags.
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
    fn a_title_is_found_for_every_file() {
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
    fn a_title_that_cannot_be_seen_does_not_count() {
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
