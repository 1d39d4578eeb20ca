//! Rooms, history pages and read marks.

use crate::common::{Bench, bench, bench_with, text, texts};
use crate::everywhere;
use throng_store::{AppendError, FETCH_MESSAGES_MAX, RoomRow};

/// Messages of a page, as the numbers they were written with.
async fn page(bench: &Bench, page: u64, anchor: u64) -> (Vec<u64>, u64) {
    let page = bench.store.history(1, page, anchor).await.expect("query").expect("room");
    (page.rows.iter().map(|row| row.msg.parse().expect("number")).collect(), page.total)
}

async fn pages_are_ranges_below_the_anchor() {
    let bench = bench().await;
    let user = bench.user("a@example.org").await;
    let run = |from: u64, to: u64| (from..=to).collect::<Vec<_>>();
    let mut written = 0;
    // (rows in the room, pages from the newest)
    let cases = [
        (0, vec![vec![]]),
        (1, vec![run(1, 1), vec![]]),
        (19, vec![run(1, 19), vec![]]),
        (20, vec![run(1, 20), vec![]]),
        (21, vec![run(2, 21), run(1, 1), vec![]]),
        (40, vec![run(21, 40), run(1, 20), vec![]]),
        (41, vec![run(22, 41), run(2, 21), run(1, 1), vec![]]),
    ];
    for (rows, pages) in cases {
        if rows > written {
            bench
                .store
                .append(1, Some(written + 1), texts(user.id, written + 1, rows))
                .await
                .expect("append");
            written = rows;
        }
        for (index, want) in pages.into_iter().enumerate() {
            let got = page(&bench, index as u64 + 1, 0).await;
            assert_eq!(got, (want, rows), "{rows} rows, page {}", index + 1);
        }
    }
    assert_eq!(page(&bench, 0, 0).await, (vec![], 41));
    assert_eq!(page(&bench, u64::MAX, 0).await, (vec![], 41));
    assert_eq!(page(&bench, 1, 42).await, (run(22, 41), 41), "an anchor beyond the end");
    assert_eq!(page(&bench, 1, u64::MAX).await, (run(22, 41), 41));
}

async fn messages_that_arrive_while_paging_neither_repeat_nor_hide_one() {
    let bench = bench().await;
    let user = bench.user("a@example.org").await;
    bench.store.append(1, Some(1), texts(user.id, 1, 41)).await.expect("append");
    let (mut seen, anchor) = page(&bench, 1, 0).await;
    assert_eq!(anchor, 41);
    for number in 2..=3 {
        let next = 41 + 7 * (number - 2);
        bench
            .store
            .append(1, Some(next + 1), texts(user.id, next + 1, next + 7))
            .await
            .expect("append");
        let (rows, total) = page(&bench, number, anchor).await;
        assert_eq!(total, anchor);
        seen.splice(0..0, rows);
    }
    assert_eq!(seen, (1..=41).collect::<Vec<_>>());
    assert_eq!(page(&bench, 1, 0).await.1, 55);
}

async fn history_has_the_message_as_sent_and_the_author_as_now() {
    let bench = bench().await;
    let user = bench.user("Zoë@example.org").await;
    let mut message = text(user.id, "你好 &lt;b> \u{1f600} \\ ' \u{1}");
    message.img = "/storage/images/messages/aa/x.png".into();
    message.time = "2026-11-23T01:02:03+08:00".into();
    let ids = bench.store.append(2, Some(1), vec![message.clone()]).await.expect("append").ids;
    bench.store.set_avatar(user.id, "/avatars/9.svg").await.expect("update");
    let page = bench.store.history(2, 1, 0).await.expect("query").expect("room");
    let row = &page.rows[0];
    assert_eq!((row.id, row.room, row.seq, row.user), (ids[0], 2, 1, user.id));
    assert_eq!((&row.msg, &row.img, &row.time), (&message.msg, &message.img, &message.time));
    assert_eq!((row.email.as_str(), row.name.as_str()), ("Zoë@example.org", "Zoë"));
    assert_eq!(row.avatar, "/avatars/9.svg");
    assert_eq!(page.total, 1);
}

async fn what_was_missed_is_fetched_in_order_and_in_bounds() {
    let bench = bench().await;
    let user = bench.user("a@example.org").await;
    bench.store.append(1, None, texts(user.id, 1, 1500)).await.expect("append");
    bench.store.append(2, None, vec![text(user.id, "elsewhere")]).await.expect("append");
    let fetch = async |after, upto| {
        let rows = bench.store.fetch(1, after, upto).await.expect("query");
        assert!(rows.iter().all(|row| row.room == 1 && row.msg == row.seq.to_string()));
        rows.iter().map(|row| row.seq).collect::<Vec<_>>()
    };
    assert_eq!(fetch(10, 13).await, [11, 12, 13]);
    assert_eq!(fetch(1499, u64::MAX).await, [1500]);
    assert_eq!(fetch(1500, 1600).await, [0; 0]);
    assert_eq!(fetch(13, 10).await, [0; 0]);
    assert_eq!(fetch(0, FETCH_MESSAGES_MAX).await.len(), 1000);
    assert_eq!(fetch(0, FETCH_MESSAGES_MAX + 1).await, (1..=1000).collect::<Vec<_>>());
    let row = &bench.store.fetch(1, 0, 1).await.expect("query")[0];
    assert_eq!((row.user, row.email.as_str(), row.name.as_str()), (user.id, "a@example.org", "a"));
    assert_eq!(bench.store.tips().await.expect("query"), [(1, 1500), (2, 1)]);
}

async fn messages_of_a_database_that_was_restored_come_behind_those_that_were_seen() {
    let bench = bench().await;
    let user = bench.user("a@example.org").await;
    bench.store.append(1, None, texts(user.id, 1, 3)).await.expect("append");
    // Its members have seen 50.
    for (first_seq, tip, expected) in [(None, 50, 51), (None, 50, 52), (Some(81), 80, 81)] {
        let message = vec![text(user.id, &expected.to_string())];
        let placed = bench.store.append_behind(1, first_seq, tip, message).await.expect("append");
        assert_eq!(placed.first_seq, expected);
    }
    let ahead = bench.store.append_behind(1, Some(81), 80, vec![text(user.id, "late")]).await;
    assert!(matches!(ahead, Err(AppendError::OutOfSequence { last_seq: 81, .. })), "{ahead:?}");
    let rows = bench.store.fetch(1, 0, 100).await.expect("query");
    let seqs: Vec<u64> = rows.iter().map(|row| row.seq).collect();
    assert_eq!(seqs, [1, 2, 3, 51, 52, 81]);
    assert_eq!(bench.store.tips().await.expect("query")[0], (1, 81));
    // Pages are of rows, and so is what other nodes fetch.
    for (anchor, expected) in [(0, &seqs[..]), (80, &seqs[..5]), (50, &seqs[..3])] {
        let page = bench.store.history(1, 1, anchor).await.expect("query").expect("room 1");
        assert_eq!(page.rows.iter().map(|row| row.seq).collect::<Vec<_>>(), expected);
    }
    let far = bench.store.append_behind(1, None, 100_000, vec![text(user.id, "far")]).await;
    assert_eq!(far.expect("append").first_seq, 100_001);
    let rows = bench.store.fetch(1, 81, 100_001).await.expect("query");
    assert_eq!(rows.iter().map(|row| row.seq).collect::<Vec<_>>(), [100_001]);
    // A number that no room reaches is nobody's tip.
    let wrong = bench.store.append_behind(1, None, 1 << 53, vec![text(user.id, "wrong")]).await;
    assert_eq!(wrong.expect("append").first_seq, 100_002);
}

async fn a_room_that_does_not_exist_has_no_history() {
    let bench = bench().await;
    assert_eq!(bench.store.history(3, 1, 0).await.expect("query"), None);
}

async fn configured_rooms_get_their_names_and_keep_their_messages() {
    let bench = bench().await;
    let user = bench.user("a@example.org").await;
    bench.store.append(1, Some(1), texts(user.id, 1, 3)).await.expect("append");
    bench.store.create_room(9).await.expect("create");
    bench.store.ensure_rooms(&[(1, "Hall".into())]).await.expect("rooms");
    assert_eq!(bench.store.create_room(1).await.expect("create").name, "Hall");
    let room = |id, name: &str, last_seq| RoomRow { id, name: name.into(), last_seq };
    assert_eq!(
        bench.store.rooms().await.expect("query"),
        [room(1, "Hall", 3), room(2, "Lounge", 0), room(9, "Room 9", 0)]
    );
    assert_eq!(bench.store.room(9).await.expect("query"), Some(room(9, "Room 9", 0)));
    assert_eq!(bench.store.room(10).await.expect("query"), None);
}

async fn a_read_mark_only_rises() {
    let bench = bench().await;
    for (user, room, seq) in [(1, 1, 5), (1, 2, 0), (2, 1, 7), (1, 1, 3)] {
        bench.store.save_read(user, room, seq, false).await.expect("save");
    }
    assert_eq!(bench.store.reads(1).await.expect("query"), [(1, 5), (2, 0)]);
    assert_eq!(bench.store.reads(2).await.expect("query"), [(1, 7)]);
    assert_eq!(bench.store.reads(3).await.expect("query"), []);
    let all = bench.store.marks_all(&[3, 2, 1, 2]).await.expect("query");
    let mark = |room, seq| SavedMark { room, seq, choice: 0 };
    assert_eq!(all, [vec![], vec![mark(1, 7)], vec![mark(1, 5), mark(2, 0)], vec![mark(1, 7)]]);
    // The same within one batch.
    let saves = [8, 12, 9].map(|seq| bench.store.save_read(1, 1, seq, false));
    for save in saves {
        save.await.expect("save");
    }
    assert_eq!(bench.store.reads(1).await.expect("query"), [(1, 12), (2, 0)]);
}

async fn a_choice_only_rises_and_has_no_part_in_the_mark() {
    let bench = bench_with(|options| options.node = "one".into()).await;
    let choices = [(3, 1), (0, 2), (4, 0), (5, 1)];
    for (seq, choice) in choices {
        let mark = SavedMark { room: 1, seq, choice };
        bench.store.save_mark(1, mark, false).await.expect("save");
    }
    let marks = bench.store.marks_all(&[1]).await.expect("query");
    assert_eq!(marks, [vec![SavedMark { room: 1, seq: 5, choice: 2 }]]);
    // The same within one batch, and where only the mark is raised.
    let saves = [7, 9, 8].map(|choice| {
        bench.store.save_mark(1, SavedMark { room: 1, seq: 0, choice }, true)
    });
    for save in saves {
        save.await.expect("save");
    }
    bench.store.append(1, None, texts(1, 1, 6)).await.expect("append");
    bench.store.raise_marks("one").await.expect("raised");
    let marks = bench.store.marks_all(&[1]).await.expect("query");
    assert_eq!(marks, [vec![SavedMark { room: 1, seq: 6, choice: 9 }]]);
}

async fn the_end_of_a_node_raises_the_marks_of_its_readers_only() {
    let bench = bench_with(|options| options.node = "one".into()).await;
    let other = bench.node("two").await;
    bench.store.save_read(1, 1, 0, true).await.expect("save");
    bench.store.save_read(2, 1, 0, true).await.expect("save");
    bench.store.save_read(2, 1, 0, false).await.expect("save");
    bench.store.save_read(3, 77, 0, true).await.expect("save");
    other.save_read(4, 1, 0, true).await.expect("save");
    bench.store.append(1, None, texts(1, 1, 3)).await.expect("append");
    let marks = async || {
        let mut marks = Vec::new();
        for user in 1..=4 {
            marks.push(bench.store.reads(user).await.expect("query"));
        }
        marks
    };
    // Each node knows who reads on the others.
    assert_eq!(bench.store.reading(4).await.expect("query"), [1]);
    assert_eq!(other.reading(3).await.expect("query"), [77]);
    assert!(other.reading(2).await.expect("query").is_empty());
    bench.store.raise_marks("unknown").await.expect("raised");
    assert_eq!(marks().await, [vec![(1, 0)], vec![(1, 0)], vec![(77, 0)], vec![(1, 0)]]);
    other.raise_marks("one").await.expect("raised");
    let raised = [vec![(1, 3)], vec![(1, 0)], vec![(77, 0)], vec![(1, 0)]];
    assert_eq!(marks().await, raised);
    assert!(other.reading(1).await.expect("query").is_empty());
    bench.store.append(1, None, texts(1, 4, 5)).await.expect("append");
    other.raise_marks("one").await.expect("raised again");
    assert_eq!(marks().await, raised, "a reader whose mark is raised is forgotten");
    // A node that starts again under its name raises the marks of its earlier readers.
    other.close().await;
    bench.node("two").await;
    assert_eq!(bench.store.reads(4).await.expect("query"), [(1, 5)]);
}

everywhere! {
    pages_are_ranges_below_the_anchor,
    messages_that_arrive_while_paging_neither_repeat_nor_hide_one,
    history_has_the_message_as_sent_and_the_author_as_now,
    what_was_missed_is_fetched_in_order_and_in_bounds,
    a_room_that_does_not_exist_has_no_history,
    configured_rooms_get_their_names_and_keep_their_messages,
    messages_of_a_database_that_was_restored_come_behind_those_that_were_seen,
    a_read_mark_only_rises,
    a_choice_only_rises_and_has_no_part_in_the_mark,
    the_end_of_a_node_raises_the_marks_of_its_readers_only,
}
