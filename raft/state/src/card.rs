//! What a song is found and ordered by.
//!
//! A song has a card: its words and its texts in the form in which they are compared, without regard to case, accents and
//! punctuation, and its numbers. From the card alone follow the rows in which the song stands: one in each order, one for
//! each word. The card lies in the state beside the song, so the rows that a change takes away are the rows that were
//! there, whichever version of the tables of Unicode wrote them.
//!
//! A row's place is compared byte by byte and ends with the song's number: no two songs have the same place, and a page
//! that goes on behind a place is not moved by songs that come or go elsewhere.

use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

use super::{Facts, Song, keys};

/// The most words that a song is found by.
const WORDS: usize = 32;
/// The most bytes of a word.
const WORD: usize = 32;
/// The most bytes of a text by which songs are ordered; songs that agree in so many lie in the order of their numbers.
const TEXT: usize = 64;

/// An order of songs. The numbers are in keys and never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// As they came.
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
    /// By tempo; those of which none is known come first.
    Tempo = 6,
    /// By how often they were played.
    Plays = 7,
}

/// The orders that have rows. The order of arrival needs none: the songs' own keys have it.
const ROWS: [Order; 7] =
    [Order::Title, Order::Artist, Order::Album, Order::Genre, Order::Duration, Order::Tempo, Order::Plays];

/// What a song is found and ordered by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Card {
    /// The title, as [`plain`] gives it.
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
    /// How often it was played.
    pub plays: u64,
    /// The words of all its texts, each once, in their order.
    pub words: Vec<String>,
}

impl Card {
    /// A song's card. `facts` is what its job found.
    pub(super) fn of(song: &Song, facts: Option<&Facts>, plays: u64) -> Self {
        let credits = &song.credits;
        let text = |text: &Option<String>| text.as_deref().map(plain);
        let title = plain(&song.title);
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

    /// Whether each of these beginnings begins one of the song's words.
    pub fn has(&self, beginnings: &[String]) -> bool {
        beginnings.iter().all(|beginning| self.words.iter().any(|word| word.starts_with(beginning)))
    }

    /// The text by which songs of the same artist, album or genre are together; none for other orders.
    pub fn text(&self, order: Order) -> Option<&str> {
        match order {
            Order::Title => Some(&self.title),
            Order::Artist => self.artist.as_deref(),
            Order::Album => self.album.as_deref(),
            Order::Genre => self.genre.as_deref(),
            Order::Added | Order::Duration | Order::Tempo | Order::Plays => None,
        }
    }

    /// The song's place in an order.
    pub fn place(&self, order: Order, song: u64) -> Vec<u8> {
        let mut place = match order {
            Order::Added => Vec::new(),
            Order::Title | Order::Artist | Order::Album | Order::Genre => place_of(self.text(order)),
            Order::Duration => self.frames.to_be_bytes().into(),
            Order::Tempo => self.tempo.unwrap_or(0).to_be_bytes().into(),
            Order::Plays => self.plays.to_be_bytes().into(),
        };
        place.extend(song.to_be_bytes());
        place
    }

    /// The keys of all rows of the song.
    pub(super) fn rows(&self, song: u64) -> Vec<Vec<u8>> {
        let orders = ROWS.iter().map(|order| keys::row(*order, &self.place(*order, song)));
        orders.chain(self.words.iter().map(|word| keys::word(word, song))).collect()
    }
}

/// The beginning of the places of all songs with this text, as [`plain`] gives it.
pub fn place_of(text: Option<&str>) -> Vec<u8> {
    let mut place = Vec::new();
    match text {
        Some(text) => {
            place.push(0);
            place.extend(cut(text, TEXT).bytes());
            place.push(0);
        }
        None => place.push(1),
    }
    place
}

/// The text without what is not compared: case, accents, punctuation. A text of punctuation alone keeps it.
pub fn plain(text: &str) -> String {
    let words = split(text).join(" ");
    if words.is_empty() { text.to_lowercase().chars().filter(|letter| *letter != '\0').collect() } else { words }
}

/// The words of a text, as they are compared.
pub fn words(text: &str) -> Vec<String> {
    words_in(&plain(text))
}

/// The words of a text that is plain: they are parted by single spaces. Punctuation alone is one word.
fn words_in(plain: &str) -> Vec<String> {
    let words = if plain.contains(char::is_alphanumeric) { plain.split(' ').collect() } else { vec![plain] };
    words.into_iter().filter(|word| !word.trim().is_empty()).map(|word| cut(word, WORD).to_owned()).collect()
}

fn split(text: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    // An apostrophe parts no word: who looks for "dont" finds "Don't".
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

/// Letters that no decomposition makes plain, as they are typed where keyboards lack them.
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

/// Whether a letter is a word of its own, in scripts that put no spaces between words.
fn stands_alone(letter: char) -> bool {
    matches!(letter, '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{20000}'..='\u{3ffff}')
}

/// The beginning of a text, of at most so many bytes.
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
            assert_eq!(plain(text), expected, "{text}");
        }
        assert_eq!(words("AC/DC live"), ["ac", "dc", "live"]);
        assert_eq!(words("!!!"), ["!!!"]);
        assert!(words(" ").is_empty());
        assert_eq!(words(&"ä".repeat(100)), ["a".repeat(WORD)]);
        // What was made plain stays as it is, so a filter may be given either way.
        assert_eq!(plain(&plain("Straße nach Łódź")), plain("Straße nach Łódź"));
    }

    #[test]
    fn places_are_in_the_order_of_the_texts() {
        let texts = ["", "a", "a b", "ab", "b"];
        assert!(texts.windows(2).all(|two| place_of(Some(two[0])) < place_of(Some(two[1]))));
        assert!(place_of(Some("zzz")) < place_of(None));
    }
}
