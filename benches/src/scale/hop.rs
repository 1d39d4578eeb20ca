//! One item over a lane from one shard's core to another's.

use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use throng_loadgen::clock::now_ns;
use throng_loadgen::samples::histogram;
use throng_loadgen::thread::pin;
use throng_mesh::{Bell, Receiver, Sender, lane};

use super::Lab;
use crate::result::{Part, Row};
use crate::target::Target;

const ROUNDS: u64 = 200_000;
/// The last item of a direction.
const END: u64 = u64::MAX;

/// How the receiving side waits.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Waiting {
    /// It polls, as a shard with other work does.
    Awake,
    /// It sleeps until the bell rings, as an idle shard does.
    Parked,
}

/// One side: its sender, its receiver, and its own bell.
struct Side {
    to: Sender<u64>,
    from: Receiver<u64>,
    bell: Arc<Bell>,
}

impl Side {
    fn send(&mut self, item: u64) {
        // The lane holds far more than the one item that is ever under way.
        let _ = self.to.push(item);
        self.to.ring();
    }

    fn receive(&mut self, waiting: Waiting) -> anyhow::Result<u64> {
        loop {
            if let Some(item) = self.from.pop() {
                return Ok(item);
            }
            match waiting {
                Waiting::Awake => std::hint::spin_loop(),
                Waiting::Parked => {
                    if self.bell.park(|| self.from.is_empty()) {
                        let mut fds = [PollFd::new(self.bell.as_fd(), PollFlags::POLLIN)];
                        poll(&mut fds, PollTimeout::NONE)?;
                        self.bell.clear();
                    }
                    self.bell.wake();
                }
            }
        }
    }
}

pub(super) fn run(lab: &Lab) -> anyhow::Result<Part> {
    let mut part = Part::new(
        "Cross-shard hop",
        "An item with a time stamp goes over a lane to a thread on the other core, and one comes \
         back: the time from before the push to after the pop, one way, the same clock on both \
         sides. Awake: the receiver polls, as a shard with work does at every turn. Parked: \
         it sleeps on its bell."
            .into(),
        &[("p50_us", "p50, µs"), ("p99_us", "p99, µs"), ("max_us", "max, µs"), ("hops", "hops")],
    );
    let other = lab.cores.generator.first().copied().unwrap_or(1);
    for (name, waiting) in [("both awake", Waiting::Awake), ("receiver parked", Waiting::Parked)] {
        let rounds = if lab.is_trial { 1_000 } else { ROUNDS };
        let rounds = if waiting == Waiting::Parked { rounds / 10 } else { rounds };
        eprintln!("hop, {name}");
        let nanos = hops(waiting, rounds, (lab.cores.server, other))?;
        let at = |quantile| nanos.value_at_quantile(quantile) as f64 / 1e3;
        let figures = [
            ("p50_us", at(0.5)),
            ("p99_us", at(0.99)),
            ("max_us", at(1.0)),
            ("hops", nanos.len() as f64),
        ];
        let figures = figures.map(|(figure, value)| (figure.to_owned(), value)).into();
        part.rows.push(Row { name: name.into(), figures, ..Row::default() });
    }
    if let Some(p50_us) = part.median("both awake", "p50_us") {
        let what = "cross-shard hop, median, both awake";
        part.targets.push(Target::at_most(what, p50_us, 20.0, "µs"));
    }
    Ok(part)
}

/// Nanoseconds of each hop there; the way back only keeps the two in step.
fn hops(
    waiting: Waiting,
    rounds: u64,
    (here, there): (usize, usize),
) -> anyhow::Result<hdrhistogram::Histogram<u64>> {
    let bells = [Arc::new(Bell::new()?), Arc::new(Bell::new()?)];
    let (to_there, from_here) = lane::<u64>(64, Arc::clone(&bells[1]));
    let (to_here, from_there) = lane::<u64>(64, Arc::clone(&bells[0]));
    let [own_bell, other_bell] = bells;
    let mut near = Side { to: to_there, from: from_there, bell: own_bell };
    let mut far = Side { to: to_here, from: from_here, bell: other_bell };
    thread::scope(|scope| {
        let echo = scope.spawn(move || -> anyhow::Result<_> {
            pin(there)?;
            let mut nanos = histogram();
            loop {
                let sent_ns = far.receive(waiting)?;
                if sent_ns == END {
                    return Ok(nanos);
                }
                nanos.saturating_record(now_ns().saturating_sub(sent_ns).max(1));
                far.send(0);
            }
        });
        let asking = scope.spawn(move || -> anyhow::Result<()> {
            pin(here)?;
            for _ in 0..rounds {
                if waiting == Waiting::Parked {
                    // Time enough for the other side to fall asleep.
                    thread::sleep(Duration::from_micros(50));
                }
                near.send(now_ns());
                near.receive(waiting)?;
            }
            near.send(END);
            Ok(())
        });
        let asked = asking.join().map_err(|_| anyhow::anyhow!("the asking thread panicked"))?;
        let nanos = echo.join().map_err(|_| anyhow::anyhow!("the answering thread panicked"))?;
        asked?;
        nanos
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_hop_is_timed_however_the_receiver_waits() {
        for waiting in [Waiting::Awake, Waiting::Parked] {
            let nanos = hops(waiting, 50, (0, 0)).unwrap();
            assert_eq!(nanos.len(), 50);
        }
    }
}
