//! ID3v2 tags, versions 2.2 to 2.4 (id3.org, "ID3 tag version 2.4.0 - Main Structure" and "- Native Frames").
//!
//! The frames are read in the order of the file. Only headers and used frames are read, so a large tag costs its
//! headers. Three rules make this independent of the lengths in the tag:
//!
//! - A tag has at most [`MAX_FRAMES`] frames and [`MAX_CHAPTERS`] chapters, and no chapters within chapters. A file
//!   with more is refused: no real program writes it, and other readers run out of stack or memory on it.
//! - The tag ends with the file, a frame with its tag.
//! - A frame is read up to the limits of [`Input`] and [`Pictures`].
//!
//! ID3v2.4 stores sizes in seven bits per byte. Old versions of iTunes store plain sizes instead; the bytes after a
//! frame show which it is. Compressed and encrypted frames are not read.

use std::io;

use super::draft::{Draft, Field};
use super::input::Input;
use super::picture::{FRONT, Pictures};
use super::text;
use crate::decode::DecodeError;

/// The largest number of frames of a tag, including those within chapters.
const MAX_FRAMES: u32 = 10_000;
/// The largest number of chapters and tables of contents of a tag; podcasts have some hundred.
const MAX_CHAPTERS: u32 = 2_000;
/// The largest number of tables of contents of a tag. Usual tags have one, and readers follow the references between
/// them.
const MAX_TABLES: u32 = 100;
/// The length of a tag's header, in bytes.
const HEADER: u64 = 10;
/// The number of raw bytes that are read at a time.
const BLOCK: u64 = 4 << 10;

/// The first and the last position of the tag whose `header` is at `at`. `None` if it is not a tag.
pub(super) fn range(input: &mut Input<'_>, at: u64) -> io::Result<Option<(u64, u64)>> {
    let Some(header) = input.array::<10>(at)? else { return Ok(None) };
    let [b'I', b'D', b'3', major, revision, flags, size @ ..] = header else { return Ok(None) };
    if major == 0xff || revision == 0xff || size.iter().any(|byte| *byte >= 0x80) {
        return Ok(None);
    }
    let footer = if major == 4 && flags & 0x10 != 0 { HEADER } else { 0 };
    Ok(Some((at, at + HEADER + u64::from(syncsafe(size)) + footer)))
}

/// Reads the tag that begins at `at` and ends before `end`.
pub(super) fn read(input: &mut Input<'_>, at: u64, end: u64, pictures: &mut Pictures) -> Result<Draft, DecodeError> {
    let mut draft = Draft::default();
    let Some((_, own_end)) = range(input, at)? else { return Ok(draft) };
    let Some([_, _, _, version, _, flags, ..]) = input.array::<10>(at)? else { return Ok(draft) };
    // In ID3v2.2 this flag means a compression that was never defined.
    if !(2..=4).contains(&version) || version == 2 && flags & 0x40 != 0 {
        return Ok(draft);
    }
    let unsynchronized = flags & 0x80 != 0;
    let body = Body::new(input, at + HEADER, own_end.min(end), unsynchronized && version < 4);
    let mut walk = Walk {
        body,
        version,
        unsynchronized: unsynchronized && version == 4,
        plain_sizes: false,
        frames: 0,
        chapters: 0,
        tables: 0,
        draft: &mut draft,
        pictures,
    };
    if flags & 0x40 != 0 {
        walk.skip_extended_header()?;
    }
    walk.frames(u64::MAX, false)?;
    Ok(draft)
}

/// A tag's bytes in sequence, without the zeros of unsynchronization (ID3v2.4, section 6.1).
struct Body<'a, 'b> {
    input: &'a mut Input<'b>,
    /// The position of the next raw bytes, and the end of the tag.
    at: u64,
    end: u64,
    unsynchronized: bool,
    /// Whether the last raw byte was 0xff.
    after_ff: bool,
    /// Bytes that are read and not yet taken.
    ready: Vec<u8>,
    taken: usize,
}

impl<'a, 'b> Body<'a, 'b> {
    fn new(input: &'a mut Input<'b>, at: u64, end: u64, unsynchronized: bool) -> Self {
        let end = end.min(input.length());
        Self { input, at, end, unsynchronized, after_ff: false, ready: Vec::new(), taken: 0 }
    }

    /// The next `count` bytes, or fewer at the end of the tag. They are not taken.
    fn peek(&mut self, count: usize) -> io::Result<&[u8]> {
        while self.ready.len() - self.taken < count && self.at < self.end {
            self.ready.drain(..self.taken);
            self.taken = 0;
            let missing = (count - self.ready.len()) as u64;
            let raw = self.input.read(self.at, missing.max(BLOCK).min(self.end - self.at))?;
            if raw.is_empty() {
                break;
            }
            self.at += raw.len() as u64;
            if self.unsynchronized {
                synchronize(&raw, &mut self.after_ff, &mut self.ready);
            } else {
                self.ready.extend(raw);
            }
        }
        let ready = &self.ready[self.taken..];
        Ok(&ready[..count.min(ready.len())])
    }

    fn take(&mut self, count: u64) -> io::Result<Vec<u8>> {
        let taken = self.peek(usize::try_from(count).unwrap_or(usize::MAX))?.to_vec();
        self.taken += taken.len();
        // Releases the memory of a large frame.
        if taken.len() as u64 > BLOCK {
            self.ready.drain(..self.taken);
            self.ready.shrink_to_fit();
            self.taken = 0;
        }
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> io::Result<Option<[u8; N]>> {
        let array = self.peek(N)?.first_chunk().copied();
        self.taken += if array.is_some() { N } else { 0 };
        Ok(array)
    }

    fn skip(&mut self, mut count: u64) -> io::Result<()> {
        while count > 0 {
            let ready = ((self.ready.len() - self.taken) as u64).min(count);
            self.taken += ready as usize;
            count -= ready;
            if !self.unsynchronized {
                self.at = self.at.saturating_add(count).min(self.end);
                return Ok(());
            }
            if count > 0 && self.peek(1)?.is_empty() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// The position of the next byte; only valid in bodies that are not unsynchronized.
    fn position(&self) -> u64 {
        self.at - (self.ready.len() - self.taken) as u64
    }
}

struct Walk<'a, 'b> {
    body: Body<'a, 'b>,
    version: u8,
    /// Whether the content of every frame is unsynchronized, as in ID3v2.4.
    unsynchronized: bool,
    /// Whether a frame was found whose size is certainly plain.
    plain_sizes: bool,
    frames: u32,
    chapters: u32,
    tables: u32,
    draft: &'a mut Draft,
    pictures: &'a mut Pictures,
}

/// A frame's header.
struct Frame {
    /// The identifier of ID3v2.3 and 2.4.
    id: [u8; 4],
    size: u64,
    flags: u8,
}

impl Frame {
    /// Whether the frame is compressed or encrypted.
    fn is_sealed(&self, version: u8) -> bool {
        match version {
            3 => self.flags & 0xc0 != 0,
            4 => self.flags & 0x0c != 0,
            _ => false,
        }
    }
}

impl Walk<'_, '_> {
    fn skip_extended_header(&mut self) -> io::Result<()> {
        let Some(size) = self.body.peek(4)?.first_chunk().copied() else { return Ok(()) };
        // Some programs set the flag and write no such header.
        if is_id(&size) {
            return Ok(());
        }
        // ID3v2.4 includes the four bytes of the size.
        let length =
            if self.version == 4 { u64::from(syncsafe(size)) } else { 4 + u64::from(u32::from_be_bytes(size)) };
        self.body.skip(length)
    }

    /// Reads the frames in the next `left` bytes, those of a chapter if `inside`, and positions the body after them.
    fn frames(&mut self, mut left: u64, inside: bool) -> Result<(), DecodeError> {
        loop {
            let header = if self.version == 2 { 6 } else { 10 };
            if left < header {
                return Ok(self.body.skip(left)?);
            }
            let Some(frame) = self.header()? else {
                // Padding, or not a frame.
                return Ok(self.body.skip(if left == u64::MAX { 0 } else { left - header })?);
            };
            self.frames += 1;
            if self.frames > MAX_FRAMES {
                return Err(refused(&format!("its ID3 tag has more than {MAX_FRAMES} frames")));
            }
            left -= header;
            let size = frame.size.min(left);
            left -= size;
            if matches!(&frame.id, b"CHAP" | b"CTOC") {
                self.chapter(&frame, size, inside)?;
            } else if inside {
                self.body.skip(size)?;
            } else {
                self.content(&frame, size)?;
            }
        }
    }

    /// Takes a frame's header; `None` at the end of the frames.
    fn header(&mut self) -> io::Result<Option<Frame>> {
        if self.version == 2 {
            let Some([a, b, c, size @ ..]) = self.body.array::<6>()? else { return Ok(None) };
            let [d, e, f] = size;
            let size = u64::from(u32::from_be_bytes([0, d, e, f]));
            return Ok(is_id(&[a, b, c]).then(|| Frame { id: modern([a, b, c]), size, flags: 0 }));
        }
        let Some([a, b, c, d, s0, s1, s2, s3, _, flags]) = self.body.array::<10>()? else { return Ok(None) };
        let size = [s0, s1, s2, s3];
        // Some programs write identifiers of ID3v2.2 in later tags.
        let id = if d == 0 && is_id(&[a, b, c]) { modern([a, b, c]) } else { [a, b, c, d] };
        if !is_id(&[a, b, c]) || d != 0 && !is_id(&[d]) {
            return Ok(None);
        }
        let size = if self.version == 4 { self.size(size)? } else { u32::from_be_bytes(size) };
        Ok(Some(Frame { id, size: u64::from(size), flags }))
    }

    /// A frame's size in ID3v2.4, in seven bits per byte or plain.
    fn size(&mut self, bytes: [u8; 4]) -> io::Result<u32> {
        let (plain, correct) = (u32::from_be_bytes(bytes), syncsafe(bytes));
        self.plain_sizes |= bytes.iter().any(|byte| *byte >= 0x80);
        if !self.plain_sizes && plain != correct {
            self.plain_sizes = self.follows(plain)? > self.follows(correct)?;
        }
        Ok(if self.plain_sizes { plain } else { correct })
    }

    /// The plausibility of this size: 2 if a frame or the tag's end follows, 1 if padding does.
    fn follows(&mut self, size: u32) -> io::Result<u8> {
        let next = self.body.position() + u64::from(size);
        if next >= self.body.end {
            return Ok(if next == self.body.end { 2 } else { 0 });
        }
        let header = self.body.input.read(next, (self.body.end - next).min(HEADER))?;
        Ok(match header.first_chunk::<4>() {
            Some(id) if is_id(id) => 2,
            _ if header.iter().all(|byte| *byte == 0) => 1,
            _ => 0,
        })
    }

    /// Checks a chapter or a table of contents. Its content is not used.
    fn chapter(&mut self, frame: &Frame, mut left: u64, inside: bool) -> Result<(), DecodeError> {
        if inside {
            return Err(refused("its ID3 tag has chapters within chapters"));
        }
        self.chapters += 1;
        self.tables += u32::from(&frame.id == b"CTOC");
        if self.chapters > MAX_CHAPTERS || self.tables > MAX_TABLES {
            return Err(refused("its ID3 tag has more chapters than any recording"));
        }
        // An identifier, then a chapter's times or the identifiers of a table's entries.
        self.skip_string(&mut left)?;
        if &frame.id == b"CHAP" {
            self.skip_within(16, &mut left)?;
        } else if left >= 2
            && let Some([_, entries]) = self.body.array::<2>()?
        {
            left -= 2;
            for _ in 0..entries {
                self.skip_string(&mut left)?;
            }
        }
        self.frames(left, true)
    }

    fn skip_within(&mut self, count: u64, left: &mut u64) -> io::Result<()> {
        let count = count.min(*left);
        *left -= count;
        self.body.skip(count)
    }

    /// Skips a string and its NUL.
    fn skip_string(&mut self, left: &mut u64) -> io::Result<()> {
        while *left > 0 {
            let Some([byte]) = self.body.array()? else { return Ok(()) };
            *left -= 1;
            if byte == 0 {
                break;
            }
        }
        Ok(())
    }

    /// Reads a frame whose content is used and skips every other.
    fn content(&mut self, frame: &Frame, size: u64) -> io::Result<()> {
        let is_picture = matches!(&frame.id, b"APIC" | b"PIC\0");
        let field = field(&frame.id);
        let is_shown = field.is_some() || &frame.id == b"TXXX";
        let wanted = if frame.is_sealed(self.version) {
            0
        } else if is_shown {
            self.body.input.allow_text(size)
        } else if is_picture && self.pictures.allow(size) {
            size
        } else {
            0
        };
        if wanted == 0 {
            return self.body.skip(size);
        }
        let raw = self.body.take(wanted)?;
        self.body.skip(size - wanted)?;
        let content = self.unwrapped(frame, raw);
        let Some((encoding, rest)) = content.split_first() else { return Ok(()) };
        if is_picture {
            self.picture(&frame.id, *encoding, rest);
        } else if let Some(field) = field {
            text::id3(*encoding, rest).iter().for_each(|text| self.draft.add(field, text));
        } else {
            self.described(&text::id3(*encoding, rest));
        }
        Ok(())
    }

    /// A frame's content without the additions of its flags.
    fn unwrapped(&self, frame: &Frame, raw: Vec<u8>) -> Vec<u8> {
        let prefix = match self.version {
            3 => usize::from(frame.flags & 0x20 != 0),
            4 => usize::from(frame.flags & 0x40 != 0) + if frame.flags & 0x01 != 0 { 4 } else { 0 },
            _ => 0,
        };
        let content = raw.get(prefix..).unwrap_or_default();
        if self.version == 4 && (self.unsynchronized || frame.flags & 0x02 != 0) {
            let mut synchronized = Vec::with_capacity(content.len());
            synchronize(content, &mut false, &mut synchronized);
            return synchronized;
        }
        content.to_vec()
    }

    /// Takes a text whose preceding description names its field.
    fn described(&mut self, texts: &[String]) {
        let Some((description, values)) = texts.split_first() else { return };
        let field = Field::named(description.trim());
        if let Some(field @ (Field::AlbumArtist | Field::Bpm | Field::Key | Field::Stem)) = field {
            values.iter().for_each(|value| self.draft.add(field, value));
        }
    }

    /// Offers a picture, which follows its media type, kind and description.
    fn picture(&mut self, id: &[u8; 4], encoding: u8, rest: &[u8]) {
        let behind_type = if id == b"PIC\0" { rest.get(3..) } else { behind_nul(rest, 0) };
        let Some((kind, rest)) = behind_type.and_then(|rest| rest.split_first()) else { return };
        // Some programs write one NUL where UTF-16 needs two; the beginning of the picture decides.
        let picture = [behind_nul(rest, encoding), behind_nul(rest, 0)]
            .into_iter()
            .flatten()
            .find(|bytes| super::Cover::kind_of(bytes).is_some());
        if let Some(picture) = picture {
            self.pictures.offer(u32::from(*kind) == FRONT, picture);
        }
    }
}

/// The bytes after the NUL that ends a text of this encoding.
fn behind_nul(bytes: &[u8], encoding: u8) -> Option<&[u8]> {
    if matches!(encoding, 1 | 2) {
        let (pairs, _) = bytes.as_chunks::<2>();
        let end = pairs.iter().position(|pair| *pair == [0, 0])?;
        return bytes.get(2 * end + 2..);
    }
    let end = bytes.iter().position(|byte| *byte == 0)?;
    bytes.get(end + 1..)
}

/// Appends bytes without the zeros after each 0xff.
fn synchronize(raw: &[u8], after_ff: &mut bool, out: &mut Vec<u8>) {
    for byte in raw {
        if !(*after_ff && *byte == 0) {
            out.push(*byte);
        }
        *after_ff = *byte == 0xff;
    }
}

/// A number in four bytes of seven bits.
fn syncsafe(bytes: [u8; 4]) -> u32 {
    bytes.iter().fold(0, |number, byte| number << 7 | u32::from(byte & 0x7f))
}

fn is_id(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
}

/// The later identifier of a frame of ID3v2.2.
fn modern(id: [u8; 3]) -> [u8; 4] {
    match &id {
        b"TT2" => *b"TIT2",
        b"TP1" => *b"TPE1",
        b"TP2" => *b"TPE2",
        b"TAL" => *b"TALB",
        b"TRK" => *b"TRCK",
        b"TYE" => *b"TYER",
        b"TCO" => *b"TCON",
        b"TBP" => *b"TBPM",
        b"TKE" => *b"TKEY",
        b"TXX" => *b"TXXX",
        // Its layout differs from that of the later APIC.
        [a, b, c] => [*a, *b, *c, 0],
    }
}

fn field(id: &[u8; 4]) -> Option<Field> {
    Some(match id {
        b"TIT2" => Field::Title,
        b"TPE1" => Field::Artist,
        b"TPE2" => Field::AlbumArtist,
        b"TALB" => Field::Album,
        b"TRCK" => Field::Track,
        b"TYER" | b"TDRC" | b"TDRL" => Field::Year,
        b"TCON" => Field::Genre,
        b"TBPM" => Field::Bpm,
        b"TKEY" => Field::Key,
        _ => return None,
    })
}

fn refused(reason: &str) -> DecodeError {
    DecodeError::Tag(reason.to_owned())
}
