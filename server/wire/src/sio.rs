//! Socket.IO packets of protocol 4 (on Engine.IO 3) and protocol 5 (on Engine.IO 4).
//!
//! Text only: binary attachments are the Engine.IO binary messages that follow a packet, and putting
//! them back in the place of their placeholders is the session's business.

mod decode;
mod encode;
mod event_data;
mod members;

pub use decode::{
    Event, Kind, Limits, Packet, decode, decode_with_event, event, first_arg, is_plain_event,
    is_reserved, without_args,
};
pub use encode::{
    begin_event, end_event, put_ack, put_binary_ack, put_binary_event, put_connect,
    put_connect_error, put_disconnect, put_event, put_event_array, put_json_int, put_json_str,
};
pub use event_data::EventData;
pub use members::{Members, Value, members};

pub use crate::Fault;

#[cfg(test)]
mod tests;
