//! Whether a file's end is missing, where its reader would not notice.
//!
//! Most readers know how long a file should be. Ogg's takes whatever pages there are, and MP4's finds no audio at all
//! when the index at the end is gone.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// More than an Ogg page can have (RFC 3533, section 6: 65,307 bytes).
const TAIL: u64 = 1 << 17;
/// An Ogg page's header up to its segment table.
const PAGE_HEADER: usize = 27;

/// Whether the file certainly goes on after its last byte.
pub(crate) fn is_cut_off(file: &File) -> io::Result<bool> {
    let length = file.metadata()?.len();
    let mut start = [0; 12];
    if length < start.len() as u64 {
        return Ok(false);
    }
    file.read_exact_at(&mut start, 0)?;
    if start.starts_with(b"OggS") {
        ogg(file, length)
    } else if start[4..8] == *b"ftyp" {
        mp4(file, length)
    } else {
        Ok(false)
    }
}

/// The last page must be whole.
fn ogg(file: &File, length: u64) -> io::Result<bool> {
    let from = length.saturating_sub(TAIL);
    let mut tail = vec![0; (length - from) as usize];
    file.read_exact_at(&mut tail, from)?;
    let Some(at) = tail.windows(4).rposition(|window| window == b"OggS") else {
        return Ok(false);
    };
    let page = &tail[at..];
    let Some(&segments) = page.get(PAGE_HEADER - 1) else {
        return Ok(true);
    };
    let Some(table) = page.get(PAGE_HEADER..PAGE_HEADER + usize::from(segments)) else {
        return Ok(true);
    };
    let body: usize = table.iter().copied().map(usize::from).sum();
    Ok(page.len() < PAGE_HEADER + table.len() + body)
}

/// The index, `moov`, must be there, and all boxes that hold music must be whole (ISO/IEC 14496-12, section 4.2).
fn mp4(file: &File, length: u64) -> io::Result<bool> {
    let (mut at, mut indexed) = (0u64, false);
    while at + 8 <= length {
        let mut header = [0; 16];
        let known = (length - at).min(16) as usize;
        file.read_exact_at(&mut header[..known], at)?;
        let [a, b, c, d, e, f, g, h, large @ ..] = header;
        let size = match u32::from_be_bytes([a, b, c, d]) {
            0 => length - at,
            1 => u64::from_be_bytes(large),
            size => u64::from(size),
        };
        let kind = [e, f, g, h];
        indexed |= kind == *b"moov";
        let next = at.saturating_add(size.max(8));
        if next > length && matches!(&kind, b"moov" | b"mdat" | b"moof") {
            return Ok(true);
        }
        at = next;
    }
    Ok(!indexed)
}
