//! A streamed ZIP archive of files whose lengths are known (APPNOTE.TXT 6.3.10).
//!
//! The files are stored without compression, because music is compressed already. The length of the archive is
//! therefore known before the files are read, and browsers can show the progress of a download; libraries for ZIP do
//! not compute it. The checksum of a file follows in a data descriptor, because it is known only after reading the
//! file. Files and archives over 4 GiB use Zip64.

use crc32fast::Hasher;

use crate::clock::utc;

/// Names are in UTF-8, and a data descriptor follows each file.
const FLAGS: u16 = (1 << 11) | (1 << 3);
/// The version of the format with Zip64.
const VERSION: u16 = 45;
/// The archive was made on Unix.
const MADE_BY: u16 = (3 << 8) | VERSION;
/// A plain file with mode 644.
const ATTRIBUTES: u32 = 0o100_644 << 16;
/// The value of a field whose number is in the Zip64 field.
const ELSEWHERE: u32 = u32::MAX;

/// A file in an archive.
struct ZipEntry {
    name: String,
    size: u64,
    offset: u64,
    checksum: Hasher,
}

impl ZipEntry {
    fn is_large(&self) -> bool {
        self.size >= u64::from(ELSEWHERE)
    }
}

/// An archive that is being written.
pub(crate) struct ZipArchive {
    entries: Vec<ZipEntry>,
    /// The time and date of the files, in the format of MS-DOS.
    stamp: [u8; 4],
}

fn short(number: u64) -> [u8; 4] {
    u32::try_from(number).unwrap_or(ELSEWHERE).to_le_bytes()
}

impl ZipArchive {
    /// An archive of files with these names and lengths. `at` is their time in milliseconds since 1970.
    pub(crate) fn new(files: impl IntoIterator<Item = (String, u64)>, at: u64) -> Self {
        let mut archive = Self { entries: Vec::new(), stamp: stamp(at) };
        let mut offset = 0;
        for (name, size) in files {
            archive.entries.push(ZipEntry { name, size, offset, checksum: Hasher::new() });
            let index = archive.entries.len() - 1;
            offset += archive.header(index).len() as u64 + size + archive.descriptor(index).len() as u64;
        }
        archive
    }

    /// The length of the archive in bytes.
    pub(crate) fn length(&self) -> u64 {
        self.directory_offset() + self.directory().len() as u64
    }

    /// The header before a file.
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

    /// Adds a piece of a file to its checksum.
    pub(crate) fn note(&mut self, index: usize, bytes: &[u8]) {
        self.entries[index].checksum.update(bytes);
    }

    /// The data descriptor behind a file, after all of its pieces.
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

    /// The directory behind all files.
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

/// Writes the length of the Zip64 field with these numbers, the bytes `between`, the name, and the field.
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

/// The time and date of an entry in the format of MS-DOS: years from 1980 to 2107, with a resolution of two seconds.
fn stamp(at: u64) -> [u8; 4] {
    let at = utc(at);
    let time = (u16::from(at.hour()) << 11) | (u16::from(at.minute()) << 5) | (u16::from(at.second()) / 2);
    let day = (u16::from(u8::from(at.month())) << 5) | u16::from(at.day());
    let date = match u16::try_from(at.year() - 1980) {
        Ok(year @ 0..128) => (year << 9) | day,
        _ => (1 << 5) | 1,
    };
    let ([a, b], [c, d]) = (time.to_le_bytes(), date.to_le_bytes());
    [a, b, c, d]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::process::Command;

    use super::*;

    /// The bytes of an archive of these files.
    fn written(files: &[(&str, &[u8])]) -> (Vec<u8>, ZipArchive) {
        let mut archive = ZipArchive::new(
            files.iter().map(|(name, file)| ((*name).to_owned(), file.len() as u64)),
            1_700_000_000_000,
        );
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
    fn other_programs_read_the_archive() {
        let (bytes, archive) = written(&[("Für Elise - drums.mp3", b"boom"), ("empty.wav", b"")]);
        assert_eq!(bytes.len() as u64, archive.length());
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.zip");
        std::fs::write(&path, bytes).unwrap();
        let program = "import sys, zipfile\n\
                       z = zipfile.ZipFile(sys.argv[1])\n\
                       assert z.testzip() is None\n\
                       for i in z.infolist(): print(i.filename, i.file_size, i.date_time[:3], z.read(i))";
        let output = Command::new("python3").args(["-c", program]).arg(path).output().unwrap();
        assert_eq!(
            String::from_utf8(output.stdout).unwrap(),
            "Für Elise - drums.mp3 4 (2023, 11, 14) b'boom'\nempty.wav 0 (2023, 11, 14) b''\n",
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    #[test]
    fn archives_over_four_gigabytes_use_zip64() {
        let sizes = [5 << 30, 10];
        let archive = ZipArchive::new(sizes.map(|size| (size.to_string(), size)), 0);
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
