//! Conditional and partial requests as in RFC 9110, sections 13 and 14, for files that never change.
//!
//! Every file has a strong entity tag, because its bytes follow from the tag. One range is answered with exactly that
//! range. A request for several is answered with the whole file, as section 14.2 allows: players ask for one, and
//! `multipart/byteranges` would only be one more way to be wrong. There are no dates, so a date never matches.

use axum::http::{HeaderMap, header};

/// What a `Range` field asks of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Selection {
    /// All of it: no range was asked for, or one that is to be ignored.
    Whole,
    /// The bytes `first..=last`.
    Part {
        /// The first byte.
        first: u64,
        /// The last byte.
        last: u64,
    },
    /// Nothing that was asked for exists.
    Unsatisfiable,
}

/// What a `Range` field means for a file of `length` bytes.
///
/// Units other than bytes and fields that are not well formed are ignored, as section 14.2 says.
pub fn select(range: &str, length: u64) -> Selection {
    let Some((unit, ranges)) = range.split_once('=') else {
        return Selection::Whole;
    };
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return Selection::Whole;
    }
    let mut asked = 0;
    let mut found = None;
    for range in ranges.split(',').map(str::trim).filter(|range| !range.is_empty()) {
        let Some(one) = one(range, length) else {
            return Selection::Whole;
        };
        asked += 1;
        found = found.or(one);
    }
    match (asked, found) {
        (0, _) => Selection::Whole,
        (_, None) => Selection::Unsatisfiable,
        (1, Some((first, last))) => Selection::Part { first, last },
        _ => Selection::Whole,
    }
}

/// `None` when the range is not well formed, `Some(None)` when it selects no byte.
fn one(range: &str, length: u64) -> Option<Option<(u64, u64)>> {
    let (first, last) = range.split_once('-')?;
    let (first, last) = (first.trim(), last.trim());
    if first.is_empty() {
        let suffix = number(last)?;
        return Some((suffix > 0 && length > 0).then(|| (length.saturating_sub(suffix), length - 1)));
    }
    let first = number(first)?;
    let last = if last.is_empty() { u64::MAX } else { number(last)? };
    if last < first {
        return None;
    }
    Some((first < length).then(|| (first, last.min(length - 1))))
}

/// Digits alone; a number too large for 64 bits is as good as the largest.
fn number(digits: &str) -> Option<u64> {
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(digits.parse().unwrap_or(u64::MAX))
}

/// Whether one of an `If-None-Match` field's tags is `tag`, compared weakly.
pub fn none_match_hits(field: &str, tag: &str) -> bool {
    field.trim() == "*" || tags(field).any(|candidate| candidate.strip_prefix("W/").unwrap_or(candidate) == tag)
}

/// Whether who sends these fields says with `If-None-Match` that they have what has this tag.
pub(crate) fn is_known(headers: &HeaderMap, tag: &str) -> bool {
    let known = headers.get(header::IF_NONE_MATCH).and_then(|tags| tags.to_str().ok());
    known.is_some_and(|tags| none_match_hits(tags, tag))
}

/// Whether one of an `If-Match` field's tags is `tag`, compared strongly.
pub fn match_hits(field: &str, tag: &str) -> bool {
    field.trim() == "*" || tags(field).any(|candidate| candidate == tag)
}

/// Whether an `If-Range` field lets the range stand. A date does not: there are none here.
pub fn if_range_holds(field: &str, tag: &str) -> bool {
    field.trim() == tag
}

/// Our own tags hold no commas, so splitting there cannot miss one of ours.
fn tags(field: &str) -> impl Iterator<Item = &str> {
    field.split(',').map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PART: fn(u64, u64) -> Selection = |first, last| Selection::Part { first, last };

    #[test]
    fn ranges_select_what_the_rfc_says() {
        for (range, expected) in [
            ("bytes=0-0", PART(0, 0)),
            ("bytes=0-499", PART(0, 99)),
            ("bytes=10-19", PART(10, 19)),
            ("bytes=90-", PART(90, 99)),
            ("bytes=-1", PART(99, 99)),
            ("bytes=-1000", PART(0, 99)),
            ("Bytes = 1-2", PART(1, 2)),
            ("bytes=0-99999999999999999999999999", PART(0, 99)),
            ("bytes=100-", Selection::Unsatisfiable),
            ("bytes=99999999999999999999999999-", Selection::Unsatisfiable),
            ("bytes=-0", Selection::Unsatisfiable),
            ("bytes=100-,200-300", Selection::Unsatisfiable),
            ("bytes=0-1,5-6", Selection::Whole),
            ("bytes=5-2", Selection::Whole),
            ("bytes=a-b", Selection::Whole),
            ("bytes=+1-2", Selection::Whole),
            ("bytes=", Selection::Whole),
            ("bytes=,", Selection::Whole),
            ("bytes", Selection::Whole),
            ("seconds=1-2", Selection::Whole),
            ("", Selection::Whole),
        ] {
            assert_eq!(select(range, 100), expected, "{range}");
        }
        for range in ["bytes=0-", "bytes=-5", "bytes=0-0"] {
            assert_eq!(select(range, 0), Selection::Unsatisfiable, "{range} of nothing");
        }
    }

    #[test]
    fn tags_are_compared_as_each_field_wants() {
        let tag = "\"abc\"";
        assert!(none_match_hits("\"abc\"", tag) && none_match_hits("\"x\", W/\"abc\"", tag));
        assert!(none_match_hits("*", tag) && !none_match_hits("\"ab\"", tag));
        assert!(match_hits("\"x\",\"abc\"", tag) && !match_hits("W/\"abc\"", tag));
        assert!(if_range_holds(" \"abc\"", tag) && !if_range_holds("W/\"abc\"", tag));
        assert!(!if_range_holds("Sat, 21 Nov 2026 00:00:00 GMT", tag));
    }
}
