use thiserror::Error;

/// A rule of the wire that the peer broke. Always the peer's fault, always the end of its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
pub enum Fault {
    // WebSocket, RFC 6455.
    #[error("client frame is not masked")]
    Unmasked,
    #[error("reserved bit set without an extension")]
    ReservedBits,
    #[error("reserved opcode")]
    ReservedOpcode,
    #[error("control frame is fragmented")]
    ControlFragmented,
    #[error("control frame is longer than 125 bytes")]
    ControlTooLong,
    #[error("continuation frame without a message to continue")]
    UnexpectedContinuation,
    #[error("new message inside a fragmented one")]
    InterleavedMessage,
    #[error("frame length has its top bit set")]
    LengthOverflow,
    #[error("message is longer than the limit")]
    MessageTooLarge,
    #[error("message has more fragments than the limit")]
    TooManyFragments,
    #[error("text is not UTF-8")]
    TextNotUtf8,
    #[error("close frame of one byte")]
    CloseTruncated,
    #[error("close code must not be sent")]
    CloseCodeInvalid,
    #[error("close reason is not UTF-8")]
    CloseReasonNotUtf8,

    // Engine.IO packets and payloads.
    #[error("empty Engine.IO packet")]
    PacketEmpty,
    #[error("unknown Engine.IO packet type")]
    PacketTypeUnknown,
    #[error("invalid base64")]
    Base64Invalid,
    #[error("empty payload")]
    PayloadEmpty,
    #[error("payload is not UTF-8")]
    PayloadNotUtf8,
    #[error("payload length prefix does not fit its packet")]
    PayloadLengthInvalid,
    #[error("element of a binary payload is neither text nor binary")]
    PayloadElementUnknown,
    #[error("payload has more packets than the limit")]
    PayloadTooManyPackets,
    #[error("JSONP body without the field d")]
    JsonpDataMissing,

    // Socket.IO packets.
    #[error("unknown Socket.IO packet type")]
    SioTypeUnknown,
    #[error("invalid attachment count")]
    AttachmentsInvalid,
    #[error("packet has more attachments than the limit")]
    TooManyAttachments,
    #[error("ack id is larger than 64 bits")]
    AckIdOverflow,
    #[error("invalid JSON")]
    JsonInvalid,
    #[error("JSON is nested deeper than the limit")]
    JsonTooDeep,
    #[error("packet data is missing")]
    DataMissing,
    #[error("packet data has the wrong shape for its type")]
    DataShape,
    #[error("event name is reserved")]
    EventReserved,

    // HTTP request head.
    #[error("malformed request head")]
    HeadInvalid,
    #[error("request head is longer than the limit")]
    HeadTooLarge,
    #[error("request head has more header fields than the limit")]
    HeadTooManyFields,
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
            | Fault::HeadTooManyFields => 1002,
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
            Fault::JsonTooDeep => "SIO-10",
            Fault::EventReserved => "SIO-47",
            Fault::HeadInvalid => "TRN-52",
            Fault::HeadTooLarge | Fault::HeadTooManyFields => "LIM-8",
        }
    }
}

#[cfg(test)]
mod tests;
