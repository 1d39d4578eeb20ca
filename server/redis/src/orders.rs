//! The machine's orders as commands of Redis and calls of the database. Each is answered once, in
//! bounded time.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use redis::Value;
use redis::streams::StreamInfoStreamReply;
use throng_cluster::{Append, EntryId, Failure as Told, Fields, Order, Outcome, Write};
use throng_core::input::UserCard;
use throng_core::{RoomId, Seq, UserId};
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::call::Call;
use crate::connector::Connector;
use crate::failure::Failure;
use crate::pool::Commands;
use crate::reader::Reader;
use crate::script;

/// What the machine asks of the shared SQL database. `Err` when it does not answer.
pub trait Database: Send + Sync + 'static {
    fn tips(&self) -> impl Future<Output = Result<Vec<(RoomId, Seq)>, DatabaseDown>> + Send;
    fn card(
        &self,
        user: UserId,
    ) -> impl Future<Output = Result<Option<Arc<UserCard>>, DatabaseDown>> + Send;
    fn settle(&self, process: &str) -> impl Future<Output = Result<(), DatabaseDown>> + Send;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DatabaseDown;

/// Carries orders out, several at a time.
pub struct Executor<D> {
    commands: Commands,
    reader: Mutex<Reader>,
    database: D,
    patience: Duration,
}

impl<D: Database> Executor<D> {
    pub fn new(
        connector: Arc<Connector>,
        commands: Commands,
        database: D,
        patience: Duration,
    ) -> Executor<D> {
        Executor { commands, reader: Mutex::new(Reader::new(connector)), database, patience }
    }

    /// # Errors
    /// What the machine needs to know of what went wrong.
    pub async fn execute(&self, order: Order) -> Result<Outcome, Told> {
        let patience = match &order {
            Order::Read { block_ms, .. } => self.patience + Duration::from_millis(*block_ms),
            _ => self.patience,
        };
        let done = timeout(patience, self.done(order)).await;
        done.unwrap_or(Err(Told::Broken { why: Failure::Timeout.name() }))
    }

    async fn done(&self, order: Order) -> Result<Outcome, Told> {
        match order {
            Order::Claim { key, value, ttl_ms } => {
                self.held(Call::script(&script::CLAIM, &[&key]).arg(value).arg(ttl_ms)).await
            }
            Order::Renew { key, value, ttl_ms } => {
                self.held(Call::script(&script::RENEW, &[&key]).arg(value).arg(ttl_ms)).await
            }
            Order::Release { key, value } => {
                self.all(&[Call::script(&script::RELEASE, &[&key]).arg(value)]).await?;
                Ok(Outcome::Done)
            }
            Order::Values { keys } => {
                let calls: Vec<_> = keys.iter().map(|key| Call::new("GET", key)).collect();
                let values = self.all(&calls).await?;
                Ok(Outcome::Values(values.into_iter().map(optional).collect::<Result<_, _>>()?))
            }
            Order::Write { writes } => {
                let calls: Vec<_> = writes.into_iter().map(write).collect();
                self.all(&calls).await?;
                Ok(Outcome::Done)
            }
            Order::Members { key } => {
                Ok(Outcome::Members(texts(self.one(Call::new("SMEMBERS", &key)).await?)?))
            }
            Order::Sample { key, count } => {
                let sample = Call::new("SRANDMEMBER", &key).arg(count);
                Ok(Outcome::Members(texts(self.one(sample).await?)?))
            }
            Order::Fields { key } => {
                Ok(Outcome::Fields(fields(self.one(Call::new("HGETALL", &key)).await?)?))
            }
            Order::Append { maxlen, entries } => {
                let calls: Vec<_> =
                    entries.into_iter().map(|entry| append(maxlen, entry)).collect();
                self.all(&calls).await?;
                Ok(Outcome::Done)
            }
            Order::Number { counters, stream, room, at_least, count, maxlen, fields } => {
                let call = Call::script(&script::NUMBER, &[&counters, &stream])
                    .arg(room.0)
                    .arg(at_least.0)
                    .arg(count)
                    .arg(maxlen);
                let call =
                    fields.into_iter().fold(call, |call, (name, value)| call.arg(name).arg(value));
                let first: u64 = read(self.one(call).await?)?;
                Ok(Outcome::Numbered { first: Seq(first) })
            }
            Order::Read { from, count, block_ms } => {
                let mut reader = self.reader.lock().await;
                let block = Duration::from_millis(block_ms);
                let entries = reader.read(&from, count, block).await;
                Ok(Outcome::Entries(entries.map_err(|failure| broken(&failure))?))
            }
            Order::Tails { streams } => self.tails(&streams).await,
            Order::Tips => self.database.tips().await.map(Outcome::Tips).map_err(database_down),
            Order::Card { user } => {
                self.database.card(user).await.map(Outcome::Card).map_err(database_down)
            }
            Order::Settle { process } => {
                let settled = self.database.settle(&process).await;
                settled.map(|()| Outcome::Done).map_err(database_down)
            }
        }
    }

    async fn held(&self, call: Call) -> Result<Outcome, Told> {
        let is_held: i64 = read(self.one(call).await?)?;
        Ok(Outcome::Held(is_held == 1))
    }

    async fn tails(&self, streams: &[String]) -> Result<Outcome, Told> {
        let calls: Vec<_> = streams.iter().map(|key| Call::sub("XINFO", "STREAM", key)).collect();
        let answers = self.commands.run(&calls).await.map_err(|failure| broken(&failure))?;
        let tails = answers.into_iter().map(|answer| match answer {
            Ok(value) => {
                let info: StreamInfoStreamReply = read(value)?;
                let id = EntryId::parse(&info.last_generated_id);
                Ok(Some(id.ok_or(broken(&Failure::Unexpected))?))
            }
            // The one error this command has for a key: there is none.
            Err(Failure::Refused(code)) if code == "ERR" => Ok(None),
            Err(failure) => Err(told(&failure)),
        });
        Ok(Outcome::Tails(tails.collect::<Result<_, Told>>()?))
    }

    async fn one(&self, call: Call) -> Result<Value, Told> {
        let mut values = self.all(&[call]).await?;
        values.pop().ok_or(broken(&Failure::Unexpected))
    }

    /// All answers, or the worst failure of any.
    async fn all(&self, calls: &[Call]) -> Result<Vec<Value>, Told> {
        let answers = self.commands.run(calls).await.map_err(|failure| broken(&failure))?;
        let mut values = Vec::with_capacity(answers.len());
        let mut refused = None;
        for answer in answers {
            match answer {
                Ok(value) => values.push(value),
                Err(failure) => match told(&failure) {
                    broken @ Told::Broken { .. } => return Err(broken),
                    other => refused = Some(other),
                },
            }
        }
        refused.map_or(Ok(values), Err)
    }
}

fn write(write: Write) -> Call {
    match write {
        Write::HashSet { key, pairs } => {
            let call = Call::new("HSET", &key);
            pairs.into_iter().fold(call, |call, (field, value)| call.arg(field).arg(value))
        }
        Write::HashDelete { key, fields } => Call::new("HDEL", &key).arg(fields),
        Write::HashDeletePrefix { key, prefix } => {
            Call::script(&script::DELETE_PREFIX, &[&key]).arg(prefix)
        }
        Write::SetAdd { key, members } => Call::new("SADD", &key).arg(members),
        Write::SetRemove { key, members } => Call::new("SREM", &key).arg(members),
        Write::Delete { key } => Call::new("DEL", &key),
        Write::Bind { key, user, fd } => Call::script(&script::BIND, &[&key]).arg(user.0).arg(fd.0),
        Write::Unbind { key, user, fd } => {
            Call::script(&script::UNBIND, &[&key]).arg(user.0).arg(fd.0)
        }
    }
}

fn append(maxlen: u64, Append { stream, fields }: Append) -> Call {
    let call = Call::new("XADD", &stream).arg("MAXLEN").arg("~").arg(maxlen).arg("*");
    fields.into_iter().fold(call, |call, (name, value)| call.arg(name).arg(value))
}

fn read<T: redis::FromRedisValue>(value: Value) -> Result<T, Told> {
    redis::from_redis_value(value).map_err(|_| broken(&Failure::Unexpected))
}

/// What is not UTF-8 is none of ours; it is read all the same.
pub(crate) fn text(value: Value) -> Result<String, Failure> {
    let bytes: Vec<u8> = redis::from_redis_value(value)?;
    Ok(String::from_utf8(bytes)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
}

fn optional(value: Value) -> Result<Option<String>, Told> {
    match value {
        Value::Nil => Ok(None),
        value => text(value).map(Some).map_err(|failure| broken(&failure)),
    }
}

fn texts(value: Value) -> Result<Vec<String>, Told> {
    let values = value.into_sequence().map_err(|_| broken(&Failure::Unexpected))?;
    values.into_iter().map(|value| text(value).map_err(|failure| broken(&failure))).collect()
}

fn fields(value: Value) -> Result<Fields, Told> {
    let pairs = value.into_map_iter().map_err(|_| broken(&Failure::Unexpected))?;
    let texts = pairs.map(|(name, value)| Ok((text(name)?, text(value)?)));
    texts.collect::<Result<_, Failure>>().map_err(|failure| broken(&failure))
}

/// The failure of one command on a connection that answers.
fn told(failure: &Failure) -> Told {
    let why = failure.name();
    match failure {
        Failure::OutOfMemory | Failure::Denied | Failure::Refused(_) => Told::Refused { why },
        Failure::Down
        | Failure::Timeout
        | Failure::NotWritable(_)
        | Failure::Unauthenticated
        | Failure::Unexpected => Told::Broken { why },
    }
}

/// The failure of a connection, whatever the server said when it refused it.
fn broken(failure: &Failure) -> Told {
    Told::Broken { why: failure.name() }
}

fn database_down(_: DatabaseDown) -> Told {
    Told::Broken { why: "database" }
}
