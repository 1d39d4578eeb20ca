//! The percentile distribution text that HdrHistogram plotters read. Values in milliseconds.

use std::fmt::Write as _;

use hdrhistogram::Histogram;

#[must_use]
pub fn text(histogram: &Histogram<u64>) -> String {
    let mut text = String::from("       Value     Percentile TotalCount 1/(1-Percentile)\n\n");
    let mut total = 0;
    for step in histogram.iter_quantiles(5) {
        total += step.count_since_last_iteration();
        let quantile = step.quantile_iterated_to();
        let value_ms = step.value_iterated_to() as f64 / 1e3;
        let inverse =
            if quantile < 1.0 { format!("{:.2}", 1.0 / (1.0 - quantile)) } else { "inf".into() };
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{value_ms:12.3} {quantile:.12} {total:10} {inverse:>14}");
    }
    let _ = writeln!(
        text,
        "#[Mean    = {:12.3}, StdDeviation   = {:12.3}]\n#[Max     = {:12.3}, Total count    = {:12}]\n#[Buckets = {:12}, SubBuckets     = {:12}]",
        histogram.mean() / 1e3,
        histogram.stdev() / 1e3,
        histogram.max() as f64 / 1e3,
        histogram.len(),
        histogram.buckets(),
        2048,
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_row_is_the_maximum_and_counts_everything() {
        let mut histogram = crate::samples::histogram();
        for us in 1..=1_000 {
            histogram.record(us).unwrap();
        }
        let text = text(&histogram);
        let row = text.lines().rfind(|line| line.ends_with("inf")).unwrap();
        let fields: Vec<_> = row.split_whitespace().collect();
        assert_eq!(fields[..3], ["1.000", "1.000000000000", "1000"]);
    }
}
