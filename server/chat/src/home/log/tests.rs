use super::*;
use crate::ids::{ShardId, UserId};

fn entry(id: i64, is_own: bool) -> Entry {
    let author = UserCard { id: UserId(1), email: "".into(), name: "a".into(), avatar: "".into() };
    let publish = Publish { msg: "".into(), img: "".into(), time: "".into(), cid: None };
    let publisher = SessionId::new(ShardId(0), 1, 1);
    let origin = is_own.then_some(Origin { publisher, ack: Some(1) });
    Entry { id, author: Arc::new(author), publish: Box::new(publish), origin }
}

/// Offers messages by number, and returns what was handed on, in order.
fn offer(log: &mut Log, seqs: &[u64]) -> Vec<i64> {
    let mut heard = Vec::new();
    for seq in seqs {
        if let Offered::Next(entry) = log.offer(Now(0), Seq(*seq), entry(*seq as i64, false)) {
            heard.push(entry.id);
        }
        heard.extend(std::iter::from_fn(|| log.pop()).map(|entry| entry.id));
    }
    heard
}

#[test]
fn messages_are_handed_on_in_order_and_once() {
    let mut log = Log::new(Seq(4));
    assert_eq!(offer(&mut log, &[4, 7, 6, 6, 8, 5, 7, 9]), [5, 6, 7, 8, 9]);
    assert!(!log.is_missing());
}

#[test]
fn a_gap_is_fetched_after_its_grace_and_up_to_what_is_kept() {
    let mut log = Log::new(Seq(0));
    offer(&mut log, &[4, 9]);
    assert_eq!(log.fetch_at(), Some(Now(0).plus_ms(GAP_GRACE_MS)));
    assert_eq!(log.missing(), (Seq(0), Seq(3)));
    log.asked();
    assert_eq!(log.fetch_at(), None, "one fetch at a time");
    assert_eq!(offer(&mut log, &[1, 2, 3]), [1, 2, 3, 4]);
    log.fetched(Now(7), true);
    assert_eq!((log.fetch_at(), log.missing()), (Some(Now(7)), (Seq(4), Seq(8))));
}

#[test]
fn a_tip_is_fetched_at_once() {
    let mut log = Log::new(Seq(2));
    offer(&mut log, &[4]);
    log.expect(Seq(5), Now(3));
    assert_eq!(log.fetch_at(), Some(Now(3)));
    log.expect(Seq(1), Now(0));
    assert_eq!(log.fetch_at(), Some(Now(3)), "what is known changes nothing");
}

#[test]
fn what_is_in_doubt_is_asked_for_until_the_store_has_no_more_of_it() {
    let mut log = Log::new(Seq(2));
    log.doubt(Now(0), 2);
    assert_eq!(log.fetch_at(), Some(Now(0).plus_ms(FETCH_RETRY_MS)));
    assert_eq!(log.missing(), (Seq(2), Seq(4)));
    assert!(!log.is_missing(), "it may not exist");
    log.asked();
    // Both batches may have been kept.
    log.doubt(Now(1), 1);
    assert_eq!(offer(&mut log, &[3]), [3]);
    log.fetched(Now(5), true);
    assert_eq!((log.fetch_at(), log.missing()), (Some(Now(5)), (Seq(3), Seq(5))));
    log.asked();
    log.doubt(Now(6), 1);
    log.fetched(Now(7), true);
    assert_eq!(log.missing(), (Seq(3), Seq(6)), "it was asked before the last doubt");
    log.asked();
    log.fetched(Now(8), true);
    assert_eq!((log.fetch_at(), log.is_doubted()), (None, false));
}

#[test]
fn what_waits_is_bounded_and_own_messages_are_never_dropped() {
    let mut log = Log::new(Seq(0));
    for seq in 2..2 + AHEAD_MAX as u64 {
        assert!(matches!(log.offer(Now(0), Seq(seq), entry(0, false)), Offered::Ahead));
    }
    let beyond = Seq(2 + AHEAD_MAX as u64);
    assert!(matches!(log.offer(Now(0), beyond, entry(0, false)), Offered::Beyond));
    assert!(matches!(log.offer(Now(0), beyond, entry(0, true)), Offered::Ahead));
    assert!(log.awaits_own());
    offer(&mut log, &[1]);
    assert!(!log.awaits_own());
    assert_eq!(log.seq(), beyond);
}

#[test]
fn an_own_message_replaces_its_copy_from_elsewhere() {
    let mut log = Log::new(Seq(0));
    offer(&mut log, &[3]);
    log.offer(Now(0), Seq(3), entry(30, true));
    log.offer(Now(0), Seq(3), entry(31, false));
    assert!(log.awaits_own());
    assert_eq!(offer(&mut log, &[2, 1]), [1, 2, 30]);
}

#[test]
fn a_rumour_that_the_log_does_not_confirm_is_forgotten() {
    let mut log = Log::new(Seq(2));
    offer(&mut log, &[900]);
    log.asked();
    log.fetched(Now(0), true);
    assert!(!log.is_missing());
    assert_eq!(offer(&mut log, &[3]), [3]);
}

#[test]
fn what_is_certain_does_not_wait_for_what_does_not_exist() {
    for (is_own, is_kept) in [(true, true), (false, false)] {
        let mut log = Log::new(Seq(2));
        log.offer(Now(0), Seq(9), entry(9, is_own));
        log.asked();
        log.fetched(Now(0), is_kept);
        assert_eq!(log.pop().map(|entry| entry.id), Some(9));
        assert!(!log.is_missing());
    }
}

#[test]
fn a_room_without_listeners_skips_and_still_owes_its_acks() {
    let mut log = Log::new(Seq(2));
    log.offer(Now(0), Seq(7), entry(7, true));
    log.offer(Now(0), Seq(9), entry(9, false));
    let owed: Vec<i64> = log.skip_all().into_iter().map(|(_, entry)| entry.id).collect();
    assert_eq!((owed, log.seq()), (vec![7], Seq(9)));
    assert!(!log.awaits_own() && !log.is_missing());
}
