//! The spellings of keys by people and in tags.
//!
//! All of them become the one spelling in which keys are displayed: "F#m", "Gb minor" and "11A" are "F# minor". The
//! tonic has at most one accidental. A text that could mean several keys is refused.

use std::str::FromStr;

use super::key::{Key, Mode, ParseKeyError};

impl FromStr for Key {
    type Err = ParseKeyError;

    fn from_str(text: &str) -> Result<Self, ParseKeyError> {
        on_wheel(text).or_else(|| named(text)).ok_or_else(|| ParseKeyError::new(text))
    }
}

/// A key on the Camelot wheel: the circle of fifths, numbered, with minor as A and major as B; C major is 8B.
fn on_wheel(text: &str) -> Option<Key> {
    let (number, mode) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if !(1..=2).contains(&number.len()) || !number.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let number: u8 = number.parse().ok().filter(|number| (1..=12).contains(number))?;
    let major = (number + 4) % 12 * 7 % 12;
    match mode {
        "A" | "a" => Some(Key { tonic: (major + 9) % 12, mode: Mode::Minor }),
        "B" | "b" => Some(Key { tonic: major, mode: Mode::Major }),
        _ => None,
    }
}

/// A key by the name of its tonic, as "F# minor", "f♯ min", "F#m" or, in major, "F#".
fn named(text: &str) -> Option<Key> {
    let mut letters = text.chars();
    let natural = match letters.next()?.to_ascii_uppercase() {
        'C' => 0,
        'D' => 2,
        'E' => 4,
        'F' => 5,
        'G' => 7,
        'A' => 9,
        'B' => 11,
        _ => return None,
    };
    let rest = letters.as_str();
    let (raised, rest) = if let Some(rest) = rest.strip_prefix(['#', '♯']) {
        (1, rest)
    } else if let Some(rest) = rest.strip_prefix(['b', '♭']) {
        (11, rest)
    } else {
        (0, rest)
    };
    let word = rest.strip_prefix(' ').unwrap_or(rest);
    let is = |words: &[&str]| words.iter().any(|one| word.eq_ignore_ascii_case(one));
    let mode = if word == "m" || is(&["min", "minor"]) {
        Mode::Minor
    } else if matches!(word, "" | "M") || is(&["maj", "major"]) {
        Mode::Major
    } else {
        return None;
    };
    Some(Key { tonic: (natural + raised) % 12, mode })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_spellings_of_a_key_are_parsed() {
        for (text, shown) in [
            ("F# minor", "F# minor"),
            ("Em", "E minor"),
            ("F#m", "F# minor"),
            ("Gbm", "F# minor"),
            ("Ebmin", "Eb minor"),
            ("D# minor", "Eb minor"),
            ("eb major", "Eb major"),
            ("Eb Major", "Eb major"),
            ("A♭", "Ab major"),
            ("c♯ min", "C# minor"),
            ("CM", "C major"),
            ("Cb", "B major"),
            ("B", "B major"),
            ("bb", "Bb major"),
            ("Dmaj", "D major"),
            ("8A", "A minor"),
            ("8B", "C major"),
            ("11a", "F# minor"),
            ("1b", "B major"),
            ("05A", "C minor"),
            ("12B", "E major"),
        ] {
            assert_eq!(text.parse::<Key>().map(|key| key.to_string()), Ok(shown.to_owned()), "{text:?}");
        }
        let wheel: std::collections::HashSet<Key> = (1..=12)
            .flat_map(|number| [format!("{number}A"), format!("{number}B")])
            .flat_map(|on| on.parse())
            .collect();
        assert_eq!(wheel.len(), 24);
    }

    #[test]
    fn invalid_keys_are_refused() {
        for wrong in [
            "",
            " ",
            "o",
            "H major",
            "C## major",
            "C dorian",
            "é minor",
            "# minor",
            " minor",
            "0A",
            "13A",
            "+8A",
            "8",
            "8C",
            "A8",
            "8Ab",
            "EM7",
            "♭",
            "8♭",
            " C",
            "C\n",
        ] {
            assert!(wrong.parse::<Key>().is_err(), "{wrong:?}");
        }
        let long = "x".repeat(1000).parse::<Key>().unwrap_err().to_string();
        assert!(long.len() < 200, "{long}");
    }
}
