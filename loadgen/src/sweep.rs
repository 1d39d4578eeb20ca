//! Runs of one scenario at several rates: how a server's latency grows with its load, and the highest
//! rate that meets the service levels.

use serde::{Deserialize, Serialize};

use crate::report::Report;
use crate::scenario::Scenario;
use crate::slo::Outcome;
use crate::table::{Table, number, percent, time};

pub const SCHEMA: &str = "throng-loadgen-sweep/1";

/// The void reason of a rate that was too low.
const NO_MESSAGE: &str = "nothing_published";

/// A rate of this share of the first one is not looked below.
const LOWEST_SHARE: f64 = 1.0 / 1024.0;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Met,
    Missed,
    /// The numbers of this run cannot be trusted.
    Void,
    /// And would not be at any other rate: nobody joined, or what came has no form that is known.
    VoidAtAnyRate,
}

impl Verdict {
    #[must_use]
    pub fn is_void(self) -> bool {
        matches!(self, Self::Void | Self::VoidAtAnyRate)
    }
}

/// One run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Point {
    pub target: String,
    /// What was asked for: messages per second, or deliveries if the scenario has a delivery rate.
    pub rate: f64,
    /// Clients that had joined when the load began.
    #[serde(default)]
    pub joined: u64,
    pub publishes_per_s: f64,
    pub deliveries_per_s: f64,
    pub p50_us: f64,
    pub p99_us: f64,
    pub p999_us: f64,
    pub max_us: f64,
    pub completeness: Option<f64>,
    pub order_violations: u64,
    pub errors: u64,
    /// The part of the answered messages that the server refused.
    #[serde(default)]
    pub refused_share: f64,
    pub server_cpu_us_per_delivery: Option<f64>,
    /// Of the busiest generator thread.
    pub generator_busy: f64,
    pub slo: Vec<Outcome>,
    pub void_reasons: Vec<String>,
}

impl Point {
    #[must_use]
    pub fn of(report: &Report, target: &str, rate: f64) -> Self {
        let latency = &report.latency_us;
        let busy = report.generator.threads.iter().map(|thread| thread.busy).fold(0.0, f64::max);
        Self {
            target: target.to_owned(),
            rate,
            joined: report.joined,
            publishes_per_s: report.publishes_per_s,
            deliveries_per_s: report.deliveries_per_s,
            p50_us: latency.p50,
            p99_us: latency.p99,
            p999_us: latency.p999,
            max_us: latency.max,
            completeness: report.completeness,
            order_violations: report.counters.order_violations,
            errors: report.errors.values().sum(),
            refused_share: refused_share(report),
            server_cpu_us_per_delivery: report.server.cpu_us_per_delivery,
            generator_busy: busy,
            slo: report.slo.clone(),
            void_reasons: report.void_reasons.clone(),
        }
    }

    #[must_use]
    pub fn verdict(&self) -> Verdict {
        let is_any_rates =
            |why: &String| why.starts_with("nothing_") && !why.starts_with(NO_MESSAGE);
        if !self.void_reasons.is_empty() {
            let is_any = self.joined == 0 || self.void_reasons.iter().any(is_any_rates);
            if is_any { Verdict::VoidAtAnyRate } else { Verdict::Void }
        } else if self.slo.iter().all(|outcome| outcome.met) && !self.is_refused() {
            Verdict::Met
        } else {
            Verdict::Missed
        }
    }

    /// The server takes less than it was asked to: what it takes says nothing about this rate.
    fn is_refused(&self) -> bool {
        /// As in a share of one in a hundred messages.
        const REFUSED_MAX: f64 = 0.01;
        self.refused_share > REFUSED_MAX
    }

    /// The verdict in words.
    #[must_use]
    pub fn words(&self) -> String {
        let missed = self.slo.iter().filter(|outcome| !outcome.met);
        match self.verdict() {
            Verdict::Met if self.slo.is_empty() => "valid".to_owned(),
            Verdict::Met => "met".to_owned(),
            Verdict::Missed => {
                let mut list: Vec<String> = missed.map(|outcome| outcome.slo.clone()).collect();
                if self.is_refused() {
                    list.push(format!("{:.0} % refused", self.refused_share * 100.0));
                }
                format!("missed: {}", list.join(", "))
            }
            Verdict::Void | Verdict::VoidAtAnyRate => {
                let reasons = self.void_reasons.iter().filter_map(|why| why.split(':').next());
                let mut reasons: Vec<&str> = reasons.collect();
                reasons.dedup();
                format!("void: {}", reasons.join(", "))
            }
        }
    }
}

fn refused_share(report: &Report) -> f64 {
    let counters = &report.counters;
    let answered = counters.acked + counters.refused;
    if answered == 0 { 0.0 } else { counters.refused as f64 / answered as f64 }
}

/// What ended a search.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    /// The next rate tried misses a service level.
    ServiceLevel,
    /// The next rate tried gives numbers that cannot be trusted; often the generator's own limit.
    Void,
    /// The first rate gives none either, for a reason that is that of every rate.
    AnyRate,
    /// The highest rate that was allowed is met.
    Highest,
    Interrupt,
}

/// The answer of a search.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Found {
    /// The highest rate that met all service levels; none: not even a thousandth of the first did.
    pub rate: Option<f64>,
    /// The lowest rate above it that did not.
    pub above: Option<f64>,
    pub limit: Limit,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Sweep {
    pub schema: String,
    /// `search` or `curve`.
    pub kind: String,
    pub name: String,
    pub version: String,
    pub machine: String,
    pub finished_unix_s: u64,
    pub scenario: Scenario,
    /// In the order in which they were measured.
    pub points: Vec<Point>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub found: Option<Found>,
}

impl Sweep {
    #[must_use]
    pub fn table(&self) -> Table {
        let head = [
            "target",
            "rate/s",
            "verdict",
            "published/s",
            "delivered/s",
            "p50",
            "p99",
            "p99.9",
            "max",
            "complete",
            "order",
            "errors",
            "CPU µs",
            "generator",
        ];
        let mut table = Table::new(head);
        let mut points: Vec<&Point> = self.points.iter().collect();
        points.sort_by(|a, b| a.target.cmp(&b.target).then(a.rate.total_cmp(&b.rate)));
        for point in points {
            let times = [point.p50_us, point.p99_us, point.p999_us, point.max_us].map(time);
            let asked = [point.target.clone(), number(point.rate), point.words()];
            let rates = [point.publishes_per_s, point.deliveries_per_s].map(number);
            let rest = [
                percent(point.completeness),
                point.order_violations.to_string(),
                point.errors.to_string(),
                point.server_cpu_us_per_delivery.map_or("–".to_owned(), number),
                format!("{:.0} %", point.generator_busy * 100.0),
            ];
            table.row(asked.into_iter().chain(rates).chain(times).chain(rest));
        }
        table
    }

    /// One sentence.
    #[must_use]
    pub fn answer(&self) -> Option<String> {
        let found = self.found.as_ref()?;
        let unit = if self.scenario.load.delivery_rate > 0.0 { "deliveries" } else { "messages" };
        let above = found.above.map_or(String::new(), |rate| format!(" at {}", number(rate)));
        let why = match found.limit {
            Limit::ServiceLevel => format!("an SLO is missed or messages are refused{above}"),
            Limit::Void => format!("the run{above} is void"),
            Limit::AnyRate => format!("the run{above} is void, and would be at any rate"),
            Limit::Highest => "no higher rate was allowed".to_owned(),
            Limit::Interrupt => "the search was interrupted".to_owned(),
        };
        Some(match found.rate {
            Some(rate) => {
                format!("Highest rate that meets all SLOs: {} {unit}/s; {why}.", number(rate))
            }
            None => format!("No rate that was tried meets all SLOs: {why}."),
        })
    }
}

/// Makes the scenario one of this rate.
pub fn set_rate(scenario: &mut Scenario, rate: f64) {
    if scenario.load.delivery_rate > 0.0 {
        scenario.load.delivery_rate = rate;
    } else {
        scenario.load.rate = rate;
    }
}

/// The rate of a scenario.
#[must_use]
pub fn rate_of(scenario: &Scenario) -> f64 {
    if scenario.load.delivery_rate > 0.0 { scenario.load.delivery_rate } else { scenario.load.rate }
}

/// Doubles the rate until it is not met, then bisects (geometrically) until the highest rate that is met
/// and the lowest that is not differ by at most `precision`, a share. `measure` has none to say when it
/// was interrupted.
///
/// # Errors
/// Those of `measure`.
pub fn search(
    (from, to): (f64, f64),
    precision: f64,
    mut measure: impl FnMut(f64) -> anyhow::Result<Option<Verdict>>,
) -> anyhow::Result<Found> {
    let (mut met, mut not_met): (Option<f64>, Option<(f64, Verdict)>) = (None, None);
    let mut rate = from.min(to);
    loop {
        let found = |limit| {
            let above = not_met.map(|(rate, _)| rate);
            Ok(Found { rate: met, above, limit })
        };
        let Some(verdict) = measure(rate)? else { return found(Limit::Interrupt) };
        match verdict {
            Verdict::Met => met = Some(rate),
            Verdict::Missed | Verdict::Void | Verdict::VoidAtAnyRate => {
                not_met = Some((rate, verdict));
            }
        }
        if verdict == Verdict::VoidAtAnyRate && met.is_none() {
            return Ok(Found { rate: None, above: Some(rate), limit: Limit::AnyRate });
        }
        let limit = match not_met {
            Some((_, verdict)) if verdict.is_void() => Limit::Void,
            _ => Limit::ServiceLevel,
        };
        let above = not_met.map(|(rate, _)| rate);
        rate = match (met, above) {
            (Some(met), None) if met >= to => {
                return Ok(Found { rate: Some(met), above, limit: Limit::Highest });
            }
            (Some(met), None) => (met * 2.0).min(to),
            (Some(met), Some(above)) if above <= met * (1.0 + precision) => {
                return Ok(Found { rate: Some(met), above: Some(above), limit });
            }
            (Some(met), Some(above)) => (met * above).sqrt(),
            (None, Some(above)) if above <= from * LOWEST_SHARE => {
                return Ok(Found { rate: None, above: Some(above), limit });
            }
            (None, Some(above)) => above / 2.0,
            (None, None) => unreachable!("one of them has just been set"),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that meets all up to `limit`; returns what was found in how many runs.
    fn search_for(limit: f64, beyond: Verdict, to: f64) -> (Found, u32) {
        let mut runs = 0;
        let found = search((10.0, to), 0.05, |rate| {
            runs += 1;
            Ok(Some(if rate <= limit { Verdict::Met } else { beyond }))
        });
        (found.unwrap(), runs)
    }

    #[test]
    fn a_reason_that_is_that_of_every_rate_ends_the_search_with_its_first_run() {
        let (found, runs) = search_for(0.0, Verdict::VoidAtAnyRate, 1e6);
        assert_eq!((found.rate, found.limit, runs), (None, Limit::AnyRate, 1));
        let (found, _) = search_for(100.0, Verdict::VoidAtAnyRate, 1e6);
        assert!(found.rate.is_some() && found.limit == Limit::Void, "{found:?}");
    }

    #[test]
    fn the_limit_is_found_to_the_precision_asked_for() {
        for limit in [3.0, 10.0, 1_234.0, 77_777.0] {
            let (found, runs) = search_for(limit, Verdict::Missed, 1e6);
            let rate = found.rate.unwrap();
            assert!(rate <= limit && rate * 1.05 >= limit, "{rate} for {limit}");
            assert!(found.above.unwrap() > limit && found.limit == Limit::ServiceLevel);
            assert!(runs <= 25, "{runs}");
        }
    }

    #[test]
    fn what_ends_a_search_is_said() {
        assert_eq!(search_for(1e9, Verdict::Missed, 500.0).0.limit, Limit::Highest);
        assert_eq!(search_for(1e9, Verdict::Missed, 500.0).0.rate, Some(500.0));
        assert_eq!(search_for(100.0, Verdict::Void, 500.0).0.limit, Limit::Void);
        assert_eq!(search_for(0.0, Verdict::Missed, 500.0).0.rate, None);
        let interrupted = search((10.0, 20.0), 0.1, |_| Ok(None)).unwrap();
        assert_eq!((interrupted.rate, interrupted.limit), (None, Limit::Interrupt));
    }

    #[test]
    fn a_rate_that_the_server_refuses_is_not_met() {
        let mut report = Report::default();
        (report.counters.acked, report.counters.refused) = (99, 1);
        assert_eq!(Point::of(&report, "a", 1.0).verdict(), Verdict::Met);
        report.counters.refused = 33;
        let point = Point::of(&report, "a", 1.0);
        assert_eq!(
            (point.verdict(), point.words().as_str()),
            (Verdict::Missed, "missed: 25 % refused")
        );
    }

    #[test]
    fn a_table_is_sorted_by_target_and_rate_and_has_the_verdicts() {
        let point = |target: &str, rate| Point { target: target.into(), rate, ..Point::default() };
        let mut void = point("a", 9.0);
        void.void_reasons.push("generator_saturated: 99 %".into());
        let sweep =
            Sweep { points: vec![point("b", 2.0), void, point("a", 4.0)], ..Sweep::default() };
        let text = sweep.table().text();
        let starts: Vec<&str> = text.lines().skip(1).map(|line| &line[..1]).collect();
        assert_eq!(starts, ["a", "a", "b"]);
        assert!(text.lines().nth(2).unwrap().contains("void: generator_saturated"), "{text}");
    }
}
