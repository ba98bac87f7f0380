//! What people fill in to change a song.

use audio::analysis::Key;
use audio::tags::hundredths;
use serde::{Deserialize, Deserializer};
use state::{Edit, SongEdit};
use utoipa::ToSchema;

use crate::error::ApiError;
use crate::fields::Faults;
use crate::text::tidy;

/// The longest text about a song, in characters.
pub(crate) const TEXT_CHARACTERS: usize = 200;
/// The last year, and the last number on an album.
const LAST: u16 = 9999;

/// What is to be different about a song. What is not given stays as it is, and null clears.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct SongFields {
    /// The title, which every song has.
    #[schema(
        max_length = 200,
        pattern = r"[^\s\x00-\x1F\x7F-\x9F\xAD\u034F\u061C\u115F\u1160\u17B4\u17B5\u180B-\u180F\u200B-\u200F\u202A-\u202E\u2060-\u206F\u2800\u3164\uFE00-\uFE0F\uFEFF\uFFA0\uFFF0-\uFFFB]"
    )]
    title: Option<String>,
    /// Who plays.
    #[serde(deserialize_with = "given")]
    #[schema(value_type = Option<String>, max_length = 200)]
    artist: Option<Option<String>>,
    /// Where it was published.
    #[serde(deserialize_with = "given")]
    #[schema(value_type = Option<String>, max_length = 200)]
    album: Option<Option<String>>,
    /// The kind of music.
    #[serde(deserialize_with = "given")]
    #[schema(value_type = Option<String>, max_length = 200)]
    genre: Option<Option<String>>,
    /// The year, 1 to 9999.
    #[serde(deserialize_with = "given")]
    #[schema(value_type = Option<u16>, minimum = 1, maximum = 9999)]
    year: Option<Option<u16>>,
    /// Its number on the album, 1 to 9999.
    #[serde(deserialize_with = "given")]
    #[schema(value_type = Option<u16>, minimum = 1, maximum = 9999)]
    track: Option<Option<u16>>,
    /// The tempo in beats per minute, 20 to 400; null leaves it to what was found in the song.
    #[serde(deserialize_with = "given")]
    #[schema(value_type = Option<f64>, minimum = 20, maximum = 400)]
    bpm: Option<Option<f64>>,
    /// The key, as "F# minor", "F#m", "Eb" or "8A"; null leaves it to what was found in the song.
    #[serde(deserialize_with = "given")]
    #[schema(value_type = Option<String>, example = "F# minor",
        pattern = "^ *([A-Ga-g][#b♯♭]? ?([Mm]|[Mm]in|[Mm]inor|[Mm]aj|[Mm]ajor)?|(0?[1-9]|1[0-2])[ABab])? *$")]
    key: Option<Option<String>>,
}

/// Tells null from what is not given.
fn given<'de, T: Deserialize<'de>, D: Deserializer<'de>>(fields: D) -> Result<Option<T>, D::Error> {
    T::deserialize(fields).map(Some)
}

/// Checks a text about a song; an empty one clears, as null does.
fn text_edit(faults: &mut Faults, field: &'static str, given: Option<Option<String>>) -> Edit<String> {
    let Some(given) = given else { return Edit::Keep };
    let text = tidy(&given.unwrap_or_default());
    if text.chars().count() > TEXT_CHARACTERS {
        faults.add(field, "too_long", format!("Use at most {TEXT_CHARACTERS} characters."));
    }
    if text.is_empty() { Edit::Clear } else { Edit::Set(text) }
}

fn number_edit(faults: &mut Faults, field: &'static str, given: Option<Option<u16>>) -> Edit<u16> {
    match given {
        None => Edit::Keep,
        Some(None) => Edit::Clear,
        Some(Some(number)) => {
            if !(1..=LAST).contains(&number) {
                faults.add(field, "out_of_range", format!("Give a number from 1 to {LAST}, or null."));
            }
            Edit::Set(number)
        }
    }
}

fn bpm_edit(faults: &mut Faults, given: Option<Option<f64>>) -> Edit<u32> {
    let Some(given) = given else { return Edit::Keep };
    let Some(bpm) = given else { return Edit::Clear };
    let Some(bpm) = hundredths(bpm) else {
        faults.add("bpm", "out_of_range", "Give a number of beats per minute from 20 to 400, or null.");
        return Edit::Keep;
    };
    Edit::Set(bpm)
}

/// Checks a key, which is kept as keys are shown; blanks alone clear, as null does.
fn key_edit(faults: &mut Faults, given: Option<Option<String>>) -> Edit<String> {
    let Some(given) = given else { return Edit::Keep };
    let given = given.unwrap_or_default();
    let text = given.trim_matches(' ');
    if text.is_empty() {
        return Edit::Clear;
    }
    match text.parse::<Key>() {
        Ok(key) => Edit::Set(key.to_string()),
        Err(error) => {
            faults.add("key", "bad_key", format!("{error}."));
            Edit::Keep
        }
    }
}

impl SongFields {
    /// The change that they ask for, or all that is wrong with them.
    pub(super) fn edit(self) -> Result<SongEdit, ApiError> {
        let mut faults = Faults::default();
        let title = match text_edit(&mut faults, "title", self.title.map(Some)) {
            Edit::Keep => None,
            Edit::Set(title) => Some(title),
            Edit::Clear => {
                faults.add("title", "empty", "A song has a title. Give one, or leave the field out.");
                None
            }
        };
        let edit = SongEdit {
            title,
            artist: text_edit(&mut faults, "artist", self.artist),
            album: text_edit(&mut faults, "album", self.album),
            genre: text_edit(&mut faults, "genre", self.genre),
            year: number_edit(&mut faults, "year", self.year),
            track: number_edit(&mut faults, "track", self.track),
            bpm: bpm_edit(&mut faults, self.bpm),
            key: key_edit(&mut faults, self.key),
            cover: Edit::Keep,
        };
        faults.none()?;
        Ok(edit)
    }
}
