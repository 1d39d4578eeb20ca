//! A publisher's messages: numbering, text, and what is in flight.

use std::sync::atomic::Ordering;

use rand::SeedableRng as _;
use rand::rngs::SmallRng;

use crate::body;
use crate::dialect::Form;
use crate::shared::Shared;
use crate::stamp::Stamp;

pub struct Publisher {
    /// Room index.
    pub room: u16,
    /// Index among the room's publishers.
    pub index: u16,
    /// Closed loop: messages in flight, with their send times.
    in_flight: Vec<(u32, u64)>,
    rng: SmallRng,
}

impl Publisher {
    #[must_use]
    pub fn new(shared: &Shared, room: u16, index: u16) -> Self {
        let seed = shared.scenario.seed ^ (u64::from(room) << 32 | u64::from(index) << 8);
        Self { room, index, in_flight: Vec::new(), rng: SmallRng::seed_from_u64(seed) }
    }

    /// Writes the next message's packet into `out` (cleared first) and counts it as published.
    pub fn write(
        &mut self,
        shared: &Shared,
        intended_ns: u64,
        (form, id): (&Form, Option<u32>),
        out: &mut Vec<u8>,
    ) -> u32 {
        let counter = &shared.rooms[usize::from(self.room)].published[usize::from(self.index)];
        // This thread alone publishes for this index; others only read.
        let n = counter.fetch_add(1, Ordering::AcqRel);
        let size = shared.scenario.payload.sample(&mut self.rng);
        let (room, publisher) = (self.room, self.index);
        let stamp = Stamp { run: shared.run, room, publisher, n, intended_ns, size: 0 };
        out.clear();
        form.write(out, id, |out| {
            let start = out.len();
            out.resize(start + size, 0);
            body::write(stamp, &mut out[start..]);
        });
        n
    }

    pub fn begin(&mut self, n: u32, now_ns: u64) {
        self.in_flight.push((n, now_ns));
    }

    pub fn complete(&mut self, n: u32) {
        self.in_flight.retain(|(other, _)| *other != n);
    }

    #[must_use]
    pub fn in_flight(&self) -> u32 {
        self.in_flight.len() as u32
    }

    /// Gives up messages sent before `before_ns`; returns how many.
    pub fn give_up(&mut self, before_ns: u64) -> u64 {
        let held = self.in_flight.len();
        self.in_flight.retain(|(_, sent_ns)| *sent_ns >= before_ns);
        (held - self.in_flight.len()) as u64
    }

    /// The connection is lost: nothing in flight will complete.
    pub fn forget(&mut self) {
        self.in_flight.clear();
    }
}
