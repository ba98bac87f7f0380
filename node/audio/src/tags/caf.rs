//! Tags of CAF files: the information chunk (Apple, "Core Audio Format Specification", Information Chunk).

use std::io;

use super::draft::{Draft, Field};
use super::input::Input;
use super::text::unlabelled;

/// The largest number of chunks that are read.
const MAX_CHUNKS: usize = 1_000;

/// Reads the tags of the file that begins at `at`.
pub(super) fn read(input: &mut Input<'_>, mut at: u64) -> io::Result<Draft> {
    let mut draft = Draft::default();
    at += 8;
    for _ in 0..MAX_CHUNKS {
        let Some([n0, n1, n2, n3, size @ ..]) = input.array::<12>(at)? else { break };
        at += 12;
        // Sound of unknown size extends to the end of the file.
        let Ok(size) = u64::try_from(i64::from_be_bytes(size)) else { break };
        if [n0, n1, n2, n3] == *b"info" {
            // The entries follow their number; they end with the chunk too.
            let entries = input.text(at + 4, size.saturating_sub(4))?;
            let mut texts = entries.split(|byte| *byte == 0);
            while let (Some(name), Some(value)) = (texts.next(), texts.next()) {
                if let Some(field) = Field::named(&unlabelled(name)) {
                    draft.add(field, &unlabelled(value));
                }
            }
        }
        let Some(next) = at.checked_add(size) else { break };
        at = next;
    }
    Ok(draft)
}
