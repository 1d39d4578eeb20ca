//! Wall-clock time in the shapes the store writes.

use std::time::{SystemTime, UNIX_EPOCH};

use time::macros::format_description;
use time::{OffsetDateTime, PrimitiveDateTime, UtcOffset};

/// Milliseconds since the Unix epoch, UTC.
pub(crate) fn now_ms() -> i64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX)
}

/// Formats milliseconds since the epoch as `YYYY-MM-DD HH:MM:SS`, UTC, as the REST answers carry it.
#[must_use]
pub fn format_datetime(ms: i64) -> String {
    let shape = format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");
    OffsetDateTime::from_unix_timestamp(ms.div_euclid(1000))
        .ok()
        .and_then(|moment| moment.format(shape).ok())
        .unwrap_or_default()
}

/// Milliseconds since the epoch of `YYYY-MM-DD HH:MM:SS` on a clock that many seconds east of UTC.
pub(crate) fn wall_clock_ms(text: &str, utc_offset_s: i32) -> Option<i64> {
    let shape = format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");
    let offset = UtcOffset::from_whole_seconds(utc_offset_s).ok()?;
    let moment = PrimitiveDateTime::parse(text, shape).ok()?.assume_offset(offset);
    moment.unix_timestamp().checked_mul(1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn datetimes_are_utc_without_fraction() {
        assert_eq!(format_datetime(1_795_403_071_784), "2026-11-23 03:04:31");
        assert_eq!(format_datetime(0), "1970-01-01 00:00:00");
        assert_eq!(format_datetime(-1), "1969-12-31 23:59:59");
    }

    #[test]
    fn a_wall_clock_is_read_by_its_zone() {
        assert_eq!(wall_clock_ms("2026-11-23 03:04:31", 0), Some(1_795_403_071_000));
        assert_eq!(wall_clock_ms("2026-11-23 11:04:31", 8 * 3600), Some(1_795_403_071_000));
        assert_eq!(wall_clock_ms("0000-00-00 00:00:00", 0), None);
        assert_eq!(wall_clock_ms("yesterday", 0), None);
    }
}
