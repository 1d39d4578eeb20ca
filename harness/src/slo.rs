//! Bounds of quantiles, such as p99=5ms.

use std::fmt;
use std::time::Duration;

/// One bound, such as p99=5ms.
#[derive(Clone, Debug, PartialEq)]
pub struct Slo {
    /// 0 to 1; 1 is the maximum.
    pub quantile: f64,
    pub bound: Duration,
}

impl Slo {
    pub fn parse(text: &str) -> Result<Slo, String> {
        let wrong = || format!("{text:?} is not of the form p99=5ms or max=1s");
        let (name, time) = text.split_once('=').ok_or_else(wrong)?;
        let quantile = match name {
            "max" => 1.0,
            _ => {
                let digits = name.strip_prefix('p').ok_or_else(wrong)?;
                let number: f64 = digits.parse().map_err(|_| wrong())?;
                // p99 and p99.9 are percent, p999 is p99.9 written without a dot.
                let percent = if number >= 100.0 { number / 10.0 } else { number };
                percent / 100.0
            }
        };
        let (number, unit) = match time.find(|c: char| c.is_ascii_alphabetic() || c == 'µ') {
            Some(at) => time.split_at(at),
            None => return Err(wrong()),
        };
        let number: f64 = number.parse().map_err(|_| wrong())?;
        let micros = match unit {
            "us" | "µs" => number,
            "ms" => number * 1e3,
            "s" => number * 1e6,
            _ => return Err(wrong()),
        };
        if !(0.0..=1.0).contains(&quantile) || micros <= 0.0 {
            return Err(wrong());
        }
        Ok(Slo { quantile, bound: Duration::from_micros(micros as u64) })
    }
}

impl fmt::Display for Slo {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "p{} within {:?}", self.quantile * 100.0, self.bound)
    }
}
