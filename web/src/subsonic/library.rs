//! Artists and albums, which are derived from the songs.
//!
//! An artist has all songs with its name, and an album all songs of an artist with its name. Names that differ only in
//! spelling are equal, as in the API. Both are read from the index of the songs, so they are as new as the songs, and
//! nothing else is stored.
//!
//! Bounds: a request walks at most [`MOST_WALKED`] songs, and reads at most [`MOST_OF_ONE`] songs of an artist, album
//! or genre. A list ends there.

use std::collections::{BTreeMap, HashSet};

use state::View;
use state::index_entry::{normalize, words};
use state::{Order, Song, Stems};

use super::failure::Failure;
use super::ids::{Album, Id};
use super::params::Params;
use crate::api::songs::song_of;
use crate::auth::caller::Caller;
use crate::http::error::ApiError;
use crate::search::{SongQuery, Sort, find, groups};

/// The most songs that a request walks.
const MOST_WALKED: usize = 20_000;
/// The most songs of an artist, album or genre that are read.
pub(super) const MOST_OF_ONE: usize = 1_000;
/// The most artists in a list.
pub(super) const MOST_ARTISTS: usize = 10_000;
/// Songs that are read first while walking, and then at a time: most requests need few songs, and the others very many.
const PAGES: [usize; 2] = [200, 5_000];
/// The most pages of artists that are read, each as long as the walk of a request of the API.
const ARTIST_PAGES: usize = 10;

/// The artist of songs without an artist.
pub(super) const UNKNOWN_ARTIST: &str = "[Unknown Artist]";

/// The view of a request: the state, the caller, and the parameters.
#[derive(Clone, Copy)]
pub(super) struct Look<'a> {
    pub(super) view: &'a View,
    pub(super) caller: &'a Caller,
    pub(super) params: &'a Params,
}

/// An artist.
pub(super) struct Artist {
    /// The name as [`normalize`] normalizes it.
    pub(super) normalized: Option<String>,
    pub(super) name: String,
    /// The number of albums; none if counting would take too long.
    pub(super) albums: Option<usize>,
}

/// An album with its songs.
pub(super) struct Tracks {
    pub(super) id: Album,
    pub(super) name: String,
    pub(super) artist: Option<String>,
    /// The songs, in order. An album of stems has the song of the stems.
    pub(super) songs: Vec<Song>,
    /// The stems, for an album of stems.
    pub(super) stems: Option<Stems>,
}

/// An album, after the text by which albums are ordered.
pub(super) type Titled = (String, Album);

/// Songs in the caller's library, in an order.
pub(super) struct Songs<'a> {
    look: Look<'a>,
    query: SongQuery,
    page: std::vec::IntoIter<Song>,
    left: usize,
}

impl Iterator for Songs<'_> {
    type Item = Result<Song, ApiError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(song) = self.page.next() {
                return Some(Ok(song));
            }
            if self.left == 0 {
                return None;
            }
            let found = match find(self.look.view, self.look.caller, &self.query) {
                Ok(found) => found,
                Err(error) => {
                    self.left = 0;
                    return Some(Err(error));
                }
            };
            // A short page before the last one has looked at the most songs of a request.
            let whole = found.songs.len() == self.query.limit && found.next.is_some();
            self.left = if whole { self.left.saturating_sub(found.songs.len()) } else { 0 };
            self.query.after = found.next;
            self.query.limit = PAGES[1];
            self.page = found.songs.into_iter();
        }
    }
}

impl<'a> Look<'a> {
    /// All songs in an order, restricted by `narrow`.
    pub(super) fn songs(self, sort: Sort, backwards: bool, narrow: impl FnOnce(&mut SongQuery)) -> Songs<'a> {
        let mut query = SongQuery::all(sort, backwards, PAGES[0]);
        narrow(&mut query);
        Songs { look: self, query, page: Vec::new().into_iter(), left: MOST_WALKED }
    }

    /// The songs with this text, as [`normalize`] normalizes it.
    pub(super) fn songs_with(self, order: Order, text: &str) -> Songs<'a> {
        self.songs(Sort::By(order), false, |query| query.texts = vec![(order, text.to_owned())])
    }

    pub(super) fn song(self, id: u64) -> Result<Song, Failure> {
        Ok(song_of(self.view, self.caller, &id.to_string())?)
    }

    /// The stems of a song, if they are ready.
    pub(super) fn stems(self, song: &Song) -> Result<Option<Stems>, ApiError> {
        Ok(self.view.job(song.job)?.and_then(|job| job.stems().cloned()))
    }

    /// The songs of an artist, or those without one.
    pub(super) fn songs_of(self, artist: Option<&str>) -> Result<Vec<Song>, ApiError> {
        match artist {
            Some(artist) => self.songs_with(Order::Artist, artist).take(MOST_OF_ONE).collect(),
            // Songs without an artist come last.
            None => self
                .songs(Sort::By(Order::Artist), true, |_| {})
                .take_while(|song| song.as_ref().map_or(true, |song| song.credits.artist.is_none()))
                .take(MOST_OF_ONE)
                .collect(),
        }
    }

    /// The artists with a word for each of `beginnings`, by name. Songs without an artist come last.
    pub(super) fn artists(self, beginnings: &[String]) -> Result<Vec<Artist>, ApiError> {
        let (mut found, mut after) = (Vec::new(), None);
        let mut left = MOST_WALKED;
        for _ in 0..ARTIST_PAGES {
            let most = MOST_ARTISTS - found.len();
            let (some, next) = groups(self.view, self.caller, Order::Artist, beginnings, after, most)?;
            for group in some {
                let Some(name) = self.view.song(group.song)?.and_then(|song| song.credits.artist) else { continue };
                let normalized = normalize(&name);
                let mut albums = None;
                if !group.more && group.songs <= left {
                    left -= group.songs;
                    albums = Some(self.albums_among(self.songs_of(Some(&normalized))?)?.len());
                }
                found.push(Artist { normalized: Some(normalized), name, albums });
            }
            after = next;
            if after.is_none() || found.len() >= MOST_ARTISTS {
                break;
            }
        }
        let unknown = words(UNKNOWN_ARTIST);
        if beginnings.iter().all(|beginning| unknown.iter().any(|word| word.starts_with(beginning))) {
            let songs = self.songs_of(None)?;
            if !songs.is_empty() {
                let albums = Some(self.albums_among(songs)?.len());
                found.push(Artist { normalized: None, name: UNKNOWN_ARTIST.into(), albums });
            }
        }
        Ok(found)
    }

    /// The albums of these songs, by title. All songs of an artist give complete albums.
    pub(super) fn albums_among(self, songs: Vec<Song>) -> Result<Vec<Tracks>, ApiError> {
        let mut found: BTreeMap<Titled, (Vec<Song>, Option<Stems>)> = BTreeMap::new();
        for song in songs {
            if let Some(stems) = self.stems(&song)? {
                let titled = (normalize(&stems_title(&song)), Album::Stems(song.id));
                found.insert(titled, (vec![song.clone()], Some(stems)));
            }
            found.entry(own(&song)).or_default().0.push(song);
        }
        Ok(found.into_iter().filter_map(|((_, album), (songs, stems))| tracks(album, songs, stems)).collect())
    }

    /// An album, if the caller may listen to any of its songs.
    pub(super) fn album(self, id: &Album) -> Result<Option<Tracks>, ApiError> {
        let (songs, stems) = match id {
            Album::Named { album, artist } => {
                let mut texts = vec![(Order::Album, album.clone())];
                texts.extend(artist.clone().map(|artist| (Order::Artist, artist)));
                let songs = self.songs(Sort::By(Order::Album), false, |query| query.texts = texts);
                let mine = |song: &Song| artist.is_some() || song.credits.artist.is_none();
                let songs = songs.filter(|song| song.as_ref().map_or(true, mine));
                (songs.take(MOST_OF_ONE).collect::<Result<Vec<_>, _>>()?, None)
            }
            Album::Single(song) | Album::Stems(song) => {
                let Some(song) = self.view.song(*song)? else { return Ok(None) };
                if !self.caller.may_see(self.view, &song)? {
                    return Ok(None);
                }
                let stems = if matches!(id, Album::Stems(_)) { self.stems(&song)? } else { None };
                let is_it = if matches!(id, Album::Stems(_)) { stems.is_some() } else { Album::of(&song) == *id };
                (if is_it { vec![song] } else { Vec::new() }, stems)
            }
        };
        Ok(tracks(id.clone(), songs, stems))
    }

    /// The albums of songs, in the order of the songs: for each its own, then that of its stems.
    pub(super) fn albums_of(
        self,
        songs: impl Iterator<Item = Result<Song, ApiError>> + 'a,
    ) -> impl Iterator<Item = Result<Titled, ApiError>> + 'a {
        songs.flat_map(move |song| match song.and_then(|song| Ok((self.stems(&song)?.is_some(), song))) {
            Ok((is_split, song)) => {
                let stems = is_split.then(|| (normalize(&stems_title(&song)), Album::Stems(song.id)));
                [Some(own(&song)), stems].into_iter().flatten().map(Ok).collect()
            }
            Err(error) => vec![Err(error)],
        })
    }

    /// All albums by title.
    pub(super) fn albums_by_title(self) -> impl Iterator<Item = Result<Titled, ApiError>> + 'a {
        // Two walks are merged: named albums, and albums with the title of a song.
        let has_album = |song: &Result<Song, ApiError>| song.as_ref().map_or(true, |song| song.credits.album.is_some());
        let named = self.songs(Sort::By(Order::Album), false, |_| {}).take_while(has_album);
        let mut named = named.map(|song| song.map(|song| own(&song))).peekable();
        let titled = self.albums_of(self.songs(Sort::By(Order::Title), false, |_| {}));
        let is_titled = |album: &Result<Titled, ApiError>| !matches!(album, Ok((_, Album::Named { .. })));
        let mut titled = titled.filter(is_titled).peekable();
        std::iter::from_fn(move || match (named.peek(), titled.peek()) {
            (Some(Ok((one, _))), Some(Ok((other, _)))) if one <= other => named.next(),
            (Some(Ok(_)), None) | (Some(Err(_)), _) => named.next(),
            _ => titled.next(),
        })
    }

    /// All albums by artist, and for each artist by title.
    pub(super) fn albums_by_artist(self) -> impl Iterator<Item = Result<Titled, ApiError>> + 'a {
        let mut songs = self.songs(Sort::By(Order::Artist), false, |_| {}).peekable();
        let mut ready: std::vec::IntoIter<Titled> = Vec::new().into_iter();
        std::iter::from_fn(move || {
            loop {
                if let Some(album) = ready.next() {
                    return Some(Ok(album));
                }
                let first = match songs.next()? {
                    Ok(song) => song,
                    Err(error) => return Some(Err(error)),
                };
                let artist = first.credits.artist.as_deref().map(normalize);
                let same = |song: &Result<Song, ApiError>| {
                    song.as_ref().is_ok_and(|song| song.credits.artist.as_deref().map(normalize) == artist)
                };
                let mut all = vec![Ok(first)];
                while let Some(song) = songs.next_if(same) {
                    all.push(song);
                }
                let mut albums = match self.albums_of(all.into_iter()).collect::<Result<Vec<_>, _>>() {
                    Ok(albums) => albums,
                    Err(error) => return Some(Err(error)),
                };
                albums.sort_by(|one, other| one.0.cmp(&other.0));
                ready = albums.into_iter();
            }
        })
    }

    /// The albums of a list from `offset`, each once.
    pub(super) fn page(
        self,
        albums: impl Iterator<Item = Result<Titled, ApiError>>,
        offset: usize,
        size: usize,
    ) -> Result<Vec<Tracks>, ApiError> {
        let (mut seen, mut found) = (HashSet::new(), Vec::new());
        for album in albums {
            if found.len() == size {
                break;
            }
            let (_, album) = album?;
            if seen.insert(album.clone()) && seen.len() > offset {
                found.extend(self.album(&album)?);
            }
        }
        Ok(found)
    }
}

/// The album of a song, after its title.
fn own(song: &Song) -> Titled {
    (normalize(song.credits.album.as_deref().unwrap_or(&song.title)), Album::of(song))
}

/// The title of the album of a song's stems.
fn stems_title(song: &Song) -> String {
    format!("{} (stems)", song.title)
}

fn tracks(id: Album, mut songs: Vec<Song>, stems: Option<Stems>) -> Option<Tracks> {
    songs.sort_by(|one, other| {
        let place = |song: &Song| (song.credits.track.unwrap_or(u16::MAX), normalize(&song.title), song.id);
        place(one).cmp(&place(other))
    });
    // The oldest song determines the spelling.
    let first = songs.iter().min_by_key(|song| song.id)?;
    let name = match id {
        Album::Named { .. } => first.credits.album.clone()?,
        Album::Single(_) => first.title.clone(),
        Album::Stems(_) => stems_title(first),
    };
    Some(Tracks { id, name, artist: first.credits.artist.clone(), songs, stems })
}

/// The id of an artist.
pub(super) fn artist_id(artist: Option<&str>) -> Id {
    Id::Artist(artist.map(normalize))
}
