//! What each order does to one server.

use throng_chat::{RoomId, Seq, UserId};
use throng_cluster::{
    Append, EntryId, Fd, Numbers, Order, Outcome, StreamEntries, UnnumberedMessage, Write,
};

use crate::executor::{add, executor, members, settings};
use crate::server::Server;

fn claim(value: &str, ttl_ms: u64) -> Order {
    Order::Claim { key: "t:node:1".into(), value: value.into(), ttl_ms }
}

fn renew(value: &str) -> Order {
    Order::Renew { key: "t:node:1".into(), value: value.into(), ttl_ms: 60_000 }
}

#[tokio::test]
async fn a_lease_has_one_holder() {
    let server = Server::start(&[]);
    let redis = executor(&settings(&server.url()));
    let held = |is_held| Ok(Outcome::Held(is_held));
    assert_eq!(redis.execute(claim("a", 60_000)).await, held(true));
    assert_eq!(redis.execute(claim("a", 60_000)).await, held(true), "the answer was lost");
    assert_eq!(redis.execute(claim("b", 60_000)).await, held(false));
    assert_eq!(redis.execute(renew("a")).await, held(true));
    assert_eq!(redis.execute(renew("b")).await, held(false));
    let left: u64 = server.cli(&["PTTL", "t:node:1"]).parse().expect("a number");
    assert!((1..=60_000).contains(&left), "{left}");

    let release = |value: &str| Order::Release { key: "t:node:1".into(), value: value.into() };
    assert_eq!(redis.execute(release("b")).await, Ok(Outcome::Done));
    let keys = vec!["t:node:1".into(), "t:node:2".into()];
    let values = redis.execute(Order::Values { keys }).await;
    assert_eq!(values, Ok(Outcome::Values(vec![Some("a".into()), None])));
    assert_eq!(redis.execute(release("a")).await, Ok(Outcome::Done));
    assert_eq!(redis.execute(claim("b", 1)).await, held(true));
}

#[tokio::test]
async fn writes_change_sets_and_hashes() {
    let server = Server::start(&[]);
    let redis = executor(&settings(&server.url()));
    let pairs = ["n1/1", "n1/12", "n2/1"].map(|field| (field.to_owned(), "{}".to_owned()));
    let writes = vec![
        Write::SetAdd { key: "s".into(), members: vec!["a".into(), "b".into(), "c".into()] },
        Write::SetRemove { key: "s".into(), members: vec!["b".into()] },
        Write::HashSet { key: "h".into(), pairs: pairs.to_vec() },
        Write::HashDelete { key: "h".into(), fields: vec!["n1/12".into()] },
        Write::HashDeletePrefix { key: "h".into(), prefix: "n1/".into() },
        Write::SetAdd { key: "gone".into(), members: vec!["x".into()] },
        Write::Delete { key: "gone".into() },
    ];
    assert_eq!(redis.execute(Order::Write { writes }).await, Ok(Outcome::Done));
    assert_eq!(members(&redis, "s").await, ["a", "c"]);
    assert_eq!(members(&redis, "gone").await, Vec::<String>::new());
    let fields = redis.execute(Order::Fields { key: "h".into() }).await;
    assert_eq!(fields, Ok(Outcome::Fields(vec![("n2/1".into(), "{}".into())])));
    let sample = redis.execute(Order::Sample { key: "s".into(), count: 1 }).await;
    assert!(matches!(sample, Ok(Outcome::Members(members)) if members.len() == 1));
}

#[tokio::test]
async fn the_newest_connection_is_bound_in_any_order_of_writes() {
    let server = Server::start(&[]);
    let redis = executor(&settings(&server.url()));
    let (old, new) = (Fd::new(900, 1_700_000_000_000), Fd::new(1, 1_700_000_000_001));
    let bind = |fd| Write::Bind { key: "socket_id".into(), user: UserId(7), fd };
    let unbind = |fd| Write::Unbind { key: "socket_id".into(), user: UserId(7), fd };
    let shown = || server.cli(&["HGET", "socket_id", "7"]);
    for (write, expected) in [
        (bind(old), old.to_string()),
        (bind(new), new.to_string()),
        (bind(old), new.to_string()),
        (unbind(old), new.to_string()),
        (unbind(new), String::new()),
    ] {
        let done = redis.execute(Order::Write { writes: vec![write.clone()] }).await;
        assert_eq!(done, Ok(Outcome::Done));
        assert_eq!(shown(), expected, "after {write:?}");
    }
    server.cli(&["HSET", "socket_id", "7", "nonsense"]);
    let writes = vec![bind(old)];
    assert_eq!(redis.execute(Order::Write { writes }).await, Ok(Outcome::Done));
    assert_eq!(shown(), old.to_string(), "a value that is no number loses");
}

fn entry(stream: &str, value: &str) -> Append {
    Append { stream: stream.into(), fields: vec![("n".into(), value.into())] }
}

fn values(entries: &[StreamEntries], stream: &str) -> Vec<String> {
    let of_stream = entries.iter().filter(|entries| entries.stream == stream);
    of_stream.flat_map(|s| &s.entries).map(|(_, fields)| fields[0].1.clone()).collect()
}

#[tokio::test]
async fn logs_are_appended_to_and_read_in_order() {
    let server = Server::start(&[]);
    let redis = executor(&settings(&server.url()));
    let streams = ["t:log:{0}", "t:log:{1}"];
    let read = |from: EntryId, count, block_ms| {
        let from = streams.iter().map(|stream| ((*stream).to_owned(), from)).collect();
        redis.execute(Order::Read { from, count, block_ms })
    };
    assert_eq!(read(EntryId::ZERO, 10, 1).await, Ok(Outcome::Entries(Vec::new())));
    let tails = || Order::Tails { streams: streams.iter().map(|s| (*s).to_owned()).collect() };
    assert_eq!(redis.execute(tails()).await, Ok(Outcome::Tails(vec![None, None])));

    let waits = read(EntryId::ZERO, 10, 30_000);
    let appends = async {
        let entries: Vec<_> = (0..5).map(|n| entry(streams[0], &n.to_string())).collect();
        redis.execute(Order::Append { maxlen: 1000, entries }).await
    };
    let (found, appended) = tokio::join!(waits, appends);
    assert_eq!(appended, Ok(Outcome::Done));
    let Ok(Outcome::Entries(found)) = found else { panic!("{found:?}") };
    let seen = values(&found, streams[0]);
    assert_eq!(seen, ["0", "1", "2", "3", "4"][..seen.len()], "a prefix, at least one");

    let Ok(Outcome::Entries(all)) = read(EntryId::ZERO, 3, 1).await else { panic!("no answer") };
    assert_eq!(values(&all, streams[0]), ["0", "1", "2"]);
    let last = all[0].entries[2].0;
    let Ok(Outcome::Entries(rest)) = read(last, 3, 1).await else { panic!("no answer") };
    assert_eq!(values(&rest, streams[0]), ["3", "4"]);
    let last = rest[0].entries[1].0;
    assert_eq!(redis.execute(tails()).await, Ok(Outcome::Tails(vec![Some(last), None])));
}

#[tokio::test]
async fn redis_numbers_messages_that_no_database_keeps() {
    let server = Server::start(&[]);
    let redis = executor(&settings(&server.url()));
    let number = |at_least, messages: &[(&str, Option<&str>)]| {
        let messages = messages.iter().map(|(json, cid_key)| UnnumberedMessage {
            json: (*json).to_owned(),
            cid_key: cid_key.map(str::to_owned),
        });
        redis.execute(Order::Number {
            counters: "t:seq:{0}".into(),
            stream: "t:log:{0}".into(),
            answer_key: "t:answer:{0}:p:1".into(),
            room: RoomId(16),
            at_least: Seq(at_least),
            maxlen: 1000,
            fields: vec![("k".into(), "m".into())],
            messages: messages.collect(),
            cid_ttl_ms: 60_000,
        })
    };
    let numbers = |first, repeats: &[(usize, u64)]| {
        let repeats = repeats.iter().map(|(index, seq)| (*index, Seq(*seq))).collect();
        Ok(Outcome::Numbered(Numbers { first: Seq(first), repeats }))
    };
    let plain = ("{}", None);
    assert_eq!(number(0, &[plain, plain, plain]).await, numbers(1, &[]));
    let (x, y) = (Some("t:cid:{0}:16:1:x"), Some("t:cid:{0}:16:1:y"));
    let batch = [("[1]", y), plain, ("[2]", x), ("[3]", x)];
    assert_eq!(number(0, &batch).await, numbers(4, &[(3, 6)]), "twice in one batch");
    assert_eq!(number(0, &[("[4]", x)]).await, numbers(7, &[(0, 6)]), "nothing is new");
    let batch = [("[5]", x), plain, ("[6]", y)];
    assert_eq!(number(0, &batch).await, numbers(7, &[(0, 6), (2, 4)]));
    let left: u64 = server.cli(&["PTTL", "t:cid:{0}:16:1:x"]).parse().expect("a number");
    assert!((1..=60_000).contains(&left), "{left}");
    let kept = server.cli(&["EXISTS", "t:answer:{0}:p:1"]);
    assert_eq!(kept, "0", "only the client for a cluster sends a batch twice");
    let large = number(9_007_199_254_740_000, &[plain]).await;
    assert_eq!(large, numbers(9_007_199_254_740_001, &[]));
    assert_eq!(server.cli(&["HGET", "t:seq:{0}", "16"]), "9007199254740001");
    let from = vec![("t:log:{0}".to_owned(), EntryId::ZERO)];
    let read = redis.execute(Order::Read { from, count: 10, block_ms: 1 }).await;
    let Ok(Outcome::Entries(entries)) = read else { panic!("{read:?}") };
    let fields = entries[0].entries.iter().map(|(_, fields)| &fields[1..]);
    let fields: Vec<_> =
        fields.map(|rest| rest.iter().map(|f| &*f.1).collect::<Vec<_>>()).collect();
    assert_eq!(
        fields,
        [
            [r#"{"r":16,"m":[{},{},{}]}"#, "1"],
            [r#"{"r":16,"m":[[1],{},[2]]}"#, "4"],
            [r#"{"r":16,"m":[{}]}"#, "7"],
            [r#"{"r":16,"m":[{}]}"#, "9007199254740001"],
        ]
    );
}

#[tokio::test]
async fn a_server_that_forgot_the_scripts_is_given_their_text() {
    let server = Server::start(&[]);
    let redis = executor(&settings(&server.url()));
    for flush in [false, true] {
        if flush {
            server.cli(&["SCRIPT", "FLUSH", "SYNC"]);
        }
        assert_eq!(redis.execute(claim("a", 60_000)).await, Ok(Outcome::Held(true)));
    }
}

#[tokio::test]
async fn more_calls_than_one_pipeline_takes_are_all_done() {
    let server = Server::start(&[]);
    let redis = executor(&settings(&server.url()));
    let writes = (0..5000).map(|n| crate::executor::set_add("s", &n.to_string())).collect();
    assert_eq!(redis.execute(Order::Write { writes }).await, Ok(Outcome::Done));
    assert_eq!(server.cli(&["SCARD", "s"]), "5000");
}

#[tokio::test]
async fn the_database_answers_its_orders() {
    let server = Server::start(&[]);
    let redis = executor(&settings(&server.url()));
    let tips = redis.execute(Order::Tips).await;
    assert_eq!(tips, Ok(Outcome::Tips(vec![(RoomId(1), Seq(5))])));
    assert_eq!(redis.execute(Order::Card { user: UserId(1) }).await, Ok(Outcome::Card(None)));
    let raised = redis.execute(Order::RaiseMarks { process: "p".into() }).await;
    assert_eq!(raised.map_err(|failure| failure.why()), Err("database"));
}

#[tokio::test]
async fn no_key_of_others_is_touched() {
    let server = Server::start(&[]);
    server.cli(&["SET", "laravel_cache", "x"]);
    let redis = executor(&settings(&server.url()));
    add(&redis, "s", "a").await.expect("it is done");
    assert_eq!(server.cli(&["GET", "laravel_cache"]), "x");
    let stats = server.cli(&["INFO", "commandstats"]);
    for never in ["cmdstat_keys", "cmdstat_flushdb", "cmdstat_flushall", "cmdstat_scan"] {
        assert!(!stats.contains(never), "{stats}");
    }
}
