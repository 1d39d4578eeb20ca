//! Waiting reads of the logs, on connections of their own.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::select_all;
use redis::Value;
use throng_cluster::{EntryId, Fields, StreamEntries};
use tokio::time::{Instant, timeout_at};

use crate::connector::Connector;
use crate::failure::Failure;
use crate::link::Link;
use crate::orders::text;

/// One server reads all streams in one command. In a cluster a command may not leave its slot, so
/// each stream has a connection and a read of its own that goes on from one order to the next.
pub struct Reader {
    connector: Arc<Connector>,
    all: Option<Link>,
    each: HashMap<String, Pending>,
}

/// A read under way. `after` tells whether it is the one that is wanted.
struct Pending {
    after: EntryId,
    read: Pin<Box<dyn Future<Output = Done> + Send>>,
}

/// A read that is over, and its connection.
type Done = (Link, Result<Vec<StreamEntries>, Failure>);

impl Reader {
    pub fn new(connector: Arc<Connector>) -> Reader {
        Reader { connector, all: None, each: HashMap::new() }
    }

    /// What is in the streams behind those places; waits up to `block` for something.
    pub async fn read(
        &mut self,
        from: &[(String, EntryId)],
        count: u32,
        block: Duration,
    ) -> Result<Vec<StreamEntries>, Failure> {
        if self.connector.is_cluster() {
            self.read_each(from, count, block).await
        } else {
            // Taken out, so that a read that is given up takes its connection with it.
            let link = match self.all.take() {
                Some(link) => link,
                None => self.connector.blocking(block).await?,
            };
            let (link, entries) = read(link, from.to_vec(), count, block).await;
            if entries.is_ok() {
                self.all = Some(link);
            }
            entries
        }
    }

    async fn read_each(
        &mut self,
        from: &[(String, EntryId)],
        count: u32,
        block: Duration,
    ) -> Result<Vec<StreamEntries>, Failure> {
        let deadline = Instant::now() + block;
        for (stream, after) in from {
            if self.each.get(stream).is_none_or(|pending| pending.after != *after) {
                self.each.remove(stream);
                let link = self.connector.blocking(block).await?;
                self.begin(link, stream, *after, count, block);
            }
        }
        self.each.retain(|stream, _| from.iter().any(|(wanted, _)| wanted == stream));
        loop {
            let streams: Vec<String> = self.each.keys().cloned().collect();
            let reads = self.each.values_mut().map(|pending| &mut pending.read);
            let Ok(((link, entries), index, _)) = timeout_at(deadline, select_all(reads)).await
            else {
                return Ok(Vec::new());
            };
            let stream = &streams[index];
            let Some(Pending { after, .. }) = self.each.remove(stream) else { continue };
            let entries = entries?;
            let last = entries.last().and_then(|stream| stream.entries.last()).map(|(id, _)| *id);
            self.begin(link, stream, last.unwrap_or(after), count, block);
            if last.is_some() {
                return Ok(entries);
            }
        }
    }

    fn begin(&mut self, link: Link, stream: &str, after: EntryId, count: u32, block: Duration) {
        let read = Box::pin(read(link, vec![(stream.to_owned(), after)], count, block));
        self.each.insert(stream.to_owned(), Pending { after, read });
    }
}

async fn read(mut link: Link, from: Vec<(String, EntryId)>, count: u32, block: Duration) -> Done {
    let mut cmd = redis::cmd("XREAD");
    // Zero would wait for ever.
    let block_ms = u64::try_from(block.as_millis()).unwrap_or(u64::MAX).max(1);
    cmd.arg("COUNT").arg(count).arg("BLOCK").arg(block_ms).arg("STREAMS");
    for (stream, _) in &from {
        cmd.arg(stream);
    }
    for (_, after) in &from {
        cmd.arg(after.to_string());
    }
    let answer = link.send(&cmd).await;
    let entries = answer.map_err(Failure::from).and_then(streams);
    (link, entries)
}

/// `[[stream, [[id, [name, value, …]], …]], …]`, or nothing.
fn streams(value: Value) -> Result<Vec<StreamEntries>, Failure> {
    if value == Value::Nil {
        return Ok(Vec::new());
    }
    let streams = value.into_sequence().map_err(|_| Failure::Unexpected)?;
    let streams = streams.into_iter().map(|pair| {
        let [stream, entries] = pair_of(pair)?;
        let entries = entries.into_sequence().map_err(|_| Failure::Unexpected)?;
        let entries = entries.into_iter().map(entry).collect::<Result<_, _>>()?;
        Ok(StreamEntries { stream: text(stream)?, entries })
    });
    streams.collect()
}

fn pair_of(value: Value) -> Result<[Value; 2], Failure> {
    let parts = value.into_sequence().map_err(|_| Failure::Unexpected)?;
    parts.try_into().map_err(|_| Failure::Unexpected)
}

fn entry(value: Value) -> Result<(EntryId, Fields), Failure> {
    let [id, fields] = pair_of(value)?;
    let id = EntryId::parse(&text(id)?).ok_or(Failure::Unexpected)?;
    // An entry that was deleted while a group had it reads as nothing.
    if fields == Value::Nil {
        return Ok((id, Vec::new()));
    }
    let pairs = fields.into_map_iter().map_err(|_| Failure::Unexpected)?;
    let fields = pairs.map(|(name, value)| Ok((text(name)?, text(value)?)));
    Ok((id, fields.collect::<Result<_, Failure>>()?))
}
