//! The header `Content-Disposition` of a part of a form (RFC 7578): the name of the field and of the file.
//!
//! Clients spell file names in these ways:
//!
//! - Browsers send UTF-8, with `%22`, `%0D` and `%0A` for a quote, CR and LF, and escape nothing else (HTML Standard,
//!   "Multipart form data"). Older clients write `\"` and `\\`.
//! - `filename*=UTF-8''na%C3%AFve.mp3` (RFC 8187). RFC 7578 forbids it in forms, and some libraries send it. It takes
//!   precedence over `filename`, as in RFC 6266.
//! - Encoded words of mail, `=?UTF-8?B?bmHDr3ZlLm1wMw==?=` (RFC 2047).
//! - Bytes that are not UTF-8 are Latin-1, which the Web reads as Windows-1252.
//! - Whole paths with the separators of the client's system. The last component is the name.
//!
//! The form parser of axum understands only `\"`, and finds no name in bytes that are not UTF-8.

mod encoded_word;

use std::borrow::Cow;

use encoding_rs::{Encoding, WINDOWS_1252};

/// The names in the header of a part of a form.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct PartHeader {
    /// The name of the field.
    pub(crate) field: Option<String>,
    /// The name of the file without folders; none if it is empty.
    pub(crate) file_name: Option<String>,
}

impl PartHeader {
    /// Reads the header's value, such as `form-data; name="file"; filename="song.mp3"`.
    pub(crate) fn parse(value: &[u8]) -> Self {
        let parameters = parameters(value);
        let find = |wanted: &[u8]| {
            let named = parameters.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted));
            named.map(|(_, value)| value.as_slice())
        };
        let plain = |value: &[u8]| text(&unescape(value)).into_owned();
        let file_name = find(b"filename*").and_then(extended);
        let file_name = file_name.or_else(|| Some(encoded_word::decode(&plain(find(b"filename")?)).into_owned()));
        let base = |path: String| path.rsplit(['/', '\\']).next().map(str::to_owned);
        Self { field: find(b"name").map(plain), file_name: file_name.and_then(base).filter(|name| !name.is_empty()) }
    }
}

/// The parameters behind the header's first word in their order, without the quotes and backslashes around values.
fn parameters(value: &[u8]) -> Vec<(&[u8], Vec<u8>)> {
    let mut found = Vec::new();
    let mut rest = value;
    while let Some(before) = rest.iter().position(|byte| *byte == b';') {
        rest = rest[before + 1..].trim_ascii_start();
        let Some(end) = rest.iter().position(|byte| matches!(byte, b'=' | b';')) else { break };
        let (name, behind) = rest.split_at(end);
        let Some(behind) = behind.strip_prefix(b"=") else { continue };
        let behind = behind.trim_ascii_start();
        let (value, length) = match behind.strip_prefix(b"\"") {
            Some(quoted) => {
                let (value, length) = unquote(quoted);
                (value, length + 1)
            }
            None => {
                let length = behind.iter().position(|byte| *byte == b';').unwrap_or(behind.len());
                (behind[..length].trim_ascii_end().to_owned(), length)
            }
        };
        found.push((name.trim_ascii_end(), value));
        rest = &behind[length..];
    }
    found
}

/// The text before the closing quote, and the number of bytes up to and including that quote. A quote that no parameter
/// and no end follows belongs to the text: some clients do not escape it.
fn unquote(quoted: &[u8]) -> (Vec<u8>, usize) {
    let closes = |at: usize| matches!(quoted[at + 1..].trim_ascii_start(), [] | [b';', ..]);
    let mut value = Vec::new();
    let mut at = 0;
    while at < quoted.len() {
        at += match quoted[at..] {
            [b'"', ..] if closes(at) => return (value, at + 1),
            [b'\\', escaped @ (b'"' | b'\\'), ..] => {
                value.push(escaped);
                2
            }
            [byte, ..] => {
                value.push(byte);
                1
            }
            [] => 0,
        };
    }
    (value, at)
}

/// Decodes `%22`, `%0D` and `%0A`, the only escapes of browsers. A percent sign in front of anything else is one.
fn unescape(value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len());
    let mut rest = value;
    loop {
        let (byte, behind) = match rest {
            [b'%', b'2', b'2', behind @ ..] => (b'"', behind),
            [b'%', b'0', b'd' | b'D', behind @ ..] => (b'\r', behind),
            [b'%', b'0', b'a' | b'A', behind @ ..] => (b'\n', behind),
            [byte, behind @ ..] => (*byte, behind),
            [] => return out,
        };
        out.push(byte);
        rest = behind;
    }
}

/// UTF-8, or Windows-1252 where the bytes are not UTF-8.
fn text(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.into(),
        Err(_) => WINDOWS_1252.decode_without_bom_handling(bytes).0,
    }
}

/// A value of RFC 8187: encoding, language and percent-encoded text, separated by single quotes. None if it is
/// malformed.
fn extended(value: &[u8]) -> Option<String> {
    let mut parts = value.splitn(3, |byte| *byte == b'\'');
    let (label, _language, text) = (parts.next()?, parts.next()?, parts.next()?);
    let bytes = unhex(text, b'%')?;
    Some(Encoding::for_label(label)?.decode_without_bom_handling_and_without_replacement(&bytes)?.into_owned())
}

/// Decodes bytes that are written as `mark` and two hexadecimal digits. None if the digits are missing.
fn unhex(text: &[u8], mark: u8) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [byte, behind @ ..] = rest {
        rest = behind;
        if *byte == mark {
            let (digits, behind) = behind.split_at_checked(2)?;
            bytes.extend(hex::decode(digits).ok()?);
            rest = behind;
        } else {
            bytes.push(*byte);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file_name(parameter: impl AsRef<[u8]>) -> Option<String> {
        let header = PartHeader::parse(&[b"form-data; name=\"file\"; ", parameter.as_ref()].concat());
        assert_eq!(header.field.as_deref(), Some("file"));
        header.file_name
    }

    #[test]
    fn file_names_are_read_in_every_encoding() {
        for (parameter, name) in [
            (r#"filename="song.mp3""#, "song.mp3"),
            (r#"filename=song.mp3"#, "song.mp3"),
            (r#"FileName = "song.mp3""#, "song.mp3"),
            (r#"filename=my song.mp3 ; size=3"#, "my song.mp3"),
            (r#"filename="naïve – 音楽.mp3""#, "naïve – 音楽.mp3"),
            (r#"filename="a; name=b.mp3""#, "a; name=b.mp3"),
            // Quotes of browsers, of older clients, and of those that escape nothing.
            (r#"filename="a%22b.mp3""#, "a\"b.mp3"),
            (r#"filename="a%0D%0ab.mp3""#, "a\r\nb.mp3"),
            (r#"filename="100%25 %41 %2.mp3""#, "100%25 %41 %2.mp3"),
            (r#"filename="a\"b.mp3""#, "a\"b.mp3"),
            (r#"filename="the "best" of.mp3"; size=3"#, "the \"best\" of.mp3"),
            (r#"filename="song.mp3"#, "song.mp3"),
            // Paths.
            (r#"filename="C:\Music\song.mp3""#, "song.mp3"),
            (r#"filename="C:\\Music\\song.mp3""#, "song.mp3"),
            (r#"filename="\\server\share\song.mp3""#, "song.mp3"),
            (r#"filename="../../etc/passwd""#, "passwd"),
            // RFC 8187.
            (r#"filename*=UTF-8''na%C3%AFve%20song.mp3"#, "naïve song.mp3"),
            (r#"filename*=utf-8'en'a%22b.mp3; filename="plain.mp3""#, "a\"b.mp3"),
            (r#"filename="plain.mp3"; filename*=UTF-8''%E9%9F%B3.mp3"#, "音.mp3"),
            (r#"filename*=iso-8859-1''caf%E9.mp3"#, "café.mp3"),
            (r#"filename*="UTF-8''caf%C3%A9.mp3""#, "café.mp3"),
            (r#"filename*=UTF-8''..%2F..%5Csong.mp3"#, "song.mp3"),
            (r#"filename="plain.mp3"; filename*=UTF-8''%E9.mp3"#, "plain.mp3"),
            (r#"filename="plain.mp3"; filename*=UTF-8''%4"#, "plain.mp3"),
            (r#"filename="plain.mp3"; filename*=nothing''a.mp3"#, "plain.mp3"),
            (r#"filename="plain.mp3"; filename*=a.mp3"#, "plain.mp3"),
            // RFC 2047.
            (r#"filename="=?UTF-8?B?bmHDr3ZlLm1wMw==?=""#, "naïve.mp3"),
            (r#"filename="=?iso-8859-1?Q?caf=E9.mp3?=""#, "café.mp3"),
        ] {
            assert_eq!(file_name(parameter).as_deref(), Some(name), "{parameter}");
        }
        assert_eq!(file_name(b"filename=\"caf\xe9 \x96 don\x92t.mp3\"").as_deref(), Some("café – don’t.mp3"));
        for parameter in ["", "filename=\"\"", "filename=", "filename", "filename=\"a/\"", "size=3", "xfilename=a"] {
            assert_eq!(file_name(parameter), None, "{parameter}");
        }
    }

    #[test]
    fn field_names_are_read() {
        for (value, field) in [
            (r#"form-data; name="title""#, Some("title")),
            (r#"form-data; name=title"#, Some("title")),
            (r#"form-data;NAME="title""#, Some("title")),
            (r#"form-data; filename="name=x; name=y"; name="file""#, Some("file")),
            (r#"form-data; name="my\"field""#, Some("my\"field")),
            (r#"form-data; name="""#, Some("")),
            ("form-data", None),
            ("form-data;", None),
            (r#"form-data; filename="name""#, None),
        ] {
            assert_eq!(PartHeader::parse(value.as_bytes()).field.as_deref(), field, "{value}");
        }
        assert_eq!(PartHeader::parse(b""), PartHeader::default());
    }
}
