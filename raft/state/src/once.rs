//! What is done once however often it is asked for: uploads with a key of the client's.
//!
//! A client whose answer was lost cannot know whether its song was added. With a key it asks again, at whichever node,
//! and gets the song that there is. What the key stands for is remembered beside the song, in the same change, so there is
//! no moment at which one of them is there without the other. Two uploads with one key that arrive at the same time are
//! both received; applying decides which of them adds the song.

use serde::{Deserialize, Serialize};
use storage::blobs::Hash;

use super::passing::{self, Passing};
use super::transaction::{Applied, refuse};
use super::{Read, Transaction, ViewError, keys};
use crate::command::{Answer, Refusal};

/// How many keys are remembered for one owner. The oldest gives way.
const MOST: usize = 500;

/// What a key has come to stand for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// The song that was added.
    pub song: u64,
    /// A hash of all that was asked for.
    pub content: Hash,
    /// When it is forgotten.
    pub until: u64,
    /// Its place among its owner's.
    pub(super) number: u64,
    /// Who asked.
    pub(super) owner: Hash,
}

impl Done {
    /// The song's number, if the same was asked for again at this time; none if the key is to be forgotten.
    pub fn again(&self, content: &Hash, at: u64) -> Result<Option<u64>, Refusal> {
        if self.until <= at {
            return Ok(None);
        }
        if self.content == *content { Ok(Some(self.song)) } else { Err(Refusal::KeyTaken) }
    }
}

/// What a client asks for once.
pub(super) struct Wish<'a> {
    pub(super) key: &'a Hash,
    pub(super) owner: &'a Hash,
    pub(super) content: &'a Hash,
    pub(super) until: u64,
}

/// Adds the song with `add`, unless the key stands for one.
pub(super) fn once(
    state: &mut Transaction,
    wish: &Wish<'_>,
    at: u64,
    add: impl FnOnce(&mut Transaction) -> Applied<Answer>,
) -> Applied<Answer> {
    passing::sweep(state, at)?;
    if let Some(done) = state.value::<Done>(&keys::done(wish.key))? {
        match done.again(wish.content, at) {
            Ok(Some(song)) => {
                let song = state.song(song)?.ok_or(Refusal::SongOfKeyGone(song));
                return Ok(song.map(Answer::Song));
            }
            Ok(None) => forget(state, wish.key)?,
            Err(refusal) => refuse!(refusal),
        }
    }
    let answer = add(state)?;
    if let Ok(Answer::Song(song)) = &answer {
        let known = state.values::<Hash>(keys::all_done_of(wish.owner))?;
        for oldest in known.iter().take((known.len() + 1).saturating_sub(MOST)) {
            forget(state, oldest)?;
        }
        let done = Done {
            song: song.id,
            content: *wish.content,
            until: wish.until,
            number: state.next("key")?,
            owner: *wish.owner,
        };
        state.put(keys::done(wish.key), &done)?;
        state.put(keys::done_of(wish.owner, done.number), wish.key)?;
        state.put(keys::passing(done.until, wish.key), &Passing::Key(*wish.key))?;
    }
    Ok(answer)
}

/// Forgets what a key stands for.
pub(super) fn forget(state: &mut Transaction, key: &Hash) -> Result<(), ViewError> {
    if let Some(done) = state.value::<Done>(&keys::done(key))? {
        state.delete(keys::done(key));
        state.delete(keys::done_of(&done.owner, done.number));
        state.delete(keys::passing(done.until, key));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use uuid::Uuid;

    use super::super::scripted::Machine;
    use super::super::{LEVEL, Plan, Priority, Road};
    use super::*;
    use crate::command::Command;

    fn upload(key: &str, at: u64) -> Command {
        let file = Hash::of(b"file");
        let add = Command::AddSong {
            title: "song".into(),
            hash: file,
            size: 1,
            format: "wav".into(),
            uploader_id: None,
            credits: Box::default(),
            plan: Plan { frames: 10, segments: 1, segments_per_task: 1 },
            model: "spectral".into(),
            formats: vec!["mp3".into()],
            max_attempts: 2,
            priority: Priority::Normal,
            owner: String::new(),
            jobs_per_owner: 0,
            road: Road::Inside,
            at,
        };
        let (key, owner) = (Hash::of(key.as_bytes()), Hash::of(b"ada"));
        Command::Once { key, owner, content: file, until: at + 10, add: Box::new(add), at }
    }

    #[test]
    fn keys_never_pile_up() {
        let mut machine = Machine::at_level(LEVEL);
        let mut add = |key: String, at| machine.apply(Uuid::new_v4(), &upload(&key, at)).0.unwrap();
        for number in 0..=MOST {
            add(number.to_string(), 0);
        }
        // The first gave way, the second is still known.
        let song = |answer| match answer {
            Answer::Song(song) => song.id,
            other => panic!("{other:?}"),
        };
        assert_eq!(song(add("1".into(), 0)), 2);
        assert_eq!(song(add("0".into(), 0)), MOST as u64 + 2);
        let keys = |machine: &Machine| machine.view().scan(keys::all_done_of(&Hash::of(b"ada"))).unwrap().len();
        assert_eq!(keys(&machine), MOST);
        // What has ended is swept out with what comes.
        for number in 0..MOST {
            machine.apply(Uuid::new_v4(), &upload(&format!("later {number}"), 100)).0.unwrap();
        }
        assert_eq!(keys(&machine), MOST);
        assert_eq!(machine.view().scan(keys::passed(100)).unwrap().len(), 0);
    }
}
