//! The lengths of ID3v2 tags, which are skipped (id3.org, ID3v2.4.0 main structure, section 3.1).

use std::io;

use super::window::Window;

/// The largest number of consecutive tags.
const MOST: usize = 16;

/// The position after all ID3v2 tags that begin at `at`.
pub(super) fn skip(window: &mut Window, mut at: u64) -> io::Result<u64> {
    for _ in 0..MOST {
        match length(window, at)? {
            Some(length) if at + length < window.end() => at += length,
            _ => break,
        }
    }
    Ok(at)
}

/// The length of the tag at `at`, if there is one.
pub(super) fn length(window: &mut Window, at: u64) -> io::Result<Option<u64>> {
    let Some([b'I', b'D', b'3', major, minor, flags, size @ ..]) = window.array::<10>(at)? else {
        return Ok(None);
    };
    if major == 0xff || minor == 0xff || size.iter().any(|byte| *byte > 0x7f) {
        return Ok(None);
    }
    let body = size.iter().fold(0, |size, byte| size << 7 | u64::from(*byte));
    let footer = if flags & 0x10 != 0 { 10 } else { 0 };
    Ok(Some(10 + body + footer))
}
