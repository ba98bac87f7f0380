//! Tags at the beginning of an MP3: ID3v2.4 in UTF-8 (id3.org, "ID3 tag version 2.4.0").

use crate::tags::Tags;

/// The tag's bytes; none if there are no tags.
pub(super) fn tag(tags: &Tags) -> Vec<u8> {
    let mut frames = Vec::new();
    for (name, value) in [
        (b"TIT2", &tags.title),
        (b"TPE1", &tags.artist),
        (b"TALB", &tags.album),
        (b"TRCK", &tags.track),
        (b"TDRC", &tags.year),
        (b"TCON", &tags.genre),
    ] {
        if let Some(value) = value {
            frame(&mut frames, name, value);
        }
    }
    if let Some(stem) = &tags.stem {
        frame(&mut frames, b"TXXX", &format!("STEM\0{stem}"));
    }
    if frames.is_empty() {
        return frames;
    }
    let mut tag = b"ID3\x04\x00\x00".to_vec();
    tag.extend(syncsafe(frames.len()));
    tag.extend(frames);
    tag
}

fn frame(frames: &mut Vec<u8>, name: &[u8; 4], text: &str) {
    frames.extend(name);
    frames.extend(syncsafe(text.len() + 1));
    // No flags, and the text is UTF-8.
    frames.extend([0, 0, 3]);
    frames.extend(text.as_bytes());
}

/// A length in four bytes of seven bits, which never resemble the beginning of an MPEG frame.
fn syncsafe(length: usize) -> [u8; 4] {
    [21, 14, 7, 0].map(|shift| (length >> shift & 0x7f) as u8)
}
