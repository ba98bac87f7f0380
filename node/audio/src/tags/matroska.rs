//! Tags of Matroska and WebM files (RFC 9559, sections 5.1 and 21; EBML: RFC 8794).
//!
//! Elements are found on a path of fixed depth. Tags after the sound are found through the seek head. Tags of chapters
//! and attachments are not read.

use std::collections::BTreeSet;
use std::io;

use super::draft::{Draft, Field};
use super::input::Input;
use super::picture::Pictures;
use super::text::{unlabelled, until_nul};

/// The largest number of elements that are read within one element.
const MAX_ELEMENTS: usize = 10_000;
/// The largest number of elements that are found through the seek head.
const MAX_SOUGHT: usize = 16;

const SEGMENT: u32 = 0x1853_8067;
const SEEK_HEAD: u32 = 0x114d_9b74;
const SEEK: u32 = 0x4dbb;
const SEEK_ID: u32 = 0x53ab;
const SEEK_POSITION: u32 = 0x53ac;
const INFO: u32 = 0x1549_a966;
const TITLE: u32 = 0x7ba9;
const CLUSTER: u32 = 0x1f43_b675;
const TAGS: u32 = 0x1254_c367;
const TAG: u32 = 0x7373;
const TARGETS: u32 = 0x63c0;
const TARGET_TYPE_VALUE: u32 = 0x68ca;
const TARGET_EDITION: u32 = 0x63c9;
const TARGET_CHAPTER: u32 = 0x63c4;
const TARGET_ATTACHMENT: u32 = 0x63c6;
const SIMPLE_TAG: u32 = 0x67c8;
const TAG_NAME: u32 = 0x45a3;
const TAG_STRING: u32 = 0x4487;
const ATTACHMENTS: u32 = 0x1941_a469;
const ATTACHED_FILE: u32 = 0x61a7;
const FILE_NAME: u32 = 0x466e;
const FILE_DATA: u32 = 0x465c;

/// The level of tags that describe the whole album.
const ALBUM: u64 = 50;

#[derive(Clone, Copy)]
struct TagElement {
    id: u32,
    /// Where its content begins and ends.
    begin: u64,
    end: u64,
}

/// The element at `at` within an element that ends at `end`. An element of unknown size extends to the end.
fn element(input: &mut Input<'_>, at: u64, end: u64) -> io::Result<Option<TagElement>> {
    let header = input.read(at, end.saturating_sub(at).min(12))?;
    let Some(id_length) = header.first().map(|first| first.leading_zeros() as usize + 1) else { return Ok(None) };
    if id_length > 4 || header.len() <= id_length {
        return Ok(None);
    }
    let id = header[..id_length].iter().fold(0, |id, byte| id << 8 | u32::from(*byte));
    let size_length = header[id_length].leading_zeros() as usize + 1;
    let Some(size) = header.get(id_length..id_length + size_length).filter(|_| size_length <= 8) else {
        return Ok(None);
    };
    let marker = 1u64 << (7 * size_length);
    let size = size.iter().fold(0, |size, byte| size << 8 | u64::from(*byte)) & (marker - 1);
    let begin = at + (id_length + size_length) as u64;
    let own_end = if size == marker - 1 { end } else { begin.saturating_add(size).min(end) };
    Ok((begin <= end).then_some(TagElement { id, begin, end: own_end }))
}

/// The elements in another.
fn children(input: &mut Input<'_>, parent: TagElement) -> io::Result<Vec<TagElement>> {
    let (mut at, mut children) = (parent.begin, Vec::new());
    while children.len() < MAX_ELEMENTS
        && let Some(child) = element(input, at, parent.end)?
    {
        at = child.end;
        children.push(child);
    }
    Ok(children)
}

fn unsigned(input: &mut Input<'_>, element: TagElement) -> io::Result<u64> {
    let bytes = input.read(element.begin, (element.end - element.begin).min(8))?;
    Ok(bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

fn text(input: &mut Input<'_>, element: TagElement) -> io::Result<String> {
    let bytes = input.text(element.begin, element.end - element.begin)?;
    Ok(unlabelled(until_nul(&bytes)).into_owned())
}

/// Reads the tags of the file that begins at `at`.
pub(super) fn read(input: &mut Input<'_>, at: u64, pictures: &mut Pictures) -> io::Result<Draft> {
    let (mut draft, mut info) = (Draft::default(), Draft::default());
    let length = input.length();
    let Some(head) = element(input, at, length)? else { return Ok(draft) };
    let Some(segment) = element(input, head.end, length)?.filter(|element| element.id == SEGMENT) else {
        return Ok(draft);
    };
    // Elements before the sound in order, then those in the seek head.
    let mut sought = Vec::new();
    let mut seen = BTreeSet::new();
    let mut at = segment.begin;
    for _ in 0..MAX_ELEMENTS {
        let Some(child) = element(input, at, segment.end)?.filter(|child| child.id != CLUSTER) else { break };
        seen.insert(at);
        at = child.end;
        if child.id == SEEK_HEAD {
            sought.extend(seek_head(input, child)?.into_iter().map(|position| segment.begin.saturating_add(position)));
        }
        part(input, child, &mut draft, &mut info, pictures)?;
    }
    for at in sought.into_iter().take(MAX_SOUGHT) {
        if seen.insert(at)
            && let Some(child) = element(input, at, segment.end)?
        {
            part(input, child, &mut draft, &mut info, pictures)?;
        }
    }
    draft.complete_by(info);
    Ok(draft)
}

/// The positions, within the segment, of the elements that are read here.
fn seek_head(input: &mut Input<'_>, head: TagElement) -> io::Result<Vec<u64>> {
    let mut positions = Vec::new();
    for seek in children(input, head)?.into_iter().filter(|child| child.id == SEEK).take(MAX_SOUGHT) {
        let (mut id, mut position) = (0, None);
        for child in children(input, seek)? {
            match child.id {
                SEEK_ID => id = unsigned(input, child)?,
                SEEK_POSITION => position = Some(unsigned(input, child)?),
                _ => {}
            }
        }
        if [INFO, TAGS, ATTACHMENTS].map(u64::from).contains(&id) {
            positions.extend(position);
        }
    }
    Ok(positions)
}

/// Reads an element of the segment.
fn part(
    input: &mut Input<'_>,
    part: TagElement,
    draft: &mut Draft,
    info: &mut Draft,
    pictures: &mut Pictures,
) -> io::Result<()> {
    if !matches!(part.id, INFO | TAGS | ATTACHMENTS) {
        return Ok(());
    }
    for child in children(input, part)? {
        match child.id {
            TITLE => info.add(Field::Title, &text(input, child)?),
            TAG => tag(input, child, draft)?,
            ATTACHED_FILE => attachment(input, child, pictures)?,
            _ => {}
        }
    }
    Ok(())
}

/// Reads a tag of the song, the album or a track.
fn tag(input: &mut Input<'_>, tag: TagElement, draft: &mut Draft) -> io::Result<()> {
    let children_of_tag = children(input, tag)?;
    let mut level = None;
    for targets in children_of_tag.iter().filter(|child| child.id == TARGETS) {
        for target in children(input, *targets)? {
            match target.id {
                TARGET_TYPE_VALUE => level = Some(unsigned(input, target)?),
                TARGET_EDITION | TARGET_CHAPTER | TARGET_ATTACHMENT => return Ok(()),
                _ => {}
            }
        }
    }
    for simple in children_of_tag.into_iter().filter(|child| child.id == SIMPLE_TAG) {
        let (mut name, mut value) = (String::new(), String::new());
        for child in children(input, simple)? {
            match child.id {
                TAG_NAME => name = text(input, child)?,
                TAG_STRING => value = text(input, child)?,
                _ => {}
            }
        }
        let field = match Field::named(&name) {
            Some(Field::Title) if level == Some(ALBUM) => Some(Field::Album),
            Some(Field::Artist) if level == Some(ALBUM) => Some(Field::AlbumArtist),
            Some(Field::Track) if level == Some(ALBUM) => None,
            field => field,
        };
        if let Some(field) = field {
            draft.add(field, &value);
        }
    }
    Ok(())
}

/// Reads an attached picture. The front cover's file is called "cover" (RFC 9559, section 21.1).
fn attachment(input: &mut Input<'_>, file: TagElement, pictures: &mut Pictures) -> io::Result<()> {
    let mut name = String::new();
    for child in children(input, file)? {
        match child.id {
            FILE_NAME => name = text(input, child)?,
            FILE_DATA => {
                if let Some(picture) = pictures.read(input, child.begin, child.end - child.begin)? {
                    pictures.offer(name.to_ascii_lowercase().starts_with("cover."), &picture);
                }
            }
            _ => {}
        }
    }
    Ok(())
}
