//! Data of Matroska (RFC 9559) that Symphonia ignores: the delay of codecs, the padding at the end, and whether the
//! file is complete.

use std::io;
use std::ops::Range;

use super::window::Window;

/// The largest number of elements that are read within one element.
const MOST_ELEMENTS: usize = 1 << 20;

const SEGMENT: u32 = 0x1853_8067;
const TRACKS: u32 = 0x1654_ae6b;
const TRACK_ENTRY: u32 = 0xae;
const TRACK_NUMBER: u32 = 0xd7;
const CODEC_DELAY: u32 = 0x56aa;
const CLUSTER: u32 = 0x1f43_b675;
const BLOCK_GROUP: u32 = 0xa0;
const BLOCK: u32 = 0xa1;
const DISCARD_PADDING: u32 = 0x75a2;
const DOC_TYPE: u32 = 0x4282;

/// The result.
#[derive(Debug, Default)]
pub(super) struct MatroskaInfo {
    pub is_webm: bool,
    /// Whether the file ends before its segment does.
    pub is_cut_off: bool,
    /// Track numbers with their codec's delay, in nanoseconds.
    delays: Vec<(u64, u64)>,
    /// The track number of the last block that has padding, and the padding in nanoseconds.
    discard: Option<(u64, u64)>,
}

impl MatroskaInfo {
    /// The delay of a track's codec, in nanoseconds.
    pub(super) fn delay(&self, track: u64) -> u64 {
        self.delays.iter().find(|(number, _)| *number == track).map_or(0, |(_, delay)| *delay)
    }

    /// The padding at the end of a track, in nanoseconds.
    pub(super) fn discard(&self, track: u64) -> u64 {
        self.discard.filter(|(number, _)| *number == track).map_or(0, |(_, discard)| discard)
    }
}

/// An element: its identifier and the range of its content. The end is unknown in live recordings.
struct Element {
    id: u32,
    begin: u64,
    end: Option<u64>,
}

pub(super) fn read(window: &mut Window, begin: u64) -> io::Result<MatroskaInfo> {
    let mut head = MatroskaInfo::default();
    let end = window.end();
    for element in elements(window, begin..end)? {
        let content = element.begin..element.end.unwrap_or(end).min(end);
        if element.id == SEGMENT {
            head.is_cut_off = element.end.is_some_and(|claimed| claimed > end);
            read_segment(window, content, &mut head)?;
        } else if let Some(kind) = elements(window, content)?.iter().find(|kind| kind.id == DOC_TYPE) {
            head.is_webm = window.get(kind.begin, 4)? == b"webm";
        }
    }
    Ok(head)
}

fn read_segment(window: &mut Window, content: Range<u64>, head: &mut MatroskaInfo) -> io::Result<()> {
    let end = content.end;
    let mut last = None;
    for element in elements(window, content)? {
        let content = element.begin..element.end.unwrap_or(end).min(end);
        match element.id {
            TRACKS => {
                for entry in elements(window, content)?.into_iter().filter(|entry| entry.id == TRACK_ENTRY) {
                    let fields = elements(window, entry.begin..entry.end.unwrap_or(end).min(end))?;
                    let number = number(window, &fields, TRACK_NUMBER)?.unwrap_or(0);
                    if let Some(delay) = self::number(window, &fields, CODEC_DELAY)? {
                        head.delays.push((number, delay));
                    }
                }
            }
            CLUSTER => last = Some(content),
            _ => {}
        }
    }
    let Some(cluster) = last else { return Ok(()) };
    let groups = elements(window, cluster.clone())?;
    let Some(group) = groups.into_iter().rfind(|group| group.id == BLOCK_GROUP) else { return Ok(()) };
    let fields = elements(window, group.begin..group.end.unwrap_or(end).min(end))?;
    if let Some(discard) = number(window, &fields, DISCARD_PADDING)?
        && let Some(block) = fields.iter().find(|field| field.id == BLOCK)
        && let Some((Some(track), _)) = data_size(window.get(block.begin, 8)?)
    {
        // Padding at the beginning is negative; the delay of the codec states it too.
        head.discard = i64::try_from(discard).ok().map(|discard| (track, discard.unsigned_abs()));
    }
    Ok(())
}

/// The value of an unsigned integer among these elements.
fn number(window: &mut Window, fields: &[Element], id: u32) -> io::Result<Option<u64>> {
    let Some(field) = fields.iter().find(|field| field.id == id) else { return Ok(None) };
    let length = field.end.unwrap_or(field.begin).saturating_sub(field.begin).min(8) as usize;
    let bytes = window.get(field.begin, length)?;
    Ok(Some(bytes.iter().fold(0, |value, byte| value << 8 | u64::from(*byte))))
}

/// The elements between two positions. An element of unknown size is the last.
fn elements(window: &mut Window, range: Range<u64>) -> io::Result<Vec<Element>> {
    let (mut at, mut found) = (range.start, Vec::new());
    while at < range.end && found.len() < MOST_ELEMENTS {
        let head = window.get(at, 12)?;
        let width = head.first().map_or(9, |first| first.leading_zeros() as usize + 1);
        let Some(id) = head.get(..width).filter(|_| width <= 4) else { break };
        let id = id.iter().fold(0, |id, byte| id << 8 | u32::from(*byte));
        let Some((size, size_width)) = data_size(&head[width..]) else { break };
        let begin = at + (width + size_width) as u64;
        let end = size.map(|size| begin.saturating_add(size));
        found.push(Element { id, begin, end });
        match end {
            Some(end) => at = end,
            None => break,
        }
    }
    Ok(found)
}

/// An EBML data size (RFC 8794, section 6) and its width in bytes; the size is `None` if it is unknown.
fn data_size(bytes: &[u8]) -> Option<(Option<u64>, usize)> {
    let width = bytes.first()?.leading_zeros() as usize + 1;
    let number = bytes.get(..width.min(9)).filter(|_| width <= 8)?;
    let value = number.iter().fold(0, |value, byte| value << 8 | u64::from(*byte)) & ((1 << (7 * width)) - 1);
    Some(((value != (1 << (7 * width)) - 1).then_some(value), width))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_parsed() {
        assert_eq!(data_size(&[0x81]), Some((Some(1), 1)));
        assert_eq!(data_size(&[0x40, 0x02]), Some((Some(2), 2)));
        assert_eq!(data_size(&[0xff]), Some((None, 1)));
        assert_eq!(data_size(&[0x01, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]), Some((None, 8)));
        assert_eq!(data_size(&[0x01, 0, 0, 0, 0, 0, 1, 0]), Some((Some(256), 8)));
        assert_eq!(data_size(&[0]), None);
        assert_eq!(data_size(&[]), None);
    }
}
