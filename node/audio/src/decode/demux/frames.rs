//! Streams without a container: a sequence of frames whose headers hold their lengths.

use std::io;

use super::window::Window;

/// The number of bytes that are searched at a time.
const STEP: usize = 1 << 14;

/// The header of a frame.
pub(super) trait FrameHeader: Copy {
    /// The smallest length of a header in bytes.
    const LENGTH: usize;

    /// Parses the header at the beginning of these bytes.
    fn read(bytes: &[u8]) -> Option<Self>;

    /// Whether the other frame can belong to the same stream.
    fn continues(&self, other: &Self) -> bool;

    /// The length of the whole frame in bytes; never 0.
    fn length(&self) -> u64;
}

/// The header at `at`, if a frame begins there.
pub(super) fn header_at<H: FrameHeader>(window: &mut Window, at: u64, end: u64) -> io::Result<Option<H>> {
    if at + H::LENGTH as u64 > end {
        return Ok(None);
    }
    Ok(H::read(window.get(at, H::LENGTH)?))
}

/// Whether `count` frames of one stream follow each other from `at` on, or fewer that end exactly at the file's end.
pub(super) fn is_chain<H: FrameHeader>(
    window: &mut Window,
    mut at: u64,
    end: u64,
    first: &H,
    count: usize,
) -> io::Result<bool> {
    for _ in 0..count {
        match header_at::<H>(window, at, end)? {
            Some(header) if first.continues(&header) => at += header.length(),
            _ => return Ok(at == end),
        }
    }
    Ok(true)
}

/// Searches for `count` consecutive frames that begin between `from` and `to` with a `wanted` header.
pub(super) fn search<H: FrameHeader>(
    window: &mut Window,
    mut from: u64,
    to: u64,
    end: u64,
    count: usize,
    wanted: &dyn Fn(&H) -> bool,
) -> io::Result<Option<(u64, H)>> {
    while from < to {
        let bytes = window.get(from, STEP + H::LENGTH)?;
        let length = bytes.len();
        // Every synchronisation word begins with eight set bits.
        let candidates: Vec<u64> = bytes
            .windows(H::LENGTH)
            .zip(from..to)
            .take(STEP)
            .filter(|(bytes, _)| bytes[0] == 0xff && H::read(bytes).is_some_and(|header| wanted(&header)))
            .map(|(_, at)| at)
            .collect();
        for at in candidates {
            if let Some(header) = header_at::<H>(window, at, end)?
                && is_chain(window, at, end, &header, count)?
            {
                return Ok(Some((at, header)));
            }
        }
        if length <= H::LENGTH {
            break;
        }
        from += (length - H::LENGTH).clamp(1, STEP) as u64;
    }
    Ok(None)
}

/// Finds the first frame: at `begin`, or the first of `count` consecutive frames that begin before `to`.
pub(super) fn first<H: FrameHeader>(
    window: &mut Window,
    begin: u64,
    to: u64,
    end: u64,
    count: usize,
) -> io::Result<Option<(u64, H)>> {
    if let Some(header) = header_at::<H>(window, begin, end)?
        && is_chain(window, begin, end, &header, 2)?
    {
        return Ok(Some((begin, header)));
    }
    search(window, begin, to.min(end), end, count, &|_| true)
}
