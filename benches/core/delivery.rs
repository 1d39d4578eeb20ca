//! The work of the core alone, for counting the instructions of a delivery
//! (`cargo xtask instructions`).
//!
//! Arguments: members, publishes per turn, turns. Prints how many bytes would have been sent.

#![forbid(unsafe_code)]

use throng_core_benches::{Crowd, publishes};

fn main() {
    let mut args = std::env::args().skip(1).map(|arg| arg.parse().expect("three numbers"));
    let mut next = || args.next().expect("three numbers");
    let (members, count, turns): (u32, u32, u32) = (next(), next(), next());
    let mut crowd = Crowd::new(members);
    let said = publishes(count);
    for _ in 0..turns {
        crowd.hear(members / 2, &mut said.clone());
    }
    println!("{}", crowd.sent_bytes);
}
