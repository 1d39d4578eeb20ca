//! The bytes on the wire and nothing else: WebSocket frames (RFC 6455, server side), Engine.IO 3 and 4
//! packets and payloads, Socket.IO packets of protocol 4 and 5, the request head of a connection, and the paths
//! of stored images.
//!
//! Everything here is pure: no I/O, no clock, no state besides a WebSocket decoder's unfinished
//! message. Whatever a peer sends ends in a value or in a [`Fault`], never in a panic.
//!
//! | layer | module | reads | writes |
//! |---|---|---|---|
//! | request head of a connection | [`http`] | [`http::head`] | [`http::refusal`], [`http::switching_protocols`] |
//! | WebSocket | [`ws`] | [`ws::Decoder`] | [`ws::text_frame`], [`ws::put_header`] |
//! | Engine.IO | [`eio`] | [`eio::decode_text`], [`eio::payload::decode`] | [`eio::put_message`], [`eio::payload::encode`] |
//! | Socket.IO | [`sio`] | [`sio::decode`] | [`sio::put_event`], [`sio::put_ack`] |
//! | stored images | [`image_path`] | [`image_path::ImagePath::parse`] | [`image_path::ImagePath`] |
//!
//! An event with an ack, and its answer:
//!
//! ```
//! use throng_wire::{Fault, eio, sio};
//!
//! let frame = r#"4213["say",{"room":"lobby"}]"#;
//! let packet = eio::decode_text(eio::Version::V4, frame)?;
//! assert_eq!(packet.kind, eio::Kind::Message);
//!
//! let eio::Data::Text(text) = packet.data else { unreachable!("it came as text") };
//! let packet = sio::decode(text, &sio::Limits::default())?;
//! assert_eq!((packet.kind, packet.ack), (sio::Kind::Event, Some(13)));
//!
//! let mut answer = String::new();
//! sio::put_ack(&mut answer, packet.namespace, 13, r#"{"ok":true}"#);
//! assert_eq!(answer, r#"4313[{"ok":true}]"#);
//!
//! assert_eq!(eio::decode_text(eio::Version::V4, ""), Err(Fault::PacketEmpty));
//! # Ok::<(), Fault>(())
//! ```

#![forbid(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::wildcard_enum_match_arm))]
#![warn(missing_docs)]

pub mod eio;
pub mod http;
pub mod image_path;
pub mod sio;
pub mod ws;

mod fault;
mod json;
mod sink;
#[cfg(test)]
mod sweep;
#[cfg(test)]
mod vectors;

pub use fault::Fault;
pub use sink::Sink;
