//! What is measured: one cell is one load on one server.

use crate::peer::Peer;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Load {
    /// Closed loop: publishers × messages each keeps in flight.
    Closed { publishers: u32, outstanding: u32 },
    /// Open loop: deliveries per second.
    Fixed { deliveries_per_s: u32 },
    /// Nobody publishes: connect, join, stay.
    Idle,
}

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
            Load::Idle => format!("idle N={clients}"),
        }
    }

    /// Flags of `throng-loadgen run` for this cell against `peer`.
    #[must_use]
    pub fn flags(&self, peer: Peer) -> Vec<String> {
        let mut flags = vec!["--clients".to_owned(), self.clients.to_string(), "--no-acks".into()];
        let mut add = |flag: &str, value: String| flags.extend([flag.to_owned(), value]);
        add("--payload", "128".into());
        // Nobody but Throng has rosters to send; a room of thousands does not ask for them.
        add("--presence", "count".into());
        add("--connect-concurrency", "256".into());
        add("--protocol", peer.protocol().into());
        match self.load {
            Load::Closed { publishers, outstanding } => {
                add("--publishers", publishers.to_string());
                add("--outstanding", outstanding.to_string());
            }
            Load::Fixed { deliveries_per_s } => {
                add("--publishers", "16".into());
                add("--delivery-rate", deliveries_per_s.to_string());
            }
            Load::Idle => add("--publishers", "0".into()),
        }
        if peer.has_users() {
            // Idle memory is that of distinct people; elsewhere clients share some users.
            let users = if self.load == Load::Idle { self.clients } else { self.clients.min(200) };
            add("--users", users.to_string());
        }
        flags
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
    cells.push(Cell { clients: 5000, load: Load::Idle });
    cells
}

/// One small cell of each kind, to see that everything still runs.
#[must_use]
pub fn quick() -> Vec<Cell> {
    vec![
        Cell { clients: 40, load: Load::Closed { publishers: 4, outstanding: 2 } },
        Cell { clients: 40, load: Load::Fixed { deliveries_per_s: 2_000 } },
        Cell { clients: 100, load: Load::Idle },
    ]
}
