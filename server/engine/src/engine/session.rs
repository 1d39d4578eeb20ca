//! One Engine.IO session.

use std::net::IpAddr;

use bytes::Bytes;
use smallvec::SmallVec;
use throng_wire::eio::Version;
use throng_wire::sio::EventData;

use super::account::Account;
use super::addresses::AddressId;
use super::poll_queue::Polling;
use super::trust::Trust;
use crate::counters::Counters;
use crate::engine_request::Endpoint;
use crate::ids::{PipeId, SessionId, Sid, SocketId};
use crate::long_packets::Omitted;
use crate::now::Now;

/// What moves the session's packets.
pub(crate) enum Carrier {
    Pipe(PipeId),
    Polling(Box<Polling>),
}

/// What the session's deadline waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Beat {
    /// Engine.IO 4: time to send a ping.
    SendPing,
    /// Engine.IO 4: the client owes a pong.
    AwaitPong,
    /// Engine.IO 3: the client owes a ping.
    AwaitPing,
}

/// A binary event whose attachments are still coming.
pub(crate) struct Assembly {
    pub(crate) namespace: u8,
    pub(crate) ack: Option<u64>,
    pub(crate) data: EventData,
    pub(crate) omitted: Option<Omitted>,
    pub(crate) missing: u32,
    pub(crate) attachments: Vec<Bytes>,
    pub(crate) bytes: usize,
}

impl Assembly {
    /// Bytes it keeps.
    pub(super) fn held(&self) -> usize {
        self.data.len() + self.attachments.iter().map(Bytes::len).sum::<usize>()
    }
}

/// One connection of a namespace, from the CONNECT to the DISCONNECT.
pub(crate) struct Connection {
    pub(crate) namespace: u8,
    pub(crate) id: SocketId,
    /// The application has not decided whether it admits the client.
    pub(crate) is_asked: bool,
}

/// One Engine.IO session.
pub struct Session {
    pub(crate) id: SessionId,
    pub(crate) endpoint: Endpoint,
    pub(crate) version: Version,
    pub(crate) beat: Beat,
    /// Bit n: namespace n is connected.
    pub(crate) connected: u8,
    /// The second half of the sid; the first half is `id`.
    pub(crate) sid_random: [u8; 11],
    pub(crate) carrier: Carrier,
    /// A WebSocket that asks to take over from polling.
    pub(crate) probe: Option<PipeId>,
    pub(crate) deadline: Now,
    /// When the youngest timer fires; `deadline` may be later.
    pub(crate) timer_at: Now,
    pub(crate) opened: Now,
    /// Until then a CONNECT must come: the first of Engine.IO 4, and one after the last namespace was
    /// left. `u64::MAX` while one is connected.
    pub(crate) connect_by: Now,
    /// One for each namespace that is connected.
    pub(crate) connections: SmallVec<[Connection; 1]>,
    pub(crate) assembly: Option<Box<Assembly>>,
    pub(crate) account: Account,
    /// While it is anonymous: where its client is counted.
    pub(super) address: Option<AddressId>,
    /// The client's address.
    pub(crate) peer: IpAddr,
    pub(crate) messages_in: u64,
    /// The client left its last namespace, so a close that follows was meant.
    pub(crate) has_left: bool,
    /// The application has disconnected it, and it may not know that yet.
    pub(crate) was_disconnected: bool,
}

impl Session {
    /// Its identifier.
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// The protocol generation.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Its WebSocket; `None` while it polls.
    pub fn pipe(&self) -> Option<PipeId> {
        match self.carrier {
            Carrier::Pipe(pipe) => Some(pipe),
            Carrier::Polling(_) => None,
        }
    }

    /// When it was opened.
    pub fn opened(&self) -> Now {
        self.opened
    }

    /// Engine.IO messages received.
    pub fn messages_in(&self) -> u64 {
        self.messages_in
    }

    pub(crate) fn sid(&self) -> Sid {
        Sid::new(self.id.shard(), self.id.slot(), self.sid_random)
    }

    /// When the session must be looked at next.
    pub(crate) fn next_due(&self) -> Now {
        self.deadline.min(self.connect_by).min(self.account.due())
    }

    /// Bytes that the application keeps of it: see [`Engine::keep`](super::Engine::keep).
    pub fn kept(&self) -> usize {
        self.account.kept
    }

    /// Bytes of a binary event whose attachments are still coming.
    pub(super) fn assembled(&self) -> usize {
        self.assembly.as_ref().map_or(0, |assembly| assembly.held())
    }

    /// Bytes of a POST whose body is arriving.
    pub(super) fn received(&self) -> usize {
        match &self.carrier {
            Carrier::Polling(polling) => polling.receiving.as_ref().map_or(0, |it| it.held()),
            Carrier::Pipe(_) => 0,
        }
    }

    /// How far it is known whose it is.
    pub fn trust(&self) -> Trust {
        self.account.trust
    }

    /// What the client owes at `now` or before, it owes at `until`.
    pub(super) fn postpone(&mut self, now: Now, until: Now) {
        let later = |due: &mut Now| {
            if *due <= now {
                *due = until;
            }
        };
        if self.beat != Beat::SendPing {
            later(&mut self.deadline);
        }
        later(&mut self.connect_by);
        later(&mut self.account.finish_by);
        later(&mut self.account.identify_by);
    }

    pub(crate) fn is_connect_overdue(&self, now: Now) -> bool {
        self.connect_by <= now
    }

    /// Whether the client has connected the namespace of that index.
    pub fn is_connected(&self, namespace: u8) -> bool {
        self.connected & (1 << namespace) != 0
    }

    /// The id of the client in the namespace of that index, while it is connected there. A client that
    /// leaves and connects again has another one. Spec: SIO-14.
    pub fn socket_id(&self, namespace: u8) -> Option<SocketId> {
        let mut connections = self.connections.iter();
        connections.find(|connection| connection.namespace == namespace).map(|it| it.id)
    }

    /// Whether it is on long-polling.
    pub fn is_polling(&self) -> bool {
        matches!(self.carrier, Carrier::Polling(_))
    }

    /// `polling` or `websocket`, as logs and metrics name it.
    pub fn transport_name(&self) -> &'static str {
        if self.is_polling() { "polling" } else { "websocket" }
    }

    /// `eio3` or `eio4`, as logs and metrics name it.
    pub fn protocol_name(&self) -> &'static str {
        match self.version {
            Version::V3 => "eio3",
            Version::V4 => "eio4",
        }
    }

    pub(crate) fn gauge<'c>(&self, counters: &'c mut Counters) -> &'c mut u64 {
        match (self.is_polling(), self.version) {
            (false, Version::V3) => &mut counters.sessions_ws_eio3,
            (false, Version::V4) => &mut counters.sessions_ws_eio4,
            (true, Version::V3) => &mut counters.sessions_polling_eio3,
            (true, Version::V4) => &mut counters.sessions_polling_eio4,
        }
    }

    pub(crate) fn opened_counter<'c>(&self, counters: &'c mut Counters) -> &'c mut u64 {
        match (self.is_polling(), self.version) {
            (false, Version::V3) => &mut counters.opened_ws_eio3,
            (false, Version::V4) => &mut counters.opened_ws_eio4,
            (true, Version::V3) => &mut counters.opened_polling_eio3,
            (true, Version::V4) => &mut counters.opened_polling_eio4,
        }
    }
}

/// Why a session ended; the words of the log and the metrics.
///
/// Where a bound ended it, that is the setting of this name: operators see which one to raise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// The client closed its transport.
    TransportClose,
    /// The connection failed.
    TransportError,
    /// No heartbeat came in time.
    PingTimeout,
    /// No CONNECT came in time.
    ConnectTimeout,
    /// The client closed after it had left its last namespace.
    ClientDisconnect,
    /// A packet could not be decoded, or was out of place.
    ParseError,
    /// The WebSocket rules were broken; the code says which.
    Protocol(u16),
    /// A message was longer than the setting allows.
    TooLarge(&'static str),
    /// More waited for the client than the setting allows.
    SlowConsumer(&'static str),
    /// The client went beyond the setting.
    Limit(&'static str),
    /// The application disconnected the client.
    ServerDisconnect,
    /// The server is stopping.
    ServerStop,
    /// Two polls, or two POSTs, at once.
    PollingOverlap,
}

impl CloseReason {
    /// As logs, metrics and the text of a close frame name it. Spec: LIM-56, LIM-60.
    pub fn name(self) -> &'static str {
        match self {
            CloseReason::TransportClose => "transport_close",
            CloseReason::TransportError => "transport_error",
            CloseReason::PingTimeout => "ping_timeout",
            CloseReason::ConnectTimeout => "connect_timeout",
            CloseReason::ClientDisconnect => "client_disconnect",
            CloseReason::ParseError | CloseReason::Protocol(_) => "parse_error",
            CloseReason::TooLarge(_) => "too_large",
            CloseReason::SlowConsumer(_) => "slow_consumer",
            CloseReason::Limit(_) => "limit",
            CloseReason::ServerDisconnect => "server_disconnect",
            CloseReason::ServerStop => "server_stop",
            CloseReason::PollingOverlap => "polling_overlap",
        }
    }

    /// The setting that the session went beyond, if a bound ended it.
    pub fn setting(self) -> Option<&'static str> {
        match self {
            CloseReason::TooLarge(setting)
            | CloseReason::SlowConsumer(setting)
            | CloseReason::Limit(setting) => Some(setting),
            CloseReason::TransportClose
            | CloseReason::TransportError
            | CloseReason::PingTimeout
            | CloseReason::ConnectTimeout
            | CloseReason::ClientDisconnect
            | CloseReason::ParseError
            | CloseReason::Protocol(_)
            | CloseReason::ServerDisconnect
            | CloseReason::ServerStop
            | CloseReason::PollingOverlap => None,
        }
    }

    /// Its WebSocket close code. Spec: LIM-40 to LIM-55.
    pub fn close_code(self) -> u16 {
        match self {
            CloseReason::TransportClose
            | CloseReason::TransportError
            | CloseReason::ClientDisconnect
            | CloseReason::ServerDisconnect => 1000,
            CloseReason::ServerStop => 1001,
            CloseReason::ParseError | CloseReason::PollingOverlap => 1008,
            CloseReason::Protocol(code) => code,
            CloseReason::TooLarge(_) => 1009,
            CloseReason::SlowConsumer(_) => 4001,
            CloseReason::PingTimeout => 4002,
            CloseReason::ConnectTimeout => 4003,
            CloseReason::Limit(_) => 4004,
        }
    }

    pub(crate) fn counter(self, counters: &mut Counters) -> &mut u64 {
        match self {
            CloseReason::TransportClose => &mut counters.closed_transport_close,
            CloseReason::TransportError => &mut counters.closed_transport_error,
            CloseReason::PingTimeout => &mut counters.closed_ping_timeout,
            CloseReason::ConnectTimeout => &mut counters.closed_connect_timeout,
            CloseReason::ClientDisconnect => &mut counters.closed_client_disconnect,
            CloseReason::ParseError | CloseReason::Protocol(_) => &mut counters.closed_parse_error,
            CloseReason::TooLarge(_) => &mut counters.closed_too_large,
            CloseReason::SlowConsumer(_) => &mut counters.closed_slow_consumer,
            CloseReason::Limit(_) => &mut counters.closed_limit,
            CloseReason::ServerDisconnect => &mut counters.closed_server_disconnect,
            CloseReason::ServerStop => &mut counters.closed_server_stop,
            CloseReason::PollingOverlap => &mut counters.closed_polling_overlap,
        }
    }
}
