//! Messages that their author sends again: each is stored once.

use std::sync::atomic::Ordering::Relaxed;

use crate::common::{Bench, bench, text, with_cid};
use crate::everywhere;
use throng_store::{Appended, NewMessage, Repeat};

async fn append(bench: &Bench, room: u32, messages: Vec<NewMessage>) -> Appended {
    bench.store.append(room, None, messages).await.expect("append")
}

/// The texts of a room, with the client ids.
async fn stored(bench: &Bench, room: u32) -> Vec<(u64, String, Option<String>)> {
    let rows = bench.store.fetch(room, 0, 100).await.expect("fetch");
    rows.into_iter().map(|row| (row.seq, row.msg, row.cid)).collect()
}

fn repeat(index: usize, seq: u64, id: i64, msg: &str) -> Repeat {
    let NewMessage { img, time, .. } = text(1, msg);
    Repeat { index, seq, id, msg: msg.into(), img, time }
}

async fn a_repeated_message_is_answered_with_the_place_of_the_first() {
    let bench = bench().await;
    let first = append(&bench, 1, vec![with_cid(1, "once", "a"), text(1, "plain")]).await;
    assert_eq!((first.first_seq, first.ids.len()), (1, 2));
    let again = append(&bench, 1, vec![with_cid(1, "once", "a")]).await;
    assert_eq!(again.ids, [0; 0]);
    assert_eq!(again.repeats, [repeat(0, 1, first.ids[0], "once")]);
    let among = vec![text(1, "two"), with_cid(1, "other text", "a"), text(1, "three")];
    let among = append(&bench, 1, among).await;
    assert_eq!((among.first_seq, among.ids.len()), (3, 2), "it takes no number");
    assert_eq!(among.repeats, [repeat(1, 1, first.ids[0], "once")]);
    assert_eq!(bench.store.metrics().counters.repeats.load(Relaxed), 2);
    assert_eq!(bench.store.metrics().counters.messages.load(Relaxed), 4);
    let texts: Vec<_> = stored(&bench, 1).await.into_iter().map(|row| row.1).collect();
    assert_eq!(texts, ["once", "plain", "two", "three"]);
}

async fn the_number_that_a_writer_expects_is_that_of_its_first_new_message() {
    let bench = bench().await;
    let first = bench.store.append(1, Some(1), vec![with_cid(1, "once", "a")]).await;
    let id = first.expect("append").ids[0];
    let mixed = vec![with_cid(1, "once", "a"), text(1, "two")];
    let mixed = bench.store.append(1, Some(2), mixed).await.expect("append");
    assert_eq!((mixed.first_seq, mixed.ids.len()), (2, 1));
    assert_eq!(mixed.repeats, [repeat(0, 1, id, "once")]);
    let only = bench.store.append(1, Some(3), vec![with_cid(1, "once", "a")]).await;
    assert_eq!(only.expect("append").first_seq, 3);
    let next = bench.store.append(1, Some(3), vec![text(1, "three")]).await.expect("append");
    assert_eq!(next.first_seq, 3);
}

async fn one_batch_may_repeat_its_own_messages() {
    let bench = bench().await;
    let batch = vec![text(1, "zero"), with_cid(1, "one", "a"), with_cid(1, "again", "a")];
    let twice = bench.store.append(1, None, batch);
    // Nothing yields between the calls, so both are one transaction.
    let (twice, later) =
        tokio::join!(twice, bench.store.append(1, None, vec![with_cid(1, "x", "a")]));
    let (twice, later) = (twice.expect("append"), later.expect("append"));
    assert_eq!((twice.first_seq, twice.ids.len()), (1, 2));
    assert_eq!(twice.repeats, [repeat(2, 2, twice.ids[1], "one")]);
    assert_eq!(later.repeats, [repeat(0, 2, twice.ids[1], "one")]);
    assert_eq!(stored(&bench, 1).await.len(), 2);
}

async fn a_client_id_is_that_of_one_user_in_one_room_byte_by_byte() {
    let bench = bench().await;
    let messages = [(1, "key"), (2, "key"), (1, "Key"), (1, "key "), (1, " key"), (1, "k%y")];
    let batch = messages.map(|(user, cid)| with_cid(user, cid, cid)).to_vec();
    assert_eq!(append(&bench, 1, batch.clone()).await.ids.len(), messages.len());
    assert_eq!(append(&bench, 2, batch.clone()).await.ids.len(), messages.len());
    let again = append(&bench, 1, batch).await;
    let seqs: Vec<_> = again.repeats.iter().map(|repeat| (repeat.index, repeat.seq)).collect();
    assert_eq!(seqs, (0..messages.len()).map(|n| (n, n as u64 + 1)).collect::<Vec<_>>());
    let rows = stored(&bench, 1).await;
    assert!(rows.iter().all(|(_, msg, cid)| cid.as_deref() == Some(msg)), "{rows:?}");
}

async fn a_client_id_is_known_to_another_node_and_after_a_restart() {
    let bench = bench().await;
    let id = append(&bench, 1, vec![with_cid(1, "once", "a")]).await.ids[0];
    let other = bench.node("two").await;
    let again = other.append(1, None, vec![with_cid(1, "once", "a")]).await.expect("append");
    assert_eq!(again.repeats, [repeat(0, 1, id, "once")]);
    bench.store.close().await;
    other.close().await;
    let reopened = bench.node("local").await;
    let again = reopened.append(1, None, vec![with_cid(1, "once", "a")]).await.expect("append");
    assert_eq!(again.repeats, [repeat(0, 1, id, "once")]);
}

async fn two_nodes_that_store_one_message_at_the_same_time_store_it_once() {
    let bench = bench().await;
    let other = bench.node("two").await;
    for round in 0..20 {
        let message = || vec![with_cid(1, "once", &format!("cid {round}"))];
        let (one, two) =
            tokio::join!(bench.store.append(1, None, message()), other.append(1, None, message()));
        let (one, two) = (one.expect("append"), two.expect("append"));
        let (first, again) = if one.repeats.is_empty() { (one, two) } else { (two, one) };
        assert_eq!((first.first_seq, first.ids.len()), (round + 1, 1));
        assert_eq!(again.repeats, [repeat(0, first.first_seq, first.ids[0], "once")]);
    }
    assert_eq!(stored(&bench, 1).await.len(), 20);
}

async fn a_refused_message_does_not_use_up_its_client_id() {
    let bench = bench().await;
    append(&bench, 1, vec![text(1, "before")]).await;
    let refused = bench.store.append(1, Some(7), vec![with_cid(1, "once", "a")]).await;
    assert!(refused.is_err(), "{refused:?}");
    let stored = append(&bench, 1, vec![with_cid(1, "once", "a")]).await;
    assert_eq!((stored.first_seq, stored.repeats.len()), (2, 0));
}

async fn many_client_ids_in_one_batch_are_looked_up_at_once() {
    let bench = bench().await;
    let batch = |from: usize, to: usize| -> Vec<_> {
        (from..to).map(|n| with_cid(1, &n.to_string(), &format!("cid {n}"))).collect()
    };
    let first = append(&bench, 1, batch(0, 300)).await;
    let again = append(&bench, 1, batch(100, 700)).await;
    assert_eq!((again.first_seq, again.ids.len()), (301, 400));
    let want: Vec<_> = (0..200)
        .map(|n| repeat(n, n as u64 + 101, first.ids[n + 100], &(n + 100).to_string()))
        .collect();
    assert_eq!(again.repeats, want);
}

everywhere! {
    a_repeated_message_is_answered_with_the_place_of_the_first,
    the_number_that_a_writer_expects_is_that_of_its_first_new_message,
    one_batch_may_repeat_its_own_messages,
    a_client_id_is_that_of_one_user_in_one_room_byte_by_byte,
    a_client_id_is_known_to_another_node_and_after_a_restart,
    two_nodes_that_store_one_message_at_the_same_time_store_it_once,
    a_refused_message_does_not_use_up_its_client_id,
    many_client_ids_in_one_batch_are_looked_up_at_once,
}
