//! The live view: two lines with the state of the run.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::clock::{SECOND_NS, now_ns, seconds};
use crate::samples::{Metric, Samples};
use crate::shared::{Shared, Stage};
use crate::table::time;

pub struct Live {
    bar: ProgressBar,
    detail: ProgressBar,
    shown_ns: u64,
    delivered: u64,
    published: u64,
}

impl Live {
    #[must_use]
    pub fn new(is_live: bool, shared: &Shared) -> Self {
        let total_ms = (shared.scenario.total_s() * 1e3) as u64;
        if !is_live {
            let hidden = ProgressBar::hidden;
            return Self {
                bar: hidden(),
                detail: hidden(),
                shown_ns: 0,
                delivered: 0,
                published: 0,
            };
        }
        let all = MultiProgress::new();
        let bar = all.add(ProgressBar::new(total_ms));
        let detail = all.add(ProgressBar::new_spinner());
        if let Ok(style) = ProgressStyle::with_template("{prefix:>10} {wide_bar} {elapsed} {msg}") {
            bar.set_style(style);
        }
        if let Ok(style) = ProgressStyle::with_template("           {wide_msg}") {
            detail.set_style(style);
        }
        Self { bar, detail, shown_ns: now_ns(), delivered: 0, published: 0 }
    }

    /// Refreshes twice a second at most.
    pub fn show(&mut self, shared: &Shared, per_second: &BTreeMap<u64, (Samples, u64, u64)>) {
        let now_ns = now_ns();
        if self.bar.is_hidden() || now_ns - self.shown_ns < SECOND_NS / 2 {
            return;
        }
        let span_s = seconds(now_ns - self.shown_ns);
        self.shown_ns = now_ns;
        let start_ns = shared.times.start_ns.load(Ordering::Relaxed);
        let at_s = if start_ns == 0 { 0.0 } else { seconds(now_ns.saturating_sub(start_ns)) };
        let prefix = match shared.stage() {
            Stage::Connecting => "connect".to_owned(),
            Stage::Settling => "settle".to_owned(),
            Stage::Running => shared.scenario.phase_at(at_s),
            Stage::Draining | Stage::Done => "drain".to_owned(),
        };
        let delivered = shared.sum(|gauges| &gauges.delivered);
        let published = shared.sum(|gauges| &gauges.published);
        let rate = |now: u64, before: u64| (now - before) as f64 / span_s;
        // Nothing is sampled while the run warms up.
        let sampled = per_second.values().rev().map(|(samples, ..)| samples.of(Metric::Delivery));
        let latency = sampled.take(2).find(|histogram| !histogram.is_empty()).map(|histogram| {
            let at = |quantile| time(histogram.value_at_quantile(quantile) as f64);
            format!("p50 {} p99 {} max {}", at(0.5), at(0.99), time(histogram.max() as f64))
        });
        self.bar.set_prefix(prefix);
        self.bar.set_position((at_s * 1e3) as u64);
        self.bar.set_message(format!(
            "{}/{} clients",
            shared.sum(|gauges| &gauges.joined),
            shared.scenario.clients
        ));
        let fan_out = shared.scenario.clients as f64 * shared.scenario.rooms_per_client as f64
            / shared.scenario.rooms as f64;
        let share = match published {
            0 => 1.0,
            published => delivered as f64 / (published as f64 * fan_out),
        };
        self.detail.set_message(format!(
            "{:.0} published/s  {:.0} delivered/s ({:.1} %)  {}  dup {}  errors {}",
            rate(published, self.published),
            rate(delivered, self.delivered),
            share * 100.0,
            latency.unwrap_or_default(),
            shared.sum(|gauges| &gauges.duplicated),
            shared.sum(|gauges| &gauges.errors),
        ));
        self.bar.tick();
        self.detail.tick();
        (self.delivered, self.published) = (delivered, published);
    }

    pub fn finish(&self) {
        self.detail.finish_and_clear();
        self.bar.finish_and_clear();
    }
}
