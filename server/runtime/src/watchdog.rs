//! Watches that every shard turns. A shard that hangs answers nothing and accepts no connection,
//! so its requests are answered for it, and the HTTP thread accepts its connections until it turns again.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use throng_engine::App;
use throng_wire::http::{self, Peer};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};

use crate::limiter::ConnectionLimiter;
use crate::link::{Handover, ShardHandles};
use crate::policy::{HttpPolicy, TOO_MANY_CONNECTIONS};
use crate::stats::ShardStats;

/// Between two looks. Each wakes the shards that sleep, so that they turn before the next one.
const LOOK_EVERY: Duration = Duration::from_millis(400);
/// Looks without a turn in between after which a shard hangs.
const IDLE_LOOKS_MAX: u32 = 2;
/// Pause after the system had no descriptor or memory for a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What is needed to watch the shards, and to stand in for one.
pub(crate) struct Watchdog<A: App> {
    pub(crate) handles: ShardHandles<A>,
    pub(crate) stats: Arc<[Arc<ShardStats>]>,
    /// The listening socket of each shard once more.
    pub(crate) listeners: Vec<TcpListener>,
    pub(crate) limiter: Arc<ConnectionLimiter>,
    pub(crate) policy: Arc<HttpPolicy>,
    pub(crate) handovers: mpsc::Sender<Handover>,
    /// Connections that were refused, and are answered.
    pub(crate) refused: mpsc::Sender<TcpStream>,
}

/// What was last seen of a shard.
#[derive(Clone, Copy, Default)]
struct Seen {
    turns: u64,
    /// Looks in a row that saw no new turn.
    idle_looks: u32,
}

impl Seen {
    /// Notes one look; answers whether the shard hangs. After a look that was late nothing is known:
    /// the whole process may have been paused, and the shards with it.
    fn look(&mut self, turns: u64, is_late: bool) -> bool {
        if turns == self.turns && !is_late {
            self.idle_looks += 1;
        } else {
            *self = Seen { turns, idle_looks: 0 };
        }
        self.idle_looks >= IDLE_LOOKS_MAX
    }
}

impl<A: App> Watchdog<A> {
    /// Looks for ever. `on_look` is called after each look with what hangs, if anything does.
    pub(crate) async fn run(self, on_look: impl Fn(Option<String>)) {
        let mut seen = vec![Seen::default(); self.listeners.len()];
        let mut stand_ins: Vec<Option<AbortHandle>> = vec![None; self.listeners.len()];
        // Dropped with this future, and all stand-ins with it.
        let mut accepting = JoinSet::new();
        let mut looked = Instant::now();
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let is_late = looked.elapsed() > LOOK_EVERY * 2;
            looked = Instant::now();
            let mut hung = Vec::new();
            for (index, handle) in self.handles.iter().enumerate() {
                let turns = self.stats[index].value("turns").expect("a counter of the runtime");
                let is_hung = seen[index].look(turns, is_late) && !handle.has_ended();
                handle.set_hung(is_hung);
                if is_hung {
                    hung.push(index.to_string());
                    stand_ins[index].get_or_insert_with(|| {
                        tracing::error!(shard = index, "a shard makes no turns");
                        accepting.spawn(self.stand_in(index))
                    });
                } else if let Some(stand_in) = stand_ins[index].take() {
                    tracing::warn!(shard = index, "the shard turns again");
                    stand_in.abort();
                }
                handle.wake();
            }
            while accepting.try_join_next().is_some() {}
            on_look((!hung.is_empty()).then(|| format!("no turn in shard {}", hung.join(", "))));
        }
    }

    /// Accepts the connections of a shard and hands them to the HTTP thread.
    fn stand_in(&self, shard: usize) -> impl Future<Output = ()> + Send + 'static {
        let listener =
            self.listeners[shard].try_clone().and_then(tokio::net::TcpListener::from_std);
        let (limiter, policy) = (Arc::clone(&self.limiter), Arc::clone(&self.policy));
        let (handovers, refused) = (self.handovers.clone(), self.refused.clone());
        let full = http::refusal(503, TOO_MANY_CONNECTIONS);
        async move {
            let listener = match listener {
                Ok(listener) => listener,
                Err(error) => {
                    return tracing::warn!(shard, %error, "cannot accept for a hung shard");
                }
            };
            loop {
                let (stream, peer) = match listener.accept().await {
                    Ok(accepted) => accepted,
                    Err(error) => {
                        tracing::debug!(shard, %error, "cannot accept for a hung shard; pausing");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                        continue;
                    }
                };
                let peer = Peer::from(peer.ip());
                if policy.has_proxy_headers && policy.trusted_proxies.trusts(peer) {
                    // Only a shard reads PROXY headers; the proxy tries again.
                    continue;
                }
                let admitted = limiter.admit_peer(peer, &policy.trusted_proxies);
                let Ok(stream) = stream.into_std() else { continue };
                let Some(permit) = admitted else {
                    policy.log_refused(peer, 503);
                    // As a shard does; the HTTP thread, which is this one, closes it.
                    if (&stream).write_all(&full).is_ok() && refused.send(stream).await.is_err() {
                        return;
                    }
                    continue;
                };
                if handovers.send(Handover::unread(stream, peer, permit)).await.is_err() {
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_hangs_after_two_looks_without_a_turn() {
        let mut seen = Seen::default();
        assert!(!seen.look(7, false));
        assert!(!seen.look(7, false));
        assert!(seen.look(7, false));
        assert!(seen.look(7, false), "until it turns");
        assert!(!seen.look(8, false));
    }

    #[test]
    fn a_look_that_is_late_judges_nothing() {
        let mut seen = Seen::default();
        for _ in 0..10 {
            assert!(!seen.look(7, true));
        }
        assert!(!seen.look(7, false));
        assert!(seen.look(7, false));
    }
}
