//! Pictures in tags; one of them becomes the cover.

use std::io;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::general_purpose::GeneralPurpose;
use base64::engine::{DecodePaddingMode, GeneralPurposeConfig};

use super::input::Input;
use super::{Cover, MAX_COVER};

/// Base64 with or without padding, which some programs omit.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);
/// The largest size of the data before the picture in its frame, item or block: its media type and description.
const MAX_HEAD: u64 = 64 << 10;
/// The front cover among the kinds of pictures, in ID3v2 and FLAC.
pub(super) const FRONT: u32 = 3;
/// The largest total size of a file's pictures that are read, in bytes.
const MAX_PICTURES: u64 = 64 << 20;

/// The pictures of a file that may become its cover. Tags of higher priority offer theirs first.
#[derive(Default)]
pub(super) struct Pictures {
    front: Option<Cover>,
    first: Option<Cover>,
    read: u64,
}

impl Pictures {
    /// Reads `size` bytes from `at` with a picture and its description; `None` if they exceed the limit or a cover was
    /// found.
    pub(super) fn read(&mut self, input: &mut Input<'_>, at: u64, size: u64) -> io::Result<Option<Vec<u8>>> {
        if self.allow(size) { input.read(at, size).map(Some) } else { Ok(None) }
    }

    /// Whether `size` bytes with a picture should be read. They count towards the limit.
    pub(super) fn allow(&mut self, size: u64) -> bool {
        let allowed = self.front.is_none()
            && size <= MAX_COVER as u64 + MAX_HEAD
            && self.read.checked_add(size).is_some_and(|read| read <= MAX_PICTURES);
        self.read += if allowed { size } else { 0 };
        allowed
    }

    /// Takes a picture, if none is there yet and the bytes are a picture.
    pub(super) fn offer(&mut self, is_front: bool, bytes: &[u8]) {
        if is_front {
            self.front = self.front.take().or_else(|| Cover::of(bytes));
        } else {
            self.first = self.first.take().or_else(|| Cover::of(bytes));
        }
    }

    /// Takes a FLAC picture block. A damaged block is ignored.
    pub(super) fn offer_block(&mut self, block: &[u8]) {
        if let Some((kind, picture)) = block_content(block) {
            self.offer(kind == FRONT, picture);
        }
    }

    /// Takes a FLAC picture block in base64, as Vorbis comments hold it.
    pub(super) fn offer_encoded_block(&mut self, text: &[u8]) {
        if let Ok(block) = BASE64.decode(text) {
            self.offer_block(&block);
        }
    }

    /// The front cover, or else the first picture.
    pub(super) fn into_cover(self) -> Option<Cover> {
        self.front.or(self.first)
    }
}

/// The kind and the bytes of the picture in a FLAC picture block (RFC 9639, section 8.8).
fn block_content(block: &[u8]) -> Option<(u32, &[u8])> {
    let number = |at: usize| Some(u32::from_be_bytes(*block.get(at..)?.first_chunk()?));
    let behind = |at: usize, length: u32| at.checked_add(4)?.checked_add(length as usize);
    // The media type, the description, then width, height, depth and colours.
    let description = behind(4, number(4)?)?;
    let size = behind(description, number(description)?)?.checked_add(16)?;
    let picture = block.get(size.checked_add(4)?..behind(size, number(size)?)?)?;
    Some((number(0)?, picture))
}
