//! Decodes and cleans the texts of tags.

use std::borrow::Cow;

use encoding_rs::WINDOWS_1252;

use super::MAX_TEXT;

/// Cleans a text for display: control characters become spaces, runs of white space become one space, the ends are
/// trimmed, and at most [`MAX_TEXT`] bytes are kept. `None` if no visible character is left.
pub(super) fn clean(text: &str) -> Option<String> {
    let mut cleaned = String::new();
    // The white space since the last other character: a single character other than a control stays as it is.
    let mut space: Option<char> = None;
    for character in text.chars() {
        if character.is_control() || character.is_whitespace() {
            let plain = space.is_some() || character.is_control();
            space = Some(if plain { ' ' } else { character });
            continue;
        }
        let before = space.take().filter(|_| !cleaned.is_empty());
        let length = before.map_or(0, char::len_utf8) + character.len_utf8();
        if cleaned.len() + length > MAX_TEXT {
            break;
        }
        cleaned.extend(before);
        cleaned.push(character);
    }
    cleaned.chars().any(is_visible).then_some(cleaned)
}

/// Whether a character is visible: not white space, a control, a joiner, a direction mark or a filler.
fn is_visible(character: char) -> bool {
    let blank = matches!(
        character,
        '\u{ad}'
            | '\u{34f}'
            | '\u{61c}'
            | '\u{115f}'
            | '\u{1160}'
            | '\u{17b4}'
            | '\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{2800}'
            | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}'
            | '\u{ffa0}'
            | '\u{e0000}'..='\u{e0fff}'
    );
    !blank && !character.is_control() && !character.is_whitespace()
}

/// Decodes a text of unknown encoding: UTF-8 if it is valid, else Windows-1252.
pub(super) fn unlabelled(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        // A limit may have cut the last character.
        Err(error) if error.error_len().is_none() => String::from_utf8_lossy(&bytes[..error.valid_up_to()]),
        Err(_) => latin(bytes),
    }
}

/// Decodes Latin-1 as Windows-1252, which differs only in control characters, which texts do not have.
pub(super) fn latin(bytes: &[u8]) -> Cow<'_, str> {
    WINDOWS_1252.decode_without_bom_handling(bytes).0
}

/// The bytes before the first NUL.
pub(super) fn until_nul(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// Decodes the NUL-separated texts of an ID3v2 frame, whose first byte names the encoding (ID3v2.4, section 4).
pub(super) fn id3(encoding: u8, bytes: &[u8]) -> Vec<String> {
    match encoding {
        0 => bytes.split(|byte| *byte == 0).map(|text| latin(text).into_owned()).collect(),
        3 => bytes.split(|byte| *byte == 0).map(|text| unlabelled(text).into_owned()).collect(),
        1 | 2 => utf16(bytes, encoding == 2),
        _ => Vec::new(),
    }
}

/// Decodes NUL-separated texts in UTF-16. Each may begin with a byte order mark; without one, a text has the order of
/// the text before it.
fn utf16(bytes: &[u8], big_endian: bool) -> Vec<String> {
    let (pairs, _) = bytes.as_chunks::<2>();
    let mut units = pairs.split(|pair| *pair == [0, 0]);
    let mut big_endian = big_endian;
    let mut decode = |mut text: &[[u8; 2]]| {
        if let Some((mark @ ([0xfe, 0xff] | [0xff, 0xfe]), rest)) = text.split_first() {
            big_endian = *mark == [0xfe, 0xff];
            text = rest;
        }
        let unit = if big_endian { u16::from_be_bytes } else { u16::from_le_bytes };
        let units = text.iter().map(|pair| unit(*pair));
        char::decode_utf16(units).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
    };
    units.by_ref().map(&mut decode).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cleaned_and_cut() {
        assert_eq!(clean(" A\0 song\r\n\u{1b}[31m "), Some("A song [31m".into()));
        assert_eq!(clean("one\ttwo\n\nthree"), Some("one two three".into()));
        assert_eq!(clean("Ein\u{a0}Lied \u{a0} hier"), Some("Ein\u{a0}Lied hier".into()));
        assert_eq!(clean(&"ä".repeat(5000)), Some("ä".repeat(MAX_TEXT / 2)));
        let long = clean(&"ä b".repeat(5000)).unwrap();
        assert!(long.len() <= MAX_TEXT && !long.ends_with(' '), "{}", long.len());
    }

    #[test]
    fn a_text_without_visible_characters_is_absent() {
        for text in
            ["", " ", "\0\t ", "\u{200b}\u{200f}", "\u{feff} \u{2060}", "\u{ad}", "\u{202e}\u{2066}", "\u{3164}"]
        {
            assert_eq!(clean(text), None, "{text:?}");
        }
        for text in ["?", "\u{200f}א", "👩\u{200d}🎤", "☂\u{fe0f}"] {
            assert_eq!(clean(text).as_deref(), Some(text));
        }
    }

    #[test]
    fn encodings_are_detected() {
        assert_eq!(unlabelled("Künstler".as_bytes()), "Künstler");
        assert_eq!(unlabelled(b"K\xfcnstler \x8a"), "Künstler Š");
        assert_eq!(unlabelled(b"K\xc3\xbcnstle\xc3"), "Künstle");
        assert_eq!(id3(0, b"A\xe9\0B"), ["Aé", "B"]);
        assert_eq!(id3(3, "Aé\0B".as_bytes()), ["Aé", "B"]);
        assert_eq!(id3(3, b"A\xe9t"), ["Aét"]);
        assert_eq!(id3(1, b"\xff\xfeA\0\0\0\xff\xfeB\0"), ["A", "B"]);
        assert_eq!(id3(1, b"\xfe\xff\0A\0\0\0B\0\0"), ["A", "B", ""]);
        assert_eq!(id3(1, b"A\0B\0C"), ["AB"]);
        assert_eq!(id3(2, b"\0A\0\0\0B"), ["A", "B"]);
        assert_eq!(id3(1, b"\xff\xfe\0\xd8"), ["\u{fffd}"]);
        assert_eq!(id3(4, b"A"), [""; 0]);
    }
}
