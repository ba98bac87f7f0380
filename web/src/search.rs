//! Finding songs: what a list holds, in which order, and where its next page begins.
//!
//! Every song stands in rows in the state: one in each order, one for each word (see `state::card`), so a song that
//! was just added is found by whoever looks next, at any node. A list is made in one of two ways. If one of its conditions
//! holds for few songs (a word, an artist, a file, the caller's own list), those are looked at and put in order. Otherwise
//! matches lie close together, and the rows of the order are walked from the page's beginning until it is full.
//!
//! A page goes on behind a place, which is made of what the order compares and of the song's number: songs that arrive
//! meanwhile come before or behind it and shift nothing. Whoever asks, at most [`MOST_LOOKED_AT`] songs are looked at;
//! where that was not enough, the page is short or even empty, and still says where the next one begins.

use std::collections::{BTreeMap, BTreeSet};

use state::View;
use state::card::{place_of, plain, words};
use state::command::Refusal;
use state::{ACCOUNTS, Card, Order, Song, SongStatus};
use storage::blobs::Hash;

use crate::caller::Caller;
use crate::error::ApiError;

/// A condition that so many songs meet is a good one to begin with.
const FEW: usize = 5_000;
/// How many songs are looked at for a page.
const MOST_LOOKED_AT: usize = 20_000;
/// How many rows are read at a time.
const CHUNK: usize = 256;
/// To how many the songs of a group are counted.
pub(crate) const MOST_COUNTED: usize = 1_000;

/// By what a list is ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sort {
    /// What is so for everybody.
    By(Order),
    /// When the caller last played a song; others are not listed.
    Played,
}

impl Sort {
    /// The order that a word means, and whether it is turned round.
    pub(crate) fn named(word: &str) -> Result<(Self, bool), ApiError> {
        let (name, backwards) = word.strip_prefix('-').map_or((word, false), |name| (name, true));
        let sort = match name {
            "added" => Self::By(Order::Added),
            "title" => Self::By(Order::Title),
            "artist" => Self::By(Order::Artist),
            "album" => Self::By(Order::Album),
            "genre" => Self::By(Order::Genre),
            "duration" => Self::By(Order::Duration),
            "bpm" => Self::By(Order::Tempo),
            "plays" => Self::By(Order::Plays),
            "played" => Self::Played,
            _ => {
                let shown: String = word.chars().take(20).collect();
                return Err(ApiError::Malformed(format!(
                    "Songs are not sorted by {shown:?}: ask for added, title, artist, album, genre, duration, bpm, plays \
                     or played, with a - before it for the other way round."
                )));
            }
        };
        Ok((sort, backwards))
    }

    /// A place in this order as clients are given it.
    pub(crate) fn shown(self, place: &[u8]) -> String {
        match (self, place.try_into().map(u64::from_be_bytes)) {
            (Self::By(Order::Added), Ok(song)) => song.to_string(),
            _ => hex::encode(place),
        }
    }

    /// The place that a client was given.
    pub(crate) fn place(self, cursor: &str) -> Result<Vec<u8>, ApiError> {
        let place = match self {
            Self::By(Order::Added) => cursor.parse().map(|song: u64| song.to_be_bytes().to_vec()).ok(),
            _ => hex::decode(cursor).ok(),
        };
        place.ok_or_else(bad_cursor)
    }
}

/// What a cursor is not.
pub(crate) fn bad_cursor() -> ApiError {
    ApiError::Malformed("The cursor is none that was given out. Give back `next` of the page before as it came.".into())
}

/// What a list is to hold. Texts are as [`plain`] gives them.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub(crate) beginnings: Vec<String>,
    pub(crate) texts: Vec<(Order, String)>,
    pub(crate) status: Option<SongStatus>,
    pub(crate) hash: Option<Hash>,
    pub(crate) mine: bool,
    pub(crate) favourite: bool,
    pub(crate) sort: Sort,
    pub(crate) backwards: bool,
    pub(crate) after: Option<Vec<u8>>,
    pub(crate) limit: usize,
}

impl Wanted {
    /// All songs in an order, from the beginning.
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

/// A page of a list.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) songs: Vec<Song>,
    /// Behind which place the next page begins; none if this is the last.
    pub(crate) next: Option<Vec<u8>>,
}

/// Finds what is wanted among what the caller may hear.
pub(crate) fn find(view: &View, caller: &Caller, wanted: &Wanted) -> Result<Found, ApiError> {
    let searcher = Searcher { view, caller, wanted };
    let needs_cards = searcher.needs_card() || wanted.sort != Sort::By(Order::Added) || wanted.favourite;
    if needs_cards && !view.has_level(ACCOUNTS)? {
        return Err(Refusal::NoAccounts.into());
    }
    if wanted.favourite || wanted.sort == Sort::Played {
        caller.known()?;
    }
    match searcher.candidates()? {
        Some(songs) => searcher.among(&songs),
        None => searcher.walk(),
    }
}

struct Searcher<'a> {
    view: &'a View,
    caller: &'a Caller,
    wanted: &'a Wanted,
}

impl Searcher<'_> {
    fn needs_card(&self) -> bool {
        !self.wanted.beginnings.is_empty() || !self.wanted.texts.is_empty()
    }

    /// Few songs among which all are that are wanted, if one of the conditions says which.
    fn candidates(&self) -> Result<Option<BTreeSet<u64>>, ApiError> {
        let (view, wanted) = (self.view, self.wanted);
        let Sort::By(order) = wanted.sort else { return Ok(None) };
        if let Some(hash) = &wanted.hash {
            let songs = view.songs_of(hash, FEW)?;
            return Ok(Some(songs.into_iter().collect()).filter(|songs: &BTreeSet<u64>| songs.len() < FEW));
        }
        if wanted.favourite
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
        for (order, text) in &wanted.texts {
            take(view.placed_at(*order, &place_of(Some(text)), FEW)?);
        }
        for beginning in &wanted.beginnings {
            take(view.with_word(beginning, FEW)?);
        }
        // The order in which they came is that of the lists themselves, and they are walked as they are.
        if fewest.is_none()
            && order != Order::Added
            && let Some(audiences) = self.caller.audiences()
        {
            fewest = view.listed(&audiences, FEW)?;
        }
        Ok(fewest)
    }

    /// A page of what is wanted among these songs.
    fn among(&self, songs: &BTreeSet<u64>) -> Result<Found, ApiError> {
        let Sort::By(order) = self.wanted.sort else { return Ok(Found::default()) };
        let mut found = BTreeMap::new();
        for id in songs {
            let Some(card) = self.view.card(*id)? else { continue };
            let place = card.place(order, *id);
            let ahead = |after: &Vec<u8>| if self.wanted.backwards { place < *after } else { place > *after };
            if self.wanted.after.as_ref().is_none_or(ahead)
                && let Some(song) = self.passing(*id, Some(&card))?
            {
                found.insert(place, song);
            }
        }
        let limit = self.wanted.limit;
        let more = found.len() > limit;
        let ordered: Box<dyn Iterator<Item = _>> =
            if self.wanted.backwards { Box::new(found.into_iter().rev()) } else { Box::new(found.into_iter()) };
        let (places, songs): (Vec<_>, Vec<_>) = ordered.take(limit).unzip();
        Ok(Found { songs, next: places.last().filter(|_| more).cloned() })
    }

    /// A page of what is wanted, along the rows.
    fn walk(&self) -> Result<Found, ApiError> {
        let (mut page, mut last) = (Found::default(), None);
        let (mut after, mut looked_at) = (self.wanted.after.clone(), 0);
        loop {
            let rows = self.rows(after.as_deref())?;
            let ended = rows.len() < CHUNK;
            for (place, id) in rows {
                looked_at += 1;
                if let Some(song) = self.passing(id, None)? {
                    if page.songs.len() == self.wanted.limit {
                        return Ok(Found { next: last, ..page });
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
                return Ok(Found { next: after, ..page });
            }
        }
    }

    fn rows(&self, after: Option<&[u8]>) -> Result<Vec<(Vec<u8>, u64)>, ApiError> {
        let (view, backwards) = (self.view, self.wanted.backwards);
        Ok(match (self.wanted.sort, self.caller.audiences()) {
            (Sort::Played, _) => view.in_order_played(self.caller.known()?.id, after, backwards, CHUNK)?,
            (Sort::By(Order::Added), Some(audiences)) if view.has_level(ACCOUNTS)? => {
                view.in_lists(&audiences, after, backwards, CHUNK)?
            }
            (Sort::By(order), _) => view.in_order(order, after, backwards, CHUNK)?,
        })
    }

    /// The song, if it is wanted and the caller's to hear.
    fn passing(&self, id: u64, card: Option<&Card>) -> Result<Option<Song>, ApiError> {
        let (view, wanted, caller) = (self.view, self.wanted, self.caller);
        if self.needs_card() {
            let read = if card.is_none() { view.card(id)? } else { None };
            let Some(card) = card.or(read.as_ref()) else { return Ok(None) };
            let agrees = wanted.texts.iter().all(|(order, text)| card.text(*order) == Some(text));
            if !agrees || !card.has(&wanted.beginnings) {
                return Ok(None);
            }
        }
        if let Some(user) = caller.user().filter(|_| wanted.favourite)
            && !view.is_favourite(user, id)?
        {
            return Ok(None);
        }
        // What a list names that is the caller's own may also be a song in a playlist that is shared with them.
        let own_list = wanted.favourite || wanted.sort == Sort::Played;
        if !own_list && view.has_level(ACCOUNTS)? && !caller.is_listed(view, id)? {
            return Ok(None);
        }
        let Some(song) = view.song(id)? else { return Ok(None) };
        let passes = (!own_list || caller.may_see(view, &song)?)
            && (!wanted.mine || caller.owns(&song))
            && wanted.hash.is_none_or(|hash| song.hash == hash)
            && (wanted.status.is_none() || wanted.status == Some(view.song_status(&song)?));
        Ok(Some(song).filter(|_| passes))
    }
}

/// The songs of one artist, album or genre.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Group {
    /// One of its songs, which writes the name out.
    pub(crate) song: u64,
    /// How many songs there are, up to [`MOST_COUNTED`].
    pub(crate) songs: usize,
    /// Whether there may be more than that.
    pub(crate) more: bool,
}

/// The groups, from behind the text `after` on, whose names have words that begin so, and the text behind which the next
/// page begins.
pub(crate) fn groups(
    view: &View,
    caller: &Caller,
    order: Order,
    beginnings: &[String],
    after: Option<Vec<u8>>,
    limit: usize,
) -> Result<(Vec<Group>, Option<Vec<u8>>), ApiError> {
    if !view.has_level(ACCOUNTS)? {
        return Err(Refusal::NoAccounts.into());
    }
    let few = match caller.audiences() {
        Some(audiences) => view.listed(&audiences, FEW)?,
        None => None,
    };
    let wanted = |text: &str| {
        let words = words(text);
        beginnings.iter().all(|beginning| words.iter().any(|word| word.starts_with(beginning)))
    };
    let mut found: BTreeMap<Vec<u8>, Group> = BTreeMap::new();
    let mut count = |place: Vec<u8>, song: u64| {
        let group = found.entry(place).or_insert(Group { song, songs: 0, more: false });
        group.more = group.songs == MOST_COUNTED;
        group.songs = (group.songs + 1).min(MOST_COUNTED);
        group.more
    };
    let (mut next, mut cut_short) = (None, false);
    if let Some(songs) = few {
        for song in songs {
            if let Some(card) = view.card(song)?
                && let Some(text) = card.text(order).filter(|text| wanted(text))
            {
                let place = place_of(Some(text));
                if after.as_ref().is_none_or(|after| place > *after) {
                    count(place, song);
                }
            }
        }
    } else {
        let (mut behind, mut looked_at) = (after.as_deref().map(behind_group), 0);
        let (mut group, mut begun) = (Vec::new(), 0);
        'walk: loop {
            let rows = view.in_order(order, behind.as_deref(), false, CHUNK)?;
            let ended = rows.len() < CHUNK;
            for (row, song) in rows {
                let place = row[..row.len().saturating_sub(size_of::<u64>())].to_vec();
                // The text lies between two bytes; songs without one come last.
                let [0, text @ .., 0] = place.as_slice() else { break 'walk };
                looked_at += 1;
                let text = String::from_utf8_lossy(text).into_owned();
                behind = Some(row);
                if !wanted(&text) {
                    behind = Some(behind_group(&place));
                    continue 'walk;
                }
                if looked_at > MOST_LOOKED_AT {
                    cut_short = true;
                    next = Some(place);
                    break 'walk;
                }
                if !caller.is_listed(view, song)? {
                    continue;
                }
                if place != group {
                    if begun == limit {
                        next = Some(group);
                        break 'walk;
                    }
                    begun += 1;
                    group.clone_from(&place);
                }
                if count(place.clone(), song) {
                    behind = Some(behind_group(&place));
                    continue 'walk;
                }
            }
            if ended {
                break;
            }
        }
    }
    if found.len() > limit {
        next = found.keys().nth(limit - 1).cloned();
    } else if let Some(group) = next.as_ref().filter(|_| cut_short).and_then(|cut| found.get_mut(cut)) {
        group.more = true;
    }
    Ok((found.into_values().take(limit).collect(), next))
}

/// Behind all rows whose places begin so.
fn behind_group(place: &[u8]) -> Vec<u8> {
    [place, &[u8::MAX; 9]].concat()
}

/// The beginnings of words that a search text asks for.
pub(crate) fn beginnings(text: Option<&str>) -> Vec<String> {
    let mut beginnings = text.map(words).unwrap_or_default();
    beginnings.truncate(16);
    beginnings
}

/// A text that a song has to have.
pub(crate) fn text(order: Order, text: Option<&String>) -> Option<(Order, String)> {
    text.map(|text| (order, plain(text)))
}
