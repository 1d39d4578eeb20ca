//! What was acknowledged survives `kill -9`.

mod common;

use common::{bench, text};
use throng_kit::{Process, TIMEOUT};
use throng_store::{Options, PasswordCost, Store};
use tokio::io::AsyncWriteExt;

const CHILD_DIR: &str = "THRONG_STORE_TEST_CHILD_DIR";

/// The victim: appends until it is killed, and prints each acknowledged seq.
#[tokio::test]
async fn victim() {
    let Some(dir) = std::env::var_os(CHILD_DIR) else { return };
    let options =
        Options { password_cost: PasswordCost::Cheapest, min_free_mb: 0, ..Options::new(dir) };
    let store = Store::open(&options.default_url(), options).await.expect("open");
    let mut out = tokio::io::stdout();
    let mut first_seq = store.room(1).await.expect("query").expect("room").last_seq + 1;
    loop {
        // Several appends in flight, so that the kill falls into the middle of a batch.
        let appends: Vec<_> = (first_seq..first_seq + 8)
            .map(|seq| (seq, store.append(1, Some(seq), vec![text(1, &seq.to_string())])))
            .collect();
        for (seq, append) in appends {
            append.await.expect("append");
            store.save_read(1, 1, seq, true).await.expect("save");
            out.write_all(format!("acked {seq}\n").as_bytes()).await.expect("write");
            out.flush().await.expect("flush");
        }
        first_seq += 8;
    }
}

#[tokio::test]
async fn acknowledged_messages_survive_kill_9() {
    let bench = bench().await;
    let url = bench.store.options().default_url();
    bench.store.close().await;
    let mut acked = 0;
    for round in 1..=3_u64 {
        let mut victim = throng_kit::own(std::env::current_exe().expect("own path"));
        victim.args(["--exact", "victim", "--nocapture"]).env(CHILD_DIR, bench.dir.path());
        let mut victim = Process::start(&victim).expect("the victim starts");
        let goal = acked + 20 + 7 * round;
        // The test runner writes its own words before the first of ours.
        let seq = |line: &str| line.split_once("acked ")?.1.parse::<u64>().ok();
        let reached = victim.wait_for_line(TIMEOUT, |line| seq(line).filter(|seq| *seq >= goal));
        reached.expect("the victim appends");
        victim.kill();
        // Reports already in the pipe were acknowledged too.
        acked = victim.log().iter().filter_map(|line| seq(line)).max().expect("some");
        let store = Store::open(&url, common::options(&bench.dir)).await.expect("reopen");
        let last_seq = store.room(1).await.expect("query").expect("room").last_seq;
        assert!(last_seq >= acked, "acked {acked}, kept {last_seq}");
        let mut kept = Vec::new();
        for page in (1..=last_seq.div_ceil(20)).rev() {
            let page = store.history(1, page, last_seq).await.expect("query").expect("room");
            kept.extend(page.rows.into_iter().map(|row| (row.seq, row.msg)));
        }
        let want: Vec<_> = (1..=last_seq).map(|seq| (seq, seq.to_string())).collect();
        assert_eq!(kept, want, "round {round}");
        let marks = store.reads(1).await.expect("query");
        assert_eq!(marks, [(1, last_seq)], "a user in the room has read all of it");
        store.close().await;
    }
}
