//! Throughput of Redis on this machine, as JSON; `cargo xtask bench redis [URL]` runs it.
//!
//! The log: entries of one message each are appended by one order after another, as the cluster's
//! state machine does, and read by another connection. The ingress: a program publishes broadcasts
//! for one room, pipelined, and the ingress decodes them into events for the shards.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use throng_chat::UserCard;
use throng_chat::{RoomId, Seq, UserId};
use throng_cluster::{Append, EntryId, Order, Outcome};
use throng_redis::adapter::{Channels, encode};
use throng_redis::counters::Counters;
use throng_redis::ingress::Ingress;
use throng_redis::names::RoomNames;
use throng_redis::orders::{Database, DatabaseDown, Executor};
use throng_redis::{Call, Commands, Connector, Settings};
use tokio::sync::mpsc;

const STREAM: &str = "rates:log:{0}";
const APPEND: usize = 512;
const ENTRIES: usize = 512 * 400;
const PUBLICATIONS: usize = 400_000;
const PIPELINE: usize = 256;
const ROUND_TRIPS: usize = 2_000;

struct NoDatabase;

impl Database for NoDatabase {
    async fn tips(&self) -> Result<Vec<(RoomId, Seq)>, DatabaseDown> {
        Err(DatabaseDown)
    }

    async fn card(&self, _: UserId) -> Result<Option<Arc<UserCard>>, DatabaseDown> {
        Err(DatabaseDown)
    }

    async fn raise_marks(&self, _: &str) -> Result<(), DatabaseDown> {
        Err(DatabaseDown)
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let url = std::env::args().nth(1).unwrap_or_else(|| "redis://127.0.0.1".to_owned());
    let settings = Settings {
        url: url.parse().expect("a Redis URL"),
        connect_timeout_ms: 2_000,
        command_timeout_ms: 10_000,
        connections_max: 4,
        ..Settings::default()
    };
    let connector = Arc::new(Connector::new(&settings).expect("usable settings"));
    let commands = Commands::new(Arc::clone(&connector), &settings);
    let executor = Executor::new(
        Arc::clone(&connector),
        commands.clone(),
        NoDatabase,
        Duration::from_secs(20),
    );
    commands.call(Call::new("DEL", STREAM)).await.expect("Redis answers");
    let (appended, read) = log(&executor).await;
    let (p50, p99) = hop(&executor).await;
    commands.call(Call::new("DEL", STREAM)).await.expect("Redis answers");
    let mut result = json!({
        "log_appended_per_s": appended, "log_read_per_s": read,
        "hop_p50_us": p50, "hop_p99_us": p99,
    });
    let events = ingress(connector, &commands).await;
    let result = result.as_object_mut().expect("an object");
    result.extend(events.as_object().cloned().unwrap_or_default());
    println!("{}", serde_json::to_string_pretty(result).expect("numbers and words"));
}

fn entry(text: &str) -> Append {
    let fields = [("n", "0123456789abcdef.1"), ("q", "1"), ("k", "m"), ("d", text)];
    Append {
        stream: STREAM.into(),
        fields: fields.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(),
    }
}

async fn read(executor: &Executor<NoDatabase>, after: EntryId, block_ms: u64) -> Vec<EntryId> {
    let from = vec![(STREAM.to_owned(), after)];
    match executor.execute(Order::Read { from, count: 1024, block_ms }).await {
        Ok(Outcome::Entries(streams)) => {
            streams.into_iter().flat_map(|s| s.entries).map(|(id, _)| id).collect()
        }
        other => panic!("the log was not read: {other:?}"),
    }
}

/// Messages per second, appended and read.
async fn log(executor: &Executor<NoDatabase>) -> (f64, f64) {
    let text = json!({"r": 1, "m": [{"s": 1, "i": 1, "u": 7, "n": "Ann", "a": "/a.svg",
        "t": "x".repeat(128), "g": "", "d": "2026-01-01T10:00:00.000Z"}]});
    let text = text.to_string();
    let begun = Instant::now();
    let appends = async {
        for _ in 0..ENTRIES / APPEND {
            let entries = (0..APPEND).map(|_| entry(&text)).collect();
            let order = Order::Append { maxlen: 1_000_000, entries };
            executor.execute(order).await.expect("the log takes it");
        }
        begun.elapsed()
    };
    let reads = async {
        let (mut after, mut count) = (EntryId::ZERO, 0);
        while count < ENTRIES {
            let ids = read(executor, after, 1000).await;
            count += ids.len();
            after = ids.last().copied().unwrap_or(after);
        }
        begun.elapsed()
    };
    let (appended, read) = tokio::join!(appends, reads);
    let rate = |took: Duration| ENTRIES as f64 / took.as_secs_f64();
    (rate(appended), rate(read))
}

/// One message at a time, from the append to the end of the read: p50 and p99, µs.
async fn hop(executor: &Executor<NoDatabase>) -> (u64, u64) {
    let mut after = read_all(executor).await;
    let mut took = Vec::with_capacity(ROUND_TRIPS);
    for _ in 0..ROUND_TRIPS {
        let begun = Instant::now();
        let append =
            executor.execute(Order::Append { maxlen: 1_000_000, entries: vec![entry("x")] });
        let (appended, read) = tokio::join!(append, read(executor, after, 1000));
        appended.expect("the log takes it");
        after = *read.last().expect("the read waits for it");
        took.push(begun.elapsed());
    }
    took.sort_unstable();
    let at = |part: usize| took[ROUND_TRIPS * part / 100].as_micros() as u64;
    (at(50), at(99))
}

async fn read_all(executor: &Executor<NoDatabase>) -> EntryId {
    let mut after = EntryId::ZERO;
    loop {
        match read(executor, after, 1).await.last() {
            Some(last) => after = *last,
            None => return after,
        }
    }
}

async fn ingress(connector: Arc<Connector>, commands: &Commands) -> Value {
    let counters = Arc::new(Counters::default());
    let channels = Channels::new("rates");
    let (emits_in, mut emits) = mpsc::channel(4096);
    let ingress = Ingress {
        connector,
        channels: channels.clone(),
        names: RoomNames::new("room{id}").expect("a pattern"),
        bytes_max: 64 * 1024,
        timeout: Duration::from_secs(2),
        counters: Arc::clone(&counters),
    };
    tokio::spawn(ingress.run(emits_in));
    let event = ["alert".into(), json!({"text": "x".repeat(128)})];
    let payload = encode("other!", &event, "room1");
    let call = || Call::new("PUBLISH", &channels.room("room1")).arg(&payload[..]);
    let mut receivers = 0;
    while receivers == 0 {
        let answer = commands.call(call()).await.expect("Redis answers");
        receivers = redis::from_redis_value(answer).expect("a number");
    }
    let batch: Vec<Call> = (0..PIPELINE).map(|_| call()).collect();
    let begun = Instant::now();
    let publisher = commands.clone();
    let publishing = tokio::spawn(async move {
        for _ in 0..PUBLICATIONS / PIPELINE {
            publisher.run(&batch).await.expect("Redis answers");
        }
    });
    let wanted = (PUBLICATIONS / PIPELINE * PIPELINE) as u64;
    let mut taken = 0_u64;
    while taken + counters.skipped().iter().map(|(_, count)| count).sum::<u64>() < wanted {
        match tokio::time::timeout(Duration::from_secs(2), emits.recv()).await {
            Ok(Some(_)) => taken += 1,
            _ => break,
        }
    }
    let took = begun.elapsed();
    publishing.await.expect("it publishes");
    let rate = taken as f64 / took.as_secs_f64();
    let skipped: u64 = counters.skipped().iter().map(|(_, count)| count).sum();
    json!({"events_taken_per_s": rate, "taken": taken, "wanted": wanted, "skipped": skipped})
}
