//! What the Redis user of a node may do, and whether Redis takes its writes, tried with commands that leave nothing
//! behind.

use std::time::Duration;

use tokio::time::timeout;

use crate::adapter::Channels;
use crate::reply::text;
use crate::{Call, Commands, Connector, Failure, Unwritable};

/// The field of a hash that nobody writes.
const FIELD: &str = "throng.probe";
/// When the key of a probe expires that was not deleted, in milliseconds.
const PROBE_MS: u32 = 1_000;

/// The first right that is missing, such as `to write socket_id`.
///
/// # Errors
/// The first [`Failure`] other than [`Failure::Denied`] of a connection: Redis did not answer.
pub async fn missing(
    commands: &Commands,
    connector: &Connector,
    [prefix, map_prefix, socket_id]: [&str; 3],
    channels: &Channels,
    wait: Duration,
) -> Result<Option<String>, Failure> {
    let [own, map] = [prefix, map_prefix].map(probe_key);
    let needed = [
        (format!("to read {prefix}*"), Call::new("GET", &own)),
        (format!("to write {prefix}*"), Call::new("HDEL", &own).arg(FIELD)),
        (format!("to write {map_prefix}*"), Call::new("HDEL", &map).arg(FIELD)),
        (format!("to write {socket_id}"), Call::new("HDEL", socket_id).arg(FIELD)),
        ("to use XINFO".to_owned(), Call::sub("XINFO", "STREAM", &own)),
        ("to run scripts".to_owned(), Call::new("EVAL", "return 0").on(&own)),
    ];
    for (right, call) in needed {
        match commands.call(call).await {
            Err(Failure::Denied) => return Ok(Some(right)),
            // Redis looks at rights first, so the right is there: see [`unwritable`].
            Err(failure) if failure.unwritable().is_some() => {}
            Err(failure) if failure.breaks_connection() => return Err(failure),
            // The key may not be there, or be of another program.
            Ok(_) | Err(_) => {}
        }
    }
    // Without the half that reads, the connection ends.
    let (mut sink, _messages) = connector.subscriber().await?.split();
    let pattern = channels.pattern();
    let subscribed =
        timeout(wait, sink.psubscribe(&pattern)).await.map_err(|_| Failure::Timeout)?;
    match subscribed.map_err(Failure::from) {
        Err(Failure::Denied) => Ok(Some(format!("to subscribe to {pattern}"))),
        Err(failure) => Err(failure),
        Ok(()) => Ok(None),
    }
}

/// Why Redis refuses writes for now, though the user may write. `None` too if there is no answer.
///
/// A Redis that is full still executes commands that only remove, so this sets a key. That expires if the connection
/// ends before it is deleted.
pub async fn unwritable(commands: &Commands, prefix: &str) -> Option<Unwritable> {
    let key = probe_key(prefix);
    let set = Call::new("SET", &key).arg("").arg("PX").arg(PROBE_MS);
    match commands.run(&[set, Call::new("DEL", &key)]).await {
        Ok(answers) => answers.into_iter().find_map(|answer| answer.err()?.unwritable()),
        Err(failure) => failure.unwritable(),
    }
}

fn probe_key(prefix: &str) -> String {
    format!("{prefix}probe")
}

/// Whether Redis, when its memory is full, drops any key: rosters and registrations as well. False if its user may
/// not ask.
pub async fn evicts_any_key(commands: &Commands) -> bool {
    let info = commands.call(Call::new("INFO", "memory")).await.and_then(text);
    info.is_ok_and(|info| {
        let value = |name| info.lines().find_map(|line| line.strip_prefix(name));
        let is_bounded = value("maxmemory:").is_some_and(|bytes| bytes != "0");
        is_bounded && value("maxmemory_policy:").is_some_and(|policy| policy.starts_with("allkeys"))
    })
}
