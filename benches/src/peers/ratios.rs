//! What Throng promises compared with other servers, held against the results.

use super::cell::SATURATION;
use super::outcome::{Results, Trust};
use super::peer::Peer;
use crate::target::Target;

/// Every promise whose cells were measured. A figure that is only a bound, since the generator was
/// saturated, is taken as it stands: for Throng that errs against it, for others the page says so
/// next to the number. Only a latency of another server that Throng must undercut has to be exact.
#[must_use]
pub fn of(results: &Results) -> Vec<Target> {
    let median = |cell: &str, peer: Peer, figure: &str| {
        let spread = results.entry(cell, peer.name())?.spread(figure)?;
        (!spread.is_void()).then_some(spread.median)
    };
    let full = SATURATION;
    let rate = "deliveries_per_s";
    let mut targets = Vec::new();
    if let Some(own) = median(full, Peer::Throng, rate) {
        targets.push(Target::at_least(format!("deliveries/s, {full}"), own, 8e6, ""));
        for (peer, bound) in [(Peer::Socketioxide, 3.0), (Peer::SocketIo, 40.0)] {
            if let Some(other) = median(full, peer, rate) {
                let what = format!("the same compared with {}", peer.name());
                targets.push(Target::at_least(what, own / other, bound, "×"));
            }
        }
    }
    let (single, cpu) = ("1x1 N=1000", "server.cpu_us_per_delivery");
    for floor in [Peer::FloorEqual, Peer::Floor] {
        if let Some((own, floor_cpu)) =
            median(single, Peer::Throng, cpu).zip(median(single, floor, cpu))
        {
            let what = format!("CPU per delivery, {single}, compared with {}", floor.name());
            targets.push(Target::at_most(what, own / floor_cpu, 1.10, "×"));
        }
    }
    let (fixed, p99) = ("fixed 40k/s N=1000", "latency_us.p99");
    if let Some(own) = median(fixed, Peer::Throng, p99) {
        for peer in [Peer::SocketIo, Peer::Socketioxide, Peer::Socketify] {
            let entry = results.entry(fixed, peer.name());
            let spread = entry.and_then(|entry| entry.spread(p99));
            if let Some(other) = spread.filter(|spread| spread.trust == Trust::Valid) {
                let what = format!("p99, {fixed}, compared with {}", peer.name());
                targets.push(Target::at_most(what, own, other.median, "µs"));
            }
        }
    }
    let share = "80% of own N=1000";
    if let Some(own) = median(share, Peer::Throng, p99) {
        targets.push(Target::at_most(format!("p99, {share}"), own / 1e3, 10.0, "ms"));
    }
    let generator = results.cells().into_iter().find(|cell| cell.starts_with("generator"));
    if let Some(received) = generator.and_then(|cell| median(cell, Peer::FloorPerTurn, rate)) {
        let what = "deliveries/s the generator receives on one core without voiding its run";
        targets.push(Target::at_least(what, received, 4e6, ""));
    }
    targets
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::peers::outcome::{Entry, Run};

    #[test]
    fn ratios_are_of_medians_of_the_same_cell() {
        let entry = |server: Peer, rate: f64, void: &str| Entry {
            cell: SATURATION.into(),
            server: server.name().into(),
            runs: vec![Run {
                figures: BTreeMap::from([("deliveries_per_s".to_owned(), rate)]),
                void_reasons: if void.is_empty() { Vec::new() } else { vec![void.into()] },
                ..Run::default()
            }],
            ..Entry::default()
        };
        let entries = vec![
            entry(Peer::Throng, 9e6, "generator_saturated: x"),
            entry(Peer::Socketioxide, 2e6, ""),
            entry(Peer::SocketIo, 1e6, "generator_starved: x"),
        ];
        let targets = of(&Results { entries, ..Results::default() });
        let measured: Vec<f64> = targets.iter().map(|target| target.measured).collect();
        assert_eq!(measured, [9e6, 4.5], "a void run is no ground for a ratio");
    }
}
