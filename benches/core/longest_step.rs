//! How long the largest inputs of each kind hold a shard: none may for longer than 5 ms.
//!
//! `cargo run --release -p throng-core-benches --example longest_step` prints, for each kind, the longest
//! step of the best of several runs: what the machine does besides only makes a step longer. Exits with 1
//! if one is too long.

#![forbid(unsafe_code)]

use std::process::ExitCode;
use std::time::{Duration, Instant};

use throng_chat::{Effects, Input, Settings};
use throng_engine::LaneSlots;
use throng_world::chat::World;
use throng_world::{masked, text};

const STEP_MAX: Duration = Duration::from_millis(5);
const PAYLOAD: usize = 4 << 20;
/// What the runtime reads from a socket at once (`shard.read_bytes_max`).
const READ: usize = 32 << 10;
const RUNS: usize = 30;

fn main() -> ExitCode {
    let mut is_slow = false;
    for (name, input) in inputs() {
        let longest = (0..RUNS).map(|_| longest_step(&input)).min().expect("there are runs");
        is_slow |= longest > STEP_MAX;
        let mark = if longest > STEP_MAX { "SLOW" } else { "ok  " };
        println!("{mark} {:7.3} ms  {name}", longest.as_secs_f64() * 1e3);
    }
    if is_slow { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Gives a member's bytes to a shard as its loop does, and answers the longest turn.
fn longest_step(input: &[u8]) -> Duration {
    let settings = Settings { ephemeral: true, publish_per_s: 0, ..Settings::default() };
    let mut world = World::with_lanes(1, settings, 1024);
    world.checks_turns = false;
    let member = world.connect(0, Some(1));
    world.send(member, r#"42["room",{"roomid":1}]"#);
    world.advance(10_000);
    let mut now = world.now;
    let slots =
        LaneSlots { requests: vec![1024], deliveries: vec![1024], commands: 1024, signals: 0 };
    let mut shard = world.into_shard(0);
    let mut effects = Effects::default();
    let mut input = input.to_vec();
    let mut longest = Duration::ZERO;
    for bytes in input.chunks_mut(READ) {
        now = now.plus_ns(50_000);
        let began = Instant::now();
        shard.begin(now, 0, &slots);
        shard.step(Input::Bytes { pipe: member.pipe, bytes }, &mut effects);
        shard.settle(&mut effects);
        longest = longest.max(began.elapsed());
    }
    longest
}

fn inputs() -> Vec<(&'static str, Vec<u8>)> {
    // `x` up to the size of the largest payload.
    let filled = |before: &str, x: &str, after: &str| {
        let count = (PAYLOAD - before.len() - after.len()) / x.len();
        text(&format!("{before}{}{after}", x.repeat(count)))
    };
    let image = r#"42["message",{"roomid":1,"img":"data:image/png;base64,"#;
    vec![
        ("text of 2000 characters", {
            text(&format!(r#"42["message",{{"roomid":1,"msg":"{}"}}]"#, "\u{1F600}".repeat(2000)))
        }),
        ("text of 4 MiB", filled(r#"42["message",{"roomid":1,"msg":""#, "x", r#""}]"#)),
        ("text of 4 MiB, three bytes a character", {
            filled(r#"42["message",{"roomid":1,"msg":""#, "\u{6F22}", r#""}]"#)
        }),
        ("text of 4 MiB of escapes", {
            filled(r#"42["message",{"roomid":1,"msg":""#, "\\n", r#""}]"#)
        }),
        ("text of 4 MiB of escaped characters", {
            filled(r#"42["message",{"roomid":1,"msg":""#, "\\u00e9", r#""}]"#)
        }),
        ("image of 3 MiB", text(&format!("{image}{}\"}}]", "ABCD".repeat((1 << 20) - 64)))),
        ("image of 4 MiB, too large", filled(image, "ABCD", "\"}]")),
        ("image of 4 MiB, slashes escaped", filled(image, "AB\\/D", "\"}]")),
        ("event of 4 MiB without a name that is known", {
            filled(r#"42["dance",""#, "x", r#""]"#)
        }),
        ("name of 4 MiB", filled(r#"42[""#, "x", r#""]"#)),
        ("name of 4 MiB of escapes", filled(r#"42[""#, "\\n", r#""]"#)),
        ("`{}` 32 000 times", text(&format!(r#"42["x"{}]"#, ",{}".repeat(32_000)))),
        ("`{}` as often as fits", filled(r#"42["x""#, ",{}", "]")),
        ("arrays 60 deep, 500 times", {
            let deep = format!(",{}{}", "[".repeat(60), "]".repeat(60));
            text(&format!(r#"42["x"{}]"#, deep.repeat(500)))
        }),
        ("spaces of 4 MiB", filled(r#"42["x","#, " ", "1]")),
        ("number of 4 MiB", filled(r#"42["x","#, "7", "]")),
        ("id of 4 MiB", filled("42", "7", r#"["x"]"#)),
        ("binary event, placeholders", {
            let placeholder = r#",{"_placeholder":true,"num":0}"#;
            text(&format!(r#"451-["message"{}]"#, placeholder.repeat(10_000)))
        }),
        ("binary event, `{}` 32 000 times", {
            let before = r#"451-["message",{"_placeholder":true,"num":0}"#;
            text(&format!("{before}{}]", ",{}".repeat(32_000)))
        }),
        ("binary event of 4 MiB", {
            filled(r#"451-["message",{"_placeholder":true,"num":0},""#, "x", r#""]"#)
        }),
        ("binary event with an attachment of 4 MiB", {
            let mut bytes = text(r#"451-["message",{"_placeholder":true,"num":0}]"#);
            bytes.extend(masked(0x82, &vec![7; PAYLOAD]));
            bytes
        }),
        ("pongs without end", masked(0x8A, b"").repeat(READ / 6)),
        ("pings without end", masked(0x89, b"").repeat(READ / 6)),
        ("unknown events without end", text(r#"42["x"]"#).repeat(READ / 13)),
        ("messages without end", {
            let event = text(r#"42["message",{"roomid":1,"msg":"x"}]"#);
            event.repeat(READ / event.len())
        }),
        ("joins without end", {
            let event = text(r#"42["room",{"roomid":1}]"#);
            event.repeat(READ / event.len())
        }),
    ]
}
