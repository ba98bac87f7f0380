//! The INFO list of a WAV file, wherever in the file it lies (Microsoft, "Multimedia Programming Interface and Data
//! Specifications 1.0", 1991).
//!
//! A file that is no WAV has no list. Chunks that claim to be longer than the file end the reading, not in an error:
//! whether a file is whole is the decoder's to say.

use std::io::{self, Read, Seek, SeekFrom};

use super::MAX_TEXT;

/// Chunks that are looked at.
const MAX_CHUNKS: usize = 1000;

/// Gives every text of the list to `sink`, with its name.
pub(super) fn read(file: &mut (impl Read + Seek), mut sink: impl FnMut([u8; 4], &str)) -> io::Result<()> {
    let length = file.seek(SeekFrom::End(0))?;
    file.rewind()?;
    let mut start = [0; 12];
    if length < 12 {
        return Ok(());
    }
    file.read_exact(&mut start)?;
    if !matches!(&start[..4], b"RIFF" | b"RF64") || &start[8..] != b"WAVE" {
        return Ok(());
    }
    let mut at = 12;
    // The length of the samples in an RF64 file.
    let mut long = None;
    for _ in 0..MAX_CHUNKS {
        let Some((name, size)) = chunk(file, at, length)? else {
            break;
        };
        at += 8;
        let mut step = size;
        match &name {
            b"ds64" if size >= 16 && length - at >= 16 => {
                let mut lengths = [0; 16];
                file.read_exact(&mut lengths)?;
                long = lengths.last_chunk().map(|bytes| u64::from_le_bytes(*bytes));
            }
            b"data" if size == u64::from(u32::MAX) => step = long.unwrap_or(size),
            b"LIST" if size >= 4 && length - at >= 4 => {
                let mut kind = [0; 4];
                file.read_exact(&mut kind)?;
                if &kind == b"INFO" {
                    read_list(file, at + 4, length.min(at + size), &mut sink)?;
                }
            }
            _ => {}
        }
        let Some(next) = at.checked_add(step).and_then(|next| next.checked_add(step % 2)) else {
            break;
        };
        at = next;
    }
    Ok(())
}

fn read_list(
    file: &mut (impl Read + Seek),
    mut at: u64,
    end: u64,
    sink: &mut impl FnMut([u8; 4], &str),
) -> io::Result<()> {
    for _ in 0..MAX_CHUNKS {
        let Some((name, size)) = chunk(file, at, end)? else {
            break;
        };
        at += 8;
        let mut text = Vec::new();
        file.by_ref().take(size.min(end - at).min(MAX_TEXT as u64)).read_to_end(&mut text)?;
        sink(name, &String::from_utf8_lossy(&text));
        at += size + size % 2;
    }
    Ok(())
}

/// The name and length of the chunk at `at`, if one begins there before `end`.
fn chunk(file: &mut (impl Read + Seek), at: u64, end: u64) -> io::Result<Option<([u8; 4], u64)>> {
    if at.checked_add(8).is_none_or(|content| content > end) {
        return Ok(None);
    }
    file.seek(SeekFrom::Start(at))?;
    let (mut name, mut size) = ([0; 4], [0; 4]);
    file.read_exact(&mut name)?;
    file.read_exact(&mut size)?;
    Ok(Some((name, u64::from(u32::from_le_bytes(size)))))
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn texts(file: &[u8]) -> Vec<([u8; 4], String)> {
        let mut texts = Vec::new();
        read(&mut Cursor::new(file), |name, text| texts.push((name, text.into()))).unwrap();
        texts
    }

    #[test]
    fn the_list_is_found_behind_the_samples() {
        let mut file =
            b"RIFF\0\0\0\0WAVEdata\x03\0\0\0abc\0LIST\x1a\0\0\0INFOINAM\x02\0\0\0A\0IART\x03\0\0\0Bo\0\0".to_vec();
        assert_eq!(texts(&file), [(*b"INAM", "A\0".into()), (*b"IART", "Bo\0".into())]);
        // Whatever is cut off or claimed, reading ends.
        let whole = file.clone();
        for length in 0..whole.len() {
            texts(&whole[..length]);
        }
        for at in 12..whole.len() {
            file.clone_from(&whole);
            file[at] = 0xff;
            texts(&file);
        }
    }

    #[test]
    fn other_files_have_none() {
        assert_eq!(texts(b""), []);
        assert_eq!(texts(b"RIFF\0\0\0\0WEBPLIST\x0e\0\0\0INFOINAM\x02\0\0\0A\0"), []);
    }
}
