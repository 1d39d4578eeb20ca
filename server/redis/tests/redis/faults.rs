//! A server that is slow, full, gone or back empty.

use throng_cluster::{EntryId, Failure, Order, Outcome};

use crate::executor::{add, executor, members, settings, with_short_timeouts};
use crate::server::{Server, eventually};

#[tokio::test]
async fn a_server_that_is_not_there_is_down() {
    let url = format!("redis://127.0.0.1:{}", crate::server::free_port());
    let redis = executor(&settings(&url));
    assert_eq!(add(&redis, "s", "a").await, Err(Failure::Broken { why: "down" }));
    let from = vec![("t:log:{0}".to_owned(), EntryId::ZERO)];
    let read = redis.execute(Order::Read { from, count: 1, block_ms: 10 }).await;
    assert_eq!(read, Err(Failure::Broken { why: "down" }));
}

#[tokio::test]
async fn a_server_that_was_killed_and_came_back_is_used_again() {
    let mut server = Server::start(&[]);
    let redis = executor(&settings(&server.url()));
    add(&redis, "s", "a").await.expect("it is done");
    server.kill();
    assert_eq!(add(&redis, "s", "b").await, Err(Failure::Broken { why: "down" }));
    server.restart();
    eventually("written again", async || add(&redis, "s", "c").await.ok()).await;
    assert_eq!(members(&redis, "s").await, ["c"], "it came back empty");
}

#[tokio::test]
async fn a_blocking_read_fails_at_the_end_of_the_server() {
    let mut server = Server::start(&[]);
    let redis = executor(&settings(&server.url()));
    add(&redis, "s", "a").await.expect("it is up");
    let from = vec![("t:log:{0}".to_owned(), EntryId::ZERO)];
    let waits = redis.execute(Order::Read { from, count: 1, block_ms: 60_000 });
    let kills = async {
        let waiting = || server.cli(&["CLIENT", "LIST"]).contains("cmd=xread");
        eventually("the read waits", async || waiting().then_some(())).await;
        server.kill();
    };
    let (read, ()) = tokio::join!(waits, kills);
    assert_eq!(read, Err(Failure::Broken { why: "down" }));
}

#[tokio::test]
async fn a_server_that_is_stopped_times_out_and_is_used_again() {
    let server = Server::start(&[]);
    let redis = executor(&with_short_timeouts(&server.url()));
    add(&redis, "s", "a").await.expect("it is done");
    server.pause();
    assert_eq!(add(&redis, "s", "b").await, Err(Failure::Broken { why: "timeout" }));
    assert_eq!(add(&redis, "s", "c").await, Err(Failure::Broken { why: "timeout" }));
    server.resume();
    eventually("written again", async || add(&redis, "s", "d").await.ok()).await;
    assert!(members(&redis, "s").await.contains(&"d".to_owned()));
}

#[tokio::test]
async fn a_paused_server_times_out() {
    let server = Server::start(&[]);
    let redis = executor(&with_short_timeouts(&server.url()));
    add(&redis, "s", "a").await.expect("it is done");
    server.cli(&["CLIENT", "PAUSE", "600000", "WRITE"]);
    assert_eq!(add(&redis, "s", "b").await, Err(Failure::Broken { why: "timeout" }));
    assert_eq!(members(&redis, "s").await, ["a"], "reads go on");
    server.cli(&["CLIENT", "UNPAUSE"]);
    eventually("written again", async || add(&redis, "s", "c").await.ok()).await;
}

#[tokio::test]
async fn a_full_server_refuses_writes_and_answers_reads() {
    let server = Server::start(&[]);
    let redis = executor(&settings(&server.url()));
    add(&redis, "s", "a").await.expect("it is done");
    server.cli(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]);
    server.cli(&["CONFIG", "SET", "maxmemory", "1kb"]);
    let refused = Err(Failure::Refused { why: "oom" });
    assert_eq!(add(&redis, "s", "b").await, refused);
    let claim = Order::Claim { key: "n".into(), value: "v".into(), ttl_ms: 1000 };
    assert_eq!(redis.execute(claim.clone()).await, refused, "in a script too");
    assert_eq!(members(&redis, "s").await, ["a"]);
    server.cli(&["CONFIG", "SET", "maxmemory", "0"]);
    add(&redis, "s", "c").await.expect("memory is free again");
    assert_eq!(redis.execute(claim).await, Ok(Outcome::Held(true)));
}

#[tokio::test]
async fn a_replica_is_not_writable() {
    let master = Server::start(&[]);
    let server = Server::start(&[]);
    let redis = executor(&settings(&server.url()));
    add(&redis, "s", "a").await.expect("it is done");
    server.cli(&["REPLICAOF", "127.0.0.1", &master.port.to_string()]);
    let refused = Err(Failure::Broken { why: "not_writable" });
    assert_eq!(add(&redis, "s", "b").await, refused);
    let renew = Order::Claim { key: "n".into(), value: "v".into(), ttl_ms: 1000 };
    assert_eq!(redis.execute(renew).await, refused, "in a script too");
    server.cli(&["REPLICAOF", "NO", "ONE"]);
    eventually("written again", async || add(&redis, "s", "c").await.ok()).await;
}

#[tokio::test]
async fn a_key_of_another_kind_is_a_refusal() {
    let server = Server::start(&[]);
    server.cli(&["SET", "s", "text"]);
    let redis = executor(&settings(&server.url()));
    assert_eq!(add(&redis, "s", "a").await, Err(Failure::Refused { why: "WRONGTYPE" }));
    add(&redis, "t", "a").await.expect("others are not concerned");
}
