//! Conditional and partial requests as in RFC 9110, sections 13 and 14, for files that never change.
//!
//! Every file has a strong entity tag, because the tag determines its bytes. A request for one range gets that range. A
//! request for several ranges gets the whole file, as section 14.2 allows: players request one range, and
//! `multipart/byteranges` would only add complexity. Files have no modification dates, so a date never matches.

use axum::http::{HeaderMap, header};

/// The part of a file that a `Range` field selects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Selection {
    /// The whole file: the field is missing or ignored.
    Whole,
    /// The bytes `first..=last`.
    Part {
        /// The first byte.
        first: u64,
        /// The last byte.
        last: u64,
    },
    /// The range is behind the end of the file.
    Unsatisfiable,
}

/// The part of a file of `length` bytes that a `Range` field selects.
///
/// Units other than bytes and malformed fields are ignored, as section 14.2 requires.
pub(crate) fn select(range: &str, length: u64) -> Selection {
    let Some((unit, ranges)) = range.split_once('=') else {
        return Selection::Whole;
    };
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return Selection::Whole;
    }
    let mut ranges_given = 0;
    let mut found = None;
    for range in ranges.split(',').map(str::trim).filter(|range| !range.is_empty()) {
        let Some(one) = one(range, length) else {
            return Selection::Whole;
        };
        ranges_given += 1;
        found = found.or(one);
    }
    match (ranges_given, found) {
        (0, _) => Selection::Whole,
        (_, None) => Selection::Unsatisfiable,
        (1, Some((first, last))) => Selection::Part { first, last },
        _ => Selection::Whole,
    }
}

/// `None` if the range is malformed, `Some(None)` if it selects no byte.
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

/// A number of digits only. A number that exceeds 64 bits becomes the largest one.
fn number(digits: &str) -> Option<u64> {
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(digits.parse().unwrap_or(u64::MAX))
}

/// Whether an `If-None-Match` field has `tag`, by weak comparison.
pub(crate) fn none_match_hits(field: &str, tag: &str) -> bool {
    field.trim() == "*" || tags(field).any(|candidate| candidate.strip_prefix("W/").unwrap_or(candidate) == tag)
}

/// Whether the client has the response with this tag, according to `If-None-Match`.
pub(crate) fn is_known(headers: &HeaderMap, tag: &str) -> bool {
    let known = headers.get(header::IF_NONE_MATCH).and_then(|tags| tags.to_str().ok());
    known.is_some_and(|tags| none_match_hits(tags, tag))
}

/// Whether an `If-Match` field has `tag`, by strong comparison.
pub(crate) fn match_hits(field: &str, tag: &str) -> bool {
    field.trim() == "*" || tags(field).any(|candidate| candidate == tag)
}

/// Whether the condition of an `If-Range` field holds. A date never does.
pub(crate) fn if_range_holds(field: &str, tag: &str) -> bool {
    field.trim() == tag
}

/// The tags of a field. Our own tags have no commas, so splitting at commas finds each of them.
fn tags(field: &str) -> impl Iterator<Item = &str> {
    field.split(',').map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PART: fn(u64, u64) -> Selection = |first, last| Selection::Part { first, last };

    #[test]
    fn ranges_follow_the_rfc() {
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
    fn each_field_compares_tags_as_required() {
        let tag = "\"abc\"";
        assert!(none_match_hits("\"abc\"", tag) && none_match_hits("\"x\", W/\"abc\"", tag));
        assert!(none_match_hits("*", tag) && !none_match_hits("\"ab\"", tag));
        assert!(match_hits("\"x\",\"abc\"", tag) && !match_hits("W/\"abc\"", tag));
        assert!(if_range_holds(" \"abc\"", tag) && !if_range_holds("W/\"abc\"", tag));
        assert!(!if_range_holds("Sat, 21 Nov 2026 00:00:00 GMT", tag));
    }
}
