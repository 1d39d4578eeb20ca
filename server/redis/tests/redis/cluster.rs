//! Three masters that share the slots.

use throng_chat::{RoomId, Seq};
use throng_cluster::{Append, EntryId, Numbers, Order, Outcome, UnnumberedMessage};

use crate::executor::{NoDatabase, add, executor, members, settings};
use crate::server::{Server, create_cluster, eventually, free_port};
use throng_redis::orders::Executor;

struct Cluster([Server; 3]);

impl Cluster {
    async fn start() -> Cluster {
        let start = || {
            let bus = free_port().to_string();
            let args = ["--cluster-enabled", "yes", "--cluster-port", &bus];
            Server::start(&[&args[..], &["--cluster-config-file", "{dir}/nodes.conf"]].concat())
        };
        let cluster = Cluster([start(), start(), start()]);
        create_cluster(&cluster.0);
        for node in &cluster.0 {
            let is_up = || node.cli(&["CLUSTER", "INFO"]).contains("cluster_state:ok");
            eventually("the cluster is up", async || is_up().then_some(())).await;
        }
        cluster
    }

    fn executor(&self) -> Executor<NoDatabase> {
        executor(&settings(&format!("redis+cluster://127.0.0.1:{}", self.0[0].port)))
    }

    fn id(&self, node: usize) -> String {
        self.0[node].cli(&["CLUSTER", "MYID"])
    }

    /// Whose slot it is, by the keys that it has.
    fn holder(&self, slot: &str) -> usize {
        let count = |node: &Server| node.cli(&["CLUSTER", "COUNTKEYSINSLOT", slot]);
        self.0.iter().position(|node| count(node) != "0").expect("the slot has a key")
    }
}

#[tokio::test]
async fn writes_go_to_every_master() {
    let cluster = Cluster::start().await;
    let redis = cluster.executor();
    let writes = (0..300).map(|n| crate::executor::set_add(&format!("s{n}"), "a")).collect();
    assert_eq!(redis.execute(Order::Write { writes }).await, Ok(Outcome::Done));
    for node in &cluster.0 {
        let keys: u32 = node.cli(&["DBSIZE"]).parse().expect("a number");
        assert!(keys > 50, "{keys} keys on one of three");
    }
    assert_eq!(members(&redis, "s17").await, ["a"]);
    let claim = Order::Claim { key: "n".into(), value: "v".into(), ttl_ms: 60_000 };
    assert_eq!(redis.execute(claim).await, Ok(Outcome::Held(true)), "a script");
}

#[tokio::test]
async fn streams_of_different_masters_are_read_together() {
    let cluster = Cluster::start().await;
    let redis = cluster.executor();
    let streams: Vec<String> = (0..16).map(|n| format!("t:log:{{{n}}}")).collect();
    let mut from: Vec<_> = streams.iter().map(|stream| (stream.clone(), EntryId::ZERO)).collect();
    let entry = |stream: &String, value: usize| Append {
        stream: stream.clone(),
        fields: vec![("n".into(), value.to_string())],
    };
    for round in 0..3 {
        let entries = streams.iter().map(|stream| entry(stream, round)).collect();
        let appended = redis.execute(Order::Append { maxlen: 100, entries }).await;
        assert_eq!(appended, Ok(Outcome::Done));
        let mut missing = streams.len();
        while missing > 0 {
            let order = Order::Read { from: from.clone(), count: 10, block_ms: 30_000 };
            let read = redis.execute(order).await;
            let Ok(Outcome::Entries(read)) = read else { panic!("{read:?}") };
            assert!(!read.is_empty(), "there is something to read");
            for stream in read {
                for (id, fields) in stream.entries {
                    assert_eq!(fields, [("n".to_owned(), round.to_string())]);
                    let place = from.iter_mut().find(|(name, _)| *name == stream.stream);
                    place.expect("a stream of ours").1 = id;
                    missing -= 1;
                }
            }
        }
    }
    let order = Order::Read { from, count: 10, block_ms: 10 };
    assert_eq!(redis.execute(order).await, Ok(Outcome::Entries(Vec::new())));
}

#[tokio::test]
async fn a_slot_that_moved_is_found() {
    let cluster = Cluster::start().await;
    let redis = cluster.executor();
    add(&redis, "s", "a").await.expect("it is done");
    let slot = cluster.0[0].cli(&["CLUSTER", "KEYSLOT", "s"]);
    let from = cluster.holder(&slot);
    let to = (from + 1) % 3;
    let (from_id, to_id) = (cluster.id(from), cluster.id(to));
    let set_slot = |node: usize, how: &str, id: &str| {
        cluster.0[node].cli(&["CLUSTER", "SETSLOT", &slot, how, id])
    };
    assert_eq!(set_slot(to, "IMPORTING", &from_id), "OK");
    assert_eq!(set_slot(from, "MIGRATING", &to_id), "OK");
    let port = cluster.0[to].port.to_string();
    assert_eq!(cluster.0[from].cli(&["MIGRATE", "127.0.0.1", &port, "s", "0", "5000"]), "OK");
    add(&redis, "s", "b").await.expect("it is asked for where it is being moved");
    for node in 0..3 {
        assert_eq!(set_slot(node, "NODE", &to_id), "OK");
    }
    add(&redis, "s", "c").await.expect("it is found where it is now");
    assert_eq!(members(&redis, "s").await, ["a", "b", "c"]);
    assert_eq!(cluster.holder(&slot), to);
}

fn number(answer_key: &str, messages: &[(&str, Option<&str>)]) -> Order {
    let messages = messages.iter().map(|(json, cid_key)| UnnumberedMessage {
        json: (*json).to_owned(),
        cid_key: cid_key.map(str::to_owned),
    });
    Order::Number {
        counters: "t:seq:{0}".into(),
        stream: "t:log:{0}".into(),
        answer_key: answer_key.into(),
        room: RoomId(16),
        at_least: Seq(0),
        maxlen: 1000,
        fields: vec![("k".into(), "m".into())],
        messages: messages.collect(),
        cid_ttl_ms: 60_000,
    }
}

/// The client sends a command again when it has lost the connection before the answer.
#[tokio::test]
async fn a_batch_that_is_sent_twice_is_numbered_and_logged_once() {
    let cluster = Cluster::start().await;
    let redis = cluster.executor();
    let numbers = |first, repeats: &[(usize, u64)]| {
        let repeats = repeats.iter().map(|(index, seq)| (*index, Seq(*seq))).collect();
        Ok(Outcome::Numbered(Numbers { first: Seq(first), repeats }))
    };
    let x = Some("t:cid:{0}:16:1:x");
    let batch = [("[1]", None), ("[2]", x), ("[3]", x)];
    for _ in 0..2 {
        let numbered = redis.execute(number("t:answer:{0}:p:1", &batch)).await;
        assert_eq!(numbered, numbers(1, &[(2, 2)]));
    }
    let numbered = redis.execute(number("t:answer:{0}:p:2", &[("[4]", None)])).await;
    assert_eq!(numbered, numbers(3, &[]), "another batch");
    let from = vec![("t:log:{0}".to_owned(), EntryId::ZERO)];
    let read = redis.execute(Order::Read { from, count: 10, block_ms: 30_000 }).await;
    let Ok(Outcome::Entries(streams)) = read else { panic!("{read:?}") };
    let logged = streams[0].entries.iter().map(|(_, fields)| fields[1].1.as_str());
    let expected = [r#"{"r":16,"m":[[1],[2]]}"#, r#"{"r":16,"m":[[4]]}"#];
    assert_eq!(logged.collect::<Vec<_>>(), expected);
    let slot = cluster.0[0].cli(&["CLUSTER", "KEYSLOT", "t:answer:{0}:p:1"]);
    let holder = &cluster.0[cluster.holder(&slot)];
    let left: u64 = holder.cli(&["PTTL", "t:answer:{0}:p:1"]).parse().expect("a number");
    assert!((1..=60_000).contains(&left), "{left}");
}
