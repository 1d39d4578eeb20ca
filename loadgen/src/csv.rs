//! The samples as CSV: for each second and thread how often each metric had which value. Values are
//! those of the histograms, three digits of microseconds.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use anyhow::Context as _;

use crate::samples::{METRICS, Metric, Sparse};

pub const HEAD: &str = "repetition,second,phase,metric,us,count";

/// The file, written while the run is on.
pub struct Csv {
    written: Mutex<Written>,
}

struct Written {
    file: BufWriter<File>,
    repetition: u32,
    /// The first write that failed.
    failure: Option<std::io::Error>,
}

impl Csv {
    /// # Errors
    /// The file cannot be written.
    pub fn create(path: &Path) -> anyhow::Result<Self> {
        let file =
            File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
        let mut file = BufWriter::new(file);
        writeln!(file, "{HEAD}").with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self { written: Mutex::new(Written { file, repetition: 0, failure: None }) })
    }

    /// What follows is of the next repetition.
    pub fn begin(&self) {
        self.written.lock().unwrap_or_else(PoisonError::into_inner).repetition += 1;
    }

    /// The samples of one second and thread.
    pub fn add(&self, second: u64, phase: &str, samples: &[(Metric, Sparse)]) {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let Written { file, repetition, failure } = &mut *written;
        if failure.is_some() {
            return;
        }
        let phase = quoted(phase);
        for (metric, buckets) in samples {
            let name = METRICS[*metric as usize].1;
            for (us, count) in buckets {
                if let Err(error) =
                    writeln!(file, "{repetition},{second},{phase},{name},{us},{count}")
                {
                    *failure = Some(error);
                    return;
                }
            }
        }
    }

    /// Writes what is still in memory.
    ///
    /// # Errors
    /// This or an earlier write failed.
    pub fn finish(&self) -> anyhow::Result<()> {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        match written.failure.take() {
            Some(failure) => Err(failure).context("write the CSV file"),
            None => written.file.flush().context("write the CSV file"),
        }
    }
}

/// A field as RFC 4180 has it.
fn quoted(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_value_is_a_row_and_names_are_quoted_where_they_must_be() {
        let path = std::env::temp_dir().join(format!("samples-{}.csv", std::process::id()));
        let csv = Csv::create(&path).unwrap();
        csv.begin();
        csv.add(3, "a, \"b\"", &[(Metric::Delivery, vec![(120, 7), (900, 1)])]);
        csv.finish().unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let rows = "1,3,\"a, \"\"b\"\"\",delivery,120,7\n1,3,\"a, \"\"b\"\"\",delivery,900,1\n";
        assert_eq!(text, format!("{HEAD}\n{rows}"));
    }
}
