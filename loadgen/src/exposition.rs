//! `/metrics` while a run is on: Prometheus text, renewed once a second.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;

use crate::samples::{METRICS, Samples};
use crate::shared::{Shared, Stage};

/// Longest request.
const REQUEST_BYTES_MAX: usize = 8 << 10;
const TIMEOUT: Duration = Duration::from_secs(2);

pub struct Exposition {
    pub address: SocketAddr,
    text: Mutex<String>,
}

impl Exposition {
    /// Answers `GET /metrics` at `address` for as long as the process lives.
    ///
    /// # Errors
    /// Nothing can listen there.
    pub fn listen(address: SocketAddr) -> anyhow::Result<Arc<Self>> {
        let listener =
            TcpListener::bind(address).with_context(|| format!("listen on {address}"))?;
        let address = listener.local_addr()?;
        let exposition = Arc::new(Self { address, text: Mutex::default() });
        let answering = Arc::clone(&exposition);
        std::thread::Builder::new().name("metrics".into()).spawn(move || {
            for stream in listener.incoming().flatten() {
                // A reader that is gone needs no answer.
                let _ = answering.answer(stream);
            }
        })?;
        Ok(exposition)
    }

    /// From now on this is the answer.
    pub fn set(&self, text: String) {
        *self.text.lock().unwrap_or_else(PoisonError::into_inner) = text;
    }

    fn answer(&self, mut stream: TcpStream) -> std::io::Result<()> {
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        let mut head = Vec::new();
        let mut buffer = [0; 1024];
        while !head.windows(4).any(|end| end == b"\r\n\r\n") && head.len() < REQUEST_BYTES_MAX {
            match stream.read(&mut buffer)? {
                0 => return Ok(()),
                read => head.extend_from_slice(&buffer[..read]),
            }
        }
        let is_metrics = head.starts_with(b"GET /metrics ") || head.starts_with(b"GET /metrics?");
        let (status, body) = if is_metrics {
            ("200 OK", self.text.lock().unwrap_or_else(PoisonError::into_inner).clone())
        } else {
            ("404 Not Found", "only GET /metrics\n".to_owned())
        };
        write!(
            stream,
            "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        )
    }
}

/// What a run counts so far, and the latencies of its measured time.
#[must_use]
pub fn text(shared: &Shared, samples: &Samples) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = write_metrics(shared, samples, &mut text);
    text
}

fn write_metrics(shared: &Shared, samples: &Samples, text: &mut String) -> std::fmt::Result {
    let stage = shared.stage();
    writeln!(text, "# TYPE throng_loadgen_stage gauge")?;
    for (one, name) in [
        (Stage::Connecting, "connecting"),
        (Stage::Settling, "settling"),
        (Stage::Running, "running"),
        (Stage::Draining, "draining"),
        (Stage::Done, "done"),
    ] {
        writeln!(text, "throng_loadgen_stage{{stage=\"{name}\"}} {}", u8::from(stage == one))?;
    }
    let joined = shared.sum(|gauges| &gauges.joined);
    writeln!(text, "# TYPE throng_loadgen_clients_joined gauge")?;
    writeln!(text, "throng_loadgen_clients_joined {joined}")?;
    let counters = [
        ("published", shared.sum(|gauges| &gauges.published)),
        ("delivered", shared.sum(|gauges| &gauges.delivered)),
        ("duplicated", shared.sum(|gauges| &gauges.duplicated)),
        ("errors", shared.sum(|gauges| &gauges.errors)),
    ];
    for (name, count) in counters {
        writeln!(text, "# TYPE throng_loadgen_{name}_total counter")?;
        writeln!(text, "throng_loadgen_{name}_total {count}")?;
    }
    writeln!(text, "# TYPE throng_loadgen_latency_seconds summary")?;
    for (metric, name) in METRICS {
        let histogram = samples.of(metric);
        if histogram.is_empty() {
            continue;
        }
        for quantile in [0.5, 0.9, 0.99, 0.999] {
            let seconds = histogram.value_at_quantile(quantile) as f64 / 1e6;
            writeln!(
                text,
                "throng_loadgen_latency_seconds{{metric=\"{name}\",quantile=\"{quantile}\"}} {seconds}"
            )?;
        }
        let sum = histogram.mean() * histogram.len() as f64 / 1e6;
        writeln!(text, "throng_loadgen_latency_seconds_sum{{metric=\"{name}\"}} {sum}")?;
        writeln!(
            text,
            "throng_loadgen_latency_seconds_count{{metric=\"{name}\"}} {}",
            histogram.len()
        )?;
    }
    Ok(())
}
