//! The index of a file: its audio tracks and the frames of them that are kept.

use std::io;
use std::ops::Range;

use super::boxes::{boxes, descend, long, word};
use super::samples::read_shape;
use crate::decode::demux::pcm::Shape;
use crate::decode::demux::window::Window;

/// The largest number of entries of an edit list.
const MOST_EDITS: u32 = 1 << 20;

/// The content of the index.
pub(super) struct Movie {
    pub(super) timescale: u32,
    pub(super) fragmented: bool,
    /// The encoder's delay from iTunes' metadata, in frames.
    pub(super) smpb: Option<u64>,
    /// The audio tracks; enabled ones come first.
    pub(super) tracks: Vec<Sound>,
}

/// An audio track.
pub(super) struct Sound {
    pub(super) id: u32,
    pub(super) enabled: bool,
    pub(super) timescale: u32,
    /// The length of its media in its timescale.
    pub(super) duration: u64,
    pub(super) codec: [u8; 4],
    /// The position and shape of its samples, if they are uncompressed.
    pub(super) shape: Option<Shape>,
    pub(super) edits: Vec<Edit>,
    /// The sample table.
    pub(super) table: Range<u64>,
    /// The number of tracks of other kinds in the file.
    pub(super) others: usize,
}

/// An entry of an edit list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Edit {
    /// In the movie's timescale; 0 means up to the end.
    pub(super) duration: u64,
    /// In the media's timescale; negative means an empty edit.
    pub(super) start: i64,
}

impl Movie {
    /// Reads the index in a `moov` box.
    pub(super) fn read(&mut self, window: &mut Window, moov: Range<u64>) -> io::Result<()> {
        let mut others = 0;
        for atom in boxes(window, moov)? {
            match &atom.kind {
                b"mvhd" => {
                    let version = window.array::<1>(atom.content.start)?.unwrap_or_default();
                    let at = atom.content.start + if version == [1] { 20 } else { 12 };
                    self.timescale = word(window, at)?;
                }
                b"mvex" => self.fragmented = true,
                b"trak" => match read_sound(window, atom.content)? {
                    Some(sound) => self.tracks.push(sound),
                    None => others += 1,
                },
                b"udta" => self.smpb = read_smpb(window, atom.content)?,
                _ => {}
            }
        }
        self.tracks.sort_by_key(|sound| !sound.enabled);
        self.tracks.iter_mut().for_each(|sound| sound.others = others);
        Ok(())
    }

    /// Whether the file has tracks other than audio.
    pub(super) fn has_video(&self) -> bool {
        self.tracks.iter().any(|sound| sound.others > 0)
    }

    /// The frames of a track that are kept, in its timescale, in the order of playback. `total` is its length if that
    /// is known exactly.
    pub(super) fn keep(&self, sound: &Sound, total: Option<u64>) -> Vec<Range<u64>> {
        let total = total.unwrap_or(sound.duration);
        // The unit of an edit's length, in units of the media.
        let unit = u64::from(sound.timescale).div_ceil(u64::from(self.timescale.max(1)));
        let length = |duration: u64| {
            let media = u128::from(duration) * u128::from(sound.timescale);
            u64::try_from(media / u128::from(self.timescale.max(1))).unwrap_or(u64::MAX)
        };
        let mut keep: Vec<Range<u64>> = Vec::new();
        for edit in &sound.edits {
            // An empty edit delays the track against a picture; a song begins with its first sample.
            let Ok(start) = u64::try_from(edit.start) else { continue };
            let end = match edit.duration {
                0 => u64::MAX,
                duration => start.saturating_add(length(duration)),
            };
            // An edit that ends at the media's end, except for rounding, ends with it. The index of a fragmented file
            // does not hold its end.
            let end = match end {
                _ if self.fragmented && sound.edits.iter().filter(|edit| edit.start >= 0).count() == 1 => u64::MAX,
                end if end.abs_diff(total) <= unit => total,
                end => end,
            };
            if start < end {
                keep.push(start..end);
            }
        }
        if keep.is_empty() {
            keep.push(self.smpb.unwrap_or(0)..u64::MAX);
        }
        keep
    }
}

fn read_sound(window: &mut Window, trak: Range<u64>) -> io::Result<Option<Sound>> {
    let Some(handler) = descend(window, trak.clone(), &[*b"mdia", *b"hdlr"])? else { return Ok(None) };
    if window.array(handler.start + 8)? != Some(*b"soun") {
        return Ok(None);
    }
    let (mut id, mut enabled) = (0, true);
    if let Some(header) = descend(window, trak.clone(), &[*b"tkhd"])? {
        let [version, _, _, flags] = window.array(header.start)?.unwrap_or_default();
        enabled = flags & 1 == 1;
        id = word(window, header.start + if version == 1 { 20 } else { 12 })?;
    }
    let (mut timescale, mut duration) = (0, 0);
    if let Some(header) = descend(window, trak.clone(), &[*b"mdia", *b"mdhd"])? {
        let [version] = window.array(header.start)?.unwrap_or_default();
        let at = header.start;
        (timescale, duration) = match version {
            1 => (word(window, at + 20)?, long(window, at + 24)?),
            _ => (word(window, at + 12)?, u64::from(word(window, at + 16)?)),
        };
    }
    let edits = match descend(window, trak.clone(), &[*b"edts", *b"elst"])? {
        Some(list) => read_edits(window, list)?,
        None => Vec::new(),
    };
    let Some(table) = descend(window, trak, &[*b"mdia", *b"minf", *b"stbl"])? else { return Ok(None) };
    let (mut codec, mut shape) = (*b"    ", None);
    if let Some(description) = descend(window, table.clone(), &[*b"stsd"])?
        && let Some(entry) = boxes(window, description.start + 8..description.end)?.into_iter().next()
    {
        codec = entry.kind;
        shape = read_shape(window, &entry)?;
    }
    Ok(Some(Sound { id, enabled, timescale, duration, codec, shape, edits, table, others: 0 }))
}

fn read_edits(window: &mut Window, list: Range<u64>) -> io::Result<Vec<Edit>> {
    let [version] = window.array(list.start)?.unwrap_or_default();
    let count = word(window, list.start + 4)?.min(MOST_EDITS);
    let (mut at, mut edits) = (list.start + 8, Vec::new());
    for _ in 0..count {
        let size = if version == 1 { 20 } else { 12 };
        if at + size > list.end {
            break;
        }
        edits.push(match version {
            1 => Edit { duration: long(window, at)?, start: long(window, at + 8)? as i64 },
            _ => Edit { duration: u64::from(word(window, at)?), start: i64::from(word(window, at + 4)? as i32) },
        });
        at += size;
    }
    Ok(edits)
}

/// iTunes' delay of the encoder: the number after the zero in the text "iTunSMPB".
fn read_smpb(window: &mut Window, udta: Range<u64>) -> io::Result<Option<u64>> {
    let Some(meta) = descend(window, udta, &[*b"meta"])? else { return Ok(None) };
    let Some(list) = descend(window, meta.start + 4..meta.end, &[*b"ilst"])? else { return Ok(None) };
    for item in boxes(window, list)?.into_iter().filter(|item| item.kind == *b"----") {
        let (mut named, mut text) = (false, None);
        for part in boxes(window, item.content)? {
            let length = usize::try_from(part.content.end - part.content.start).unwrap_or(usize::MAX).min(256);
            let bytes = window.get(part.content.start, length)?;
            match &part.kind {
                b"name" => named = bytes.get(4..) == Some(b"iTunSMPB"),
                b"data" => text = bytes.get(8..).map(|text| String::from_utf8_lossy(text).into_owned()),
                _ => {}
            }
        }
        if named && let Some(delay) = text.as_deref().and_then(|text| text.split_ascii_whitespace().nth(1)) {
            return Ok(u64::from_str_radix(delay, 16).ok().filter(|delay| *delay < 1 << 16));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::demux::only;

    fn sound(edits: &[Edit]) -> Sound {
        Sound {
            id: 1,
            enabled: true,
            timescale: 44_100,
            duration: 441_000,
            codec: *b"mp4a",
            shape: None,
            edits: edits.to_vec(),
            table: 0..0,
            others: 0,
        }
    }

    fn keep(edits: &[Edit]) -> Vec<Range<u64>> {
        Movie { timescale: 1000, fragmented: false, smpb: Some(2112), tracks: Vec::new() }.keep(&sound(edits), None)
    }

    #[test]
    fn edits_select_the_kept_frames() {
        let edit = |duration, start| Edit { duration, start };
        // The encoder's delay, up to the end except for rounding.
        assert_eq!(keep(&[edit(9_977, 1024)]), only(1024..441_000));
        // A trim at both ends.
        assert_eq!(keep(&[edit(2_000, 44_100)]), only(44_100..132_300));
        // Silence before the song is dropped.
        assert_eq!(keep(&[edit(500, -1), edit(0, 1024)]), only(1024..u64::MAX));
        // Two parts, in their order.
        assert_eq!(keep(&[edit(1_000, 88_200), edit(1_000, 0)]), [88_200..132_300, 0..44_100]);
        // Without a list, iTunes' delay applies.
        assert_eq!(keep(&[]), only(2112..u64::MAX));
    }
}
