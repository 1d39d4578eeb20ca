//! What is found in the messages of other protocols, and what follows from it.

use super::turn::Turn;
use super::{Session, State};
use crate::dialect::{Broker, Found, Greeting};
use crate::ended::Ended;

impl Session {
    /// The WebSocket stands.
    pub(super) fn greet(&mut self, turn: &mut Turn<'_>, broker: &dyn Broker) {
        if let Some((interval, ping)) = broker.heartbeat() {
            self.ping = ping;
            self.ping_interval_ns = u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX);
            self.ping_due_ns = turn.now_ns.saturating_add(self.ping_interval_ns);
        }
        self.state = State::ExpectConnect;
        match broker.greeting(&turn.shared.credentials.connect_payload(&self.seat)) {
            Greeting::None => self.connected(turn),
            Greeting::Send(packet) => self.send_text(packet.as_bytes()),
            Greeting::Await => {}
        }
    }

    pub(super) fn parts(
        &mut self,
        turn: &mut Turn<'_>,
        broker: &dyn Broker,
        payload: &[u8],
    ) -> Result<(), Ended> {
        let mut ended = Ok(());
        broker.read(payload, &mut |found| {
            if ended.is_ok() {
                ended = self.part(turn, found);
            }
        });
        ended
    }

    fn part(&mut self, turn: &mut Turn<'_>, found: Found<'_>) -> Result<(), Ended> {
        match found {
            Found::Message(text) => self.delivery(turn, text),
            Found::Greeted(member) => {
                if self.state == State::ExpectConnect {
                    self.member = member;
                    self.connected(turn);
                }
            }
            Found::Answer { id, refused } => {
                let Some(pending) = self.requests.take(id) else {
                    turn.local.stats.error("unexpected answer");
                    return Ok(());
                };
                return self.answered(turn, &pending, refused);
            }
            Found::Joined { room, refused } => {
                let is_it = |m: &super::Membership| turn.shared.room_name(m.room) == room;
                let index = self.memberships.iter().position(is_it);
                let pending = index.and_then(|index| self.requests.take_join(index));
                let Some(pending) = pending else {
                    turn.local.stats.error("unexpected answer");
                    return Ok(());
                };
                return self.answered(turn, &pending, refused);
            }
            Found::Reply(packet) => self.send_text(packet.as_bytes()),
            Found::Error(why) => turn.local.stats.error(&why),
            Found::Ended(ended) => return Err(ended),
            Found::Other => {}
        }
        Ok(())
    }
}
