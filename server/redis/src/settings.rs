//! Settings of the connections to Redis.

use std::time::Duration;

use crate::address::Address;

/// Where Redis is, and the limits of connections.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The servers, and the login.
    pub address: Address,
    /// Certificates of trusted authorities, in PEM; `None` for those of the system.
    pub tls_ca: Option<Vec<u8>>,
    /// How long connecting and the login may take.
    pub connect_timeout: Duration,
    /// How long an answer may take, beyond the time that a command blocks.
    pub command_timeout: Duration,
    /// Connections for commands; blocking reads and subscriptions have their own.
    pub connections_max: u32,
}
