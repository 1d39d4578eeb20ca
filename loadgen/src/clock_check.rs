//! How far this machine's clock is from the target's: the moment at which the second of the answers'
//! `Date` changes, seen by asking many times. Machines that ask the same target can be compared.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// Longer than a second, so that it changes.
const TIME: Duration = Duration::from_millis(1_300);
const PAUSE: Duration = Duration::from_millis(10);

/// This machine's clock less the target's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ClockOffset {
    pub offset_ms: f64,
    /// The time between the two answers around the change.
    pub uncertainty_ms: f64,
}

/// None: the target sends no `Date`, or none that changes.
#[must_use]
pub fn measure(agent: &ureq::Agent, url: &str) -> Option<ClockOffset> {
    let start = Instant::now();
    let mut before: Option<(u64, f64)> = None;
    while start.elapsed() < TIME {
        let asked_s = now_s();
        let request = agent.get(url).config().timeout_global(Some(TIME)).build();
        let answer = request.call().ok()?;
        let second = unix_second(answer.headers().get("date")?.to_str().ok()?)?;
        let at_s = f64::midpoint(asked_s, now_s());
        if let Some((earlier, earlier_s)) = before
            && second == earlier + 1
        {
            let changed_s = f64::midpoint(earlier_s, at_s);
            return Some(ClockOffset {
                offset_ms: (changed_s - second as f64) * 1e3,
                uncertainty_ms: (at_s - earlier_s) * 1e3 / 2.0,
            });
        }
        before = Some((second, at_s));
        std::thread::sleep(PAUSE);
    }
    None
}

fn now_s() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

fn unix_second(date: &str) -> Option<u64> {
    let date = httpdate::parse_http_date(date).ok()?;
    Some(date.duration_since(UNIX_EPOCH).ok()?.as_secs())
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use super::*;

    /// A server whose clock is ahead by so much.
    fn serve(ahead: Duration) -> String {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let _ = stream.read(&mut [0; 4096]);
                let date = httpdate::fmt_http_date(SystemTime::now() + ahead);
                let _ = write!(
                    stream,
                    "HTTP/1.1 404 Not Found\r\nDate: {date}\r\nContent-Length: 0\r\n\
                     Connection: close\r\n\r\n"
                );
            }
        });
        url
    }

    #[test]
    fn the_offset_is_found_within_its_uncertainty() {
        let agent = crate::rest::agent(None);
        let offset = measure(&agent, &serve(Duration::from_millis(12_345))).unwrap();
        let error = (offset.offset_ms + 12_345.0).abs();
        assert!(error <= offset.uncertainty_ms + 5.0, "{offset:?}");
    }
}
