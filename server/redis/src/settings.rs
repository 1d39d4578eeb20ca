//! How Redis is reached.

use std::time::Duration;

use crate::address::Address;

#[derive(Clone, Debug)]
pub struct Settings {
    pub address: Address,
    /// Certificates of the authorities we trust, in PEM; the system's when absent.
    pub tls_ca: Option<Vec<u8>>,
    /// Time to connect and log in.
    pub connect_timeout: Duration,
    /// Time to wait for an answer, beyond what a blocking command was asked to wait.
    pub command_timeout: Duration,
    /// Connections for commands; blocking reads and subscriptions have their own.
    pub connections_max: u32,
}
