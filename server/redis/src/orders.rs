//! Carries out the orders of the cluster's state machine, as commands of Redis and calls of the
//! database. Each order has one outcome, within a time limit.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use redis::Value;
use redis::streams::StreamInfoStreamReply;
use throng_chat::UserCard;
use throng_chat::{RoomId, Seq, UserId};
use throng_cluster::{Append, EntryId, Failure as OrderFailure, Numbers, Order, Outcome, Write};
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::call::Call;
use crate::connector::Connector;
use crate::failure::Failure;
use crate::pool::Commands;
use crate::reader::Reader;
use crate::reply::{fields, optional_text, texts};
use crate::script;

/// How long a cluster keeps the answer to [`Order::Number`]: longer than what was sent first may be
/// under way when the client of the crate `redis` sends it again.
const ANSWER_TTL_MS: u64 = 60_000;

/// The shared SQL database, as the machine uses it.
pub trait Database: Send + Sync + 'static {
    /// The last seq of every room.
    fn tips(&self) -> impl Future<Output = Result<Vec<(RoomId, Seq)>, DatabaseDown>> + Send;
    /// The data of a user, or `None` if there is no such user.
    fn card(
        &self,
        user: UserId,
    ) -> impl Future<Output = Result<Option<Arc<UserCard>>, DatabaseDown>> + Send;
    /// Raises the read marks of the users who were reading on a process that has ended.
    fn raise_marks(&self, process: &str) -> impl Future<Output = Result<(), DatabaseDown>> + Send;
}

/// The database did not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DatabaseDown;

/// Carries out orders, several at a time.
pub struct Executor<D> {
    commands: Commands,
    reader: Mutex<Reader>,
    database: D,
    timeout: Duration,
    /// 0 where nothing is sent twice.
    answer_ttl_ms: u64,
}

impl<D: Database> Executor<D> {
    /// `timeout`: how long an order may take, beyond the time for which it blocks.
    pub fn new(
        connector: Arc<Connector>,
        commands: Commands,
        database: D,
        timeout: Duration,
    ) -> Executor<D> {
        // Only the client for a cluster sends again what was not answered.
        let answer_ttl_ms = if connector.is_cluster() { ANSWER_TTL_MS } else { 0 };
        let reader = Mutex::new(Reader::new(connector));
        Executor { commands, reader, database, timeout, answer_ttl_ms }
    }

    /// Carries out one order.
    ///
    /// # Errors
    /// `Refused` when the order was not done and the connection is good; `Broken` when it is unknown
    /// what was done.
    pub async fn execute(&self, order: Order) -> Result<Outcome, OrderFailure> {
        let block_ms = if let Order::Read { block_ms, .. } = &order { *block_ms } else { 0 };
        timeout(self.timeout + Duration::from_millis(block_ms), self.run(order))
            .await
            .unwrap_or(Err(OrderFailure::Broken { why: Failure::Timeout.name() }))
    }

    async fn run(&self, order: Order) -> Result<Outcome, OrderFailure> {
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
                let values = values.into_iter().map(|value| read(optional_text, value));
                Ok(Outcome::Values(values.collect::<Result<_, _>>()?))
            }
            Order::Write { writes } => {
                let calls: Vec<_> = writes.into_iter().map(write).collect();
                self.all(&calls).await?;
                Ok(Outcome::Done)
            }
            Order::Members { key } => {
                Ok(Outcome::Members(read(texts, self.one(Call::new("SMEMBERS", &key)).await?)?))
            }
            Order::Sample { key, count } => {
                let sample = Call::new("SRANDMEMBER", &key).arg(count);
                Ok(Outcome::Members(read(texts, self.one(sample).await?)?))
            }
            Order::Fields { key } => {
                Ok(Outcome::Fields(read(fields, self.one(Call::new("HGETALL", &key)).await?)?))
            }
            Order::Append { maxlen, entries } => {
                let calls: Vec<_> =
                    entries.into_iter().map(|entry| append(maxlen, entry)).collect();
                self.all(&calls).await?;
                Ok(Outcome::Done)
            }
            Order::Number {
                counters,
                stream,
                answer_key,
                room,
                at_least,
                maxlen,
                fields,
                messages,
                cid_ttl_ms,
            } => {
                let mut keys = vec![&*counters, &*stream, &*answer_key];
                keys.extend(messages.iter().filter_map(|message| message.cid_key.as_deref()));
                keys[3..].sort_unstable();
                keys.dedup();
                let place = |key: &String| keys[3..].binary_search(&&**key).map_or(0, |at| at + 4);
                let mut call = Call::script(&script::NUMBER, &keys)
                    .arg(room.0)
                    .arg(at_least.0)
                    .arg(maxlen)
                    .arg(cid_ttl_ms)
                    .arg(self.answer_ttl_ms)
                    .arg(2 * fields.len());
                for (name, value) in fields {
                    call = call.arg(name).arg(value);
                }
                for message in &messages {
                    let key = message.cid_key.as_ref().map_or(0, place);
                    call = call.arg(key).arg(&message.json);
                }
                let answer = self.one(call).await?;
                Ok(Outcome::Numbered(read(|value| numbers(value, messages.len()), answer)?))
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
            Order::RaiseMarks { process } => {
                let raised = self.database.raise_marks(&process).await;
                raised.map(|()| Outcome::Done).map_err(database_down)
            }
        }
    }

    async fn held(&self, call: Call) -> Result<Outcome, OrderFailure> {
        let is_held: i64 = read(parsed, self.one(call).await?)?;
        Ok(Outcome::Held(is_held == 1))
    }

    async fn tails(&self, streams: &[String]) -> Result<Outcome, OrderFailure> {
        let calls: Vec<_> = streams.iter().map(|key| Call::sub("XINFO", "STREAM", key)).collect();
        let answers = self.commands.run(&calls).await.map_err(|failure| broken(&failure))?;
        let tails = answers.into_iter().map(|answer| match answer {
            Ok(value) => {
                let info: StreamInfoStreamReply = read(parsed, value)?;
                let id = EntryId::parse(&info.last_generated_id);
                Ok(Some(id.ok_or(broken(&Failure::Unexpected))?))
            }
            // The only error of this command: the key does not exist.
            Err(Failure::Refused(code)) if code == "ERR" => Ok(None),
            Err(failure) => Err(order_failure(&failure)),
        });
        Ok(Outcome::Tails(tails.collect::<Result<_, OrderFailure>>()?))
    }

    async fn one(&self, call: Call) -> Result<Value, OrderFailure> {
        let mut values = self.all(&[call]).await?;
        values.pop().ok_or(broken(&Failure::Unexpected))
    }

    /// All answers, or the worst failure.
    async fn all(&self, calls: &[Call]) -> Result<Vec<Value>, OrderFailure> {
        let answers = self.commands.run(calls).await.map_err(|failure| broken(&failure))?;
        let mut values = Vec::with_capacity(answers.len());
        let mut refused = None;
        for answer in answers {
            match answer {
                Ok(value) => values.push(value),
                Err(failure) => match order_failure(&failure) {
                    broken @ OrderFailure::Broken { .. } => return Err(broken),
                    failure @ OrderFailure::Refused { .. } => refused = Some(failure),
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

/// Reads an answer. An unexpected one means that the connection is of no more use.
fn read<T>(
    parse: impl FnOnce(Value) -> Result<T, Failure>,
    value: Value,
) -> Result<T, OrderFailure> {
    parse(value).map_err(|failure| broken(&failure))
}

fn parsed<T: redis::FromRedisValue>(value: Value) -> Result<T, Failure> {
    Ok(redis::from_redis_value(value)?)
}

/// The first number, and per message of the batch 0 or the one it had before.
fn numbers(value: Value, messages: usize) -> Result<Numbers, Failure> {
    let texts = texts(value)?;
    if texts.len() != messages + 1 {
        return Err(Failure::Unexpected);
    }
    let numbers = texts.iter().map(|text| text.parse().map_err(|_| Failure::Unexpected));
    let mut numbers = numbers.collect::<Result<Vec<u64>, _>>()?.into_iter();
    let first = Seq(numbers.next().ok_or(Failure::Unexpected)?);
    let repeats = numbers.enumerate().filter(|(_, seq)| *seq > 0);
    Ok(Numbers { first, repeats: repeats.map(|(index, seq)| (index, Seq(seq))).collect() })
}

/// The failure of one command on a connection that answers.
fn order_failure(failure: &Failure) -> OrderFailure {
    let why = failure.name();
    match failure {
        Failure::OutOfMemory | Failure::Denied | Failure::Refused(_) => {
            OrderFailure::Refused { why }
        }
        Failure::Down
        | Failure::Timeout
        | Failure::NotWritable(_)
        | Failure::NoDatabase(_)
        | Failure::Unauthenticated
        | Failure::Unexpected => OrderFailure::Broken { why },
    }
}

/// The failure of a connection, of whatever kind.
fn broken(failure: &Failure) -> OrderFailure {
    OrderFailure::Broken { why: failure.name() }
}

fn database_down(_: DatabaseDown) -> OrderFailure {
    OrderFailure::Broken { why: "database" }
}

#[cfg(test)]
mod tests {
    use redis::Value;
    use throng_chat::Seq;
    use throng_cluster::Numbers;

    use super::numbers;
    use crate::failure::Failure;

    #[test]
    fn an_answer_has_the_first_number_and_one_for_each_message() {
        let of_two = |texts: &[&str]| {
            let texts = texts.iter().map(|text| Value::BulkString(text.as_bytes().to_vec()));
            numbers(Value::Array(texts.collect()), 2)
        };
        let repeats = vec![(1, Seq(3))];
        assert_eq!(of_two(&["5", "0", "3"]), Ok(Numbers { first: Seq(5), repeats }));
        for texts in [
            &["5", "0", "0", "7"][..],
            &["5", "0", "0", "0"],
            &["5", "0"],
            &["5"],
            &[],
            &["5", "0", "-7"],
            &["5", "0", "18446744073709551616"],
            &["x", "0", "0"],
        ] {
            assert_eq!(of_two(texts), Err(Failure::Unexpected), "{texts:?}");
        }
    }
}
