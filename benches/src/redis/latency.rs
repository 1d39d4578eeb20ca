//! A user of one node publishes, one message at a time, to members of that node and of another.

use std::io::Write as _;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use throng_loadgen::frame;

use super::member::Member;
use super::{COLUMNS, Lab, Series};
use crate::result::Part;
use crate::users::users;

const WARM_UP: usize = 500;
const MESSAGES: usize = 5_000;
const TIMEOUT: Duration = Duration::from_secs(10);

pub(super) fn part() -> Part {
    let text = format!(
        "Two nodes of one shard each share Redis and PostgreSQL. A user of the first sends \
         {MESSAGES} messages of 128 characters, the next when all have received the last; one \
         member is on the same node and one on the other. The time is from the send to the \
         receipt, and, message by message, what the other node adds."
    );
    Part { name: "latency".into(), ..Part::new("From node to node", text, &COLUMNS) }
}

pub(super) fn run(lab: &Lab, repetition: u32, series: &mut Series) -> anyhow::Result<()> {
    let room = 1_000 + repetition;
    let [here, there] = &lab.nodes;
    let tokens = users(here, 3)?;
    let publisher = Member::enter(here, &tokens[0], room)?;
    let mut stream = publisher.stream()?;
    // Its own copies are read so that its socket does not fill up.
    let _own = publisher.listen("message");
    let near = Member::enter(here, &tokens[1], room)?.listen("message");
    let far = Member::enter(there, &tokens[2], room)?.listen("message");
    let messages = if lab.is_trial { MESSAGES / 50 } else { MESSAGES };
    let (mut on_here, mut on_there, mut added) = (Vec::new(), Vec::new(), Vec::new());
    let text = format!(r#"42["message",{{"roomid":{room},"msg":"{}"}}]"#, "x".repeat(128));
    let mut frame = Vec::new();
    frame::put(&mut frame, frame::TEXT, 0, text.as_bytes());
    for index in 0..WARM_UP + messages {
        let begun = Instant::now();
        stream.write_all(&frame)?;
        let received = |listener: &Receiver<Instant>| -> anyhow::Result<f64> {
            let at = listener.recv_timeout(TIMEOUT).context("every message arrives")?;
            Ok(at.duration_since(begun).as_secs_f64() * 1e6)
        };
        let (near_us, far_us) = (received(&near)?, received(&far)?);
        if index >= WARM_UP {
            on_here.push(near_us);
            on_there.push(far_us);
            added.push((far_us - near_us).max(0.0));
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
