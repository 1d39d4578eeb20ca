//! One line for each join, leave and end of a session. No payload, no token, no sid.
//!
//! A client that comes and goes without end does not fill the disk, and hides the lines of nobody else.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use throng_chat::{LogLine, UserId};
use throng_engine::{Bucket, Now, Rate};
use throng_wire::http::ClientKey;
use tokio::sync::mpsc;

/// Lines about one user, or about the sessions of one client whose user is not known: per second, and at once.
const OF_ONE: (u32, u32) = (5, 500);
/// Lines about all of them.
const OF_ALL: (u32, u32) = (1_000, 50_000);
/// Users and clients whose keys fall together share their lines.
const BUCKETS: usize = 4096;
/// Between two lines that say how many were left out.
const LEFT_OUT_EVERY: Duration = Duration::from_secs(10);

/// Whom a line is about.
#[derive(Hash)]
enum About {
    User(u32),
    Client(ClientKey),
}

impl About {
    /// `None` for a line that is written only where somebody has asked for every one.
    fn of(line: &LogLine) -> Option<About> {
        let whom = |client: IpAddr, user: Option<UserId>| match user {
            Some(user) => About::User(user.0),
            None => About::Client(ClientKey::from(client)),
        };
        match line {
            LogLine::Identified { client, user, .. }
            | LogLine::Entered { client, user, .. }
            | LogLine::Left { client, user, .. } => Some(whom(*client, Some(*user))),
            LogLine::Refused { .. } => None,
            LogLine::Ended { client, user, .. } => Some(whom(*client, *user)),
        }
    }
}

/// Which lines are written.
struct Share {
    origin: Instant,
    hasher: RandomState,
    buckets: Vec<Bucket>,
    all: Bucket,
    left_out: u64,
    said: Option<Instant>,
}

impl Share {
    fn new(origin: Instant) -> Share {
        let buckets = vec![Bucket::default(); BUCKETS];
        let (hasher, all) = (RandomState::new(), Bucket::default());
        Share { origin, hasher, buckets, all, left_out: 0, said: None }
    }

    fn admits(&mut self, about: &About, now: Instant) -> bool {
        let rate = |(per_s, burst)| Rate::per_second(per_s, burst).expect("there is a limit");
        let at = Now(now.duration_since(self.origin).as_nanos() as u64);
        let slot = (self.hasher.hash_one(about) % BUCKETS as u64) as usize;
        let is_admitted = self.buckets[slot].take(&rate(OF_ONE), at, 1).is_ok()
            && self.all.take(&rate(OF_ALL), at, 1).is_ok();
        self.left_out += u64::from(!is_admitted);
        is_admitted
    }

    /// How many lines were left out, if it is time to say so.
    fn left_out(&mut self, now: Instant) -> Option<u64> {
        let is_early = self.said.is_some_and(|said| now.duration_since(said) < LEFT_OUT_EVERY);
        if self.left_out == 0 || is_early {
            return None;
        }
        self.said = Some(now);
        Some(std::mem::take(&mut self.left_out))
    }
}

pub async fn write(mut lines: mpsc::Receiver<LogLine>) {
    let mut share = Share::new(Instant::now());
    while let Some(line) = lines.recv().await {
        let now = Instant::now();
        let is_admitted = About::of(&line).is_none_or(|about| share.admits(&about, now));
        if let Some(left_out) = share.left_out(now) {
            tracing::warn!(
                left_out,
                "lines about sessions are left out: somebody comes and goes without end"
            );
        }
        if !is_admitted {
            continue;
        }
        match line {
            LogLine::Identified { session, client, user } => {
                tracing::info!(target: "throng", %session, %client, user = user.0, "identified");
            }
            // One for each event without a valid token.
            LogLine::Refused { session, client, code } => {
                tracing::debug!(target: "throng", %session, %client, code, "refused");
            }
            LogLine::Entered { session, client, user, room, online } => {
                tracing::info!(target: "throng", %session, %client, user = user.0, room = room.0, online, "entered");
            }
            LogLine::Left { session, client, user, room, online } => {
                tracing::info!(target: "throng", %session, %client, user = user.0, room = room.0, online, "left");
            }
            LogLine::Ended {
                session,
                client,
                user,
                reason,
                setting,
                transport,
                protocol,
                lifetime_ms,
                messages_in,
            } => {
                let user = user.map(|user| user.0);
                tracing::info!(
                    target: "throng",
                    %session, %client, user, reason, setting, transport, protocol, lifetime_ms, messages_in, "ended"
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_comes_and_goes_without_end_hides_the_lines_of_nobody_else() {
        let start = Instant::now();
        let mut share = Share::new(start);
        let written = |share: &mut Share, about: &About, ms| {
            let now = start + Duration::from_millis(ms);
            (0..10_000).filter(|_| share.admits(about, now)).count()
        };
        let (stranger, user) =
            (About::Client(ClientKey::from(IpAddr::from([192, 0, 2, 1]))), About::User(7));
        assert_eq!(written(&mut share, &stranger, 0), 500);
        // Of another one in the same bucket there are fewer.
        assert!(written(&mut share, &user, 0) <= 500 && share.left_out >= 19_000);
        assert_eq!(written(&mut share, &stranger, 2_000), 10);
        let all: usize = (0..400).map(|n| written(&mut share, &About::User(n), 2_000)).sum();
        assert!((40_000..=52_000).contains(&all), "{all}");
    }

    #[test]
    fn what_is_left_out_is_said_now_and_then() {
        let start = Instant::now();
        let mut share = Share::new(start);
        let at = |ms| start + Duration::from_millis(ms);
        assert_eq!(share.left_out(at(0)), None);
        share.left_out = 3;
        assert_eq!(share.left_out(at(1)), Some(3));
        share.left_out = 4;
        assert_eq!((share.left_out(at(9_000)), share.left_out(at(10_001))), (None, Some(4)));
    }
}
