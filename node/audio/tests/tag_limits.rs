//! Tags that are made to exhaust their reader use little memory. The test has its own process and measures the peak of
//! its memory.

#![cfg(target_os = "linux")]
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::fs::File;
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::path::Path;

use audio::decode::DecodeError;
use audio::tags::{Cover, MAX_COVER, Tags, tags_of};
use tempfile::TempDir;

/// The memory that reading may use, in bytes.
const MOST: u64 = 64 << 20;

/// The peak of the process's memory, in bytes.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

/// Writes a file in parts and reads its tags.
fn read(path: &Path, write: impl FnOnce(&mut BufWriter<File>)) -> Result<(Tags, Option<Cover>), DecodeError> {
    let mut out = BufWriter::new(File::create(path).unwrap());
    write(&mut out);
    out.into_inner().unwrap();
    tags_of(&File::open(path).unwrap())
}

fn syncsafe(number: u32) -> [u8; 4] {
    [21, 14, 7, 0].map(|shift| (number >> shift & 0x7f) as u8)
}

fn id3_header(out: &mut impl Write, flags: u8, size: u32) {
    out.write_all(&[b"ID3\x03\0" as &[u8], &[flags], &syncsafe(size)].concat()).unwrap();
}

/// Writes a picture frame with a picture of `size` bytes.
fn picture(out: &mut (impl Write + Seek), kind: u8, size: u32) {
    let head = [b"\0image/jpeg\0" as &[u8], &[kind, 0]].concat();
    out.write_all(b"APIC").unwrap();
    out.write_all(&(head.len() as u32 + size).to_be_bytes()).unwrap();
    out.write_all(&[b"\0\0" as &[u8], &head, b"\xff\xd8\xff"].concat()).unwrap();
    out.seek(SeekFrom::Current(i64::from(size) - 3)).unwrap();
}

#[test]
fn tags_of_any_size_use_little_memory() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("file");
    let before = peak();
    let title = b"TIT2\0\0\0\x02\0\0\0A";

    let many = read(&path, |out| {
        id3_header(out, 0, 12 * 5_000_000);
        (0..5_000_000).for_each(|_| out.write_all(b"TXXX\0\0\0\x02\0\0\0\0").unwrap());
    });
    assert!(matches!(many, Err(DecodeError::Tag(_))), "{many:?}");

    for flags in [0, 0x80] {
        let (tags, cover) = read(&path, |out| {
            id3_header(out, flags, (150 << 20) + 36);
            // In unsynchronized bytes, 0xff counts together with the zero after it.
            picture(out, 3, 150 << 20);
            out.write_all(title).unwrap();
        })
        .unwrap();
        assert!(cover.is_none());
        assert_eq!(tags.title.as_deref(), (flags == 0).then_some("A"), "flags {flags:x}");
    }

    let (_, cover) = read(&path, |out| {
        id3_header(out, 0, 20 * (MAX_COVER as u32 + 24) + 12);
        (0..20).for_each(|kind| picture(out, kind, MAX_COVER as u32));
        out.write_all(title).unwrap();
    })
    .unwrap();
    assert_eq!(cover.map(|cover| cover.bytes.len()), Some(MAX_COVER));

    // A frame of 200 KB that expands to 200 MiB of zeros.
    let (tags, _) = read(&path, |out| {
        id3_header(out, 0, 200_024);
        out.write_all(b"TALB").unwrap();
        out.write_all(&200_002u32.to_be_bytes()).unwrap();
        out.write_all(b"\0\x80\x0c\x80\0\0\x78\x9c").unwrap();
        out.seek(SeekFrom::Current(199_996)).unwrap();
        out.write_all(title).unwrap();
    })
    .unwrap();
    assert_eq!((tags.title.as_deref(), tags.album), (Some("A"), None));

    let (tags, _) = read(&path, |out| {
        out.write_all(b"\0\0\0\x10ftypM4A \0\0\0\0").unwrap();
        for (kind, head) in [(b"moov", 24u32), (b"udta", 16), (b"meta", 8)] {
            out.write_all(&(80_000_000 + head + 12).to_be_bytes()).unwrap();
            out.write_all(kind).unwrap();
        }
        out.write_all(b"\0\0\0\0").unwrap();
        out.write_all(&80_000_000u32.to_be_bytes()).unwrap();
        out.write_all(b"ilst").unwrap();
        (0..9_999_999).for_each(|_| out.write_all(b"\0\0\0\x08\xa9nam").unwrap());
    })
    .unwrap();
    assert_eq!(tags, Tags::default());

    // Comments that claim 4 billion entries, in a packet without an end.
    let (tags, _) = read(&path, |out| {
        let page = |flags: u8, lengths: &[u8]| {
            [b"OggS\0" as &[u8], &[flags], &[0; 20], &[lengths.len() as u8], lengths].concat()
        };
        out.write_all(&page(2, &[30])).unwrap();
        out.write_all(&[b"\x01vorbis" as &[u8], &[0; 23]].concat()).unwrap();
        let comments = [b"\x03vorbis\0\0\0\0\xff\xff\xff\xff" as &[u8], &b"\x07\0\0\0TITLE=A".repeat(6_000)].concat();
        for body in comments.chunks_exact(255 * 255).chain(std::iter::repeat_n(&[b' '; 255 * 255][..], 1_500)) {
            out.write_all(&page(0, &[255; 255])).unwrap();
            out.write_all(body).unwrap();
        }
    })
    .unwrap();
    assert_eq!(tags.title.as_deref(), Some("A"));

    let used = peak() - before;
    assert!(used < MOST, "reading took {} MiB", used >> 20);
}
