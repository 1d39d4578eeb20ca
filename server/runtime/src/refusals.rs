//! Who did not get in, and why: counted and logged here, whichever thread refused it.

use std::net::IpAddr;
use std::sync::LazyLock;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use throng_engine::HandshakeRefusal;

use crate::rare_warning::RareWarnings;

static EXCEEDED: LazyLock<RareWarnings> = LazyLock::new(RareWarnings::default);

throng_tables::metrics! {
    /// The handshakes that were refused, by shards and by the HTTP thread.
    #[derive(Debug, Default)]
    pub struct Refusals: AtomicU64, "";

    [labelled]
    Counter handshakes_refused "handshakes": "Requests that open or join a session, and CONNECTs to a \
        namespace, that were refused, by why. wrong_transport: transport=websocket without an Upgrade, \
        an Upgrade with transport=polling, or not the transport of the session. websocket_fields: not \
        the fields of RFC 6455. client_full: limits.anonymous.sessions_per_ip_max." {
        transport: reason = "transport";
        origin: reason = "origin";
        unknown_sid: reason = "unknown_sid";
        method: reason = "method";
        protocol_version: reason = "protocol_version";
        wrong_transport: reason = "wrong_transport";
        bad_request: reason = "bad_request";
        websocket_fields: reason = "websocket_fields";
        server_full: reason = "server_full";
        client_full: reason = "client_full";
        connections_per_ip: reason = "connections_per_ip";
        stopping: reason = "stopping";
        namespace: reason = "namespace";
    }
}

impl Refusals {
    /// Counts one, and logs it for who asks; where a setting refuses it, now and then for everybody.
    pub fn note(&self, client: IpAddr, why: HandshakeRefusal) {
        self.counter(why).fetch_add(1, Relaxed);
        tracing::debug!(%client, reason = why.name(), "refused a handshake");
        if let Some(setting) = exceeded(why) {
            EXCEEDED.log(setting, |left_out| {
                tracing::warn!(%client, left_out, "sessions are refused: {setting} is reached");
            });
        }
    }

    fn counter(&self, why: HandshakeRefusal) -> &AtomicU64 {
        match why {
            HandshakeRefusal::Transport => &self.transport,
            HandshakeRefusal::Origin => &self.origin,
            HandshakeRefusal::UnknownSid => &self.unknown_sid,
            HandshakeRefusal::Method => &self.method,
            HandshakeRefusal::ProtocolVersion => &self.protocol_version,
            HandshakeRefusal::WrongTransport => &self.wrong_transport,
            HandshakeRefusal::BadRequest => &self.bad_request,
            HandshakeRefusal::WebsocketFields => &self.websocket_fields,
            HandshakeRefusal::ServerFull => &self.server_full,
            HandshakeRefusal::ClientFull => &self.client_full,
            HandshakeRefusal::ConnectionsPerIp => &self.connections_per_ip,
            HandshakeRefusal::Stopping => &self.stopping,
            HandshakeRefusal::Namespace => &self.namespace,
        }
    }
}

/// The setting that refuses a session. That of connections has a warning of its own.
fn exceeded(why: HandshakeRefusal) -> Option<&'static str> {
    if why == HandshakeRefusal::ServerFull {
        return Some("limits.sessions_per_shard_max");
    }
    (why == HandshakeRefusal::ClientFull).then_some("limits.anonymous.sessions_per_ip_max")
}
