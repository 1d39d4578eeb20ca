//! Blocking reads of the logs, on connections of their own.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::select_all;
use throng_cluster::{EntryId, StreamEntries};
use tokio::time::{Instant, timeout_at};

use crate::connector::Connector;
use crate::failure::Failure;
use crate::link::Link;
use crate::reply::streams;

/// Reads streams: in one command of one server, or, since a command of a cluster is limited to one
/// slot, with a connection and a pending read for each stream, which lasts from one order to the next.
pub struct Reader {
    connector: Arc<Connector>,
    all: Option<Link>,
    each: HashMap<String, Pending>,
}

/// A read that waits for its answer, of the entries after `after`.
struct Pending {
    after: EntryId,
    read: Pin<Box<dyn Future<Output = Done> + Send>>,
}

/// The result of a read, and its connection.
type Done = (Link, Result<Vec<StreamEntries>, Failure>);

impl Reader {
    pub fn new(connector: Arc<Connector>) -> Reader {
        Reader { connector, all: None, each: HashMap::new() }
    }

    /// The entries of the streams after the given ones, at most `count` per stream; waits up to
    /// `block` for the first.
    ///
    /// # Errors
    /// The connection failed; the next read makes a new one.
    pub async fn read(
        &mut self,
        from: &[(String, EntryId)],
        count: u32,
        block: Duration,
    ) -> Result<Vec<StreamEntries>, Failure> {
        if self.connector.is_cluster() {
            self.read_each(from, count, block).await
        } else {
            // Taken out, so that a read whose future is dropped drops its connection too.
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
                self.start(link, stream, *after, count, block);
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
            self.start(link, stream, last.unwrap_or(after), count, block);
            if last.is_some() {
                return Ok(entries);
            }
        }
    }

    fn start(&mut self, link: Link, stream: &str, after: EntryId, count: u32, block: Duration) {
        let read = Box::pin(read(link, vec![(stream.to_owned(), after)], count, block));
        self.each.insert(stream.to_owned(), Pending { after, read });
    }
}

async fn read(mut link: Link, from: Vec<(String, EntryId)>, count: u32, block: Duration) -> Done {
    let mut cmd = redis::cmd("XREAD");
    // Redis takes zero for no limit.
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
