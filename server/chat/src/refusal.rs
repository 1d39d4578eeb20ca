//! Why requests are refused: ERR's table.

use crate::counters::Counters;
use crate::quota::Exceeded;

/// Declares the refusals: code, counter, and the text for people.
macro_rules! refusals {
    ($($refusal:ident $code:literal $counter:ident $message:literal;)+) => {
        /// Why a request of a client is refused: the codes of ERR.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Refusal {
            $($refusal,)+
        }

        impl Refusal {
            #[cfg(test)]
            const ALL: &[Refusal] = &[$(Refusal::$refusal),+];

            pub(crate) fn code(self) -> &'static str {
                match self {
                    $(Refusal::$refusal => $code,)+
                }
            }

            pub(crate) fn message(self) -> &'static str {
                match self {
                    $(Refusal::$refusal => $message,)+
                }
            }

            pub(crate) fn counter(self, counters: &mut Counters) -> &mut u64 {
                match self {
                    $(Refusal::$refusal => &mut counters.$counter,)+
                }
            }
        }
    };
}

/// A refusal, and when what was refused would be accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) why: Refusal,
    pub(crate) retry_after_ms: Option<u64>,
}

impl From<Refusal> for Refused {
    fn from(why: Refusal) -> Refused {
        Refused { why, retry_after_ms: None }
    }
}

impl From<Exceeded> for Refused {
    fn from(exceeded: Exceeded) -> Refused {
        let why = match exceeded {
            Exceeded::Rate { .. } => Refusal::RateLimited,
            Exceeded::Bytes { .. } => Refusal::QuotaExceeded,
        };
        Refused { why, retry_after_ms: Some(u64::from(exceeded.wait_s()) * 1000) }
    }
}

refusals! {
    Unauthenticated "unauthenticated" refused_unauthenticated "Login to enter chat room";
    InvalidArgument "invalid_argument" refused_invalid_argument
        "An argument is missing or has the wrong type";
    UnknownEvent "unknown_event" refused_unknown_event "No such event";
    UnknownRoom "unknown_room" refused_unknown_room "No such room";
    NotMember "not_member" refused_not_member "Enter the room first";
    TooLarge "too_large" refused_too_large "This is too long";
    RateLimited "rate_limited" refused_rate_limited "Too many requests, slow down";
    QuotaExceeded "quota_exceeded" refused_quota_exceeded
        "You have sent as much as you may in a day, try again later";
    RoomLimit "room_limit" refused_room_limit "In too many rooms already";
    Busy "busy" refused_busy "The server is busy, try again";
    StorageUnavailable "storage_unavailable" refused_storage_unavailable
        "This could not be stored or looked up, try again";
    UnknownOutcome "unknown_outcome" refused_unknown_outcome
        "Whether the message was stored is unknown, send it again with the same cid";
    BinaryUnsupported "binary_unsupported" refused_binary_unsupported
        "This event takes no binary data";
    ImageInvalid "image_invalid" refused_image_invalid
        "Not a PNG, JPEG, GIF or WebP image, or too large";
}

#[cfg(test)]
mod tests {
    use throng_tables::metrics::{Series, Table};

    use super::{Counters, Refusal};

    #[test]
    fn each_refusal_is_counted_under_its_code() {
        let series = Counters::FAMILIES.iter().flat_map(|family| match family.series {
            Series::Fixed(series) => series.iter().map(|labels| (family.name, *labels)),
            Series::Dynamic(_) => unreachable!("the fields of a table are known"),
        });
        let series: Vec<_> = series.collect();
        for refusal in Refusal::ALL {
            let mut counters = Counters::default();
            *refusal.counter(&mut counters) += 1;
            let counted: Vec<_> =
                series.iter().zip(counters.values()).filter(|(_, value)| *value > 0).collect();
            assert_eq!(counted, [(&("refusals", &[("code", refusal.code())][..]), 1)]);
        }
    }
}
