//! The elements of songs, stems, albums and artists.
//!
//! An album has the fields of both of the protocol's views, by tags and by folders. Clients ignore the others.

use state::Job;
use state::{Song, Stems};

use super::answer::Element;
use super::failure::Failure;
use super::ids::{Album, Id};
use super::library::{Artist, Look, Tracks, UNKNOWN_ARTIST, artist_id};
use crate::api::parts::best_of;
use crate::api::song_view::RATE;
use crate::clock::utc;
use crate::files::file_name::file_name;
use crate::files::file_response::content_type;

/// A time in the protocol's format, such as `2025-12-31T23:59:59.999Z`.
pub(super) fn moment(ms: u64) -> String {
    let at = utc(ms);
    let (hour, minute, second, millisecond) = at.time().as_hms_milli();
    format!("{}T{hour:02}:{minute:02}:{second:02}.{millisecond:03}Z", at.date())
}

fn seconds(song: &Song) -> u64 {
    (song.frames as f64 / RATE).round() as u64
}

/// The format in which players get a stem: MP3 if there is one, or else the format with the least loss.
pub(super) fn stem_format(stems: &Stems, stem: &str) -> Option<String> {
    let files = stems.files.get(stem)?;
    files.get_key_value("mp3").map(|(format, _)| format.clone()).or_else(|| best_of(files).map(|(format, _)| format))
}

/// The title of a stem.
fn stem_title(stem: &str) -> String {
    let words = stem.replace('_', " ");
    let mut letters = words.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

impl Look<'_> {
    /// The fields that a song and its stems have in common.
    fn about(self, song: &Song, album: &Album) -> Result<Element, Failure> {
        let artist = song.credits.artist.clone().unwrap_or_else(|| UNKNOWN_ARTIST.into());
        let artist_id = artist_id(song.credits.artist.as_deref()).to_string();
        let who = Element::new().text("id", &artist_id).text("name", &artist);
        let genre = song.credits.genre.clone();
        let genres = genre.iter().map(|genre| Element::new().text("name", genre)).collect();
        let starred = match self.caller.user() {
            Some(user) => self.view.is_favourite(user, song.id)?,
            None => false,
        };
        let album = Id::Album(album.clone()).to_string();
        Ok(Element::new()
            .text("parent", &album)
            .text("albumId", album)
            .text("artist", &artist)
            .text("displayArtist", artist)
            .text("artistId", artist_id)
            .many("artists", vec![who])
            .maybe("genre", genre)
            .many("genres", genres)
            .maybe_number("year", song.credits.year.map(u64::from))
            .maybe("coverArt", song.credits.cover.as_ref().map(|_| Id::Song(song.id).to_string()))
            .number("duration", seconds(song))
            .text("created", moment(song.added_at))
            // The time of the star is not known.
            .maybe("starred", starred.then(|| moment(song.added_at)))
            .flag("isDir", false)
            .flag("isVideo", false)
            .text("type", "music")
            .text("mediaType", "song"))
    }

    pub(super) fn song_element(self, song: &Song) -> Result<Element, Failure> {
        let played = match self.caller.user() {
            Some(user) => self.view.played(user, song.id)?,
            None => None,
        };
        let length = seconds(song);
        let job = self.view.job(song.job)?;
        let facts = job.as_ref().and_then(Job::facts);
        let album = song.credits.album.clone().unwrap_or_else(|| song.title.clone());
        let artist = song.credits.artist.as_deref().unwrap_or(UNKNOWN_ARTIST);
        Ok(Element::new()
            .text("id", Id::Song(song.id).to_string())
            .text("title", &song.title)
            .text("path", path([artist, &album], &song.title, &song.format))
            .text("album", album)
            .maybe_number("track", song.credits.track.map(u64::from))
            .number("size", song.size)
            .text("contentType", content_type(&song.format))
            .text("suffix", &song.format)
            .maybe_number("bitRate", (song.size * 8 / 1000).checked_div(length))
            .maybe_number("bpm", song.bpm(facts).map(|bpm| bpm.round() as u64))
            .number("playCount", self.view.plays(song.id)?)
            .maybe("played", played.map(|played| moment(played.at)))
            .and(self.about(song, &Album::of(song))?))
    }

    /// A stem with this track number on its album.
    fn stem_element(self, song: &Song, stems: &Stems, stem: &str, track: usize) -> Result<Element, Failure> {
        let format = stem_format(stems, stem).unwrap_or_default();
        let (title, album) = (stem_title(stem), format!("{} (stems)", song.title));
        let artist = song.credits.artist.as_deref().unwrap_or(UNKNOWN_ARTIST);
        Ok(Element::new()
            .text("id", Id::Stem(song.id, stem.to_owned()).to_string())
            .text("path", path([artist, &album], &title, &format))
            .text("title", title)
            .text("album", album)
            .number("track", track as u64)
            .text("contentType", content_type(&format))
            .text("suffix", format)
            .and(self.about(song, &Album::Stems(song.id))?))
    }

    /// The stem with this name.
    pub(super) fn stem(self, song: &Song, stem: &str) -> Result<Element, Failure> {
        let none = || Failure::NotFound(format!("The song {} has no such stem.", song.id));
        let stems = self.stems(song)?.ok_or_else(none)?;
        let place = stems.files.keys().position(|name| name == stem).ok_or_else(none)?;
        self.stem_element(song, &stems, stem, place + 1)
    }

    pub(super) fn songs_elements(self, songs: &[Song]) -> Result<Vec<Element>, Failure> {
        songs.iter().map(|song| self.song_element(song)).collect()
    }

    /// The tracks of an album.
    pub(super) fn tracks_elements(self, album: &Tracks) -> Result<Vec<Element>, Failure> {
        match (&album.stems, album.songs.first()) {
            (Some(stems), Some(song)) => {
                let names = stems.files.keys().zip(1..);
                names.map(|(stem, track)| self.stem_element(song, stems, stem, track)).collect()
            }
            _ => self.songs_elements(&album.songs),
        }
    }

    pub(super) fn album_element(self, album: &Tracks) -> Result<Element, Failure> {
        let (id, artist_id) = (Id::Album(album.id.clone()).to_string(), artist_id(album.artist.as_deref()).to_string());
        let artist = album.artist.clone().unwrap_or_else(|| UNKNOWN_ARTIST.into());
        let who = Element::new().text("id", &artist_id).text("name", &artist);
        let first = |of: fn(&Song) -> Option<String>| album.songs.iter().find_map(of);
        let genre = first(|song| song.credits.genre.clone());
        let genres = genre.iter().map(|genre| Element::new().text("name", genre)).collect();
        let length: u64 = album.songs.iter().map(seconds).sum();
        let mut plays = 0;
        for song in &album.songs {
            plays += self.view.plays(song.id)?;
        }
        let (count, length) = match &album.stems {
            Some(stems) => (stems.files.len(), length * stems.files.len() as u64),
            None => (album.songs.len(), length),
        };
        Ok(Element::new()
            .text("id", id)
            .text("parent", &artist_id)
            .text("name", &album.name)
            .text("title", &album.name)
            .text("album", &album.name)
            .text("artist", &artist)
            .text("displayArtist", artist)
            .text("artistId", artist_id)
            .many("artists", vec![who])
            .maybe("genre", genre)
            .many("genres", genres)
            .maybe_number("year", album.songs.iter().find_map(|song| song.credits.year).map(u64::from))
            .maybe("coverArt", first(|song| song.credits.cover.as_ref().map(|_| Id::Song(song.id).to_string())))
            .number("songCount", count as u64)
            .number("duration", length)
            .number("playCount", plays)
            .text("created", moment(album.songs.iter().map(|song| song.added_at).min().unwrap_or(0)))
            .flag("isDir", true)
            .text("mediaType", "album"))
    }

    pub(super) fn albums_elements(self, albums: &[Tracks]) -> Result<Vec<Element>, Failure> {
        albums.iter().map(|album| self.album_element(album)).collect()
    }
}

pub(super) fn artist_element(artist: &Artist) -> Element {
    Element::new()
        .text("id", Id::Artist(artist.normalized.clone()).to_string())
        .text("name", &artist.name)
        .maybe_number("albumCount", artist.albums.map(|albums| albums as u64))
}

/// A path for display, and for the names of files: the folders, and the file with its extension.
fn path(folders: [&str; 2], title: &str, extension: &str) -> String {
    let [artist, album] = folders.map(|folder| file_name(folder, str::to_owned));
    let file = file_name(title, |title| format!("{title}.{extension}"));
    format!("{artist}/{album}/{file}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_titles_are_formatted() {
        assert_eq!(moment(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(moment(1_767_225_599_999), "2025-12-31T23:59:59.999Z");
        assert_eq!(stem_title("no_vocals"), "No vocals");
        assert_eq!(path(["AC/DC", "a\\b"], "NUL", "mp3"), "AC_DC/a_b/_NUL.mp3");
    }
}
