//! The figures of a report by name, as service levels and comparisons name them.

use crate::samples::METRICS;
use crate::stats::Counters;

/// Of each latency, in microseconds, and the number of samples.
pub const OF_LATENCY: [&str; 8] = ["count", "min", "mean", "p50", "p90", "p99", "p999", "max"];
/// Of the server; all need `server_pid`, except for the last.
pub const OF_SERVER: [&str; 8] = [
    "cpu_us_per_delivery",
    "rss_per_connection_bytes",
    "rss_bytes",
    "rss_slope_bytes_per_s",
    "rss_slope_error_bytes_per_s",
    "cpu_share",
    "cpu_us_per_connect",
    COUNTED,
];
/// The server's own count, which needs `server_metrics`.
pub const COUNTED: &str = "counted_deliveries";
/// Of the generator.
pub const OF_GENERATOR: [&str; 6] = [
    "cpu_us_per_delivery",
    "reads",
    "bytes_per_read",
    "ceiling_deliveries_per_s",
    "ceiling_spread",
    "ceiling_share",
];
/// Those that are no counters, histograms or parts.
pub const OF_RUN: [&str; 6] =
    ["completeness", "deliveries_per_s", "publishes_per_s", "connects_per_s", "joined", "errors"];

/// The names of all figures.
#[must_use]
pub fn names() -> Vec<String> {
    let of = |part: &str, names: &[&str]| -> Vec<String> {
        names.iter().map(|name| format!("{part}.{name}")).collect()
    };
    let mut names: Vec<String> =
        OF_RUN.iter().chain(Counters::NAMES).map(|name| (*name).to_owned()).collect();
    for (_, latency) in METRICS {
        names.extend(of(latency, &OF_LATENCY));
    }
    names.extend(of("latency_us", &OF_LATENCY));
    names.extend(of("server", &OF_SERVER));
    names.extend(of("generator", &OF_GENERATOR));
    names
}

/// Why no report can have this figure.
///
/// # Errors
/// There is no figure of this name; the message has the one that resembles it most.
pub fn check(name: &str) -> Result<(), String> {
    let names = names();
    if names.iter().any(|known| known == name) {
        return Ok(());
    }
    // `p99` lacks a name before the point; a few letters less would fit other figures.
    let distance = |known: &&String| {
        let is_last_part = known.rsplit_once('.').is_some_and(|(_, last)| last == name);
        (!is_last_part, strsim::damerau_levenshtein(known, name))
    };
    let nearest = names.iter().min_by_key(distance).map_or("", String::as_str);
    Err(format!("no figure is called {name:?}; is {nearest:?} meant?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_name_is_answered_with_the_nearest() {
        assert_eq!(check("delivery.p99"), Ok(()));
        assert_eq!(check("order_violations"), Ok(()));
        assert!(check("delivry.p99").unwrap_err().contains("\"delivery.p99\""));
        assert!(check("p99").unwrap_err().contains(".p99\""));
        assert!(check("delivery.p95").unwrap_err().contains("\"delivery.p9"));
    }
}
