//! The words of a refusal: ERR's table.

use super::lane::Refusal;
use crate::counters::Counters;

impl Refusal {
    pub(crate) fn code(self) -> &'static str {
        match self {
            Refusal::Unauthenticated => "unauthenticated",
            Refusal::InvalidArgument => "invalid_argument",
            Refusal::UnknownEvent => "unknown_event",
            Refusal::UnknownRoom => "unknown_room",
            Refusal::NotMember => "not_member",
            Refusal::TooLarge => "too_large",
            Refusal::RateLimited => "rate_limited",
            Refusal::RoomLimit => "room_limit",
            Refusal::Busy => "busy",
            Refusal::StorageUnavailable => "storage_unavailable",
            Refusal::BinaryUnsupported => "binary_unsupported",
            Refusal::ImageInvalid => "image_invalid",
        }
    }

    pub(crate) fn message(self) -> &'static str {
        match self {
            Refusal::Unauthenticated => "Login to enter chat room",
            Refusal::InvalidArgument => "An argument is missing or has the wrong type",
            Refusal::UnknownEvent => "No such event",
            Refusal::UnknownRoom => "No such room",
            Refusal::NotMember => "Enter the room first",
            Refusal::TooLarge => "The message is too long",
            Refusal::RateLimited => "Too many requests, slow down",
            Refusal::RoomLimit => "In too many rooms already",
            Refusal::Busy => "The server is busy, try again",
            Refusal::StorageUnavailable => "The message could not be stored, try again",
            Refusal::BinaryUnsupported => "This event takes no binary data",
            Refusal::ImageInvalid => "Not a PNG, JPEG, GIF or WebP image, or too large",
        }
    }

    pub(crate) fn counter(self, counters: &mut Counters) -> &mut u64 {
        match self {
            Refusal::Unauthenticated => &mut counters.refused_unauthenticated,
            Refusal::InvalidArgument => &mut counters.refused_invalid_argument,
            Refusal::UnknownEvent => &mut counters.refused_unknown_event,
            Refusal::UnknownRoom => &mut counters.refused_unknown_room,
            Refusal::NotMember => &mut counters.refused_not_member,
            Refusal::TooLarge => &mut counters.refused_too_large,
            Refusal::RateLimited => &mut counters.refused_rate_limited,
            Refusal::RoomLimit => &mut counters.refused_room_limit,
            Refusal::Busy => &mut counters.refused_busy,
            Refusal::StorageUnavailable => &mut counters.refused_storage_unavailable,
            Refusal::BinaryUnsupported => &mut counters.refused_binary_unsupported,
            Refusal::ImageInvalid => &mut counters.refused_image_invalid,
        }
    }
}
