//! Several nodes on one database.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use throng_kit::{Process, TIMEOUT};
use throng_store::{Options, PasswordCost, Store};
use tokio::io::AsyncWriteExt;

use crate::common::{Bench, bench, text};
use crate::everywhere;

const ROOMS: u32 = 5;
const CHILD_URL: &str = "THRONG_STORE_TEST_CHILD_URL";
const CHILD_DIR: &str = "THRONG_STORE_TEST_CHILD_DIR";

async fn make_rooms(bench: &Bench) {
    for room in 1..=ROOMS {
        bench.store.create_room(room).await.expect("room");
    }
}

/// All messages of a room; checks that its seqs have no gap.
async fn log(store: &Store, room: u32) -> Vec<(i64, String)> {
    let last_seq = store.room(room).await.expect("query").expect("room").last_seq;
    let mut log = Vec::new();
    while (log.len() as u64) < last_seq {
        for row in store.fetch(room, log.len() as u64, last_seq).await.expect("fetch") {
            assert_eq!(row.seq, log.len() as u64 + 1, "room {room}");
            log.push((row.id, row.msg));
        }
    }
    log
}

async fn appends_of_two_nodes_are_one_order_without_gap() {
    const EACH: usize = 300;
    let bench = bench().await;
    make_rooms(&bench).await;
    let nodes = [bench.store.clone(), bench.node("two").await];
    let mut answers: BTreeMap<u32, Vec<(u64, i64, String)>> = BTreeMap::new();
    let mut under_way = tokio::task::JoinSet::new();
    for (node, store) in nodes.iter().enumerate() {
        let store = store.clone();
        under_way.spawn(async move {
            let mut placed = Vec::new();
            // In waves, so that many transactions of both meet; one goes up, the other down.
            for wave in 0..EACH / 30 {
                let appends: Vec<_> = (0..30_u32)
                    .map(|n| {
                        let up = n % ROOMS + 1;
                        let room = if node == 0 { up } else { ROOMS + 1 - up };
                        let first = format!("{node}/{wave}/{n}");
                        let batch = vec![text(1, &first), text(1, &format!("{first}+"))];
                        (room, first, store.append(room, None, batch))
                    })
                    .collect();
                for (room, first, append) in appends {
                    placed.push((room, first, append.await.expect("append")));
                }
            }
            placed
        });
    }
    let mut appends = 0;
    while let Some(placed) = under_way.join_next().await {
        let mut last = BTreeMap::new();
        for (room, first, placed) in placed.expect("join") {
            appends += 1;
            let before = last.insert(room, placed.first_seq);
            assert!(before < Some(placed.first_seq), "a node's own order is kept");
            let answers = answers.entry(room).or_default();
            answers.push((placed.first_seq, placed.ids[0], first.clone()));
            answers.push((placed.first_seq + 1, placed.ids[1], format!("{first}+")));
        }
    }
    assert_eq!(appends, 2 * EACH);
    let mut ids = BTreeSet::new();
    for room in 1..=ROOMS {
        let mut answers = answers.remove(&room).expect("every room was written to");
        answers.sort();
        let kept: Vec<_> = (1_u64..)
            .zip(log(&nodes[1], room).await)
            .map(|(seq, (id, msg))| (seq, id, msg))
            .collect();
        assert_eq!(answers, kept, "room {room}");
        ids.extend(kept.into_iter().map(|(_, id, _)| id));
    }
    assert_eq!(ids.len(), 2 * 2 * EACH, "ids are unique");
}

async fn marks_that_two_nodes_raise_at_once_end_at_the_highest() {
    let bench = bench().await;
    let other = bench.node("two").await;
    for round in 0..20_u64 {
        let saves = (1..=20_u32).flat_map(|user| {
            // One from the first to the last, the other back.
            [
                bench.store.save_read(user, 1, round * 10 + u64::from(user), true),
                other.save_read(21 - user, 1, round * 10 + 5, true),
            ]
        });
        for save in saves.collect::<Vec<_>>() {
            save.await.expect("save");
        }
    }
    for user in 1..=20_u32 {
        let highest = 190 + u64::from(user).max(5);
        assert_eq!(bench.store.reads(user).await.expect("query"), [(1, highest)]);
    }
}

async fn two_nodes_may_raise_the_marks_of_a_third_at_once() {
    let bench = bench().await;
    let gone = bench.node("gone").await;
    for user in 1..=30 {
        gone.save_read(user, 1 + user % 2, 0, true).await.expect("save");
    }
    gone.close().await;
    bench.store.append(1, None, vec![text(1, "a"), text(1, "b")]).await.expect("append");
    let other = bench.node("two").await;
    let (one, two) = tokio::join!(bench.store.raise_marks("gone"), other.raise_marks("gone"));
    one.expect("raised");
    two.expect("raised");
    for user in 1..=30 {
        let want = if user % 2 == 0 { (1, 2) } else { (2, 0) };
        assert_eq!(other.reads(user).await.expect("query"), [want], "user {user}");
    }
}

/// The victim: appends until it is killed, and prints each acknowledged message.
#[tokio::test]
async fn victim() {
    let Ok(url) = std::env::var(CHILD_URL) else { return };
    let dir = std::env::var_os(CHILD_DIR).expect("set with the URL");
    let options = Options {
        password_cost: PasswordCost::Cheapest,
        node: "victim".into(),
        is_exclusive: false,
        min_free_mb: 0,
        ..Options::new(dir)
    };
    let store = Store::open(&url, options).await.expect("open");
    let mut out = tokio::io::stdout();
    store.save_read(1, 1, 0, true).await.expect("save");
    for wave in 0_u64.. {
        let appends: Vec<_> = (0..8)
            .map(|n| (n, store.append(1 + n % 2, None, vec![text(1, &format!("v{wave}.{n}"))])))
            .collect();
        for (n, append) in appends {
            let placed = append.await.expect("append");
            let line = format!("acked {} {} v{wave}.{n}\n", 1 + n % 2, placed.first_seq);
            out.write_all(line.as_bytes()).await.expect("write");
            out.flush().await.expect("flush");
        }
    }
}

async fn a_killed_node_loses_nothing_that_was_acknowledged_and_leaves_no_gap() {
    let bench = bench().await;
    let mut victim = throng_kit::own(std::env::current_exe().expect("own path"));
    victim.args(["--exact", "nodes::victim", "--nocapture"]);
    victim.env(CHILD_URL, &bench.url).env(CHILD_DIR, bench.dir.path());
    let mut victim = Process::start(&victim).expect("the victim starts");
    let acked = |line: &String| {
        let mut words = line.split_once("acked ")?.1.split(' ');
        let room: u32 = words.next()?.parse().ok()?;
        let seq: usize = words.next()?.parse().ok()?;
        // The last line may be cut; a whole one ends with a dot and a digit.
        let message = words.next()?;
        message.rsplit_once('.').filter(|(_, n)| n.len() == 1)?;
        Some((room, seq, message.to_owned()))
    };
    // We write to the same rooms meanwhile.
    let mut own = 0;
    let deadline = Instant::now() + TIMEOUT;
    while victim.log().iter().filter_map(acked).count() < 100 {
        assert!(Instant::now() < deadline, "{:#?}", victim.log());
        own += 1;
        bench.store.append(1 + own % 2, None, vec![text(2, "own")]).await.expect("append");
    }
    victim.kill();
    let acked: Vec<_> = victim.log().iter().filter_map(acked).collect();
    // The dead node's transaction, if one was open, blocks no other node.
    let placed = bench.store.append(1, None, vec![text(2, "after")]).await.expect("append");
    let logs = [log(&bench.store, 1).await, log(&bench.store, 2).await];
    assert_eq!(logs[0].len() as u64, placed.first_seq);
    for (room, seq, msg) in &acked {
        assert_eq!(logs[*room as usize - 1][*seq - 1].1, *msg, "room {room}, seq {seq}");
    }
    let owned = logs.iter().flatten().filter(|(_, msg)| msg == "own").count();
    assert_eq!(owned, own as usize);
    bench.store.raise_marks("victim").await.expect("raised");
    assert_eq!(bench.store.reads(1).await.expect("query"), [(1, placed.first_seq)]);
}

everywhere! {
    appends_of_two_nodes_are_one_order_without_gap,
    marks_that_two_nodes_raise_at_once_end_at_the_highest,
    two_nodes_may_raise_the_marks_of_a_third_at_once,
    a_killed_node_loses_nothing_that_was_acknowledged_and_leaves_no_gap,
}
