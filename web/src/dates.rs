//! Days and dates of the Gregorian calendar, in UTC.

/// Milliseconds of a day.
pub(crate) const DAY: u64 = 24 * 3600 * 1000;

/// The year, month and day that lie so many days after the first of January 1970.
pub(crate) fn date_of(mut days: u64) -> (u64, u64, u64) {
    let mut year = 1970;
    while days >= days_of(year) {
        days -= days_of(year);
        year += 1;
    }
    let mut month = 1;
    while days >= days_in(year, month) {
        days -= days_in(year, month);
        month += 1;
    }
    (year, month, days + 1)
}

/// How many days after the first of January 1970 a date such as `2026-01-31` is.
pub(crate) fn days_until(text: &str) -> Option<u64> {
    let mut fields = text.split('-').map(|field| {
        let plain = field.bytes().all(|byte| byte.is_ascii_digit()) && field.len() <= 4;
        field.parse::<u64>().ok().filter(|_| plain)
    });
    let (year, month, day) = (fields.next()??, fields.next()??, fields.next()??);
    let sensible = (1970..3000).contains(&year) && (1..=12).contains(&month);
    if fields.next().is_some() || !sensible || !(1..=days_in(year, month)).contains(&day) {
        return None;
    }
    let years: u64 = (1970..year).map(days_of).sum();
    let months: u64 = (1..month).map(|month| days_in(year, month)).sum();
    Some(years + months + day - 1)
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

fn days_of(year: u64) -> u64 {
    if is_leap(year) { 366 } else { 365 }
}

fn days_in(year: u64, month: u64) -> u64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_dates_are_each_others_inverse() {
        for (text, days) in [("1970-01-01", 0), ("2000-02-29", 11_016), ("2026-01-01", 20_454), ("2100-03-01", 47_541)]
        {
            assert_eq!(days_until(text), Some(days), "{text}");
            let (year, month, day) = date_of(days);
            assert_eq!(format!("{year:04}-{month:02}-{day:02}"), text);
        }
        for bad in
            ["", "2026", "2026-13-01", "2025-02-29", "2026-00-10", "2026-01-32", "2026-01-01-01", "-1-1-1", "+2026-1-1"]
        {
            assert_eq!(days_until(bad), None, "{bad}");
        }
    }
}
