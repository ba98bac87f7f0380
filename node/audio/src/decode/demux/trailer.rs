//! Tags after the sound: ID3v1, APEv2, Lyrics3v2 and ID3v2 with a footer.

use std::io;

use super::window::Window;

/// The largest number of consecutive tags.
const MOST: usize = 8;

/// The position before all tags that end at `end`.
pub(super) fn cut(window: &mut Window, begin: u64, mut end: u64) -> io::Result<u64> {
    for _ in 0..MOST {
        let Some(length) = length(window, end)?.filter(|length| *length <= end - begin) else { break };
        end -= length;
    }
    Ok(end)
}

/// The length of the tag that ends at `end`, if there is one.
fn length(window: &mut Window, end: u64) -> io::Result<Option<u64>> {
    if let Some(at) = end.checked_sub(128)
        && window.array(at)? == Some(*b"TAG")
    {
        return Ok(Some(128));
    }
    // APE tag items and header (wiki.hydrogenaud.io, APEv2 specification): the size counts items and footer.
    if let Some(at) = end.checked_sub(32)
        && let Some([b'A', b'P', b'E', b'T', b'A', b'G', b'E', b'X', footer @ ..]) = window.array::<32>(at)?
    {
        let word =
            |at: usize| u64::from(u32::from_le_bytes([footer[at], footer[at + 1], footer[at + 2], footer[at + 3]]));
        let header = if word(12) & 0x8000_0000 != 0 { 32 } else { 0 };
        return Ok(Some(word(4).max(32) + header));
    }
    // Lyrics3 v2.00 (id3.org): six digits with the length of everything before them, then the end marker.
    if let Some(at) = end.checked_sub(15)
        && let Some(tail) = window.array::<15>(at)?
        && &tail[6..] == b"LYRICS200"
        && let Some(size) = std::str::from_utf8(&tail[..6]).ok().and_then(|digits| digits.parse::<u64>().ok())
    {
        return Ok(Some(size + 15));
    }
    if let Some(at) = end.checked_sub(10)
        && let Some([b'3', b'D', b'I', _, _, _, size @ ..]) = window.array::<10>(at)?
        && size.iter().all(|byte| *byte <= 0x7f)
    {
        return Ok(Some(20 + size.iter().fold(0, |size, byte| size << 7 | u64::from(*byte))));
    }
    Ok(None)
}
