//! The plan of a run: which thread, user, rooms and publisher role each client has.

use crate::scenario::Scenario;

/// One client's place in the run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seat {
    pub client: u32,
    pub thread: usize,
    pub user: u32,
    /// Room indices (not numbers) it joins; it publishes into the first.
    pub rooms: Vec<u16>,
    /// Index among the publishers of its first room.
    pub publisher: Option<u16>,
}

#[derive(Clone, Debug)]
pub struct Plan {
    pub seats: Vec<Seat>,
    /// Publishers per room.
    pub publishers: Vec<u16>,
}

impl Plan {
    /// Deals clients to rooms by weight and publishers evenly over the clients.
    #[must_use]
    pub fn new(scenario: &Scenario, users: usize) -> Self {
        let count = scenario.clients_max();
        let first_rooms = deal(&scenario.room_sizes.weights(scenario.rooms), count);
        let mut publishers = vec![0u16; scenario.rooms];
        let mut seats: Vec<Seat> = (0..count)
            .map(|client| Seat {
                client: client as u32,
                thread: client % scenario.threads,
                user: (client % users.max(1)) as u32,
                rooms: (0..scenario.rooms_per_client)
                    .map(|step| ((usize::from(first_rooms[client]) + step) % scenario.rooms) as u16)
                    .collect(),
                publisher: None,
            })
            .collect();
        // Publishers come from the clients present from the start, spread evenly: a publisher that
        // is always the first member served would flatter every closed loop.
        for k in 0..scenario.publishers {
            let at = (2 * k + 1) * scenario.clients / (2 * scenario.publishers);
            let seat = &mut seats[at];
            let room = usize::from(seat.rooms[0]);
            seat.publisher = Some(publishers[room]);
            publishers[room] += 1;
        }
        Self { seats, publishers }
    }
}

/// Interleaves `count` seats over rooms so that every prefix is near the weights.
fn deal(weights: &[f64], count: usize) -> Vec<u16> {
    let total: f64 = weights.iter().sum();
    let mut credit = vec![0f64; weights.len()];
    let mut rooms: Vec<u16> = Vec::with_capacity(count);
    for seat in 0..count {
        // The first round puts one client into every room.
        if seat < weights.len() {
            rooms.push(seat as u16);
            credit[seat] -= 1.0;
        } else {
            let best = (0..weights.len())
                .max_by(|a, b| credit[*a].total_cmp(&credit[*b]))
                .expect("at least one room");
            rooms.push(best as u16);
            credit[best] -= 1.0;
        }
        for (credit, weight) in credit.iter_mut().zip(weights) {
            *credit += weight / total;
        }
    }
    rooms
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::RoomSizes;

    #[test]
    fn clients_follow_the_room_weights() {
        let scenario = Scenario {
            clients: 1_000,
            rooms: 3,
            room_sizes: RoomSizes::Weights(vec![2.0, 1.0, 1.0]),
            publishers: 8,
            ..Scenario::default()
        };
        let plan = Plan::new(&scenario, 10);
        let size = |room| plan.seats.iter().filter(|seat| seat.rooms[0] == room).count();
        assert!((490..=510).contains(&size(0)), "{}", size(0));
        assert_eq!(size(0) + size(1) + size(2), 1_000);
        assert_eq!(plan.publishers.iter().sum::<u16>(), 8);
        let numbered = plan.seats.iter().filter(|seat| seat.publisher.is_some()).count();
        assert_eq!(numbered, 8);
    }

    #[test]
    fn publishers_stand_in_the_middle_of_their_share() {
        let scenario = Scenario { clients: 100, publishers: 2, ..Scenario::default() };
        let plan = Plan::new(&scenario, 1);
        let at: Vec<u32> =
            plan.seats.iter().filter(|s| s.publisher.is_some()).map(|s| s.client).collect();
        assert_eq!(at, [25, 75]);
    }
}
