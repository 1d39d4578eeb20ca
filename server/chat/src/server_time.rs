//! The server's clock as messages have it: `2026-11-30T12:00:00.000Z`.

use jiff::Timestamp;
use jiff::fmt::temporal::DateTimePrinter;

/// Writes times. Of those in one second only the first costs a look into the calendar.
#[derive(Default)]
pub(crate) struct ServerTime {
    second: Option<i64>,
    /// The time up to the point before its milliseconds.
    until_point: String,
}

impl ServerTime {
    /// Appends the time. Spec: CHAT-48.
    pub(crate) fn put(&mut self, unix_ms: i64, out: &mut String) {
        // The machine's clock may say anything.
        let time = Timestamp::from_millisecond(unix_ms).unwrap_or(Timestamp::MAX);
        let unix_ms = time.as_millisecond();
        let (second, ms) = (unix_ms.div_euclid(1000), unix_ms.rem_euclid(1000));
        if self.second != Some(second) {
            let text = DateTimePrinter::new().precision(Some(3)).timestamp_to_string(&time);
            let point = text.rfind('.').expect("a time with milliseconds has a point");
            self.until_point.clear();
            self.until_point.push_str(&text[..=point]);
            self.second = Some(second);
        }
        out.push_str(&self.until_point);
        for digit in [ms / 100, ms / 10 % 10, ms % 10] {
            out.push(char::from(b'0' + digit as u8));
        }
        out.push('Z');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_time_is_written_as_the_calendar_has_it() {
        let mut clock = ServerTime::default();
        for (unix_ms, expected) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (7, "1970-01-01T00:00:00.007Z"),
            (1_796_083_199_999, "2026-11-30T23:59:59.999Z"),
            (1_796_083_200_000, "2026-12-01T00:00:00.000Z"),
            (1_796_083_200_120, "2026-12-01T00:00:00.120Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
            (i64::MAX, "9999-12-30T22:00:00.999Z"),
        ] {
            let mut out = String::from("at ");
            clock.put(unix_ms, &mut out);
            assert_eq!(out, format!("at {expected}"), "{unix_ms}");
        }
    }
}
