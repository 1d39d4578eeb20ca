//! The request head of a fresh connection, read just far enough to upgrade it to WebSocket here or to
//! hand it to a full HTTP server; and who sent it, behind whatever proxies.

mod answer;
mod client;
mod head;
mod proxy;

pub use answer::{EngineError, refusal, retry_after_s, switching_protocols};
pub use client::{Caller, Client, ClientKey, Forwarded, Peer, TrustedProxies, TrustedProxy};
pub use head::{
    FIELDS_MAX, HEAD_BYTES_MAX, Head, Request, Upgrade, first_protocol, head, is_same_origin,
    is_websocket_key,
};
pub use proxy::{PROXY_BYTES_MAX, Proxied, ProxyHeader, proxy_header};

pub use crate::Fault;

#[cfg(test)]
mod tests;
