//! How much of rosters may be sent: by each room over time, and by all rooms of a shard together.
//!
//! When many rooms change faster than updates can be sent, logins, joins and messages must not wait
//! for it: a turn sends so much and no more, and then comes a pause about as long as the sending
//! was. What changes in the meantime is sent together.

use crate::settings::Settings;
use throng_engine::Now;

/// In addition to its bytes a send takes as much of a turn as so many would: a system call.
const SEND_BYTES: u64 = 8 * 1024;
/// How often in a second a whole turn's worth may be sent. By default that is about half of a core.
const TURNS_PER_S: u64 = 64;

pub(crate) struct RosterThrottle {
    /// Of one room.
    pub(crate) room_bytes_per_s: u64,
    pub(crate) room_update_bytes_per_s: u64,
    turn_bytes: u64,
    /// The last turn that sent anything, and how much.
    turn: Now,
    spent: u64,
}

impl RosterThrottle {
    pub(crate) fn new(settings: &Settings) -> RosterThrottle {
        RosterThrottle {
            room_bytes_per_s: settings.roster_repeat_bytes_per_s,
            room_update_bytes_per_s: settings.roster_update_bytes_per_s,
            turn_bytes: settings.roster_bytes_per_turn.max(1),
            turn: Now::default(),
            spent: 0,
        }
    }

    pub(crate) fn is_open(&self, now: Now) -> bool {
        if now == self.turn { self.spent < self.turn_bytes } else { self.open_at() <= now }
    }

    /// When the next turn may send.
    pub(crate) fn open_at(&self) -> Now {
        // A broadcast cannot be divided: the largest is more than a turn's worth.
        let spent = self.spent.min(self.turn_bytes);
        let pause_ns =
            u128::from(spent) * 1_000_000_000 / u128::from(self.turn_bytes * TURNS_PER_S);
        self.turn.plus_ns(pause_ns as u64)
    }

    /// `bytes` in so many sends.
    pub(crate) fn spend(&mut self, now: Now, bytes: u64, sends: u64) {
        if now != self.turn {
            (self.turn, self.spent) = (now, 0);
        }
        self.spent += bytes + sends * SEND_BYTES;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_sends_its_worth_and_then_pauses_as_long() {
        let mut throttle = RosterThrottle::new(&Settings::default());
        let worth = Settings::default().roster_bytes_per_turn;
        let now = Now(1_000_000_000);
        throttle.spend(now, worth / 4, 0);
        assert!(throttle.is_open(now), "there is something left of this turn");
        assert!(
            !throttle.is_open(now.plus_ms(3)),
            "and the next follows after a quarter of the pause"
        );
        assert!(throttle.is_open(now.plus_ms(4)));
        throttle.spend(now, worth * 1000, 0);
        assert!(!throttle.is_open(now));
        assert!(!throttle.is_open(now.plus_ms(15)));
        assert!(throttle.is_open(now.plus_ms(16)), "however much it was");
        let later = now.plus_ms(16);
        throttle.spend(later, 0, worth / SEND_BYTES);
        assert!(!throttle.is_open(later), "sends count as well");
    }
}
