//! What was acknowledged survives `kill -9`.

mod common;

use std::process::Stdio;

use common::{bench, text};
use throng_store::{Options, PasswordCost, Store};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::Command;

const CHILD_DIR: &str = "THRONG_STORE_TEST_CHILD_DIR";

/// The victim: appends until it is killed, and prints each acknowledged seq.
#[tokio::test]
async fn victim() {
    let Some(dir) = std::env::var_os(CHILD_DIR) else { return };
    let options = Options { password_cost: PasswordCost::Cheapest, ..Options::new(dir) };
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
        let mut child = Command::new(std::env::current_exe().expect("own path"))
            .args(["--exact", "victim", "--nocapture"])
            .env(CHILD_DIR, bench.dir.path())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("spawn");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let goal = acked + 20 + 7 * round;
        while acked < goal {
            let line = lines.next_line().await.expect("read").expect("the victim ended early");
            // The test runner prints a line of its own first.
            if let Some((_, seq)) = line.split_once("acked ") {
                acked = seq.parse().expect("number");
            }
        }
        child.kill().await.expect("kill");
        // Reports already in the pipe were acknowledged too.
        while let Some(line) = lines.next_line().await.expect("read") {
            if let Some(seq) = line.strip_prefix("acked ") {
                acked = seq.parse().unwrap_or(acked);
            }
        }
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
