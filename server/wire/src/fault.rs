use thiserror::Error;

/// A rule of the wire that the peer broke. Always the peer's fault, always the end of its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
pub enum Fault {
    // WebSocket, RFC 6455.
    /// Client frame is not masked (TRN-53).
    #[error("client frame is not masked")]
    Unmasked,
    /// Reserved bit set without an extension (TRN-54).
    #[error("reserved bit set without an extension")]
    ReservedBits,
    /// Reserved opcode (TRN-54).
    #[error("reserved opcode")]
    ReservedOpcode,
    /// Control frame is fragmented (TRN-54).
    #[error("control frame is fragmented")]
    ControlFragmented,
    /// Control frame is longer than 125 bytes (TRN-54).
    #[error("control frame is longer than 125 bytes")]
    ControlTooLong,
    /// Continuation frame without a message to continue (TRN-54).
    #[error("continuation frame without a message to continue")]
    UnexpectedContinuation,
    /// New message inside a fragmented one (TRN-54).
    #[error("new message inside a fragmented one")]
    InterleavedMessage,
    /// Frame length has its top bit set (LIM-2).
    #[error("frame length has its top bit set")]
    LengthOverflow,
    /// Message is longer than the limit (LIM-1).
    #[error("message is longer than the limit")]
    MessageTooLarge,
    /// Message has more fragments than the limit (LIM-2).
    #[error("message has more fragments than the limit")]
    TooManyFragments,
    /// Text is not UTF-8 (TRN-55).
    #[error("text is not UTF-8")]
    TextNotUtf8,
    /// Close frame of one byte (TRN-59).
    #[error("close frame of one byte")]
    CloseTruncated,
    /// Close code must not be sent (TRN-59).
    #[error("close code must not be sent")]
    CloseCodeInvalid,
    /// Close reason is not UTF-8 (TRN-59).
    #[error("close reason is not UTF-8")]
    CloseReasonNotUtf8,

    // Engine.IO packets and payloads.
    /// Empty Engine.IO packet (EIO-11).
    #[error("empty Engine.IO packet")]
    PacketEmpty,
    /// Unknown Engine.IO packet type (EIO-11).
    #[error("unknown Engine.IO packet type")]
    PacketTypeUnknown,
    /// Invalid base64 (EIO-38).
    #[error("invalid base64")]
    Base64Invalid,
    /// Empty payload (TRN-40).
    #[error("empty payload")]
    PayloadEmpty,
    /// Payload is not UTF-8 (EIO-36).
    #[error("payload is not UTF-8")]
    PayloadNotUtf8,
    /// Payload length prefix does not fit its packet (EIO-36).
    #[error("payload length prefix does not fit its packet")]
    PayloadLengthInvalid,
    /// Element of a binary payload is neither text nor binary (EIO-33).
    #[error("element of a binary payload is neither text nor binary")]
    PayloadElementUnknown,
    /// Payload has more packets than the limit (TRN-40).
    #[error("payload has more packets than the limit")]
    PayloadTooManyPackets,
    /// JSONP body without the field d (TRN-72).
    #[error("JSONP body without the field d")]
    JsonpDataMissing,

    // Socket.IO packets.
    /// Unknown Socket.IO packet type (SIO-2).
    #[error("unknown Socket.IO packet type")]
    SioTypeUnknown,
    /// Invalid attachment count (SIO-53).
    #[error("invalid attachment count")]
    AttachmentsInvalid,
    /// Packet has more attachments than the limit (SIO-53).
    #[error("packet has more attachments than the limit")]
    TooManyAttachments,
    /// Ack id is larger than 64 bits (SIO-11).
    #[error("ack id is larger than 64 bits")]
    AckIdOverflow,
    /// Invalid JSON (SIO-6).
    #[error("invalid JSON")]
    JsonInvalid,
    /// JSON is nested deeper than the limit (SIO-10).
    #[error("JSON is nested deeper than the limit")]
    JsonTooDeep,
    /// JSON has more values than the limit (SIO-10).
    #[error("JSON has more values than the limit")]
    JsonTooManyValues,
    /// Packet data is missing (SIO-6).
    #[error("packet data is missing")]
    DataMissing,
    /// Packet data has the wrong shape for its type (SIO-6).
    #[error("packet data has the wrong shape for its type")]
    DataShape,
    /// Event name is reserved (SIO-47).
    #[error("event name is reserved")]
    EventReserved,

    // HTTP request head.
    /// Malformed request head (TRN-52).
    #[error("malformed request head")]
    HeadInvalid,
    /// Request head is longer than the limit (LIM-8).
    #[error("request head is longer than the limit")]
    HeadTooLarge,
    /// Request head has more header fields than the limit (LIM-8).
    #[error("request head has more header fields than the limit")]
    HeadTooManyFields,
    /// Malformed PROXY header, or none from a proxy that has to send one (TRN-83).
    #[error("malformed or missing PROXY header")]
    ProxyHeaderInvalid,
}

impl Fault {
    /// The WebSocket close code a session ends with because of this fault.
    pub fn close_code(&self) -> u16 {
        match self {
            Fault::Unmasked
            | Fault::ReservedBits
            | Fault::ReservedOpcode
            | Fault::ControlFragmented
            | Fault::ControlTooLong
            | Fault::UnexpectedContinuation
            | Fault::InterleavedMessage
            | Fault::LengthOverflow
            | Fault::CloseTruncated
            | Fault::CloseCodeInvalid
            | Fault::HeadInvalid
            | Fault::HeadTooLarge
            | Fault::HeadTooManyFields
            | Fault::ProxyHeaderInvalid => 1002,
            Fault::TextNotUtf8 | Fault::CloseReasonNotUtf8 | Fault::PayloadNotUtf8 => 1007,
            Fault::PacketEmpty
            | Fault::PacketTypeUnknown
            | Fault::Base64Invalid
            | Fault::PayloadEmpty
            | Fault::PayloadLengthInvalid
            | Fault::PayloadElementUnknown
            | Fault::PayloadTooManyPackets
            | Fault::JsonpDataMissing
            | Fault::SioTypeUnknown
            | Fault::AttachmentsInvalid
            | Fault::TooManyAttachments
            | Fault::AckIdOverflow
            | Fault::JsonInvalid
            | Fault::JsonTooDeep
            | Fault::JsonTooManyValues
            | Fault::DataMissing
            | Fault::DataShape
            | Fault::EventReserved => 1008,
            Fault::MessageTooLarge | Fault::TooManyFragments => 1009,
        }
    }

    /// The clause of the protocol text that the peer broke.
    pub fn clause(&self) -> &'static str {
        match self {
            Fault::Unmasked => "TRN-53",
            Fault::ReservedBits
            | Fault::ReservedOpcode
            | Fault::ControlFragmented
            | Fault::ControlTooLong
            | Fault::UnexpectedContinuation
            | Fault::InterleavedMessage => "TRN-54",
            Fault::MessageTooLarge => "LIM-1",
            Fault::LengthOverflow | Fault::TooManyFragments => "LIM-2",
            Fault::TextNotUtf8 => "TRN-55",
            Fault::CloseTruncated | Fault::CloseCodeInvalid | Fault::CloseReasonNotUtf8 => "TRN-59",
            Fault::PacketEmpty | Fault::PacketTypeUnknown => "EIO-11",
            Fault::Base64Invalid => "EIO-38",
            Fault::PayloadEmpty => "TRN-40",
            Fault::PayloadNotUtf8 | Fault::PayloadLengthInvalid => "EIO-36",
            Fault::PayloadElementUnknown => "EIO-33",
            Fault::PayloadTooManyPackets => "TRN-40",
            Fault::JsonpDataMissing => "TRN-72",
            Fault::SioTypeUnknown => "SIO-2",
            Fault::AttachmentsInvalid | Fault::TooManyAttachments => "SIO-53",
            Fault::AckIdOverflow => "SIO-11",
            Fault::JsonInvalid | Fault::DataMissing | Fault::DataShape => "SIO-6",
            Fault::JsonTooDeep | Fault::JsonTooManyValues => "SIO-10",
            Fault::EventReserved => "SIO-47",
            Fault::HeadInvalid => "TRN-52",
            Fault::HeadTooLarge | Fault::HeadTooManyFields => "LIM-8",
            Fault::ProxyHeaderInvalid => "TRN-83",
        }
    }
}

#[cfg(test)]
mod tests;
