//! Finding songs, and the artists, albums and genres of songs.
//!
//! The state indexes every song: one row per order and one per word (see `state::card`). A new song is found by the
//! next request at any node. A page ends at a place: the value that its order compares, and the song's id. Songs that
//! are added between two requests therefore do not shift the pages.
//!
//! A request looks at no more than [`MOST_LOOKED_AT`] songs. If that does not fill a page, the page is short or empty,
//! and still has the place at which the next page begins.

mod groups;
mod songs;
mod sort;

use state::Order;
use state::index_entry::{normalize, words};

pub(crate) use self::groups::groups;
pub(crate) use self::songs::{SongQuery, find};
pub(crate) use self::sort::{Sort, bad_cursor};

/// A condition that fewer songs meet is checked first, by reading all of them.
const FEW: usize = 5_000;
/// The most songs that a request looks at.
const MOST_LOOKED_AT: usize = 20_000;
/// Rows that are read at a time.
const CHUNK: usize = 256;
/// The most words of a query.
const MOST_WORDS: usize = 16;

/// The prefixes of words in the text of a query.
pub(crate) fn beginnings(text: Option<&str>) -> Vec<String> {
    let mut beginnings = text.map(words).unwrap_or_default();
    beginnings.truncate(MOST_WORDS);
    beginnings
}

/// The text that a song must have in an order.
pub(crate) fn text(order: Order, text: Option<&String>) -> Option<(Order, String)> {
    text.map(|text| (order, normalize(text)))
}
