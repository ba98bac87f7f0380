//! Short texts from people and files, such as titles: cleaning and shortening them.

use unicode_segmentation::UnicodeSegmentation;

/// Converts a text to one line, as titles and names are stored: control characters become spaces, runs of spaces become
/// one space, and spaces at both ends are removed. The result is empty if the text has no visible character.
pub(crate) fn sanitize(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    let mut gap = None;
    // U+FEFF is a byte order mark that a program left in the text.
    for character in text.chars().filter(|character| *character != '\u{FEFF}') {
        if is_blank(character) {
            // A single wide or non-breaking space is kept.
            let keeps = gap.is_none() && !breaks_lines(character);
            gap = Some(if keeps { character } else { ' ' });
        } else {
            line.extend(gap.take().filter(|_| !line.is_empty()));
            line.push(character);
        }
    }
    if line.chars().any(is_visible) { line } else { String::new() }
}

fn breaks_lines(character: char) -> bool {
    character.is_control() || matches!(character, '\u{2028}' | '\u{2029}')
}

fn is_blank(character: char) -> bool {
    character.is_whitespace() || character.is_control()
}

/// Whether a character is visible: not blank, not in Unicode's `Default_Ignorable_Code_Point`
/// (DerivedCoreProperties.txt of Unicode 16), not an interlinear annotation and not the empty Braille cell.
fn is_visible(character: char) -> bool {
    !is_blank(character)
        && !matches!(character,
            '\u{AD}' | '\u{34F}' | '\u{61C}' | '\u{115F}'..='\u{1160}' | '\u{17B4}'..='\u{17B5}'
            | '\u{180B}'..='\u{180F}' | '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2060}'..='\u{206F}'
            | '\u{2800}' | '\u{3164}' | '\u{FE00}'..='\u{FE0F}' | '\u{FEFF}' | '\u{FFA0}' | '\u{FFF0}'..='\u{FFFB}'
            | '\u{1BCA0}'..='\u{1BCA3}' | '\u{1D173}'..='\u{1D17A}' | '\u{E0000}'..='\u{E0FFF}')
}

/// The longest prefix of whole graphemes (user-perceived characters, with accents and joined emoji) whose sizes add up
/// to at most `most`. If the first grapheme is larger than that, it is cut between its characters.
pub(crate) fn prefix(text: &str, most: usize, size: impl Fn(&str) -> usize) -> &str {
    let fitting = |units: &mut dyn Iterator<Item = (usize, &str)>| {
        let mut total = 0;
        units
            .take_while(|(_, unit)| {
                total += size(unit);
                total <= most
            })
            .last()
            .map_or(0, |(at, unit)| at + unit.len())
    };
    let end = match fitting(&mut text.grapheme_indices(true)) {
        0 => fitting(&mut text.char_indices().map(|(at, character)| (at, &text[at..at + character.len_utf8()]))),
        end => end,
    };
    &text[..end]
}

/// The [`prefix`] of at most `most` characters.
pub(crate) fn first_characters(text: &str, most: usize) -> &str {
    prefix(text, most, |unit| unit.chars().count())
}

/// The [`prefix`] of at most `most` bytes.
pub(crate) fn first_bytes(text: &str, most: usize) -> &str {
    prefix(text, most, str::len)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_becomes_one_line() {
        for (text, line) in [
            ("  So What ", "So What"),
            ("A\nB", "A B"),
            ("A\r\n\t B\0", "A B"),
            ("A\u{2028}B\u{85}C", "A B C"),
            ("A  B   C", "A B C"),
            ("\u{FEFF}Blue in Green", "Blue in Green"),
            // An ideographic and a non-breaking space are kept.
            ("夜に\u{3000}駆ける", "夜に\u{3000}駆ける"),
            ("Op.\u{A0}9", "Op.\u{A0}9"),
            ("Op. \u{A0}9", "Op. 9"),
            // Joiners and marks stay in a visible text.
            ("👩\u{200D}🎤", "👩\u{200D}🎤"),
            ("\u{200F}שלום", "\u{200F}שלום"),
        ] {
            assert_eq!(sanitize(text), line, "{text:?}");
        }
    }

    #[test]
    fn text_without_visible_characters_becomes_empty() {
        for text in [
            "",
            "   ",
            "\0\u{7}\u{1b}",
            "\u{200B}\u{200C}\u{200D}",
            "\u{FEFF}",
            "\u{202E} \u{202C}",
            "\u{2066}\u{2069}",
            "\u{3000}\u{A0}",
            "\u{2060}",
            "\u{AD}",
            "\u{FE0F}",
            "\u{3164}",
            "\u{2800}",
            "\u{E0041}",
            "\u{2028}\u{2029}",
        ] {
            assert_eq!(sanitize(text), "", "{text:?}");
        }
    }

    #[test]
    fn graphemes_are_not_cut() {
        assert_eq!(first_characters("abc", 5), "abc");
        assert_eq!(first_characters("abc", 2), "ab");
        assert_eq!(first_characters("ae\u{301}", 2), "a");
        assert_eq!(first_bytes("äöü", 5), "äö");
        // A family of three emoji and two joiners has 18 bytes, a flag 8.
        assert_eq!(first_bytes("a👨\u{200D}👩\u{200D}👧b", 18), "a");
        assert_eq!(first_bytes("a👨\u{200D}👩\u{200D}👧b", 19), "a👨\u{200D}👩\u{200D}👧");
        assert_eq!(first_bytes("🇩🇪🇫🇷", 15), "🇩🇪");
        let marks = format!("e{}", "\u{301}".repeat(10));
        assert_eq!(first_bytes(&marks, 6), "e\u{301}\u{301}");
    }
}
