use std::io::IoSlice;

use bytes::Bytes;

use super::{Bounds, Class, Flushed, Outbox, Part};
use crate::ids::PipeId;

fn once(bytes: &[u8]) -> std::iter::Once<&[u8]> {
    std::iter::once(bytes)
}

const PIPE: PipeId = PipeId { slot: 3, generation: 7 };

/// What a socket that takes at most `limit` bytes a call would have received.
fn drain(outbox: &mut Outbox, limit: usize) -> (Vec<u8>, Flushed) {
    let mut wire = Vec::new();
    loop {
        let mut slices = [IoSlice::new(&[]); 4];
        let filled = outbox.slices(PIPE, &mut slices, usize::MAX);
        let flat: Vec<u8> = slices[..filled].iter().flat_map(|part| part.to_vec()).collect();
        let count = flat.len().min(limit);
        wire.extend_from_slice(&flat[..count]);
        let state = outbox.sent(PIPE, count);
        if state != Flushed::More {
            return (wire, state);
        }
        outbox.writable(PIPE);
    }
}

/// Bytes of the buffers of the pipe.
fn capacity(outbox: &Outbox) -> usize {
    let pending = outbox.slots[PIPE.slot as usize].pending.as_ref().expect("bytes wait");
    let parts = pending.parts.iter().map(|part| match part {
        Part::Copied(bytes) => bytes.capacity(),
        Part::Shared(_) | Part::SharedBatch(_) => 0,
    });
    parts.sum()
}

fn unbounded() -> Outbox {
    Outbox::new(Bounds::new(u32::MAX, u32::MAX, u32::MAX))
}

#[test]
fn bytes_leave_in_the_order_they_came_whatever_the_socket_takes() {
    for limit in [1, 7, 8191, 8192, 100_000] {
        let mut outbox = unbounded();
        outbox.open(PIPE, Class::Identified);
        let big = Bytes::from(vec![b'B'; 9000]);
        outbox.push(PIPE, b"one");
        outbox.push_shared(PIPE, &Bytes::from_static(b"two"));
        outbox.push_shared(PIPE, &big);
        outbox.push(PIPE, b"three");
        assert_eq!(outbox.queued(PIPE), 3 + 3 + 9000 + 5);
        let (wire, state) = drain(&mut outbox, limit);
        assert_eq!(wire, [b"onetwo", &big[..], b"three"].concat(), "limit {limit}");
        assert_eq!(state, Flushed::Empty);
        assert_eq!(outbox.queued(PIPE), 0);
    }
}

#[test]
fn a_pipe_is_dirty_once_a_turn_and_not_while_blocked() {
    let mut outbox = unbounded();
    outbox.open(PIPE, Class::Identified);
    outbox.push(PIPE, b"a");
    outbox.push(PIPE, b"b");
    let mut dirty: Vec<PipeId> = Vec::new();
    outbox.take_dirty(&mut dirty);
    assert_eq!(dirty, [PIPE]);
    assert_eq!(outbox.sent(PIPE, 1), Flushed::More);
    outbox.push(PIPE, b"c");
    dirty.clear();
    outbox.take_dirty(&mut dirty);
    assert!(dirty.is_empty(), "a blocked pipe waits for its socket");
    outbox.writable(PIPE);
    outbox.take_dirty(&mut dirty);
    assert_eq!(dirty, [PIPE]);
}

#[test]
fn the_next_pipe_of_a_slot_never_sees_old_bytes() {
    let mut outbox = unbounded();
    outbox.open(PIPE, Class::Identified);
    outbox.push(PIPE, b"old");
    outbox.close(PIPE);
    let next = PipeId { generation: 8, ..PIPE };
    outbox.open(next, Class::Identified);
    outbox.push(PIPE, b"late");
    assert_eq!(outbox.queued(PIPE), 0);
    outbox.push(next, b"new");
    assert_eq!(outbox.queued(next), 3);
}

#[test]
fn closing_waits_for_the_last_byte() {
    let mut outbox = unbounded();
    outbox.open(PIPE, Class::Identified);
    outbox.push(PIPE, b"bye");
    outbox.close_when_empty(PIPE);
    assert_eq!(outbox.sent(PIPE, 1), Flushed::More);
    outbox.writable(PIPE);
    assert_eq!(outbox.sent(PIPE, 2), Flushed::Close);
}

#[test]
fn cutting_keeps_the_frame_under_way_whole() {
    let frames = [&[0x81, 3, b'a', b'b', b'c'][..], &[0x81, 2, b'd', b'e'], &[0x81, 1, b'f']];
    let all = frames.concat();
    for (sent, kept) in [(0, 0), (1, 5), (5, 5), (6, 9), (9, 9), (10, 12)] {
        let mut outbox = unbounded();
        outbox.open(PIPE, Class::Identified);
        outbox.push(PIPE, &all);
        let mut dirty: Vec<PipeId> = Vec::new();
        outbox.take_dirty(&mut dirty);
        outbox.sent(PIPE, sent);
        outbox.cut(PIPE);
        outbox.writable(PIPE);
        assert_eq!(outbox.queued(PIPE), kept - sent, "{sent} bytes were sent");
    }
}

/// A short text frame.
fn frame(letter: u8, len: u8) -> Vec<u8> {
    [&[0x81, len][..], &vec![letter; usize::from(len)]].concat()
}

#[test]
fn common_bytes_keep_their_place_among_others_whatever_the_socket_takes() {
    for limit in [1, 5, 13, 100_000] {
        let mut outbox = unbounded();
        outbox.open(PIPE, Class::Identified);
        let [a, b, c, d, e] = [b'a', b'b', b'c', b'd', b'e'].map(|letter| frame(letter, 10));
        outbox.push(PIPE, &a);
        for part in [[&b[..], &c].concat(), d.clone()] {
            let span = outbox.share(1, once(&part)).expect("it has space");
            outbox.push_span(PIPE, span);
        }
        assert_eq!(outbox.queued(PIPE), 4 * 12);
        outbox.push(PIPE, &e);
        let span = outbox.share(1, once(&a)).expect("it has space");
        outbox.push_span(PIPE, span);
        assert_eq!(outbox.queued(PIPE), 6 * 12);
        let (wire, state) = drain(&mut outbox, limit);
        assert_eq!(wire, [a.clone(), b, c, d, e, a].concat(), "limit {limit}");
        assert_eq!(state, Flushed::Empty);
    }
}

#[test]
fn common_bytes_that_a_socket_did_not_take_outlive_the_turn() {
    let mut outbox = unbounded();
    outbox.open(PIPE, Class::Identified);
    let text = [frame(b'a', 3), frame(b'b', 3)].concat();
    let span = outbox.share(1, once(&text)).expect("it has space");
    outbox.push_span(PIPE, span);
    assert_eq!(outbox.sent(PIPE, 7), Flushed::More, "two bytes into the second frame");
    // Another turn, in which the pipe is blocked.
    let next = outbox.share(1, once(&frame(b'c', 3))).expect("it has space");
    outbox.push_span(PIPE, next);
    assert_eq!(outbox.queued(PIPE), 3 + 5);
    outbox.writable(PIPE);
    let (wire, state) = drain(&mut outbox, 100);
    assert_eq!(wire, [&text[7..], &frame(b'c', 3)].concat());
    assert_eq!(state, Flushed::Empty);
}

#[test]
fn cutting_drops_common_bytes_behind_the_frame_under_way() {
    let text = [frame(b'a', 3), frame(b'b', 3), frame(b'c', 3)].concat();
    for (sent, kept) in [(0, 0), (2, 5), (5, 5), (7, 10)] {
        let mut outbox = unbounded();
        outbox.open(PIPE, Class::Identified);
        let span = outbox.share(1, once(&text)).expect("it has space");
        outbox.push_span(PIPE, span);
        if sent > 0 {
            outbox.sent(PIPE, sent);
        }
        outbox.cut(PIPE);
        assert_eq!(outbox.queued(PIPE), kept - sent, "{sent} bytes were sent");
    }
}

#[test]
fn too_many_common_bytes_are_refused_until_they_were_sent() {
    let mut outbox = unbounded();
    outbox.open(PIPE, Class::Identified);
    let megabytes = vec![b'x'; 40 * 1024 * 1024];
    let span = outbox.share(1, once(&megabytes)).expect("it has space");
    outbox.push_span(PIPE, span);
    assert!(outbox.share(1, once(&megabytes)).is_none());
    outbox.sent(PIPE, megabytes.len());
    assert!(outbox.share(1, once(&megabytes)).is_some());
}

/// A pipe that two topics serve, and others that only one does, in every order of offering.
#[test]
fn common_bytes_outlive_other_holders_and_other_topics() {
    let pipes = [0, 1, 2].map(|slot| PipeId { slot, generation: 1 });
    for first in 0..3 {
        let mut outbox = unbounded();
        pipes.iter().for_each(|pipe| outbox.open(*pipe, Class::Identified));
        let mut wire = [const { Vec::<u8>::new() }; 3];
        let mut want = [const { Vec::<u8>::new() }; 3];
        for round in 0..9u8 {
            for (topic, members) in [(1, &[0, 1][..]), (2, &[1, 2])] {
                let text = frame(b'a' + 2 * round + topic, 3 + round);
                let span = outbox.share(topic.into(), once(&text)).expect("it has space");
                for member in members {
                    outbox.push_span(pipes[*member], span);
                    want[*member].extend_from_slice(&text);
                }
            }
            // One pipe in each round; the others hold what came since their last.
            let at = (first + usize::from(round)) % 3;
            offer(&mut outbox, pipes[at], &mut wire[at]);
        }
        for at in 0..3 {
            offer(&mut outbox, pipes[at], &mut wire[at]);
        }
        assert_eq!(wire, want, "beginning with {first}");
    }
}

fn offer(outbox: &mut Outbox, pipe: PipeId, wire: &mut Vec<u8>) {
    let mut slices = [IoSlice::new(&[]); 4];
    let filled = outbox.slices(pipe, &mut slices, usize::MAX);
    let flat: Vec<u8> = slices[..filled].iter().flat_map(|part| part.to_vec()).collect();
    wire.extend_from_slice(&flat);
    assert_eq!(outbox.sent(pipe, flat.len()), Flushed::Empty);
}

#[test]
fn a_pipe_that_waits_for_its_turn_holds_all_batches_of_a_room_as_one_piece() {
    let mut outbox = unbounded();
    outbox.open(PIPE, Class::Identified);
    for _ in 0..3 {
        let span = outbox.share(1, once(&frame(b'a', 3))).expect("it has space");
        outbox.push_span(PIPE, span);
        // Another room, of which the pipe gets nothing.
        outbox.share(2, once(&frame(b'b', 3))).expect("it has space");
    }
    let mut slices = [IoSlice::new(&[]); 4];
    assert_eq!(outbox.slices(PIPE, &mut slices, usize::MAX), 1);
    assert_eq!(&*slices[0], frame(b'a', 3).repeat(3));
}

#[test]
fn a_room_that_never_rests_does_not_keep_what_was_sent() {
    let mut outbox = unbounded();
    let pipes = [0, 1].map(|slot| PipeId { slot, generation: 1 });
    pipes.iter().for_each(|pipe| outbox.open(*pipe, Class::Identified));
    let text = frame(b'a', 125).repeat(8 * 1024);
    for round in 0..300 {
        // 300 MB in all, and always a pipe that holds the last of it.
        let span = outbox.share(1, once(&text)).expect("what was sent is gone");
        pipes.iter().for_each(|pipe| {
            outbox.push_span(*pipe, span);
        });
        let mut wire = Vec::new();
        offer(&mut outbox, pipes[round % 2], &mut wire);
        assert!(wire.chunks(text.len()).all(|chunk| chunk == text));
    }
}

#[test]
fn a_client_that_reads_at_the_pace_of_its_room_keeps_nothing_that_was_sent() {
    for taken in [1016, 1015, 1000] {
        let mut outbox = unbounded();
        outbox.open(PIPE, Class::Identified);
        let answer = b"HTTP/1.1 101 Switching Protocols\r\n\r\n";
        outbox.push(PIPE, answer);
        let (mut queued, mut wire) = (answer.to_vec(), Vec::new());
        for index in 0..5000 {
            let frames = frame(b'a' + (index % 26) as u8, 125).repeat(8);
            queued.extend_from_slice(&frames);
            outbox.push(PIPE, &frames);
            // 400 frames wait, and it stays so, or they become more.
            if index < 50 {
                continue;
            }
            let mut slices = [IoSlice::new(&[]); 4];
            let filled = outbox.slices(PIPE, &mut slices, usize::MAX);
            let flat = slices[..filled].iter().flat_map(|part| part.to_vec());
            wire.extend(flat.take(taken));
            assert_eq!(outbox.sent(PIPE, taken), Flushed::More);
            outbox.writable(PIPE);
            let (held, waiting) = (outbox.held_by(PIPE), outbox.queued(PIPE));
            let most = waiting + waiting.max(64 * 1024) + 127;
            assert!(held <= most, "{held} bytes are held for {waiting}");
            let capacity = capacity(&outbox);
            assert!(capacity <= 2 * most + 64 * 1024, "{capacity} bytes are used for {held}");
        }
        // A cut finds the frame under way.
        outbox.cut(PIPE);
        let left = outbox.queued(PIPE);
        let (rest, state) = drain(&mut outbox, usize::MAX);
        assert_eq!((rest.len(), state), (left, Flushed::Empty));
        wire.extend_from_slice(&rest);
        assert_eq!(wire, queued[..wire.len()]);
        assert_eq!((wire.len() - answer.len()) % 127, 0, "the last frame is whole");
    }
}

#[test]
fn a_pipe_beyond_the_bound_of_its_class_is_named_once() {
    let mut outbox = Outbox::new(Bounds::new(10, 20, 30));
    let other = PipeId { slot: 1, ..PIPE };
    outbox.open(PIPE, Class::Anonymous);
    outbox.open(other, Class::Identified);
    for pipe in [PIPE, other] {
        outbox.push(pipe, &[0; 10]);
    }
    assert_eq!(outbox.next_over(), None, "at the bound");
    for pipe in [PIPE, other] {
        outbox.push(pipe, &[0]);
        outbox.push(pipe, &[0]);
    }
    assert_eq!((outbox.next_over(), outbox.next_over()), (Some(PIPE), None));
    outbox.set_class(PIPE, Class::Identified);
    outbox.push(PIPE, &[0]);
    assert_eq!(outbox.next_over(), None);
    let span = outbox.share(1, once(&[0; 10])).expect("it has space");
    outbox.push_span(other, span);
    assert_eq!(outbox.next_over(), Some(other), "what is shared counts for the pipe's own bound");
    outbox.check();
}

#[test]
fn one_message_that_is_longer_than_the_bound_is_sent_to_a_client_that_reads() {
    let mut outbox = Outbox::new(Bounds::new(10, 20_000, 30));
    outbox.open(PIPE, Class::Identified);
    let roster = Bytes::from(vec![b'r'; 50_000]);
    outbox.push_shared(PIPE, &roster);
    outbox.push(PIPE, &[0; 20_000]);
    assert_eq!(outbox.next_over(), None, "what else waits is at the bound");
    outbox.push(PIPE, &[0]);
    assert_eq!(outbox.next_over(), Some(PIPE));
    // Two of them are more than one; and what was sent of one counts no more.
    outbox.close(PIPE);
    let pipe = PipeId { generation: 8, ..PIPE };
    outbox.open(pipe, Class::Identified);
    outbox.push_shared(pipe, &roster);
    assert_eq!(outbox.sent(pipe, 40_000), Flushed::More);
    outbox.push(pipe, &[0; 20_000]);
    assert_eq!((outbox.next_over(), outbox.counted(pipe)), (None, 20_000));
    outbox.push_shared(pipe, &roster);
    assert_eq!(outbox.next_over(), Some(pipe));
}

#[test]
fn what_pipes_hold_for_themselves_is_summed_by_class() {
    let mut outbox = unbounded();
    outbox.open(PIPE, Class::Anonymous);
    outbox.push(PIPE, &[0; 10]);
    outbox.push_shared(PIPE, &Bytes::from(vec![0; 10_000]));
    outbox.push(PIPE, &[0; 5]);
    assert_eq!(outbox.held(Class::Anonymous), 15, "a shared frame is held once for all");
    outbox.set_class(PIPE, Class::Identified);
    assert_eq!((outbox.held(Class::Anonymous), outbox.held(Class::Identified)), (0, 15));
    outbox.take_dirty(&mut Vec::new());
    assert_eq!(outbox.sent(PIPE, 12), Flushed::More);
    assert_eq!(outbox.held(Class::Identified), 5);
    outbox.check();
    outbox.close(PIPE);
    assert_eq!(outbox.held(Class::Identified), 0);
    outbox.check();
}

#[test]
#[should_panic(expected = "no more is sent than was offered")]
fn more_bytes_than_were_offered_are_an_assert() {
    let mut outbox = unbounded();
    outbox.open(PIPE, Class::Identified);
    let span = outbox.share(1, once(&frame(b'a', 3))).expect("it has space");
    outbox.push_span(PIPE, span);
    outbox.sent(PIPE, 6);
}

#[test]
fn a_pipe_for_which_much_waits_is_offered_a_piece_at_a_time() {
    let mut outbox = unbounded();
    outbox.open(PIPE, Class::Identified);
    let texts: Vec<Vec<u8>> = (b'a'..b'h').map(|letter| frame(letter, 100).repeat(700)).collect();
    texts.iter().for_each(|text| outbox.push(PIPE, text));
    let large = Bytes::from(frame(b'L', 100).repeat(200));
    assert!(!outbox.has_large(PIPE, 10_000), "all that waits is small");
    outbox.push_shared(PIPE, &large);
    assert!(outbox.has_large(PIPE, 10_000) && !outbox.has_large(PIPE, 30_000));
    let (mut wire, most) = (Vec::new(), 30_000);
    loop {
        outbox.take_dirty(&mut Vec::new());
        let mut slices = [IoSlice::new(&[]); 4];
        let filled = outbox.slices(PIPE, &mut slices, most);
        let flat: Vec<u8> = slices[..filled].iter().flat_map(|part| part.to_vec()).collect();
        assert!(!flat.is_empty() && flat.len() <= most, "{} bytes", flat.len());
        wire.extend_from_slice(&flat);
        if outbox.sent(PIPE, flat.len()) == Flushed::Empty {
            break;
        }
        outbox.writable(PIPE);
        outbox.check();
    }
    assert_eq!(wire, [texts.concat(), large.to_vec()].concat());
}

/// As the members of a room who do not read: what all of them wait for is there once.
#[test]
fn what_is_large_waits_once_for_all_pipes_that_are_offered_later() {
    let pipes = [0, 1, 2].map(|slot| PipeId { slot, generation: 1 });
    for is_deferred in [false, true] {
        let mut outbox = unbounded();
        for pipe in pipes {
            outbox.open(pipe, Class::Identified);
            outbox.push(pipe, &frame(b'x', 10));
            outbox.take_dirty(&mut Vec::new());
            if is_deferred {
                outbox.defer(pipe);
            } else {
                assert_eq!(outbox.sent(pipe, 0), Flushed::More);
            }
        }
        let mut want = frame(b'x', 10);
        for letter in [b'a', b'b'] {
            let text = frame(letter, 100).repeat(100);
            let span = outbox.share(1, once(&text)).expect("it has space");
            pipes.iter().for_each(|pipe| outbox.push_span(*pipe, span));
            want.extend_from_slice(&text);
        }
        outbox.check();
        let large = want.len() - frame(b'x', 10).len();
        assert_eq!(outbox.held_shared(), large, "once for three pipes");
        assert_eq!(outbox.held_by(pipes[0]), want.len() - large);
        assert_eq!(outbox.held_by_with_shared(pipes[0]), want.len());
        for (at, pipe) in pipes.into_iter().enumerate() {
            assert_eq!(outbox.held_shared(), large, "until the last has it");
            let mut wire = Vec::new();
            if at == 1 {
                outbox.close(pipe);
                continue;
            }
            outbox.writable(pipe);
            outbox.take_dirty(&mut Vec::new());
            offer(&mut outbox, pipe, &mut wire);
            assert_eq!(wire, want);
        }
        outbox.check();
        assert_eq!(outbox.held_shared(), 0);
    }
}

#[test]
fn what_waits_long_lies_in_buffers_that_do_not_move() {
    let mut outbox = unbounded();
    outbox.open(PIPE, Class::Identified);
    for _ in 0..60_000 {
        outbox.push(PIPE, &frame(b'x', 125));
    }
    let queued = outbox.queued(PIPE);
    assert!(capacity(&outbox) <= queued + queued / 3, "{} for {queued}", capacity(&outbox));
    let pending = outbox.slots[PIPE.slot as usize].pending.as_ref().expect("bytes wait");
    let longest = pending.parts.iter().map(|part| part.as_slice().len()).max();
    assert!(longest.is_some_and(|longest| longest < 300_000), "{longest:?}");
}
