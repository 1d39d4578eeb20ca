use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::lane::Full;
use crate::{Bell, Capacity, Receiver, lane, mesh};

/// Fewer under Miri, which is a thousand times slower.
const ITEMS: u64 = if cfg!(miri) { 200 } else { 400_000 };

fn is_readable(bell: &Bell, wait: Duration) -> bool {
    let timeout = Timespec::try_from(wait).expect("a short time");
    let mut fds = [PollFd::new(bell, PollFlags::IN)];
    poll(&mut fds, Some(&timeout)).expect("poll works") == 1
}

/// The owner's loop as a shard runs it; fails instead of hanging when a wake-up is lost.
fn receive(bell: &Bell, lanes: &mut [Receiver<u64>], count: u64, mut each: impl FnMut(usize, u64)) {
    let mut received = 0;
    while received < count {
        for (index, lane) in lanes.iter_mut().enumerate() {
            while let Some(item) = lane.pop() {
                each(index, item);
                received += 1;
            }
        }
        if received < count && bell.park(|| lanes.iter().all(Receiver::is_empty)) {
            let woken = is_readable(bell, Duration::from_secs(20));
            bell.wake();
            bell.clear();
            assert!(woken, "a wake-up was lost after {received} items");
        }
    }
}

#[test]
fn items_arrive_in_order_across_threads_and_no_wake_up_is_lost() {
    let bell = Arc::new(Bell::new().expect("a descriptor is free"));
    let (mut sender, receiver) = lane(64, Arc::clone(&bell));
    let peer = thread::spawn(move || {
        for item in 0..ITEMS {
            while sender.push(item).is_err() {
                thread::yield_now();
            }
            sender.ring();
            if item % 1000 == 0 {
                // Lets the owner park, so that both sides of the protocol are exercised.
                thread::yield_now();
            }
        }
    });
    let mut next = 0;
    receive(&bell, &mut [receiver], ITEMS, |_, item| {
        assert_eq!(item, next);
        next += 1;
    });
    peer.join().expect("the peer ends");
}

#[test]
fn two_peers_share_one_bell() {
    let bell = Arc::new(Bell::new().expect("a descriptor is free"));
    let mut lanes = Vec::new();
    let mut peers = Vec::new();
    for _ in 0..2 {
        let (mut sender, receiver) = lane(16, Arc::clone(&bell));
        lanes.push(receiver);
        peers.push(thread::spawn(move || {
            for item in 0..ITEMS / 4 {
                while sender.push(item).is_err() {
                    sender.ring();
                    thread::yield_now();
                }
                if item % 3 == 0 {
                    sender.ring();
                }
            }
            sender.ring();
        }));
    }
    let mut next = [0, 0];
    receive(&bell, &mut lanes, ITEMS / 4 * 2, |from, item| {
        assert_eq!(item, next[from]);
        next[from] += 1;
    });
    for peer in peers {
        peer.join().expect("the peer ends");
    }
}

#[test]
fn a_full_lane_returns_the_item() {
    let bell = Arc::new(Bell::new().expect("a descriptor is free"));
    let (mut sender, mut receiver) = lane(2, bell);
    assert_eq!(sender.free_slots(), 2);
    assert_eq!(sender.push(1), Ok(()));
    assert_eq!(sender.push(2), Ok(()));
    assert_eq!(sender.push(3), Err(Full(3)));
    assert_eq!((sender.free_slots(), receiver.len()), (0, 2));
    assert_eq!(receiver.pop(), Some(1));
    assert_eq!(sender.push(3), Ok(()));
    assert_eq!([receiver.pop(), receiver.pop(), receiver.pop()], [Some(2), Some(3), None]);
}

#[test]
fn a_ring_costs_no_system_call_while_the_owner_is_awake() {
    let bell = Arc::new(Bell::new().expect("a descriptor is free"));
    let (mut sender, _receiver) = lane(8, Arc::clone(&bell));
    sender.push(1).expect("a slot is free");
    sender.ring();
    assert!(!is_readable(&bell, Duration::ZERO), "the owner never parked");

    assert!(bell.park(|| true));
    // Nothing was pushed since the last ring.
    sender.ring();
    assert!(!is_readable(&bell, Duration::ZERO));
    sender.push(2).expect("a slot is free");
    sender.ring();
    assert!(is_readable(&bell, Duration::ZERO));
    bell.clear();
    sender.push(3).expect("a slot is free");
    sender.ring();
    assert!(!is_readable(&bell, Duration::ZERO), "only the first peer makes a system call");
}

#[test]
fn an_owner_with_work_does_not_park() {
    let bell = Bell::new().expect("a descriptor is free");
    assert!(!bell.park(|| false));
    bell.ring();
    assert!(!is_readable(&bell, Duration::ZERO), "it stayed awake");
}

#[test]
fn a_mesh_connects_each_ordered_pair_by_two_lanes() {
    let shards = 3;
    let mut all_ends = mesh::<(usize, usize), char>(
        shards,
        Capacity { request_lane_max: 4, delivery_lane_max: 2 },
    )
    .expect("descriptors are free");
    for (from, lane_ends) in all_ends.iter_mut().enumerate() {
        for to in 0..shards {
            assert_eq!(lane_ends.requests_out[to].free_slots(), 4);
            assert_eq!(lane_ends.deliveries_out[to].free_slots(), 2);
            lane_ends.requests_out[to].push((from, to)).expect("a slot is free");
        }
        lane_ends.deliveries_out[0].push('d').expect("a slot is free");
        lane_ends.ring();
    }
    for (to, lane_ends) in all_ends.iter_mut().enumerate() {
        assert!(!lane_ends.is_idle());
        for from in 0..shards {
            assert_eq!(lane_ends.requests_in[from].pop(), Some((from, to)));
            let expected = (to == 0).then_some('d');
            assert_eq!(lane_ends.deliveries_in[from].pop(), expected);
        }
        assert!(lane_ends.is_idle());
    }
}
