//! A ZIP archive of files whose lengths are known, written as it goes (APPNOTE.TXT 6.3.10).
//!
//! The files are stored and not compressed, for music is that already. So the archive's length follows from theirs before
//! a byte of them is read, and a browser can show how far a download is; the programs' libraries that write archives do
//! not tell. A file's checksum is known when it has been read, so it comes behind it, in a data descriptor. Where a file or
//! the archive goes beyond 4 GiB, the fields of Zip64 are used.

use crc32fast::Hasher;

use crate::dates::date_of;

/// Names are UTF-8, and the checksum follows the file.
const FLAGS: u16 = (1 << 11) | (1 << 3);
/// The version of the format that knows Zip64.
const VERSION: u16 = 45;
/// Made on a Unix system.
const MADE_BY: u16 = (3 << 8) | VERSION;
/// A plain file that its owner may write and everybody read.
const ATTRIBUTES: u32 = 0o100_644 << 16;
/// Where a number is in the Zip64 field instead.
const ELSEWHERE: u32 = u32::MAX;

/// A file in an archive.
struct Entry {
    name: String,
    size: u64,
    offset: u64,
    checksum: Hasher,
}

impl Entry {
    fn is_large(&self) -> bool {
        self.size >= u64::from(ELSEWHERE)
    }
}

/// An archive that is being written.
pub(crate) struct Archive {
    entries: Vec<Entry>,
    /// The files' time and date, as MS-DOS has them.
    stamp: [u8; 4],
}

fn short(number: u64) -> [u8; 4] {
    u32::try_from(number).unwrap_or(ELSEWHERE).to_le_bytes()
}

impl Archive {
    /// An archive of files with these names and lengths, of this time in milliseconds since 1970.
    pub(crate) fn new(files: impl IntoIterator<Item = (String, u64)>, at: u64) -> Self {
        let mut archive = Self { entries: Vec::new(), stamp: stamp(at) };
        let mut offset = 0;
        for (name, size) in files {
            archive.entries.push(Entry { name, size, offset, checksum: Hasher::new() });
            let index = archive.entries.len() - 1;
            offset += archive.header(index).len() as u64 + size + archive.descriptor(index).len() as u64;
        }
        archive
    }

    /// The archive's length in bytes.
    pub(crate) fn length(&self) -> u64 {
        self.directory_offset() + self.directory().len() as u64
    }

    /// What stands before a file.
    pub(crate) fn header(&self, index: usize) -> Vec<u8> {
        let entry = &self.entries[index];
        let mut out = b"PK\x03\x04".to_vec();
        out.extend(VERSION.to_le_bytes());
        out.extend(FLAGS.to_le_bytes());
        out.extend([0; 2]);
        out.extend(self.stamp);
        out.extend([0; 4]);
        let shown = if entry.is_large() { u64::MAX } else { entry.size };
        out.extend(short(shown));
        out.extend(short(shown));
        out.extend((entry.name.len() as u16).to_le_bytes());
        let extra: &[u64] = if entry.is_large() { &[entry.size, entry.size] } else { &[] };
        push_with_extra(&mut out, &entry.name, extra, &[]);
        out
    }

    /// Notes a piece of a file on its way.
    pub(crate) fn note(&mut self, index: usize, bytes: &[u8]) {
        self.entries[index].checksum.update(bytes);
    }

    /// What stands behind a file whose pieces were all noted.
    pub(crate) fn descriptor(&self, index: usize) -> Vec<u8> {
        let entry = &self.entries[index];
        let mut out = b"PK\x07\x08".to_vec();
        out.extend(entry.checksum.clone().finalize().to_le_bytes());
        for _ in 0..2 {
            if entry.is_large() {
                out.extend(entry.size.to_le_bytes());
            } else {
                out.extend(short(entry.size));
            }
        }
        out
    }

    fn directory_offset(&self) -> u64 {
        let Some(last) = self.entries.last() else { return 0 };
        let index = self.entries.len() - 1;
        last.offset + self.header(index).len() as u64 + last.size + self.descriptor(index).len() as u64
    }

    /// What stands behind all files.
    pub(crate) fn directory(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for entry in &self.entries {
            let far = entry.offset >= u64::from(ELSEWHERE);
            let mut extra = Vec::new();
            if entry.is_large() {
                extra.extend([entry.size, entry.size]);
            }
            if far {
                extra.push(entry.offset);
            }
            let shown = if entry.is_large() { u64::MAX } else { entry.size };
            out.extend(b"PK\x01\x02");
            out.extend(MADE_BY.to_le_bytes());
            out.extend(VERSION.to_le_bytes());
            out.extend(FLAGS.to_le_bytes());
            out.extend([0; 2]);
            out.extend(self.stamp);
            out.extend(entry.checksum.clone().finalize().to_le_bytes());
            out.extend(short(shown));
            out.extend(short(shown));
            out.extend((entry.name.len() as u16).to_le_bytes());
            let mut rest = [0; 14];
            rest[6..10].copy_from_slice(&ATTRIBUTES.to_le_bytes());
            rest[10..].copy_from_slice(&short(entry.offset));
            push_with_extra(&mut out, &entry.name, &extra, &rest);
        }
        let (offset, length, count) = (self.directory_offset(), out.len() as u64, self.entries.len() as u64);
        if offset >= u64::from(ELSEWHERE) || count >= u64::from(u16::MAX) {
            let at = offset + length;
            out.extend(b"PK\x06\x06");
            out.extend(44u64.to_le_bytes());
            out.extend(MADE_BY.to_le_bytes());
            out.extend(VERSION.to_le_bytes());
            out.extend([0; 8]);
            for number in [count, count, length, offset] {
                out.extend(number.to_le_bytes());
            }
            out.extend(b"PK\x06\x07");
            out.extend([0; 4]);
            out.extend(at.to_le_bytes());
            out.extend(1u32.to_le_bytes());
        }
        let count = u16::try_from(count).unwrap_or(u16::MAX).to_le_bytes();
        out.extend(b"PK\x05\x06");
        out.extend([0; 4]);
        out.extend([count, count].concat());
        out.extend(short(length));
        out.extend(short(offset));
        out.extend([0; 2]);
        out
    }
}

/// The length of the Zip64 field with these numbers, what stands between, the name, and the field.
fn push_with_extra(out: &mut Vec<u8>, name: &str, numbers: &[u64], between: &[u8]) {
    let length = if numbers.is_empty() { 0 } else { 4 + 8 * numbers.len() as u16 };
    out.extend(length.to_le_bytes());
    out.extend(between);
    out.extend(name.as_bytes());
    if !numbers.is_empty() {
        out.extend(1u16.to_le_bytes());
        out.extend((length - 4).to_le_bytes());
        numbers.iter().for_each(|number| out.extend(number.to_le_bytes()));
    }
}

/// A time as MS-DOS had it: from 1980 on, to two seconds.
fn stamp(at: u64) -> [u8; 4] {
    let seconds = at / 1000;
    let (year, month, day) = date_of(seconds / 86_400);
    let within = seconds % 86_400;
    let time = ((within / 3600) << 11) | ((within / 60 % 60) << 5) | ((within % 60) / 2);
    let date = if (1980..2108).contains(&year) { ((year - 1980) << 9) | (month << 5) | day } else { (1 << 5) | 1 };
    let low = |number: u64| u16::try_from(number).unwrap_or(u16::MAX).to_le_bytes();
    let ([a, b], [c, d]) = (low(time), low(date));
    [a, b, c, d]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::process::Command;

    use super::*;

    /// An archive of files of this content, and what Python says of it.
    fn written(files: &[(&str, &[u8])]) -> (Vec<u8>, Archive) {
        let mut archive =
            Archive::new(files.iter().map(|(name, file)| ((*name).to_owned(), file.len() as u64)), 1_700_000_000_000);
        let mut bytes = Vec::new();
        for (index, (_, file)) in files.iter().enumerate() {
            bytes.extend(archive.header(index));
            archive.note(index, file);
            bytes.extend(*file);
            bytes.extend(archive.descriptor(index));
        }
        bytes.extend(archive.directory());
        (bytes, archive)
    }

    #[test]
    fn other_programs_read_what_is_written() {
        let (bytes, archive) = written(&[("Für Elise - drums.mp3", b"boom"), ("empty.wav", b"")]);
        assert_eq!(bytes.len() as u64, archive.length());
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.zip");
        std::fs::write(&path, bytes).unwrap();
        let program = "import sys, zipfile\n\
                       z = zipfile.ZipFile(sys.argv[1])\n\
                       assert z.testzip() is None\n\
                       for i in z.infolist(): print(i.filename, i.file_size, i.date_time[:3], z.read(i))";
        let said = Command::new("python3").args(["-c", program]).arg(path).output().unwrap();
        assert_eq!(
            String::from_utf8(said.stdout).unwrap(),
            "Für Elise - drums.mp3 4 (2023, 11, 14) b'boom'\nempty.wav 0 (2023, 11, 14) b''\n",
            "{}",
            String::from_utf8_lossy(&said.stderr)
        );
    }

    #[test]
    fn what_is_beyond_four_gigabytes_is_counted_in_wider_fields() {
        let sizes = [5 << 30, 10];
        let archive = Archive::new(sizes.map(|size| (size.to_string(), size)), 0);
        let headers: u64 =
            (0..2).map(|index| archive.header(index).len() as u64 + archive.descriptor(index).len() as u64).sum();
        let directory = archive.directory();
        assert_eq!(archive.length(), sizes.iter().sum::<u64>() + headers + directory.len() as u64);
        // The second file lies beyond 4 GiB, and so does the directory.
        for mark in [b"PK\x06\x06", b"PK\x06\x07", b"PK\x05\x06"] {
            assert!(directory.windows(4).any(|four| four == mark));
        }
        assert_eq!(archive.descriptor(0).len(), 24);
        assert_eq!(archive.descriptor(1).len(), 16);
    }
}
