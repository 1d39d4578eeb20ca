use std::sync::Arc;

use super::super::numbered_message::Origin;
use super::*;
use crate::ids::{SessionId, ShardId, UserId};
use crate::lane::Publish;
use crate::user::UserCard;

fn numbered(id: i64, is_own: bool) -> NumberedMessage {
    let author = UserCard { id: UserId(1), email: "".into(), name: "a".into(), avatar: "".into() };
    let publish = Publish { msg: "".into(), img: "".into(), time: "".into(), cid: None };
    let publisher = SessionId::new(ShardId(0), 1, 1);
    let origin = is_own.then_some(Origin { publisher, ack: Some(1) });
    NumberedMessage { id, author: Arc::new(author), publish: Box::new(publish), origin }
}

/// Offers messages by number, and returns what was handed on, in order.
fn offer(buffer: &mut ReorderBuffer, seqs: &[u64]) -> Vec<i64> {
    let mut handed_on = Vec::new();
    for seq in seqs {
        if let Offered::Next(message) =
            buffer.offer(Now(0), Seq(*seq), numbered(*seq as i64, false))
        {
            handed_on.push(message.id);
        }
        handed_on.extend(std::iter::from_fn(|| buffer.pop()).map(|message| message.id));
    }
    handed_on
}

#[test]
fn messages_are_handed_on_in_order_and_once() {
    let mut buffer = ReorderBuffer::new(Seq(4));
    assert_eq!(offer(&mut buffer, &[4, 7, 6, 6, 8, 5, 7, 9]), [5, 6, 7, 8, 9]);
    assert!(!buffer.is_missing());
}

#[test]
fn a_gap_is_fetched_after_its_grace_and_up_to_what_is_kept() {
    let mut buffer = ReorderBuffer::new(Seq(0));
    offer(&mut buffer, &[4, 9]);
    assert_eq!(buffer.fetch_at(), Some(Now(0).plus_ms(GAP_GRACE_MS)));
    assert_eq!(buffer.missing(), (Seq(0), Seq(4)));
    buffer.asked();
    assert_eq!(buffer.fetch_at(), None, "one fetch at a time");
    assert_eq!(offer(&mut buffer, &[1, 2, 3]), [1, 2, 3, 4]);
    buffer.fetched(Now(7), true);
    assert_eq!((buffer.fetch_at(), buffer.missing()), (Some(Now(7)), (Seq(4), Seq(9))));
}

#[test]
fn numbers_that_the_store_does_not_have_are_skipped() {
    let mut buffer = ReorderBuffer::new(Seq(40));
    // The store was restored to 40, and the next message came behind 50.
    assert_eq!(offer(&mut buffer, &[51, 52]), [0; 0]);
    buffer.asked();
    assert!(!buffer.skip_hole(Seq(41)), "it is the next one");
    assert!(buffer.skip_hole(Seq(51)));
    let popped: Vec<u64> = std::iter::from_fn(|| buffer.pop().map(|_| buffer.seq().0)).collect();
    assert_eq!(popped, [51, 52]);
    buffer.fetched(Now(1), true);
    buffer.check();
    // What arrived meanwhile is no hole.
    offer(&mut buffer, &[55]);
    buffer.asked();
    assert_eq!(offer(&mut buffer, &[53]), [53]);
    assert!(!buffer.skip_hole(Seq(55)));
}

#[test]
fn a_tip_is_fetched_at_once() {
    let mut buffer = ReorderBuffer::new(Seq(2));
    offer(&mut buffer, &[4]);
    buffer.expect(Seq(5), Now(3));
    assert_eq!(buffer.fetch_at(), Some(Now(3)));
    buffer.expect(Seq(1), Now(0));
    assert_eq!(buffer.fetch_at(), Some(Now(3)), "what is known changes nothing");
}

#[test]
fn what_is_in_doubt_is_asked_for_until_the_store_has_no_more_of_it() {
    let mut buffer = ReorderBuffer::new(Seq(2));
    buffer.doubt(Now(0), 2);
    assert_eq!(buffer.fetch_at(), Some(Now(0).plus_ms(FETCH_RETRY_MS)));
    assert_eq!(buffer.missing(), (Seq(2), Seq(4)));
    assert!(!buffer.is_missing(), "it may not exist");
    buffer.asked();
    // Both batches may have been kept.
    buffer.doubt(Now(1), 1);
    assert_eq!(offer(&mut buffer, &[3]), [3]);
    buffer.fetched(Now(5), true);
    assert_eq!((buffer.fetch_at(), buffer.missing()), (Some(Now(5)), (Seq(3), Seq(5))));
    buffer.asked();
    buffer.doubt(Now(6), 1);
    buffer.fetched(Now(7), true);
    assert_eq!(buffer.missing(), (Seq(3), Seq(6)), "it was asked before the last doubt");
    buffer.asked();
    buffer.fetched(Now(8), true);
    assert_eq!((buffer.fetch_at(), buffer.is_doubted()), (None, false));
}

#[test]
fn what_waits_is_bounded_and_own_messages_are_never_dropped() {
    let mut buffer = ReorderBuffer::new(Seq(0));
    for seq in 2..2 + AHEAD_MAX as u64 {
        assert!(matches!(buffer.offer(Now(0), Seq(seq), numbered(0, false)), Offered::Ahead));
    }
    let beyond = Seq(2 + AHEAD_MAX as u64);
    assert!(matches!(buffer.offer(Now(0), beyond, numbered(0, false)), Offered::Beyond));
    assert!(matches!(buffer.offer(Now(0), beyond, numbered(0, true)), Offered::Ahead));
    assert!(buffer.awaits_own());
    offer(&mut buffer, &[1]);
    assert!(!buffer.awaits_own());
    assert_eq!(buffer.seq(), beyond);
}

#[test]
fn an_own_message_replaces_its_copy_from_elsewhere() {
    let mut buffer = ReorderBuffer::new(Seq(0));
    offer(&mut buffer, &[3]);
    buffer.offer(Now(0), Seq(3), numbered(30, true));
    buffer.offer(Now(0), Seq(3), numbered(31, false));
    assert!(buffer.awaits_own());
    assert_eq!(offer(&mut buffer, &[2, 1]), [1, 2, 30]);
}

#[test]
fn a_number_that_the_store_does_not_confirm_is_forgotten() {
    let mut buffer = ReorderBuffer::new(Seq(2));
    offer(&mut buffer, &[900]);
    buffer.asked();
    buffer.fetched(Now(0), true);
    assert!(!buffer.is_missing());
    assert_eq!(offer(&mut buffer, &[3]), [3]);
}

#[test]
fn what_is_certain_does_not_wait_for_what_does_not_exist() {
    for (is_own, is_kept) in [(true, true), (false, false)] {
        let mut buffer = ReorderBuffer::new(Seq(2));
        buffer.offer(Now(0), Seq(9), numbered(9, is_own));
        buffer.asked();
        buffer.fetched(Now(0), is_kept);
        assert_eq!(buffer.pop().map(|message| message.id), Some(9));
        assert!(!buffer.is_missing());
    }
}

#[test]
fn a_room_without_listeners_skips_and_still_owes_its_acks() {
    let mut buffer = ReorderBuffer::new(Seq(2));
    buffer.offer(Now(0), Seq(7), numbered(7, true));
    buffer.offer(Now(0), Seq(9), numbered(9, false));
    let owed: Vec<i64> = buffer.skip_all().into_iter().map(|(_, message)| message.id).collect();
    assert_eq!((owed, buffer.seq()), (vec![7], Seq(9)));
    assert!(!buffer.awaits_own() && !buffer.is_missing());
}
