//! Changes to the fields of a song.

use audio::analysis::Key;
use audio::tags::hundredths;
use serde::{Deserialize, Deserializer};
use state::{Edit, SongEdit};
use utoipa::ToSchema;

use crate::http::code::Code;
use crate::http::error::ApiError;
use crate::http::json_or_form::ValidationErrors;
use crate::text::sanitize;

/// The longest title, artist, album or genre, in characters.
pub(crate) const TEXT_CHARACTERS: usize = 200;
/// The largest year and track number.
const LAST: u16 = 9999;

/// Changes to a song. Missing fields stay unchanged, and null removes a value.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct SongPatch {
    /// The title. It cannot be removed.
    #[schema(
        max_length = 200,
        pattern = r"[^\s\x00-\x1F\x7F-\x9F\xAD\u034F\u061C\u115F\u1160\u17B4\u17B5\u180B-\u180F\u200B-\u200F\u202A-\u202E\u2060-\u206F\u2800\u3164\uFE00-\uFE0F\uFEFF\uFFA0\uFFF0-\uFFFB]"
    )]
    title: Option<String>,
    /// The artist.
    #[serde(deserialize_with = "given")]
    #[schema(value_type = Option<String>, max_length = 200)]
    artist: Option<Option<String>>,
    /// The album.
    #[serde(deserialize_with = "given")]
    #[schema(value_type = Option<String>, max_length = 200)]
    album: Option<Option<String>>,
    /// The genre.
    #[serde(deserialize_with = "given")]
    #[schema(value_type = Option<String>, max_length = 200)]
    genre: Option<Option<String>>,
    /// The year, 1 to 9999.
    #[serde(deserialize_with = "given")]
    #[schema(value_type = Option<u16>, minimum = 1, maximum = 9999)]
    year: Option<Option<u16>>,
    /// The track number on the album, 1 to 9999.
    #[serde(deserialize_with = "given")]
    #[schema(value_type = Option<u16>, minimum = 1, maximum = 9999)]
    track: Option<Option<u16>>,
    /// The tempo in beats per minute, 20 to 400; null restores the detected value.
    #[serde(deserialize_with = "given")]
    #[schema(value_type = Option<f64>, minimum = 20, maximum = 400)]
    bpm: Option<Option<f64>>,
    /// The key, as "F# minor", "F#m", "Eb" or "8A"; null restores the detected value.
    #[serde(deserialize_with = "given")]
    #[schema(value_type = Option<String>, example = "F# minor",
        pattern = "^ *([A-Ga-g][#b♯♭]? ?([Mm]|[Mm]in|[Mm]inor|[Mm]aj|[Mm]ajor)?|(0?[1-9]|1[0-2])[ABab])? *$")]
    key: Option<Option<String>>,
}

/// Distinguishes null from a missing field.
fn given<'de, T: Deserialize<'de>, D: Deserializer<'de>>(fields: D) -> Result<Option<T>, D::Error> {
    T::deserialize(fields).map(Some)
}

/// Validates a text. An empty text removes the value, as null does.
fn text_edit(errors: &mut ValidationErrors, field: &'static str, given: Option<Option<String>>) -> Edit<String> {
    let Some(given) = given else { return Edit::Keep };
    let text = sanitize(&given.unwrap_or_default());
    if text.chars().count() > TEXT_CHARACTERS {
        errors.add(field, Code::TooLong, format!("Use at most {TEXT_CHARACTERS} characters."));
    }
    if text.is_empty() { Edit::Clear } else { Edit::Set(text) }
}

fn number_edit(errors: &mut ValidationErrors, field: &'static str, given: Option<Option<u16>>) -> Edit<u16> {
    match given {
        None => Edit::Keep,
        Some(None) => Edit::Clear,
        Some(Some(number)) => {
            if !(1..=LAST).contains(&number) {
                errors.add(field, Code::OutOfRange, format!("Use a number from 1 to {LAST}, or null."));
            }
            Edit::Set(number)
        }
    }
}

fn bpm_edit(errors: &mut ValidationErrors, given: Option<Option<f64>>) -> Edit<u32> {
    let Some(given) = given else { return Edit::Keep };
    let Some(bpm) = given else { return Edit::Clear };
    let Some(bpm) = hundredths(bpm) else {
        errors.add("bpm", Code::OutOfRange, "Use 20 to 400 beats per minute, or null.");
        return Edit::Keep;
    };
    Edit::Set(bpm)
}

/// Validates a key and converts it to the stored spelling. A blank text removes the value, as null does.
fn key_edit(errors: &mut ValidationErrors, given: Option<Option<String>>) -> Edit<String> {
    let Some(given) = given else { return Edit::Keep };
    let given = given.unwrap_or_default();
    let text = given.trim_matches(' ');
    if text.is_empty() {
        return Edit::Clear;
    }
    match text.parse::<Key>() {
        Ok(key) => Edit::Set(key.to_string()),
        Err(error) => {
            errors.add("key", Code::BadKey, format!("{error}."));
            Edit::Keep
        }
    }
}

impl SongPatch {
    /// The change, or the errors of all fields.
    pub(super) fn edit(self) -> Result<SongEdit, ApiError> {
        let mut errors = ValidationErrors::default();
        let title = match text_edit(&mut errors, "title", self.title.map(Some)) {
            Edit::Keep => None,
            Edit::Set(title) => Some(title),
            Edit::Clear => {
                errors.add("title", Code::Empty, "The title is empty. Use another title, or leave the field out.");
                None
            }
        };
        let edit = SongEdit {
            title,
            artist: text_edit(&mut errors, "artist", self.artist),
            album: text_edit(&mut errors, "album", self.album),
            genre: text_edit(&mut errors, "genre", self.genre),
            year: number_edit(&mut errors, "year", self.year),
            track: number_edit(&mut errors, "track", self.track),
            bpm: bpm_edit(&mut errors, self.bpm),
            key: key_edit(&mut errors, self.key),
            cover: Edit::Keep,
        };
        errors.finish()?;
        Ok(edit)
    }
}
