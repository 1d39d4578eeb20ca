//! What is measured: one cell is one load on one server.

use throng_loadgen::scenario::{Connect, Load as LoadgenLoad, Mode, Presence, Scenario, Users};

use crate::peer::Peer;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Load {
    /// Closed loop: publishers × messages each keeps in flight.
    Closed { publishers: u32, outstanding: u32 },
    /// Open loop: deliveries per second.
    Fixed { deliveries_per_s: u32 },
    /// Open loop at a share of what the same server delivered in [`SATURATION`] right before.
    Share { percent: u32 },
    /// Nobody publishes: connect, join, stay.
    Idle,
    /// Open loop against the hardest push there is: what the generator itself can take.
    Generator { deliveries_per_s: u32 },
}

/// The cell that says what a server delivers at most.
pub const SATURATION: Cell =
    Cell { clients: 1000, load: Load::Closed { publishers: 16, outstanding: 4 } };

/// Bytes of message text.
pub const TEXT_BYTES: u32 = 128;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell {
    pub clients: u32,
    pub load: Load,
}

impl Cell {
    #[must_use]
    pub fn name(&self) -> String {
        let clients = self.clients;
        match self.load {
            Load::Closed { publishers, outstanding } => {
                format!("{publishers}x{outstanding} N={clients}")
            }
            Load::Fixed { deliveries_per_s } => {
                format!("fixed {}k/s N={clients}", deliveries_per_s / 1000)
            }
            Load::Share { percent } => format!("{percent}% of own N={clients}"),
            Load::Idle => format!("idle N={clients}"),
            Load::Generator { deliveries_per_s } => {
                format!("generator {}k/s N={clients}", deliveries_per_s / 1000)
            }
        }
    }

    /// Each word of `asked` is a word of the name: `N=100` does not ask for `N=1000`.
    #[must_use]
    pub fn is_asked_for(&self, asked: &str) -> bool {
        let name = self.name();
        asked.split_whitespace().all(|word| name.split_whitespace().any(|own| own == word))
    }

    /// Open loops are there for their percentiles, which need more messages than a rate does.
    #[must_use]
    pub fn duration_s(&self, base_s: f64) -> f64 {
        match self.load {
            Load::Fixed { .. } | Load::Share { .. } => base_s * 2.0,
            Load::Closed { .. } | Load::Generator { .. } => base_s,
            Load::Idle => base_s.min(2.5),
        }
    }

    /// The scenario of this cell for `peer`, given the payload bytes of one of Throng's deliveries in
    /// the cell; none if `peer` needs to know them and nobody does. Whoever measures a
    /// [`Load::Share`] sets its rate.
    #[must_use]
    pub fn scenario(&self, peer: Peer, chat_bytes: Option<f64>) -> Option<Scenario> {
        let text_bytes =
            if peer.has_equal_bytes() { chat_bytes?.round() as u32 } else { TEXT_BYTES };
        let mut scenario = Scenario {
            name: format!("{} {}", peer.name(), self.name()),
            protocol: peer.protocol(),
            clients: self.clients as usize,
            payload: throng_loadgen::payload::Payload::Fixed(text_bytes as usize),
            // Nobody but Throng has rosters to send; a room of thousands does not ask for them.
            presence: Presence::Count,
            connect: Connect { concurrency: 256, ..Connect::default() },
            load: LoadgenLoad { acks: false, ..LoadgenLoad::default() },
            ..Scenario::default()
        };
        match self.load {
            Load::Closed { publishers, outstanding } => {
                scenario.publishers = publishers as usize;
                scenario.load.mode = Mode::Closed;
                scenario.load.outstanding = outstanding;
            }
            Load::Fixed { deliveries_per_s } | Load::Generator { deliveries_per_s } => {
                scenario.publishers = 16;
                scenario.load.delivery_rate = f64::from(deliveries_per_s);
            }
            Load::Share { .. } => scenario.publishers = 16,
            Load::Idle => scenario.publishers = 0,
        }
        if peer.has_users() {
            // Idle memory is that of distinct people; elsewhere clients share some users.
            let users = if self.load == Load::Idle { self.clients } else { self.clients.min(200) };
            scenario.users = Users { register: users as usize, ..Users::default() };
        }
        Some(scenario)
    }
}

/// The published cells.
#[must_use]
pub fn all() -> Vec<Cell> {
    let mut cells = Vec::new();
    for clients in [100, 1000, 4000] {
        for (publishers, outstanding) in [(1, 1), (1, 16), (16, 4)] {
            cells.push(Cell { clients, load: Load::Closed { publishers, outstanding } });
        }
    }
    cells.push(Cell { clients: 1000, load: Load::Fixed { deliveries_per_s: 40_000 } });
    cells.push(Cell { clients: 1000, load: Load::Share { percent: 80 } });
    cells.push(Cell { clients: 5000, load: Load::Idle });
    cells.push(Cell { clients: 1000, load: Load::Generator { deliveries_per_s: 4_500_000 } });
    cells
}

/// One small cell of each kind, to see that everything still runs.
#[must_use]
pub fn quick() -> Vec<Cell> {
    vec![
        Cell { clients: 40, load: Load::Closed { publishers: 1, outstanding: 1 } },
        Cell { clients: 40, load: Load::Closed { publishers: 4, outstanding: 2 } },
        Cell { clients: 40, load: Load::Fixed { deliveries_per_s: 2_000 } },
        Cell { clients: 100, load: Load::Idle },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_asked_for_by_whole_words() {
        let asked = |asked: &str| -> Vec<String> {
            all().iter().filter(|cell| cell.is_asked_for(asked)).map(Cell::name).collect()
        };
        assert_eq!(asked("N=100"), ["1x1 N=100", "1x16 N=100", "16x4 N=100"]);
        assert_eq!(asked("1x1"), ["1x1 N=100", "1x1 N=1000", "1x1 N=4000"]);
        assert_eq!(asked("16x4 N=1000"), [SATURATION.name()]);
        assert_eq!(asked("80%"), ["80% of own N=1000"]);
        assert_eq!(asked("idle"), ["idle N=5000"]);
        assert!(asked("16x").is_empty());
    }

    #[test]
    fn floors_of_equal_bytes_wait_for_throng() {
        for floor in [Peer::FloorEqual, Peer::FloorPerTurnEqual] {
            assert!(SATURATION.scenario(floor, None).is_none());
            let equal = SATURATION.scenario(floor, Some(251.7)).unwrap();
            assert_eq!(equal.payload, throng_loadgen::payload::Payload::Fixed(252));
        }
        let own = SATURATION.scenario(Peer::FloorPerTurn, Some(251.7)).unwrap();
        assert_eq!(own.payload, throng_loadgen::payload::Payload::Fixed(128));
    }
}
