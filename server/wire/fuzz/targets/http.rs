//! A request head is never longer than what came.
#![no_main]

use libfuzzer_sys::fuzz_target;
use throng_wire::http::{Head, head, is_same_origin};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(Head::Complete { len, request }) = head(bytes) {
        assert!(len <= bytes.len());
        let _ = is_same_origin(request.origin.unwrap_or(""), request.host.unwrap_or(""));
    }
});
