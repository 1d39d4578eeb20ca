//! Sentinels name the master, and another one after a failover.

use throng_cluster::Failure;

use crate::executor::{add, executor, members, settings, with_short_timeouts};
use crate::server::{Server, eventually};

/// A master, a replica that follows it, and a sentinel that watches both.
fn watched() -> (Server, Server, Server) {
    let master = Server::start(&[]);
    let replica = Server::start(&["--replicaof", "127.0.0.1", &master.port.to_string()]);
    let sentinel = Server::sentinel(&format!(
        "sentinel monitor main 127.0.0.1 {} 1\n\
         sentinel down-after-milliseconds main 1000\n\
         sentinel failover-timeout main 5000\n",
        master.port
    ));
    (master, replica, sentinel)
}

#[tokio::test]
async fn after_a_failover_the_new_master_is_used() {
    let (mut master, replica, sentinel) = watched();
    let knows_replica =
        || sentinel.cli(&["SENTINEL", "REPLICAS", "main"]).contains("master-link-status\nok");
    eventually("the sentinel knows the replica", async || knows_replica().then_some(())).await;
    let url = format!("redis+sentinel://127.0.0.1:{}/main", sentinel.port);
    let redis = executor(&with_short_timeouts(&url));
    eventually("written by way of the sentinel", async || add(&redis, "s", "a").await.ok()).await;
    assert_eq!(master.cli(&["SMEMBERS", "s"]), "a");
    eventually("replicated", async || (replica.cli(&["SCARD", "s"]) == "1").then_some(())).await;

    master.kill();
    assert!(matches!(add(&redis, "s", "b").await, Err(Failure::Broken { .. })));
    eventually("written to the new master", async || add(&redis, "s", "c").await.ok()).await;
    assert_eq!(members(&redis, "s").await, ["a", "c"]);
    assert_eq!(replica.cli(&["SISMEMBER", "s", "c"]), "1");
}

#[tokio::test]
async fn a_service_that_no_sentinel_knows_is_down() {
    let (_master, _replica, sentinel) = watched();
    let url = format!("redis+sentinel://127.0.0.1:{}/other", sentinel.port);
    let redis = executor(&settings(&url));
    assert_eq!(add(&redis, "s", "a").await, Err(Failure::Broken { why: "down" }));
}
