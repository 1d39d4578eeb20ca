//! Plain counters, one per thing that can happen.

/// A set of counters: the engine's, or an application's.
pub trait CounterTable: Clone + Default + Send + 'static {
    /// Names in the order of [`CounterTable::read`].
    const NAMES: &'static [&'static str];

    /// Calls `each` with every value, in the order of the names.
    fn read(&self, each: impl FnMut(u64));

    /// The value of one counter.
    fn value(&self, name: &str) -> Option<u64> {
        let index = Self::NAMES.iter().position(|known| *known == name)?;
        let (mut at, mut found) = (0, None);
        self.read(|value| {
            if at == index {
                found = Some(value);
            }
            at += 1;
        });
        found
    }
}

/// An application that counts nothing.
impl CounterTable for () {
    const NAMES: &'static [&'static str] = &[];

    fn read(&self, _each: impl FnMut(u64)) {}
}

/// Declares a struct of counters and its [`CounterTable`].
#[macro_export]
macro_rules! counters {
    ($(#[$table:meta])* $table_name:ident: $($(#[$doc:meta])* $name:ident,)*) => {
        $(#[$table])*
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct $table_name {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl $crate::CounterTable for $table_name {
            const NAMES: &'static [&'static str] = &[$(stringify!($name),)*];

            fn read(&self, mut each: impl FnMut(u64)) {
                $(each(self.$name);)*
            }
        }
    };
}

counters! {
    /// What the engine counts.
    Counters:
    /// Gauge: sessions on WebSocket, Engine.IO 3.
    sessions_ws_eio3,
    /// Gauge: sessions on WebSocket, Engine.IO 4.
    sessions_ws_eio4,
    /// Gauge: sessions on long-polling, Engine.IO 3.
    sessions_polling_eio3,
    /// Gauge: sessions on long-polling, Engine.IO 4.
    sessions_polling_eio4,
    /// Sessions opened on WebSocket, Engine.IO 3.
    opened_ws_eio3,
    /// Sessions opened on WebSocket, Engine.IO 4.
    opened_ws_eio4,
    /// Sessions opened on long-polling, Engine.IO 3.
    opened_polling_eio3,
    /// Sessions opened on long-polling, Engine.IO 4.
    opened_polling_eio4,
    /// Sessions that moved from polling to WebSocket.
    upgrades,
    /// Sessions ended: the client closed.
    closed_transport_close,
    /// Sessions ended: the connection failed.
    closed_transport_error,
    /// Sessions ended: no heartbeat in time.
    closed_ping_timeout,
    /// Sessions ended: no CONNECT in time.
    closed_connect_timeout,
    /// Sessions ended: the client left its last namespace.
    closed_client_disconnect,
    /// Sessions ended: broken framing or packets.
    closed_parse_error,
    /// Sessions ended: a message above `max_payload`.
    closed_too_large,
    /// Sessions ended: too many bytes waited for the client.
    closed_slow_consumer,
    /// Sessions ended: a limit of the application.
    closed_limit,
    /// Sessions ended: the application disconnected the client.
    closed_server_disconnect,
    /// Sessions ended: the server stopped.
    closed_server_stop,
    /// Sessions ended: two polls at once.
    closed_polling_overlap,
    /// Events received.
    events_in,
    /// Events handed to sessions by a fan-out or broadcast.
    events_out,
    /// Messages handed to members.
    deliveries,
    /// Bytes received from pipes and polling bodies.
    bytes_in,
    /// Slow consumers closed.
    evictions,
    /// Handshakes and polls refused.
    handshakes_refused,
    /// Deliveries for sessions or memberships that had ended.
    stale_deliveries,
}
