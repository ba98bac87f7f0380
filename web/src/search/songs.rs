//! Pages of songs.

use std::collections::{BTreeMap, BTreeSet};

use state::index_entry::text_key;
use state::{IndexEntry, Order, Song, SongStatus, View};
use storage::blobs::Hash;

use super::{CHUNK, FEW, MOST_LOOKED_AT, Sort};
use crate::auth::caller::Caller;
use crate::http::error::ApiError;

/// The conditions and the order of a list of songs. Texts are normalized by [`plain`](state::index_entry::normalize).
#[derive(Debug, Clone)]
pub(crate) struct SongQuery {
    /// Prefixes of words of the title, artist, album or genre.
    pub(crate) beginnings: Vec<String>,
    /// Texts that the artist, album or genre must equal.
    pub(crate) texts: Vec<(Order, String)>,
    pub(crate) status: Option<SongStatus>,
    /// The hash of the file.
    pub(crate) hash: Option<Hash>,
    /// Only songs of the caller.
    pub(crate) mine: bool,
    /// Only favourites of the caller.
    pub(crate) favourite: bool,
    pub(crate) sort: Sort,
    pub(crate) backwards: bool,
    /// The place behind which the page begins.
    pub(crate) after: Option<Vec<u8>>,
    pub(crate) limit: usize,
}

impl SongQuery {
    /// All songs in an order.
    pub(crate) fn all(sort: Sort, backwards: bool, limit: usize) -> Self {
        Self {
            beginnings: Vec::new(),
            texts: Vec::new(),
            status: None,
            hash: None,
            mine: false,
            favourite: false,
            sort,
            backwards,
            after: None,
            limit,
        }
    }
}

/// A page of a list of songs.
#[derive(Debug, Default)]
pub(crate) struct SongPage {
    pub(crate) songs: Vec<Song>,
    /// The place behind which the next page begins; none on the last page.
    pub(crate) next: Option<Vec<u8>>,
}

/// Finds the songs of a query in the library of the caller.
///
/// A page is made in one of two ways. If one of the conditions holds for few songs (a word, an artist, a file, the
/// caller's library), these songs are read and sorted. Otherwise matches are close together in the order, and its rows
/// are walked from the start of the page until the page is full.
pub(crate) fn find(view: &View, caller: &Caller, query: &SongQuery) -> Result<SongPage, ApiError> {
    let search = SongSearch { view, caller, query };
    if query.favourite || query.sort == Sort::Played {
        caller.known()?;
    }
    match search.candidates()? {
        Some(songs) => search.among(&songs),
        None => search.walk(),
    }
}

struct SongSearch<'a> {
    view: &'a View,
    caller: &'a Caller,
    query: &'a SongQuery,
}

impl SongSearch<'_> {
    fn needs_entry(&self) -> bool {
        !self.query.beginnings.is_empty() || !self.query.texts.is_empty()
    }

    /// The songs that meet the condition for which the fewest do, if these are few.
    fn candidates(&self) -> Result<Option<BTreeSet<u64>>, ApiError> {
        let (view, query) = (self.view, self.query);
        let Sort::By(order) = query.sort else { return Ok(None) };
        if let Some(hash) = &query.hash {
            let songs = view.songs_of(hash, FEW)?;
            return Ok(Some(songs.into_iter().collect()).filter(|songs: &BTreeSet<u64>| songs.len() < FEW));
        }
        if query.favourite
            && let Some(user) = self.caller.user()
        {
            return Ok(Some(view.favourites_of(user)?));
        }
        let mut fewest: Option<BTreeSet<u64>> = None;
        let mut take = |songs: Option<BTreeSet<u64>>| {
            if let Some(songs) = songs
                && fewest.as_ref().is_none_or(|fewest| songs.len() < fewest.len())
            {
                fewest = Some(songs);
            }
        };
        for (order, text) in &query.texts {
            take(view.sorted_at(*order, &text_key(Some(text)), FEW)?);
        }
        for beginning in &query.beginnings {
            take(view.with_word(beginning, FEW)?);
        }
        // The lists of audiences are in the order in which songs were added, so they are walked.
        if fewest.is_none()
            && order != Order::Added
            && let Some(audiences) = self.caller.audiences()
        {
            fewest = view.listed(&audiences, FEW)?;
        }
        Ok(fewest)
    }

    /// The page, from these songs.
    fn among(&self, songs: &BTreeSet<u64>) -> Result<SongPage, ApiError> {
        let Sort::By(order) = self.query.sort else { return Ok(SongPage::default()) };
        let mut found = BTreeMap::new();
        for id in songs {
            let Some(entry) = self.view.index_entry(*id)? else { continue };
            let place = entry.sort_key(order, *id);
            let ahead = |after: &Vec<u8>| if self.query.backwards { place < *after } else { place > *after };
            if self.query.after.as_ref().is_none_or(ahead)
                && let Some(song) = self.matching(*id, Some(&entry))?
            {
                found.insert(place, song);
            }
        }
        let limit = self.query.limit;
        let more = found.len() > limit;
        let ordered: Box<dyn Iterator<Item = _>> =
            if self.query.backwards { Box::new(found.into_iter().rev()) } else { Box::new(found.into_iter()) };
        let (places, songs): (Vec<_>, Vec<_>) = ordered.take(limit).unzip();
        Ok(SongPage { songs, next: places.last().filter(|_| more).cloned() })
    }

    /// The page, from the rows of the order.
    fn walk(&self) -> Result<SongPage, ApiError> {
        let (mut page, mut last) = (SongPage::default(), None);
        let (mut after, mut looked_at) = (self.query.after.clone(), 0);
        loop {
            let rows = self.rows(after.as_deref())?;
            let ended = rows.len() < CHUNK;
            for (place, id) in rows {
                looked_at += 1;
                if let Some(song) = self.matching(id, None)? {
                    if page.songs.len() == self.query.limit {
                        return Ok(SongPage { next: last, ..page });
                    }
                    page.songs.push(song);
                    last = Some(place.clone());
                }
                after = Some(place);
            }
            if ended {
                return Ok(page);
            }
            if looked_at >= MOST_LOOKED_AT {
                return Ok(SongPage { next: after, ..page });
            }
        }
    }

    /// The rows behind a place.
    fn rows(&self, after: Option<&[u8]>) -> Result<Vec<(Vec<u8>, u64)>, ApiError> {
        let (view, backwards) = (self.view, self.query.backwards);
        Ok(match (self.query.sort, self.caller.audiences()) {
            (Sort::Played, _) => view.in_order_played(self.caller.known()?.id, after, backwards, CHUNK)?,
            (Sort::By(Order::Added), Some(audiences)) => view.in_lists(&audiences, after, backwards, CHUNK)?,
            (Sort::By(order), _) => view.in_order(order, after, backwards, CHUNK)?,
        })
    }

    /// The song, if it meets the conditions and the caller may listen to it.
    fn matching(&self, id: u64, entry: Option<&IndexEntry>) -> Result<Option<Song>, ApiError> {
        let (view, query, caller) = (self.view, self.query, self.caller);
        if self.needs_entry() {
            let read = if entry.is_none() { view.index_entry(id)? } else { None };
            let Some(entry) = entry.or(read.as_ref()) else { return Ok(None) };
            let agrees = query.texts.iter().all(|(order, text)| entry.text(*order) == Some(text));
            if !agrees || !entry.has(&query.beginnings) {
                return Ok(None);
            }
        }
        if let Some(user) = caller.user().filter(|_| query.favourite)
            && !view.is_favourite(user, id)?
        {
            return Ok(None);
        }
        // Favourites and played songs may be part of shared playlists, and not of the caller's library.
        let personal = query.favourite || query.sort == Sort::Played;
        if !personal && !caller.is_listed(view, id)? {
            return Ok(None);
        }
        let Some(song) = view.song(id)? else { return Ok(None) };
        let passes = (!personal || caller.may_see(view, &song)?)
            && (!query.mine || caller.owns(&song))
            && query.hash.is_none_or(|hash| song.hash == hash)
            && (query.status.is_none() || query.status == Some(view.song_status(&song)?));
        Ok(Some(song).filter(|_| passes))
    }
}
