//! The clock by which the original wrote its times.

use time::macros::format_description;
use time::{PrimitiveDateTime, UtcOffset};

/// Seconds east of UTC of a zone: `UTC`, `Asia/Shanghai`, or an offset such as `+08:00`; `None` for
/// every other text. The two names are those of the original's configuration, and neither zone has
/// summer time.
#[must_use]
pub fn utc_offset_s(zone: &str) -> Option<i32> {
    match zone {
        "UTC" => return Some(0),
        "Asia/Shanghai" => return Some(8 * 60 * 60),
        _ => {}
    }
    let (sign, rest) = match zone.split_at_checked(1)? {
        ("+", rest) => (1, rest),
        ("-", rest) => (-1, rest),
        _ => return None,
    };
    let (hours, minutes) = rest.split_once(':')?;
    let two_digits = |text: &str, below: i32| {
        let number = text.parse::<i32>().ok().filter(|number| (0..below).contains(number))?;
        (text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit())).then_some(number)
    };
    Some(sign * (two_digits(hours, 15)? * 3600 + two_digits(minutes, 60)? * 60))
}

/// Milliseconds since the Unix epoch of `YYYY-MM-DD HH:MM:SS` on a clock that many seconds east of
/// UTC; `None` for every other text.
pub(crate) fn wall_clock_ms(text: &str, utc_offset_s: i32) -> Option<i64> {
    let format = format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");
    let offset = UtcOffset::from_whole_seconds(utc_offset_s).ok()?;
    let moment = PrimitiveDateTime::parse(text, format).ok()?.assume_offset(offset);
    moment.unix_timestamp().checked_mul(1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_are_two_names_and_offsets() {
        assert_eq!(utc_offset_s("UTC"), Some(0));
        assert_eq!(utc_offset_s("Asia/Shanghai"), Some(28_800));
        assert_eq!(utc_offset_s("+08:00"), Some(28_800));
        assert_eq!(utc_offset_s("-03:30"), Some(-12_600));
        for wrong in
            ["", "8", "+8:00", "+15:00", "+08:60", "+0a:00", "é", "Europe/Berlin", "++1:00"]
        {
            assert_eq!(utc_offset_s(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_wall_clock_is_read_by_its_zone() {
        assert_eq!(wall_clock_ms("2026-11-23 03:04:31", 0), Some(1_795_403_071_000));
        assert_eq!(wall_clock_ms("2026-11-23 11:04:31", 8 * 3600), Some(1_795_403_071_000));
        assert_eq!(wall_clock_ms("0000-00-00 00:00:00", 0), None);
        assert_eq!(wall_clock_ms("yesterday", 0), None);
    }
}
