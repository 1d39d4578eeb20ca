//! A line through readings over time, fitted by least squares.

/// Fewer readings say nothing about a trend.
const READINGS_MIN: usize = 10;

/// Slope per second and its standard error, of (seconds, value); none of fewer than ten readings.
#[must_use]
pub fn fit(readings: &[(f64, f64)]) -> Option<(f64, f64)> {
    if readings.len() < READINGS_MIN {
        return None;
    }
    let count = readings.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| readings.iter().map(of).sum::<f64>() / count;
    let (x_mean, y_mean) = (mean(|reading| reading.0), mean(|reading| reading.1));
    let spread: f64 = readings.iter().map(|(x, _)| (x - x_mean).powi(2)).sum();
    if spread <= 0.0 {
        return None;
    }
    let slope = readings.iter().map(|(x, y)| (x - x_mean) * (y - y_mean)).sum::<f64>() / spread;
    let rest = |(x, y): &(f64, f64)| (y - y_mean - slope * (x - x_mean)).powi(2);
    let variance = readings.iter().map(rest).sum::<f64>() / (count - 2.0);
    Some((slope, (variance / spread).sqrt()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_found_and_noise_shows_in_the_error() {
        let line: Vec<_> = (0..60).map(|s| (f64::from(s), 5e6 + 2048.0 * f64::from(s))).collect();
        let (slope, error) = fit(&line).unwrap();
        assert!((slope - 2048.0).abs() < 1e-6 && error < 1e-3, "{slope} {error}");
        let noisy: Vec<_> = line
            .iter()
            .map(|(s, y)| (*s, y + if (*s as u32).is_multiple_of(2) { 9e4 } else { -9e4 }))
            .collect();
        let (slope, error) = fit(&noisy).unwrap();
        assert!((slope - 2048.0).abs() < 3.0 * error && error > 300.0, "{slope} {error}");
        assert_eq!(fit(&line[..9]), None);
        assert_eq!(fit(&[(1.0, 2.0); 20]), None);
    }
}
