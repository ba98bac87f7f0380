//! Chunks of WAV and AIFF files: ID3 tags, the INFO list of WAV (Microsoft, "Multimedia Programming Interface and Data
//! Specifications 1.0", 1991) and the text chunks of AIFF (Apple, "Audio Interchange File Format", version 1.3).
//!
//! A chunk that is longer than the file ends the reading without an error; the decoder checks whether a file is
//! complete.

use std::io;

use super::draft::{Draft, Field};
use super::id3v2;
use super::input::Input;
use super::picture::Pictures;
use super::text::{unlabelled, until_nul};
use crate::decode::DecodeError;

/// The largest number of chunks of a file, or of a list, that are read.
const MAX_CHUNKS: usize = 1_000;

/// Reads the tags of the WAV file that begins at `at`. An ID3 tag has priority over the list.
pub(super) fn wav(input: &mut Input<'_>, mut at: u64, pictures: &mut Pictures) -> Result<Draft, DecodeError> {
    let (mut id3, mut info) = (Draft::default(), Draft::default());
    let length = input.length();
    at += 12;
    // The length of the samples in an RF64 file.
    let mut long = None;
    for _ in 0..MAX_CHUNKS {
        let Some([n0, n1, n2, n3, size @ ..]) = input.array::<8>(at)? else { break };
        at += 8;
        let name = [n0, n1, n2, n3];
        let mut size = u64::from(u32::from_le_bytes(size));
        match &name {
            b"ds64" if size >= 16 => long = input.array(at + 8)?.map(u64::from_le_bytes),
            b"data" if size == u64::from(u32::MAX) => size = long.unwrap_or(size),
            b"LIST" if size >= 4 && input.array(at)? == Some(*b"INFO") => {
                list(input, at + 4, length.min(at + size), &mut info)?;
            }
            b"id3 " | b"ID3 " => id3.complete_by(id3v2::read(input, at, length.min(at + size), pictures)?),
            _ => {}
        }
        let Some(next) = at.checked_add(size).and_then(|next| next.checked_add(size % 2)) else { break };
        at = next;
    }
    id3.complete_by(info);
    Ok(id3)
}

fn list(input: &mut Input<'_>, mut at: u64, end: u64, draft: &mut Draft) -> io::Result<()> {
    for _ in 0..MAX_CHUNKS {
        let Some([n0, n1, n2, n3, size @ ..]) = input.array::<8>(at)? else { break };
        at += 8;
        if at > end {
            break;
        }
        let size = u64::from(u32::from_le_bytes(size));
        let field = match &[n0, n1, n2, n3] {
            b"INAM" => Some(Field::Title),
            b"IART" => Some(Field::Artist),
            b"IPRD" => Some(Field::Album),
            b"IPRT" | b"ITRK" => Some(Field::Track),
            b"ICRD" => Some(Field::Year),
            b"IGNR" => Some(Field::Genre),
            b"ISBJ" => Some(Field::Stem),
            _ => None,
        };
        if let Some(field) = field {
            let text = input.text(at, size.min(end - at))?;
            draft.add(field, &unlabelled(until_nul(&text)));
        }
        at += size + size % 2;
    }
    Ok(())
}

/// Reads the tags of the AIFF file that begins at `at`. An ID3 tag has priority over the text chunks.
pub(super) fn aiff(input: &mut Input<'_>, mut at: u64, pictures: &mut Pictures) -> Result<Draft, DecodeError> {
    let (mut id3, mut texts) = (Draft::default(), Draft::default());
    let length = input.length();
    at += 12;
    for _ in 0..MAX_CHUNKS {
        let Some([n0, n1, n2, n3, size @ ..]) = input.array::<8>(at)? else { break };
        at += 8;
        let size = u64::from(u32::from_be_bytes(size));
        match &[n0, n1, n2, n3] {
            b"NAME" => texts.add(Field::Title, &unlabelled(until_nul(&input.text(at, size)?))),
            b"AUTH" => texts.add(Field::Artist, &unlabelled(until_nul(&input.text(at, size)?))),
            b"id3 " | b"ID3 " => id3.complete_by(id3v2::read(input, at, length.min(at + size), pictures)?),
            _ => {}
        }
        at += size + size % 2;
    }
    id3.complete_by(texts);
    Ok(id3)
}
