//! What is measured: a cell is one scenario with a number of clients.

use throng_loadgen::payload::Payload;
use throng_loadgen::scenario::{Scenario, Users};

use super::peer::Peer;
use crate::measure::scenario;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Closed loop: publishers × messages each keeps in flight.
    Closed,
    /// Open loop: deliveries per second.
    Fixed,
    /// Open loop at [`SHARE`] of what the same server delivered in [`SATURATION`] right before.
    Share,
    /// Nothing is published: connect, join, stay.
    Idle,
    /// Open loop against the hardest push there is: what the generator itself can take.
    Generator,
}

/// The cell that says what a server delivers at most.
pub const SATURATION: &str = "16x4 N=1000";
/// Of the rate at saturation.
pub const SHARE: f64 = 0.8;

const CLOSED: [&str; 3] = ["1x1", "1x16", "16x4"];

#[derive(Clone, Debug)]
pub struct Cell {
    pub kind: Kind,
    scenario: Scenario,
}

impl Cell {
    /// `file`: `benches/scenarios/peers-<file>.toml`.
    fn load(kind: Kind, file: &str, clients: usize) -> anyhow::Result<Self> {
        let scenario = Scenario { clients, ..scenario(&format!("peers-{file}"))? };
        Ok(Self { kind, scenario })
    }

    #[must_use]
    pub fn name(&self) -> String {
        format!("{} N={}", self.scenario.name, self.scenario.clients)
    }

    /// Each word of `asked` is a word of the name: `N=100` does not ask for `N=1000`.
    #[must_use]
    pub fn is_asked_for(&self, asked: &str) -> bool {
        let name = self.name();
        asked.split_whitespace().all(|word| name.split_whitespace().any(|own| own == word))
    }

    /// Servers are measured in every cell; a floor where it is the floor of something.
    #[must_use]
    pub fn has(&self, peer: Peer) -> bool {
        let is_one_by_one = self.scenario.name == CLOSED[0];
        let has_several = self.kind == Kind::Closed && self.scenario.publishers > 1;
        match peer {
            Peer::FloorPerTurn if self.kind == Kind::Generator => true,
            _ if self.kind == Kind::Generator => false,
            Peer::Floor => is_one_by_one || self.kind == Kind::Idle,
            Peer::FloorEqual => is_one_by_one || self.kind == Kind::Fixed,
            Peer::FloorPerTurn | Peer::FloorPerTurnEqual => has_several,
            Peer::Throng | Peer::SocketIo | Peer::Socketioxide | Peer::Socketify => true,
        }
    }

    /// The scenario of this cell for `peer`. Open loops are there for their percentiles, which need
    /// more messages than a rate does, so they take longer than `base_s`.
    ///
    /// `chat_bytes`: payload bytes of one of Throng's deliveries in the cell. None if `peer` needs
    /// them and they are not known. The caller sets the rate of a [`Kind::Share`].
    #[must_use]
    pub fn scenario(
        &self,
        peer: Peer,
        chat_bytes: Option<f64>,
        (base_s, warmup_s): (f64, f64),
    ) -> Option<Scenario> {
        let clients = self.scenario.clients;
        let mut scenario = Scenario {
            name: format!("{} {}", peer.name(), self.name()),
            protocol: peer.protocol(),
            duration_s: match self.kind {
                Kind::Fixed | Kind::Share => base_s * 2.0,
                Kind::Closed | Kind::Generator => base_s,
                Kind::Idle => base_s.min(2.5),
            },
            warmup_s,
            ..self.scenario.clone()
        };
        if peer.has_equal_bytes() {
            scenario.payload = Payload::Fixed(chat_bytes?.round() as usize);
        }
        // Idle memory is that of distinct users; elsewhere clients share some.
        let shared = if self.kind == Kind::Idle { clients } else { clients.min(200) };
        let register = if peer.has_users() { shared } else { 0 };
        scenario.users = Users { register: Some(register), ..Users::default() };
        Some(scenario)
    }
}

/// [`SATURATION`].
///
/// # Errors
/// As [`all`].
pub fn saturation() -> anyhow::Result<Cell> {
    Cell::load(Kind::Closed, CLOSED[2], 1000)
}

/// The published cells.
///
/// # Errors
/// A scenario file cannot be read.
pub fn all() -> anyhow::Result<Vec<Cell>> {
    let sizes = [100, 1000, 4000].into_iter();
    let closed = sizes.flat_map(|clients| CLOSED.map(|file| (Kind::Closed, file, clients)));
    let others = [
        (Kind::Fixed, "fixed", 1000),
        (Kind::Share, "share", 1000),
        (Kind::Idle, "idle", 5000),
        (Kind::Generator, "generator", 1000),
    ];
    closed.chain(others).map(|(kind, file, clients)| Cell::load(kind, file, clients)).collect()
}

/// One small cell of each kind, to see that everything still runs.
///
/// # Errors
/// As [`all`].
pub fn quick() -> anyhow::Result<Vec<Cell>> {
    Ok(vec![
        Cell::load(Kind::Closed, CLOSED[0], 40)?,
        Cell::load(Kind::Closed, CLOSED[2], 40)?,
        Cell::load(Kind::Fixed, "fixed-quick", 40)?,
        Cell::load(Kind::Idle, "idle", 100)?,
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_asked_for_by_whole_words() {
        let cells = all().unwrap();
        let asked = |asked: &str| -> Vec<String> {
            cells.iter().filter(|cell| cell.is_asked_for(asked)).map(Cell::name).collect()
        };
        assert_eq!(asked("N=100"), ["1x1 N=100", "1x16 N=100", "16x4 N=100"]);
        assert_eq!(asked("1x1"), ["1x1 N=100", "1x1 N=1000", "1x1 N=4000"]);
        assert_eq!(asked("16x4 N=1000"), [SATURATION]);
        assert_eq!(asked("80%"), ["80% of own N=1000"]);
        assert_eq!(asked("fixed"), ["fixed 40k/s N=1000"]);
        assert_eq!(asked("idle"), ["idle N=5000"]);
        assert!(asked("16x").is_empty());
        assert_eq!(saturation().unwrap().name(), SATURATION);
    }

    #[test]
    fn every_cell_is_a_valid_scenario_for_each_of_its_peers() {
        for cell in all().unwrap().into_iter().chain(quick().unwrap()) {
            for peer in super::super::peer::ALL.into_iter().filter(|peer| cell.has(*peer)) {
                let mut scenario = cell.scenario(peer, Some(251.7), (5.0, 1.5)).unwrap();
                scenario.targets = vec!["http://127.0.0.1:1".into()];
                scenario.validate().unwrap();
                assert!(!scenario.load.acks);
            }
        }
    }

    #[test]
    fn floors_of_equal_bytes_wait_for_throng() {
        let cell = saturation().unwrap();
        let payload =
            |peer: Peer, bytes: Option<f64>| Some(cell.scenario(peer, bytes, (5.0, 1.5))?.payload);
        for floor in [Peer::FloorEqual, Peer::FloorPerTurnEqual] {
            assert_eq!(payload(floor, None), None);
            assert_eq!(payload(floor, Some(251.7)), Some(Payload::Fixed(252)));
        }
        assert_eq!(payload(Peer::FloorPerTurn, Some(251.7)), Some(Payload::Fixed(128)));
    }
}
