//! Tags of MP4 and QuickTime files: the item list that iTunes defined (`moov/udta/meta/ilst`) and QuickTime's own texts
//! (`moov/udta/©nam` and others; Apple, "QuickTime File Format Specification", User Data Atoms).
//!
//! Atoms are found on a path of fixed depth. Keys of `mdta`, which cameras write, are not read.

use std::io;

use super::draft::{Draft, Field};
use super::genre;
use super::input::Input;
use super::picture::Pictures;
use super::text::unlabelled;

/// The largest number of atoms that are read within one atom, or the file.
const MAX_ATOMS: usize = 10_000;
/// Data types of values (QuickTime File Format Specification, "Well-known types").
const UTF16: u32 = 2;

struct Atom {
    kind: [u8; 4],
    /// Where its content begins and ends.
    begin: u64,
    end: u64,
}

/// The atoms in a range of the file, in order.
struct Atoms {
    at: u64,
    end: u64,
    left: usize,
}

impl Atoms {
    fn new(at: u64, end: u64) -> Self {
        Self { at, end, left: MAX_ATOMS }
    }

    fn of(atom: &Atom) -> Self {
        Self::new(atom.begin, atom.end)
    }

    fn next(&mut self, input: &mut Input<'_>) -> io::Result<Option<Atom>> {
        if self.left == 0 || self.at >= self.end {
            return Ok(None);
        }
        self.left -= 1;
        let Some([s0, s1, s2, s3, kind @ ..]) = input.array::<8>(self.at)? else { return Ok(None) };
        let (size, header) = match u32::from_be_bytes([s0, s1, s2, s3]) {
            // It extends to the end.
            0 => (self.end - self.at, 8),
            1 => (input.array(self.at + 8)?.map(u64::from_be_bytes).unwrap_or_default(), 16),
            size => (u64::from(size), 8),
        };
        if size < header {
            return Ok(None);
        }
        let (begin, end) = (self.at + header, self.at.saturating_add(size).min(self.end));
        self.at = end;
        Ok((begin <= end).then_some(Atom { kind, begin, end }))
    }

    /// The next atom of a kind.
    fn find(&mut self, input: &mut Input<'_>, kind: &[u8; 4]) -> io::Result<Option<Atom>> {
        while let Some(atom) = self.next(input)? {
            if atom.kind == *kind {
                return Ok(Some(atom));
            }
        }
        Ok(None)
    }
}

/// Reads the tags of the file that begins at `at`.
pub(super) fn read(input: &mut Input<'_>, at: u64, pictures: &mut Pictures) -> io::Result<Draft> {
    let (mut draft, mut texts) = (Draft::default(), Draft::default());
    let Some(movie) = Atoms::new(at, input.length()).find(input, b"moov")? else { return Ok(draft) };
    let mut movie = Atoms::of(&movie);
    while let Some(user_data) = movie.find(input, b"udta")? {
        let mut atoms = Atoms::of(&user_data);
        while let Some(atom) = atoms.next(input)? {
            if atom.kind == *b"meta" {
                items(input, &atom, &mut draft, pictures)?;
            } else if let Some(field) = field(&atom.kind) {
                // The text's length and language precede it.
                if let Some([a, b, _, _]) = input.array(atom.begin)? {
                    let size = u64::from(u16::from_be_bytes([a, b])).min((atom.end - atom.begin).saturating_sub(4));
                    texts.add(field, &unlabelled(&input.text(atom.begin + 4, size)?));
                }
            }
        }
    }
    draft.complete_by(texts);
    Ok(draft)
}

/// Reads the item list in a `meta` atom.
fn items(input: &mut Input<'_>, meta: &Atom, draft: &mut Draft, pictures: &mut Pictures) -> io::Result<()> {
    // Some files omit its version and flags: then the type of its first atom is four bytes in.
    let bare = input.array(meta.begin + 4)?.is_some_and(|kind: [u8; 4]| matches!(&kind, b"hdlr" | b"ilst" | b"free"));
    let begin = meta.begin + if bare { 0 } else { 4 };
    let Some(list) = Atoms::new(begin, meta.end).find(input, b"ilst")? else { return Ok(()) };
    let mut list = Atoms::of(&list);
    while let Some(item) = list.next(input)? {
        let mut values = Atoms::of(&item);
        let field = match &item.kind {
            b"----" => name(input, &item)?,
            kind => field(kind),
        };
        if field.is_none() && !matches!(&item.kind, b"covr" | b"gnre") {
            continue;
        }
        while let Some(value) = values.find(input, b"data")? {
            // A type and a country precede the value.
            let (at, size) = (value.begin + 8, (value.end - value.begin).saturating_sub(8));
            if item.kind == *b"covr" {
                if let Some(picture) = pictures.read(input, at, size)? {
                    pictures.offer(true, &picture);
                }
                continue;
            }
            let kind = input.array(value.begin)?.map(u32::from_be_bytes).unwrap_or_default();
            let bytes = input.text(at, size)?;
            match field {
                Some(field) => draft.add(field, &text(&item.kind, kind, &bytes)),
                None => {
                    let name =
                        number(&bytes).and_then(|number| genre::named(usize::try_from(number).ok()?.checked_sub(1)?));
                    draft.add(Field::Genre, name.unwrap_or_default());
                }
            }
        }
    }
    Ok(())
}

/// The field with this name in a free item.
fn name(input: &mut Input<'_>, item: &Atom) -> io::Result<Option<Field>> {
    let Some(name) = Atoms::of(item).find(input, b"name")? else { return Ok(None) };
    let bytes = input.text(name.begin + 4, (name.end - name.begin).saturating_sub(4))?;
    Ok(Field::named(&unlabelled(&bytes)))
}

/// A value as a text.
fn text(item: &[u8; 4], kind: u32, bytes: &[u8]) -> String {
    match item {
        b"trkn" => number(bytes.get(2..4).unwrap_or_default()).unwrap_or_default().to_string(),
        b"tmpo" => number(bytes).unwrap_or_default().to_string(),
        _ if kind == UTF16 => super::text::id3(2, bytes).into_iter().next().unwrap_or_default(),
        _ => unlabelled(bytes).into_owned(),
    }
}

/// A big-endian number.
fn number(bytes: &[u8]) -> Option<u64> {
    (1..=8).contains(&bytes.len()).then(|| bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

fn field(kind: &[u8; 4]) -> Option<Field> {
    Some(match kind {
        b"\xa9nam" => Field::Title,
        b"\xa9ART" => Field::Artist,
        b"aART" => Field::AlbumArtist,
        b"\xa9alb" => Field::Album,
        b"trkn" => Field::Track,
        b"\xa9day" => Field::Year,
        b"\xa9gen" => Field::Genre,
        b"tmpo" => Field::Bpm,
        _ => return None,
    })
}
