//! The rules that the arguments of both classes share.
//!
//! An argument that is not supported is refused by its name, and so is an unknown one. It is never ignored.

use crate::checkpoint::BuildError;
use std::ops::RangeInclusive;

use serde_json::{Map, Value};

use audio::RATE;

/// The allowed length of a segment, in frames.
pub(super) const SEGMENTS: RangeInclusive<usize> = 1 << 12..=1 << 24;

/// The names of the arguments that a checkpoint may give by position.
const POSITIONS: [&str; 1] = ["sources"];

/// All arguments by name.
pub(super) fn by_name(positional: Vec<Value>, mut named: Map<String, Value>) -> Map<String, Value> {
    for (position, value) in positional.into_iter().enumerate() {
        let name = POSITIONS.get(position).map_or_else(|| format!("argument {position}"), |name| (*name).into());
        named.insert(name, value);
    }
    named
}

/// The arguments that one class supports.
pub(super) struct Known<'a> {
    /// Arguments of which one value is supported.
    pub(super) built: &'a [(&'a str, Value)],
    /// Arguments that the configuration reads.
    pub(super) read: &'a [&'a str],
    /// Arguments without effect on a trained model.
    pub(super) without_effect: &'a [&'a str],
}

impl Known<'_> {
    /// Refuses arguments that are not supported.
    pub(super) fn check(&self, arguments: &Map<String, Value>) -> Result<(), BuildError> {
        for (name, value) in arguments {
            let taken = match self.built.iter().find(|(known, _)| known == name) {
                Some((_, wanted)) => is_same(wanted, value),
                None => self.read.contains(&name.as_str()) || self.without_effect.contains(&name.as_str()),
            };
            if !taken {
                return Err(BuildError::Unsupported(format!("{name} = {value}")));
            }
        }
        Ok(())
    }
}

/// Whether both values mean the same to the Python class.
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

/// A segment's length in frames: `int(segment * samplerate)`, where the segment is a number of seconds or a fraction.
pub(super) fn segment(value: &Value) -> Result<usize, BuildError> {
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
    let refused = || {
        BuildError::Config("the segment must be a number of seconds or a fraction, within the supported range".into())
    };
    frames().filter(|frames| SEGMENTS.contains(frames)).ok_or_else(refused)
}
