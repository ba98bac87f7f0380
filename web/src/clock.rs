//! Times in milliseconds since 1970, and dates in UTC.

pub(crate) use raft::now;
use time::{Date, Month, OffsetDateTime};

/// Milliseconds in a day.
pub(crate) const DAY: u64 = 24 * 3600 * 1000;
/// The years of dates in search queries.
const YEARS: std::ops::Range<i32> = 1970..3000;

/// Date and time in UTC of a time in milliseconds since 1970; 1970 for times beyond the year 9999.
pub(crate) fn utc(ms: u64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(ms) * 1_000_000).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

/// The time at which a date such as `2026-01-31` begins in UTC, in milliseconds since 1970.
pub(crate) fn start_of_day(text: &str) -> Option<u64> {
    let mut fields = text.split('-').map(|field| {
        let digits = field.bytes().all(|byte| byte.is_ascii_digit()) && field.len() <= 4;
        field.parse::<u16>().ok().filter(|_| digits)
    });
    let (year, month, day) = (fields.next()??, fields.next()??, fields.next()??);
    let year = i32::from(year);
    if fields.next().is_some() || !YEARS.contains(&year) {
        return None;
    }
    let month = Month::try_from(u8::try_from(month).ok()?).ok()?;
    let date = Date::from_calendar_date(year, month, u8::try_from(day).ok()?).ok()?;
    u64::try_from(date.midnight().assume_utc().unix_timestamp()).ok().map(|seconds| seconds * 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_converted_in_both_directions() {
        for (text, days) in [("1970-01-01", 0), ("2000-02-29", 11_016), ("2026-01-01", 20_454), ("2100-03-01", 47_541)]
        {
            assert_eq!(start_of_day(text), Some(days * DAY), "{text}");
            assert_eq!(utc(days * DAY).date().to_string(), text);
        }
    }

    #[test]
    fn malformed_dates_are_refused() {
        for bad in
            ["", "2026", "2026-13-01", "2025-02-29", "2026-00-10", "2026-01-32", "2026-01-01-01", "-1-1-1", "+2026-1-1"]
        {
            assert_eq!(start_of_day(bad), None, "{bad}");
        }
    }
}
