//! What the machine adds to a latency: an echo between two threads, at the same time as what is
//! measured and without the target.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

const INTERVAL: Duration = Duration::from_millis(10);

/// Times from the moment when each byte was due until its echo was here, for this long.
pub fn echo_times(time: Duration) -> io::Result<Vec<Duration>> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut stream = TcpStream::connect(listener.local_addr()?)?;
    stream.set_nodelay(true)?;
    let (mut peer, _) = listener.accept()?;
    peer.set_nodelay(true)?;
    let echo = thread::spawn(move || {
        let mut byte = [0; 1];
        while peer.read_exact(&mut byte).is_ok() && peer.write_all(&byte).is_ok() {}
    });
    let start = Instant::now();
    let mut times = Vec::new();
    let mut due = start;
    let mut byte = [0; 1];
    while due < start + time {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        stream.write_all(&byte)?;
        stream.read_exact(&mut byte)?;
        times.push(due.elapsed());
        due += INTERVAL;
    }
    drop(stream);
    let _ = echo.join();
    Ok(times)
}
