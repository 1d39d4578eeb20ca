//! The request head of a fresh connection, read just far enough to upgrade it to WebSocket here or to
//! hand it to a full HTTP server; and who sent it, behind whatever proxies.

mod answer;
mod client;
mod coding;
mod head;
mod proxy;
mod upgrade;

pub use answer::{
    EngineError, ExceededSetting, refusal, retry_after_s, switching_protocols, whole_seconds,
};
pub use client::{Caller, Client, ClientKey, Forwarded, Peer, TrustedProxies, TrustedProxy};
pub use coding::weighted;
pub use head::{FIELDS_MAX, HEAD_BYTES_MAX, Head, Request, head, is_same_origin};
pub use proxy::{PROXY_BYTES_MAX, Proxied, ProxyHeader, proxy_header};
pub use upgrade::{UPGRADE_REQUIRED, Upgrade};

pub use crate::Fault;

/// Default of the time that a client has to send the head or the body of a request, and of the time for a
/// whole request of an API, in ms.
pub const REQUEST_TIMEOUT_MS: u32 = 30_000;

#[cfg(test)]
mod tests;
