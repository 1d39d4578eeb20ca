//! Chapter 1: HTTP and transports.

use crate::case::{Case, EVERY, Outcome, case};
use crate::context::Context;

pub const CASES: &[Case] = &[case(
    "trn.connect",
    &["TRN-44"],
    EVERY,
    &[],
    ("connects", "works"),
    connect,
)];

fn connect(context: &Context) -> Outcome {
    let socket = context.socket()?;
    socket.close();
    Ok(())
}
