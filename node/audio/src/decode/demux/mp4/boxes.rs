//! Boxes, of which the file consists.

use std::io;
use std::ops::Range;

use crate::decode::demux::window::Window;

/// The largest number of boxes that are read within one box.
const MOST_BOXES: usize = 10_000;

/// A box: its type and the range of its content.
#[derive(Debug, Clone)]
pub(super) struct Mp4Box {
    pub(super) kind: [u8; 4],
    pub(super) content: Range<u64>,
}

/// The boxes between two positions.
pub(super) fn boxes(window: &mut Window, range: Range<u64>) -> io::Result<Vec<Mp4Box>> {
    let (mut at, mut found) = (range.start, Vec::new());
    while found.len() < MOST_BOXES && at + 8 <= range.end {
        let Some([a, b, c, d, e, f, g, h]) = window.array::<8>(at)? else { break };
        let (size, header) = match u32::from_be_bytes([a, b, c, d]) {
            0 => (range.end - at, 8),
            1 => (window.array(at + 8)?.map_or(0, u64::from_be_bytes), 16),
            size => (u64::from(size), 8),
        };
        if size < header {
            break;
        }
        let end = at.saturating_add(size);
        found.push(Mp4Box { kind: [e, f, g, h], content: at + header..end });
        at = end;
    }
    Ok(found)
}

/// The first box on this path of types within `range`.
pub(super) fn descend(window: &mut Window, range: Range<u64>, path: &[[u8; 4]]) -> io::Result<Option<Range<u64>>> {
    let mut range = range;
    for kind in path {
        match boxes(window, range)?.into_iter().find(|atom| atom.kind == *kind) {
            Some(atom) => range = atom.content,
            None => return Ok(None),
        }
    }
    Ok(Some(range))
}

/// The big-endian number of 32 bits at `at`; 0 after the end of the file.
pub(super) fn word(window: &mut Window, at: u64) -> io::Result<u32> {
    Ok(window.array(at)?.map_or(0, u32::from_be_bytes))
}

/// The same with 64 bits.
pub(super) fn long(window: &mut Window, at: u64) -> io::Result<u64> {
    Ok(window.array(at)?.map_or(0, u64::from_be_bytes))
}
