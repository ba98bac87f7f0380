//! Idempotency: uploads with a key of the client, which add a song once however often they are sent.
//!
//! A client that gets no answer does not know whether its song was added. It sends the upload again with the same key, to
//! any node, and gets the song that was added. The record of the key is stored in the same change as the song, so neither
//! ever exists without the other. Of two uploads with one key at the same time both are received, and applying decides which
//! of them adds the song.

pub(crate) mod types;

use serde::{Deserialize, Serialize};
use storage::blobs::Hash;

use self::types::IdempotencyRecord;
use crate::command::answer::{Answer, Refusal};
use crate::command::apply::{Applied, Apply, refuse};
use crate::expiry::{self, types::Expiring};
use crate::songs::AddSong;
use crate::tables::{IDEMPOTENCY, IDEMPOTENCY_OF_OWNER};
use crate::{Read, Transaction, ViewError};

/// How many keys a client may have. A new one replaces the oldest.
const MOST: usize = 500;

/// Adds a song, unless the key stands for one already: then the answer is that song.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AddSongOnce {
    /// A hash of the client's key and the client's identity.
    pub key: Hash,
    /// A hash of the client's identity.
    pub owner: Hash,
    /// A hash of everything that is asked for, so that the key cannot stand for two different uploads.
    pub content: Hash,
    /// The time at which the key expires.
    pub until: u64,
    /// The song.
    pub add: AddSong,
    /// The time.
    pub at: u64,
}

impl Apply for AddSongOnce {
    fn adds_expiring(&self) -> Option<u64> {
        Some(self.at)
    }

    fn apply(&self, state: &mut Transaction) -> Applied<Answer> {
        if let Some(record) = state.get(IDEMPOTENCY, &self.key)? {
            match record.song_for(&self.content, self.at) {
                Ok(Some(song)) => {
                    let song = state.song(song)?.ok_or(Refusal::SongOfKeyGone(song));
                    return Ok(song.map(Answer::Song));
                }
                Ok(None) => remove(state, &self.key)?,
                Err(refusal) => refuse!(refusal),
            }
        }
        let answer = self.add.apply(state)?;
        if let Ok(Answer::Song(song)) = &answer {
            self.record(state, song.id)?;
        }
        Ok(answer)
    }
}

impl AddSongOnce {
    fn record(&self, state: &mut Transaction, song: u64) -> Result<(), ViewError> {
        let known = state.list(IDEMPOTENCY_OF_OWNER, IDEMPOTENCY_OF_OWNER.under(&self.owner))?;
        for oldest in known.iter().take((known.len() + 1).saturating_sub(MOST)) {
            remove(state, oldest)?;
        }
        let (content, until, owner) = (self.content, self.until, self.owner);
        let record = IdempotencyRecord { song, content, until, number: state.next("key")?, owner };
        state.put(IDEMPOTENCY, &self.key, &record)?;
        state.put(IDEMPOTENCY_OF_OWNER, (&owner, record.number), &self.key)?;
        expiry::schedule(state, until, Expiring::IdempotencyKey(self.key))
    }
}

/// Removes the record of a key.
pub(crate) fn remove(state: &mut Transaction, key: &Hash) -> Result<(), ViewError> {
    if let Some(record) = state.get(IDEMPOTENCY, key)? {
        state.delete(IDEMPOTENCY, key);
        state.delete(IDEMPOTENCY_OF_OWNER, (&record.owner, record.number));
        expiry::cancel(state, record.until, key);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables::EXPIRING;
    use crate::tests::{Machine, add_song};

    fn upload(key: &str, at: u64) -> AddSongOnce {
        let add = AddSong { at, ..add_song("song") };
        let (key, owner) = (Hash::of(key.as_bytes()), Hash::of(b"ada"));
        AddSongOnce { key, owner, content: add.hash, until: at + 10, add, at }
    }

    #[test]
    fn keys_do_not_accumulate() {
        let mut machine = Machine::new();
        let mut add = |key: String, at| match machine.apply(upload(&key, at)).unwrap() {
            Answer::Song(song) => song.id,
            other => panic!("{other:?}"),
        };
        for number in 0..=MOST {
            add(number.to_string(), 0);
        }
        // The last one replaced the first. The second is still known.
        assert_eq!(add("1".into(), 0), 2);
        assert_eq!(add("0".into(), 0), MOST as u64 + 2);
        let owner = Hash::of(b"ada");
        let keys = |machine: &Machine| machine.view().count(IDEMPOTENCY_OF_OWNER.under(&owner), usize::MAX).unwrap();
        assert_eq!(keys(&machine), MOST);
        // New keys remove those that have expired.
        for number in 0..MOST {
            machine.apply(upload(&format!("later {number}"), 100)).unwrap();
        }
        assert_eq!(keys(&machine), MOST);
        assert_eq!(machine.view().count(EXPIRING.until(100), usize::MAX).unwrap(), 0);
    }
}
