//! The rooms of a case.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::Context;
use crate::client::ClientError;
use crate::outcome::Stop;

/// A case that has the rooms of the target for longer hangs.
const ROOMS_WAIT_MAX: Duration = Duration::from_secs(1_200);

impl Context {
    /// The name of a room that no other case uses: digits, for servers whose rooms have numbers.
    pub fn room_name(&self) -> String {
        self.run.fresh_room().to_string()
    }

    /// A room that no other case uses.
    pub fn room(&self) -> Result<u64, Stop> {
        if self.capabilities().rooms_on_demand {
            return Ok(self.run.fresh_room());
        }
        let pool = &self.run.room_pool;
        if pool.is_empty() {
            return Err(Stop::Skip("the target creates no rooms, and has none".to_owned()));
        }
        let is_first = self.borrowed().rooms.is_none();
        if is_first {
            // Other cases have the rooms first: that is not this one's time.
            const LOOK: Duration = Duration::from_millis(200);
            let begun = Instant::now();
            while !pool.lend(LOOK) {
                if begun.elapsed() > ROOMS_WAIT_MAX {
                    return Err(Stop::Error(
                        "another case does not give the rooms back".to_owned(),
                    ));
                }
                self.transcript.note_pause(LOOK);
            }
            self.borrowed().rooms = Some(0);
            let reader = self.run.reader(|| self.register())?;
            let listed = self.empty_rooms(&reader.token)?;
            let seq = |room: &Value| Some((room["id"].as_u64()?, room["seq"].as_u64()?));
            self.borrowed().bases = listed.iter().filter_map(seq).collect();
        }
        let mut borrowed = self.borrowed();
        let used = borrowed.rooms.get_or_insert(0);
        let rooms = &self.capabilities().rooms;
        let room = rooms.get(*used).copied().ok_or_else(|| {
            let count = rooms.len();
            Stop::Skip(format!("needs more rooms than the {count} that the target has"))
        });
        *used += 1;
        room
    }

    /// The rooms of the target, once nobody is in them any more and nothing is stored any more: a session whose poll was cut
    /// stays until its heartbeat fails, and messages may wait for their commit. A target that is in use has others
    /// in its rooms, and is taken as it is.
    fn empty_rooms(&self, token: &str) -> Result<Vec<Value>, ClientError> {
        const LOOK: Duration = Duration::from_millis(50);
        const SLACK: Duration = Duration::from_secs(5);
        let deadline = Instant::now() + self.capabilities().silence_bound() + SLACK;
        let rooms = &self.capabilities().rooms;
        let is_used = |room: &Value| {
            room["id"].as_u64().is_some_and(|id| rooms.contains(&id)) && room["online"] != 0
        };
        let seqs = |listed: &[Value]| -> Vec<Value> {
            listed.iter().map(|room| room["seq"].clone()).collect()
        };
        let mut before = Vec::new();
        loop {
            let listed = self.rest().rooms(token)?;
            let is_at_rest = seqs(&listed) == before && !listed.iter().any(is_used);
            if is_at_rest || Instant::now() >= deadline {
                return Ok(listed);
            }
            before = seqs(&listed);
            self.log.pause(LOOK, "the rooms are not at rest yet");
        }
    }

    /// The seq of the last message that was in a room of the case before it.
    pub fn base(&self, room: u64) -> u64 {
        self.borrowed().bases.get(&room).copied().unwrap_or(0)
    }
}
