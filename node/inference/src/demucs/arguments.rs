//! What the classes' arguments have in common.
//!
//! What is not built here is refused by its name rather than computed wrongly, and so is what nobody knows.

use std::ops::RangeInclusive;

use serde_json::{Map, Value};

use super::ModelError;
use audio::RATE;

/// How long a segment may be, in frames.
pub(super) const SEGMENTS: RangeInclusive<usize> = 1 << 12..=1 << 24;

/// Arguments of one class.
pub(super) struct Known<'a> {
    /// Those of which one value is built.
    pub(super) built: &'a [(&'a str, Value)],
    /// Those that are read.
    pub(super) read: &'a [&'a str],
    /// Those that change nothing when a trained model is run.
    pub(super) without_effect: &'a [&'a str],
}

impl Known<'_> {
    /// Refuses what is not built.
    pub(super) fn check(&self, arguments: &Map<String, Value>) -> Result<(), ModelError> {
        for (name, value) in arguments {
            let taken = match self.built.iter().find(|(known, _)| known == name) {
                Some((_, wanted)) => is_same(wanted, value),
                None => self.read.contains(&name.as_str()) || self.without_effect.contains(&name.as_str()),
            };
            if !taken {
                return Err(ModelError::Unsupported(format!("{name} = {value}")));
            }
        }
        Ok(())
    }
}

/// Whether Python code would see no difference.
fn is_same(wanted: &Value, value: &Value) -> bool {
    let number = |value: &Value| value.as_f64().or_else(|| value.as_bool().map(|yes| f64::from(u8::from(yes))));
    match (wanted, value) {
        (Value::Null, Value::Array(list)) => list.is_empty(),
        _ => match (number(wanted), number(value)) {
            (Some(wanted), Some(value)) => wanted == value,
            _ => wanted == value,
        },
    }
}

/// The names of the stems must be words of their own.
pub(super) fn check_sources(sources: &[String]) -> Result<(), ModelError> {
    if sources.is_empty() || sources.len() > 16 {
        return Err(ModelError::Config("it must have 1 to 16 sources".into()));
    }
    let is_word = |name: &String| {
        !name.is_empty()
            && name.len() <= 32
            && name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
    };
    for (at, source) in sources.iter().enumerate() {
        if !is_word(source) || source == "song" || sources[..at].contains(source) {
            return Err(ModelError::Config(format!("{source:?} cannot be a source's name")));
        }
    }
    Ok(())
}

/// A segment's length in frames: `int(segment * samplerate)`, where the segment is a number of seconds or a fraction.
pub(super) fn segment(value: &Value) -> Result<usize, ModelError> {
    let rate = u64::from(RATE);
    let frames = || match value {
        Value::Object(fraction) => {
            let part = |name: &str| fraction.get(name).and_then(Value::as_u64);
            let (numerator, denominator) = (part("numerator")?, part("denominator")?);
            usize::try_from(numerator.checked_mul(rate)?.checked_div(denominator)?).ok()
        }
        Value::Number(seconds) => {
            let frames = seconds.as_f64()? * f64::from(RATE);
            (0.0..1e9).contains(&frames).then_some(frames as usize)
        }
        _ => None,
    };
    let refused = || ModelError::Config("the segment's length cannot be understood".into());
    frames().filter(|frames| SEGMENTS.contains(frames)).ok_or_else(refused)
}
