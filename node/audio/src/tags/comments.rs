//! Vorbis comments ("Ogg Vorbis I format specification: comment field and header specification"), in FLAC files (RFC
//! 9639, section 8) and in Ogg streams of Vorbis, Opus (RFC 7845, section 5.2), FLAC (RFC 9639, section 10.1) and Speex.

use std::collections::BTreeMap;
use std::io;

use super::MAX_COVER;
use super::draft::{Draft, Field};
use super::input::{Input, MAX_VALUE};
use super::picture::Pictures;
use super::text::unlabelled;

/// The largest number of comments that are read.
const MAX_COMMENTS: u32 = 10_000;
/// The largest number of blocks of a FLAC file, or of packets of an Ogg stream, that are read.
const MAX_BLOCKS: u32 = 1_000;
/// The largest number of pages of an Ogg file that are read.
const MAX_PAGES: u32 = 2_000;
/// The largest number of logical streams of an Ogg file that are read.
const MAX_STREAMS: usize = 16;
/// The largest size of the comments that are read, in bytes: a cover in base64 and other comments.
const MAX_PACKET: u64 = MAX_COVER as u64 / 3 * 4 + (1 << 20);

/// FLAC's metadata blocks.
const COMMENTS: u8 = 4;
const PICTURE: u8 = 6;

/// Reads the comments in `bytes`. Truncated or damaged bytes end the reading.
fn read_comments(bytes: &[u8], draft: &mut Draft, pictures: &mut Pictures) {
    let mut rest = bytes;
    let Some(_vendor) = take(&mut rest) else { return };
    let Some((count, behind)) = rest.split_first_chunk() else { return };
    rest = behind;
    for _ in 0..u32::from_le_bytes(*count).min(MAX_COMMENTS) {
        let Some(comment) = take(&mut rest) else { return };
        let Some(equals) = comment.iter().position(|byte| *byte == b'=') else { continue };
        let (name, value) = (unlabelled(&comment[..equals]), &comment[equals + 1..]);
        if name.eq_ignore_ascii_case("METADATA_BLOCK_PICTURE") {
            if pictures.allow(value.len() as u64 / 4 * 3) {
                pictures.offer_encoded_block(value);
            }
        } else if let Some(field) = Field::named(&name) {
            let value = &value[..value.len().min(MAX_VALUE as usize)];
            draft.add(field, &unlabelled(value));
        }
    }
}

/// Takes bytes that follow their length.
fn take<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, behind) = rest.split_first_chunk()?;
    let (taken, behind) = behind.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    *rest = behind;
    Some(taken)
}

/// Reads the blocks of the FLAC file that begins at `at`.
pub(super) fn flac(input: &mut Input<'_>, at: u64, pictures: &mut Pictures) -> io::Result<Draft> {
    let mut draft = Draft::default();
    let mut at = at + 4;
    for _ in 0..MAX_BLOCKS {
        let Some([kind, a, b, c]) = input.array(at)? else { break };
        let size = u64::from(u32::from_be_bytes([0, a, b, c]));
        match kind & 0x7f {
            COMMENTS => read_comments(&input.read(at + 4, size.min(MAX_PACKET))?, &mut draft, pictures),
            PICTURE => {
                if let Some(block) = pictures.read(input, at + 4, size)? {
                    pictures.offer_block(&block);
                }
            }
            // Not a block, but sound.
            0x7f => break,
            _ => {}
        }
        if kind & 0x80 != 0 {
            break;
        }
        at += 4 + size;
    }
    Ok(draft)
}

/// The packets of a logical stream that hold comments.
#[derive(Clone, Copy)]
enum CommentCodec {
    Vorbis,
    Opus,
    Flac,
    Speex,
}

impl CommentCodec {
    /// The codec of the stream that begins with this packet, if it is a codec of sound.
    fn of(packet: &[u8]) -> Option<Self> {
        match packet {
            [0x01, b'v', b'o', b'r', b'b', b'i', b's', ..] => Some(Self::Vorbis),
            [b'O', b'p', b'u', b's', b'H', b'e', b'a', b'd', ..] => Some(Self::Opus),
            [0x7f, b'F', b'L', b'A', b'C', ..] => Some(Self::Flac),
            [b'S', b'p', b'e', b'e', b'x', b' ', ..] => Some(Self::Speex),
            _ => None,
        }
    }

    /// Reads the `index`th packet, which may be cut off. Returns whether a further one may hold comments.
    fn read(self, index: u32, packet: &[u8], draft: &mut Draft, pictures: &mut Pictures) -> bool {
        let comments = match self {
            Self::Flac => {
                let Some(([kind, ..], block)) = packet.split_first_chunk::<4>() else { return false };
                match kind & 0x7f {
                    COMMENTS => read_comments(block, draft, pictures),
                    PICTURE if pictures.allow(block.len() as u64) => pictures.offer_block(block),
                    _ => {}
                }
                return kind & 0x80 == 0 && index < MAX_BLOCKS;
            }
            Self::Vorbis => packet.strip_prefix(b"\x03vorbis"),
            Self::Opus => packet.strip_prefix(b"OpusTags"),
            Self::Speex => Some(packet),
        };
        read_comments(comments.unwrap_or_default(), draft, pictures);
        false
    }
}

/// Reads the comments of the first logical stream with sound in the Ogg file that begins at `at` (RFC 3533).
pub(super) fn ogg(input: &mut Input<'_>, mut at: u64, pictures: &mut Pictures) -> io::Result<Draft> {
    let mut draft = Draft::default();
    // The first packet of every stream is on its own page, before all others.
    let mut streams = BTreeMap::new();
    let (mut packet, mut index) = (Vec::new(), 1);
    for _ in 0..MAX_PAGES {
        let Some(page) = input.array::<27>(at)?.filter(|page| page.starts_with(b"OggS")) else { break };
        let [.., s0, s1, s2, s3, _, _, _, _, _, _, _, _, segments] = page;
        let lengths = input.read(at + 27, u64::from(segments))?;
        let mut position = at + 27 + u64::from(segments);
        at = position + lengths.iter().map(|length| u64::from(*length)).sum::<u64>();
        let serial = [s0, s1, s2, s3];
        if page[5] & 0x02 != 0 {
            if streams.len() < MAX_STREAMS {
                streams.insert(serial, CommentCodec::of(&input.read(position, 8)?));
            }
            continue;
        }
        let first = streams.iter().find_map(|(serial, codec)| codec.map(|codec| (*serial, codec)));
        let Some((_, codec)) = first.filter(|(first, _)| *first == serial) else { continue };
        // A segment shorter than 255 bytes ends its packet.
        for lengths in lengths.split_inclusive(|length| *length < 255) {
            let size = lengths.iter().map(|length| u64::from(*length)).sum::<u64>();
            let room = MAX_PACKET - (packet.len() as u64).min(MAX_PACKET);
            packet.extend(input.read(position, size.min(room))?);
            position += size;
            if lengths.last().is_some_and(|length| *length < 255) || size > room {
                if !codec.read(index, &packet, &mut draft, pictures) {
                    return Ok(draft);
                }
                packet.clear();
                index += 1;
            }
        }
    }
    Ok(draft)
}
