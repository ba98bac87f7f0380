//! What a song is found and ordered by.
//!
//! A song has an index entry: its texts and their words, normalized for comparison without regard to case, accents and
//! punctuation, and its figures. The entry determines the rows of the song in the index: one in each order, one for each
//! word. The entry is stored beside the song, so that a change removes exactly the rows that were written, even if another
//! version of the Unicode tables wrote them.
//!
//! Invariant: sort keys are compared byte by byte and end with the song's number. So no two songs have the same sort key,
//! and songs that come or go elsewhere do not move a page that begins behind a sort key.

use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

use crate::{Facts, Song};

/// The most words that a song is found by.
const WORDS: usize = 32;
/// The most bytes of a word.
const WORD: usize = 32;
/// The most bytes of a text that an order compares; songs that agree in these are in the order of their numbers.
const TEXT: usize = 64;

/// An order of songs. The numbers are in keys and never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// By the time of their upload.
    Added = 0,
    /// By title.
    Title = 1,
    /// By artist; those without come last.
    Artist = 2,
    /// By album; those without come last.
    Album = 3,
    /// By genre; those without come last.
    Genre = 4,
    /// By length.
    Duration = 5,
    /// By tempo; those without come first.
    Tempo = 6,
    /// By the number of plays.
    Plays = 7,
}

/// A song's entry in the index. Its texts are normalized.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexEntry {
    /// The title.
    pub title: String,
    /// The artist.
    pub artist: Option<String>,
    /// The album.
    pub album: Option<String>,
    /// The genre.
    pub genre: Option<String>,
    /// The length in frames.
    pub frames: u64,
    /// The tempo in hundredths of beats per minute.
    pub tempo: Option<u32>,
    /// The number of plays.
    pub plays: u64,
    /// The words of all its texts, each once, in alphabetical order.
    pub words: Vec<String>,
}

impl IndexEntry {
    /// The entry of a song. `facts` are those that its own job found.
    pub(crate) fn of(song: &Song, facts: Option<&Facts>, plays: u64) -> Self {
        let credits = &song.credits;
        let text = |text: &Option<String>| text.as_deref().map(normalize);
        let title = normalize(&song.title);
        let (artist, album, genre) = (text(&credits.artist), text(&credits.album), text(&credits.genre));
        let texts = [Some(&title), artist.as_ref(), album.as_ref(), genre.as_ref()];
        let mut found: Vec<String> = texts.into_iter().flatten().flat_map(|text| words_in(text)).take(WORDS).collect();
        found.sort();
        found.dedup();
        Self {
            title,
            artist,
            album,
            genre,
            frames: song.frames,
            tempo: song.bpm(facts).map(|bpm| (bpm * 100.0).round() as u32),
            plays,
            words: found,
        }
    }

    /// Whether each of these texts is the beginning of one of the song's words.
    pub fn has(&self, beginnings: &[String]) -> bool {
        beginnings.iter().all(|beginning| self.words.iter().any(|word| word.starts_with(beginning)))
    }

    /// The text that the order compares; none for the orders by figures.
    pub fn text(&self, order: Order) -> Option<&str> {
        match order {
            Order::Title => Some(&self.title),
            Order::Artist => self.artist.as_deref(),
            Order::Album => self.album.as_deref(),
            Order::Genre => self.genre.as_deref(),
            Order::Added | Order::Duration | Order::Tempo | Order::Plays => None,
        }
    }

    /// The song's sort key in an order.
    pub fn sort_key(&self, order: Order, song: u64) -> Vec<u8> {
        let mut key = match order {
            Order::Added => Vec::new(),
            Order::Title | Order::Artist | Order::Album | Order::Genre => text_key(self.text(order)),
            Order::Duration => self.frames.to_be_bytes().into(),
            Order::Tempo => self.tempo.unwrap_or(0).to_be_bytes().into(),
            Order::Plays => self.plays.to_be_bytes().into(),
        };
        key.extend(song.to_be_bytes());
        key
    }
}

/// The beginning of the sort keys of all songs with this normalized text, or without one.
pub fn text_key(text: Option<&str>) -> Vec<u8> {
    let mut key = Vec::new();
    match text {
        Some(text) => {
            key.push(0);
            key.extend(cut(text, TEXT).bytes());
            key.push(0);
        }
        None => key.push(1),
    }
    key
}

/// The text without case, accents and punctuation, which are not compared. A text of punctuation alone keeps it.
pub fn normalize(text: &str) -> String {
    let words = split(text).join(" ");
    if words.is_empty() { text.to_lowercase().chars().filter(|letter| *letter != '\0').collect() } else { words }
}

/// The normalized words of a text.
pub fn words(text: &str) -> Vec<String> {
    words_in(&normalize(text))
}

/// The words of a normalized text, which single spaces separate. Punctuation alone is one word.
fn words_in(text: &str) -> Vec<String> {
    let words = if text.contains(char::is_alphanumeric) { text.split(' ').collect() } else { vec![text] };
    words.into_iter().filter(|word| !word.trim().is_empty()).map(|word| cut(word, WORD).to_owned()).collect()
}

fn split(text: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    // An apostrophe does not end a word: a search for "dont" finds "Don't".
    let silent = |letter: &char| is_combining_mark(*letter) || matches!(letter, '\'' | '\u{2019}');
    let letters = text.nfkd().filter(|letter| !silent(letter)).flat_map(char::to_lowercase);
    for letter in letters {
        let alone = stands_alone(letter);
        if (alone || !letter.is_alphanumeric()) && words.last().is_some_and(|word| !word.is_empty()) {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut()
            && letter.is_alphanumeric()
        {
            match spelled(letter) {
                Some(spelled) => word.push_str(spelled),
                None => word.push(letter),
            }
        }
        if alone {
            words.push(String::new());
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// Letters without a decomposition, as they are typed on keyboards that lack them.
fn spelled(letter: char) -> Option<&'static str> {
    Some(match letter {
        'ß' => "ss",
        'æ' => "ae",
        'œ' => "oe",
        'ø' => "o",
        'đ' | 'ð' => "d",
        'ł' => "l",
        'þ' => "th",
        'ı' => "i",
        _ => return None,
    })
}

/// Whether a letter is a word of its own, in scripts without spaces between words.
fn stands_alone(letter: char) -> bool {
    matches!(letter, '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{20000}'..='\u{3ffff}')
}

/// The beginning of a text, of at most `most` bytes.
fn cut(text: &str, most: usize) -> &str {
    let mut end = text.len().min(most);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_compared_without_case_accents_and_punctuation() {
        for (text, expected) in [
            ("  Beyoncé ", "beyonce"),
            ("AC/DC", "ac dc"),
            ("Straße nach Łódź", "strasse nach lodz"),
            ("Ænima", "aenima"),
            ("Don't Stop", "dont stop"),
            ("ﬁne №1", "fine no1"),
            ("東京 Tower", "東 京 tower"),
            ("!!!", "!!!"),
            ("\0!", "!"),
        ] {
            assert_eq!(normalize(text), expected, "{text}");
        }
        assert_eq!(words("AC/DC live"), ["ac", "dc", "live"]);
        assert_eq!(words("!!!"), ["!!!"]);
        assert!(words(" ").is_empty());
        assert_eq!(words(&"ä".repeat(100)), ["a".repeat(WORD)]);
        // A normalized text stays as it is, so a filter may be given in either form.
        assert_eq!(normalize(&normalize("Straße nach Łódź")), normalize("Straße nach Łódź"));
    }

    #[test]
    fn sort_keys_are_in_the_order_of_the_texts() {
        let texts = ["", "a", "a b", "ab", "b"];
        assert!(texts.windows(2).all(|two| text_key(Some(two[0])) < text_key(Some(two[1]))));
        assert!(text_key(Some("zzz")) < text_key(None));
    }
}
