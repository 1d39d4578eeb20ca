//! Somebody on the first node talks, one message after the other, and is heard there and on the
//! other.

use std::io::Write as _;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use super::member::{Member, users};
use super::{COLUMNS, Lab, Series};
use crate::result::Part;

const WARM_UP: usize = 500;
const MESSAGES: usize = 5_000;
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) fn part() -> Part {
    let text = format!(
        "Two nodes of one shard each share Redis and PostgreSQL. Somebody on the first sends \
         {MESSAGES} messages of 128 characters, the next when all have heard the last; a member on \
         the same node and one on the other hear it. From the send on, and, message by message, \
         what the other node adds."
    );
    Part { name: "latency".into(), ..Part::new("From node to node", text, &COLUMNS) }
}

pub(super) fn run(lab: &Lab, repetition: u32, series: &mut Series) -> anyhow::Result<()> {
    let room = 1_000 + repetition;
    let [here, there] = &lab.nodes;
    let tokens = users(here, 3)?;
    let publisher = Member::enter(here, &tokens[0], room)?;
    let mut stream = publisher.stream()?;
    // What it hears itself is read so that its socket does not fill up.
    let _own = publisher.listen("message");
    let beside = Member::enter(here, &tokens[1], room)?.listen("message");
    let beyond = Member::enter(there, &tokens[2], room)?.listen("message");
    let messages = if lab.is_trial { MESSAGES / 50 } else { MESSAGES };
    let (mut on_here, mut on_there, mut added) = (Vec::new(), Vec::new(), Vec::new());
    let said = format!(r#"42["message",{{"roomid":{room},"msg":"{}"}}]"#, "x".repeat(128));
    let frame = masked(&said);
    for index in 0..WARM_UP + messages {
        let begun = Instant::now();
        stream.write_all(&frame)?;
        let heard = |listener: &Receiver<Instant>| -> anyhow::Result<f64> {
            let at = listener.recv_timeout(PATIENCE).context("every message is heard")?;
            Ok(at.duration_since(begun).as_secs_f64() * 1e6)
        };
        let (near, far) = (heard(&beside)?, heard(&beyond)?);
        if index >= WARM_UP {
            on_here.push(near);
            on_there.push(far);
            added.push((far - near).max(0.0));
        }
    }
    for (name, mut times) in [
        ("to a member on the same node", on_here),
        ("to a member on the other node", on_there),
        ("added by the other node", added),
    ] {
        times.sort_by(f64::total_cmp);
        for (figure, part) in [("p50", 500), ("p99", 990)] {
            series.add(format!("{name}, {figure}, µs"), times[times.len() * part / 1000]);
        }
    }
    Ok(())
}

/// A text frame of a client, with a mask that changes nothing.
fn masked(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).expect("it is short").to_be_bytes();
    [&[0x81, 0x80 | 126][..], &length, &[0; 4], text.as_bytes()].concat()
}
