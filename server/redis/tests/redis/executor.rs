//! An executor on a server of the test, and a database that is always there.

use std::sync::Arc;
use std::time::Duration;

use throng_chat::UserCard;
use throng_chat::{RoomId, Seq, UserId};
use throng_cluster::{Failure, Order, Outcome, Write};
use throng_redis::orders::{Database, DatabaseDown, Executor};
use throng_redis::{Commands, Connector, Settings};

pub struct NoDatabase;

impl Database for NoDatabase {
    async fn tips(&self) -> Result<Vec<(RoomId, Seq)>, DatabaseDown> {
        Ok(vec![(RoomId(1), Seq(5))])
    }

    async fn card(&self, _: UserId) -> Result<Option<Arc<UserCard>>, DatabaseDown> {
        Ok(None)
    }

    async fn raise_marks(&self, _: &str) -> Result<(), DatabaseDown> {
        Err(DatabaseDown)
    }
}

pub fn settings(url: &str) -> Settings {
    Settings {
        url: url.parse().expect("a URL"),
        connect_timeout_ms: 5_000,
        command_timeout_ms: 5_000,
        connections_max: 4,
        ..Settings::default()
    }
}

/// Settings with short timeouts, for servers that do not answer.
pub fn with_short_timeouts(url: &str) -> Settings {
    Settings { connect_timeout_ms: 300, command_timeout_ms: 300, ..settings(url) }
}

pub fn executor(settings: &Settings) -> Executor<NoDatabase> {
    let connector = Arc::new(Connector::new(settings).expect("usable settings"));
    let commands = Commands::new(Arc::clone(&connector), settings);
    Executor::new(connector, commands, NoDatabase, Duration::from_secs(20))
}

pub fn set_add(key: &str, member: &str) -> Write {
    Write::SetAdd { key: key.into(), members: vec![member.into()] }
}

/// Adds one member to a set.
pub async fn add(
    redis: &Executor<NoDatabase>,
    key: &str,
    member: &str,
) -> Result<Outcome, Failure> {
    redis.execute(Order::Write { writes: vec![set_add(key, member)] }).await
}

pub async fn members(redis: &Executor<NoDatabase>, key: &str) -> Vec<String> {
    match redis.execute(Order::Members { key: key.into() }).await {
        Ok(Outcome::Members(mut members)) => {
            members.sort_unstable();
            members
        }
        other => panic!("members of {key}: {other:?}"),
    }
}
