//! New connections: admit, refuse, or wait until descriptors are free again.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{SocketFlags, acceptfrom_with};
use throng_engine::{App, Now};
use throng_wire::http::{Peer, refusal};

use super::awaited_head::AwaitedHead;
use super::readiness::Source;
use super::turn::Worker;
use crate::listen::{ANONYMOUS_RECV_BYTES, keep_unread};
use crate::policy::TOO_MANY_CONNECTIONS;

/// Pause after the system had no descriptor or memory for a connection.
const ACCEPT_PAUSE_MS: u64 = 100;

impl<A: App> Worker<A> {
    pub(super) fn accept(&mut self, now: Now) {
        if !self.is_accept_ready || self.accept_paused_until.is_some_and(|until| until > now) {
            return;
        }
        self.accept_paused_until = None;
        for _ in 0..self.config.tuning.accepts_per_turn {
            let Some(listener) = &self.listener else { return }; // The server is stopping.
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            match acceptfrom_with(listener, flags) {
                Ok((fd, Some(peer))) => match SocketAddr::try_from(peer) {
                    Ok(addr) => self.admit(fd, Peer::from(addr.ip())),
                    Err(error) => {
                        tracing::debug!(%error, "accepted a connection without an address")
                    }
                },
                Ok((_, None)) | Err(Errno::CONNABORTED | Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    self.is_accept_ready = false;
                    return;
                }
                Err(error) => {
                    self.accept_warning.log(|left_out| {
                        tracing::warn!(
                            %error,
                            left_out,
                            "cannot accept connections; they wait until descriptors are free (limits.connections_max, \
                             ulimit -n)"
                        );
                    });
                    self.accept_paused_until = Some(now.plus_ms(ACCEPT_PAUSE_MS));
                    return;
                }
            }
        }
    }

    /// Admits a new connection, or refuses it.
    pub(super) fn admit(&mut self, fd: OwnedFd, peer: Peer) {
        let stream = TcpStream::from(fd);
        self.counters.connections_accepted += 1;
        let deadline = self.now.plus_ms(u64::from(self.config.tuning.handshake_timeout_ms));
        let policy = &self.config.policy;
        let is_proxy = policy.trusted_proxies.trusts(peer);
        let Some(permit) = self.config.limiter.admit_peer(peer, &policy.trusted_proxies) else {
            self.counters.connections_refused += 1;
            self.config.policy.log_refused(peer, 503);
            return self.refuse_stream(stream, &refusal(503, TOO_MANY_CONNECTIONS));
        };
        keep_unread(&stream, ANONYMOUS_RECV_BYTES);
        let head = AwaitedHead {
            stream,
            is_watched: false,
            bytes: Vec::new(),
            peer,
            awaits_proxy_header: is_proxy && policy.has_proxy_headers,
            permit,
        };
        let pipe = self.connections.insert_head(head, deadline);
        // Most clients have sent their request by now.
        self.new_heads.push_back(pipe);
    }

    /// Closes the listener and all connections whose head has not arrived.
    pub(super) fn stop_accepting(&mut self) {
        self.listener = None;
        self.is_stopping = true;
        for pipe in self.connections.heads() {
            self.drop_head(pipe);
        }
    }

    pub(super) fn watch_listener(&mut self) -> io::Result<()> {
        let Some(listener) = &self.listener else { return Ok(()) };
        self.readiness.add(listener, Source::Listener)
    }
}
