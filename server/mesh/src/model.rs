//! Every interleaving of the lane and the bell, explored by loom. A lost wake-up shows as a
//! deadlock: the owner waits for a signal that is never raised.

use loom::thread;

use crate::bell::Bell;
use crate::lane::{Receiver, lane};
use crate::sync::Arc;

/// The owner's loop: drain, announce sleep, examine the lanes again, sleep.
fn receive(bell: &Bell, lanes: &mut [Receiver<usize>], count: usize) -> Vec<usize> {
    let mut received = Vec::new();
    while received.len() < count {
        for lane in &mut *lanes {
            while let Some(item) = lane.pop() {
                received.push(item);
            }
        }
        if received.len() >= count {
            break;
        }
        if bell.park(|| lanes.iter().all(Receiver::is_empty)) {
            bell.wait();
            bell.wake();
            bell.clear();
        }
    }
    received
}

#[test]
fn no_wake_up_is_lost_with_one_peer() {
    loom::model(|| {
        let bell = Arc::new(Bell::new().expect("a model needs no descriptor"));
        let (mut sender, receiver) = lane(2, Arc::clone(&bell));
        let peer = thread::spawn(move || {
            for item in 0..2 {
                sender.push(item).expect("two fit");
                sender.ring();
            }
        });
        assert_eq!(receive(&bell, &mut [receiver], 2), [0, 1]);
        peer.join().expect("the peer ends");
    });
}

#[test]
fn no_wake_up_is_lost_with_two_peers() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(|| {
        let bell = Arc::new(Bell::new().expect("a model needs no descriptor"));
        let (mut first, first_in) = lane(1, Arc::clone(&bell));
        let (mut second, second_in) = lane(1, Arc::clone(&bell));
        let peers = [
            thread::spawn(move || {
                first.push(1).expect("one fits");
                first.ring();
            }),
            thread::spawn(move || {
                second.push(2).expect("one fits");
                second.ring();
            }),
        ];
        let mut received = receive(&bell, &mut [first_in, second_in], 2);
        received.sort_unstable();
        assert_eq!(received, [1, 2]);
        for peer in peers {
            peer.join().expect("the peer ends");
        }
    });
}

/// One ring per batch: every item pushed before it must be received.
#[test]
fn one_ring_covers_a_batch() {
    loom::model(|| {
        let bell = Arc::new(Bell::new().expect("a model needs no descriptor"));
        let (mut sender, receiver) = lane(2, Arc::clone(&bell));
        let peer = thread::spawn(move || {
            sender.push(0).expect("two fit");
            sender.push(1).expect("two fit");
            sender.ring();
        });
        assert_eq!(receive(&bell, &mut [receiver], 2), [0, 1]);
        peer.join().expect("the peer ends");
    });
}

/// A slot that the receiver released is reused without a race.
#[test]
fn a_full_lane_rejects_items_until_the_receiver_takes_one() {
    loom::model(|| {
        let bell = Arc::new(Bell::new().expect("a model needs no descriptor"));
        let (mut sender, receiver) = lane(1, Arc::clone(&bell));
        sender.push(0).expect("one fits");
        let peer = thread::spawn(move || {
            let second = sender.push(1);
            sender.ring();
            second.is_ok()
        });
        let mut lanes = [receiver];
        let received = receive(&bell, &mut lanes, 1);
        let fitted = peer.join().expect("the peer ends");
        let rest = lanes[0].pop();
        assert_eq!(received.first(), Some(&0));
        assert_eq!(fitted, received.get(1) == Some(&1) || rest == Some(1));
    });
}

/// The model can fail: an owner that does not examine the lanes after it announced sleep may sleep
/// although an item waits.
#[test]
#[should_panic(expected = "a wake-up was lost")]
fn the_model_catches_an_owner_that_does_not_examine_its_lanes_again() {
    sleep_once(|_| true);
}

#[test]
fn an_owner_that_examines_its_lanes_again_never_sleeps_on_work() {
    sleep_once(Receiver::is_empty);
}

/// One attempt to sleep after an empty lane.
fn sleep_once(is_idle: fn(&Receiver<usize>) -> bool) {
    loom::model(move || {
        let bell = Arc::new(Bell::new().expect("a model needs no descriptor"));
        let (mut sender, mut receiver) = lane(1, Arc::clone(&bell));
        let peer = thread::spawn(move || {
            sender.push(0).expect("one fits");
            sender.ring();
        });
        let took = receiver.pop().is_some();
        let sleeps = !took && bell.park(|| is_idle(&receiver));
        peer.join().expect("the peer ends");
        let is_stuck = sleeps && !receiver.is_empty() && !bell.is_raised();
        assert!(!is_stuck, "a wake-up was lost");
    });
}
