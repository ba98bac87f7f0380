//! Encoded words, the spelling of foreign letters in headers of mail (RFC 2047).
//!
//! The crates for encoded words include a parser generator or a whole mail library, so the few rules are implemented
//! here. Character encodings and Base64 come from crates.

use std::borrow::Cow;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use encoding_rs::Encoding;

use super::unhex;

/// Base64 with or without padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// One encoded word.
struct Word {
    encoding: &'static Encoding,
    bytes: Vec<u8>,
    /// The length of the word in the text.
    length: usize,
}

/// Decodes the encoded words in a text. Malformed words stay unchanged.
///
/// Spaces between two encoded words do not count, and one character may be split between two words.
pub(super) fn decode(text: &str) -> Cow<'_, str> {
    let mut out = String::new();
    let mut last: Option<Word> = None;
    // Where the text that is not in `out` yet begins, and where the search goes on.
    let (mut begin, mut at) = (0, 0);
    while let Some(found) = text[at..].find("=?") {
        at += found;
        let Some(word) = Word::parse(&text[at..]) else {
            at += 2;
            continue;
        };
        let between = &text[begin..at];
        at += word.length;
        begin = at;
        last = Some(match last.take() {
            Some(mut before) if between.trim().is_empty() && before.encoding == word.encoding => {
                before.bytes.extend(word.bytes);
                before
            }
            before => {
                let adjacent = before.is_some() && between.trim().is_empty();
                out.extend(before.map(Word::text));
                out.push_str(if adjacent { "" } else { between });
                word
            }
        });
    }
    match last {
        None => text.into(),
        Some(word) => (out + &word.text() + &text[begin..]).into(),
    }
}

impl Word {
    /// Reads the word at the beginning of a text: `=?ENCODING?B?BASE64?=` or `=?ENCODING?Q?TEXT?=`.
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.strip_prefix("=?")?.splitn(3, '?');
        let (label, kind, rest) = (parts.next()?, parts.next()?, parts.next()?);
        let (encoded, _) = rest.split_once("?=")?;
        let bytes = match kind {
            "B" | "b" => BASE64.decode(encoded).ok()?,
            // The Q encoding: `=E9` is a byte, and `_` a space.
            "Q" | "q" => unhex(encoded.replace('_', " ").as_bytes(), b'=')?,
            _ => return None,
        };
        // RFC 2231 allows a language behind the encoding: `=?UTF-8*en?...`.
        let encoding = Encoding::for_label(label.split('*').next()?.as_bytes())?;
        let length = "=?".len() + label.len() + "?B?".len() + encoded.len() + "?=".len();
        Some(Self { encoding, bytes, length })
    }

    fn text(self) -> String {
        self.encoding.decode_without_bom_handling(&self.bytes).0.into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_encoded_words_are_decoded() {
        for (text, decoded) in [
            ("=?UTF-8?B?bmHDr3Zl?=", "naïve"),
            ("=?utf-8?b?bmHDr3ZlLm1wMw?=", "naïve.mp3"),
            ("=?UTF-8?Q?na=C3=AFve_song.mp3?=", "naïve song.mp3"),
            ("=?ISO-8859-1*fr?q?caf=e9?=", "café"),
            ("=?Shift_JIS?B?ibmKeQ==?=", "音楽"),
            ("01 =?UTF-8?Q?caf=C3=A9?= live.mp3", "01 café live.mp3"),
            // Adjacent words are one text, also where a character is split between them.
            ("=?UTF-8?Q?caf?= =?UTF-8?Q?=C3=A9?=", "café"),
            ("=?UTF-8?Q?caf=C3?=  =?UTF-8?B?qQ==?=.mp3", "café.mp3"),
            ("=?UTF-8?Q?caf=C3=A9?= =?ISO-8859-1?Q?caf=E9?=", "cafécafé"),
            ("=?UTF-8?Q?a?= b =?UTF-8?Q?c?=", "a b c"),
            // Malformed or unknown.
            ("plain.mp3", "plain.mp3"),
            ("what=?.mp3", "what=?.mp3"),
            ("=?UTF-8?X?a?=", "=?UTF-8?X?a?="),
            ("=?nothing?Q?a?=", "=?nothing?Q?a?="),
            ("=?UTF-8?B?!!!?=", "=?UTF-8?B?!!!?="),
            ("=?UTF-8?Q?=C?=", "=?UTF-8?Q?=C?="),
            ("=?UTF-8?Q?a", "=?UTF-8?Q?a"),
            ("=?=?UTF-8?Q?a?=", "=?a"),
        ] {
            assert_eq!(decode(text), decoded, "{text}");
        }
    }
}
