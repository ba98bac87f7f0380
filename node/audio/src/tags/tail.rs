//! Tags at the end of a file: APEv2 ("APE Tags Specification", version 2.0) and ID3v1.
//!
//! An ID3v1 tag is the last 128 bytes. An APE tag precedes it, or precedes a Lyrics3 tag between them, and is found by
//! its footer. An APE tag may also begin a file, where its header is found.

use std::io;

use super::draft::{Draft, Field};
use super::genre;
use super::input::Input;
use super::picture::Pictures;
use super::text::{latin, unlabelled, until_nul};

/// The length of an ID3v1 tag, in bytes.
const ID3V1: u64 = 128;
/// The length of an APE tag's header, and of its footer, in bytes.
const APE: u64 = 32;
/// The largest number of items of an APE tag that are read.
const MAX_ITEMS: u32 = 1_000;
/// The longest name of an APE item.
const MAX_NAME: u64 = 255;

/// Reads the tags at the end of the file, the one with the higher priority first. `id3v1` says whether the file may
/// have an ID3v1 tag, whose three letters also occur in sound.
pub(super) fn read(input: &mut Input<'_>, id3v1: bool, pictures: &mut Pictures) -> io::Result<[Draft; 2]> {
    let mut end = input.length();
    let mut drafts = [Draft::default(), Draft::default()];
    if id3v1
        && let Some(at) = end.checked_sub(ID3V1)
        && let Some(tag) = input.array::<128>(at)?
        && tag.starts_with(b"TAG")
        // A tag that begins with "APETAGEX" may have the letters "TAG" at this place.
        && input.read(at.saturating_sub(3), 3)? != b"APE"
    {
        drafts[1] = self::id3v1(&tag);
        end = at;
    }
    end = before_lyrics(input, end)?;
    if let Some(at) = end.checked_sub(APE)
        && let Some(footer) = ape_header(input, at)?
    {
        let begin = (at + APE).saturating_sub(footer.size);
        drafts[0] = ape_items(input, begin, at, footer.items, pictures)?;
    }
    Ok(drafts)
}

fn id3v1(tag: &[u8; 128]) -> Draft {
    let mut draft = Draft::default();
    let mut add = |field, bytes: &[u8]| draft.add(field, &latin(until_nul(bytes)));
    add(Field::Title, &tag[3..33]);
    add(Field::Artist, &tag[33..63]);
    add(Field::Album, &tag[63..93]);
    add(Field::Year, &tag[93..97]);
    // ID3v1.1: a NUL ends the comment before its last byte, which then is the track.
    if let [0, track] = tag[125..127] {
        draft.add(Field::Track, &track.to_string());
    }
    if let Some(name) = genre::named(usize::from(tag[127])) {
        draft.add(Field::Genre, name);
    }
    draft
}

/// The position of a Lyrics3 tag that ends at `end`, or `end` (id3.org, "Lyrics3 v2.00").
fn before_lyrics(input: &mut Input<'_>, end: u64) -> io::Result<u64> {
    let Some(at) = end.checked_sub(15) else { return Ok(end) };
    let Some(ending) = input.array::<15>(at)? else { return Ok(end) };
    let size = ending.strip_suffix(b"LYRICS200").and_then(|size| std::str::from_utf8(size).ok()?.parse::<u64>().ok());
    Ok(size.and_then(|size| at.checked_sub(size)).unwrap_or(end))
}

struct ApeHeader {
    /// The bytes of all items and the footer.
    size: u64,
    items: u32,
}

/// The header or footer of an APE tag at `at`, if there is one.
fn ape_header(input: &mut Input<'_>, at: u64) -> io::Result<Option<ApeHeader>> {
    let Some(header) = input.array::<20>(at)? else { return Ok(None) };
    let [b'A', b'P', b'E', b'T', b'A', b'G', b'E', b'X', _, _, _, _, s0, s1, s2, s3, i0, i1, i2, i3] = header else {
        return Ok(None);
    };
    let size = u64::from(u32::from_le_bytes([s0, s1, s2, s3]));
    Ok((size >= APE).then(|| ApeHeader { size, items: u32::from_le_bytes([i0, i1, i2, i3]) }))
}

/// The end of the APE tag that begins at `at`.
pub(super) fn leading_ape_end(input: &mut Input<'_>, at: u64) -> io::Result<Option<u64>> {
    Ok(ape_header(input, at)?.map(|header| at + APE + header.size))
}

/// Reads the APE tag that begins at `at`.
pub(super) fn leading_ape(input: &mut Input<'_>, at: u64, pictures: &mut Pictures) -> io::Result<Draft> {
    let Some(header) = ape_header(input, at)? else { return Ok(Draft::default()) };
    ape_items(input, at + APE, at + header.size, header.items, pictures)
}

fn ape_items(input: &mut Input<'_>, mut at: u64, end: u64, count: u32, pictures: &mut Pictures) -> io::Result<Draft> {
    let mut draft = Draft::default();
    for _ in 0..count.min(MAX_ITEMS) {
        let head = input.read(at, (8 + MAX_NAME + 1).min(end.saturating_sub(at)))?;
        let Some(([s0, s1, s2, s3, flags, _, _, _], rest)) = head.split_first_chunk::<8>() else { break };
        let Some(name) = rest.iter().position(|byte| *byte == 0).map(|nul| &rest[..nul]) else { break };
        let size = u64::from(u32::from_le_bytes([*s0, *s1, *s2, *s3]));
        let value = at + 8 + name.len() as u64 + 1;
        if value.saturating_add(size) > end {
            break;
        }
        at = value + size;
        let name = unlabelled(name);
        // Bits 1 and 2 distinguish texts from binary data and links.
        match flags >> 1 & 3 {
            0 => {
                if let Some(field) = Field::named(&name) {
                    let text = input.text(value, size)?;
                    text.split(|byte| *byte == 0).for_each(|text| draft.add(field, &unlabelled(text)));
                }
            }
            1 if name.to_ascii_lowercase().starts_with("cover art") => {
                if let Some(item) = pictures.read(input, value, size)? {
                    // The name of a file precedes its bytes.
                    let picture = item.iter().position(|byte| *byte == 0).map(|nul| &item[nul + 1..]);
                    pictures.offer(name.eq_ignore_ascii_case("cover art (front)"), picture.unwrap_or_default());
                }
            }
            _ => {}
        }
    }
    Ok(draft)
}
