//! What the program prints besides its log. A full disk, a reader that went away or one that has stopped reading
//! neither ends it nor holds it up.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write, stderr, stdout};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// How long a line may take that somebody should read before the process ends.
const WAIT: Duration = Duration::from_secs(1);

/// Prints a line of the program about itself on standard error.
pub fn complain(text: impl Display) {
    let line = format!("throng: {text}\n");
    let (done, written) = mpsc::channel();
    thread::spawn(move || {
        let _ = stderr().write_all(line.as_bytes());
        let _ = done.send(());
    });
    let _ = written.recv_timeout(WAIT);
}

/// Prints a line on standard output that nobody has to read.
pub fn announce(text: impl Display) {
    let line = format!("{text}\n");
    thread::spawn(move || {
        let _ = stdout().write_all(line.as_bytes());
        let _ = stdout().flush();
    });
}

/// Prints the result of a command on standard output.
///
/// # Errors
/// It is not there as a whole. A reader that went away wants no more of it.
pub fn print(text: &str) -> io::Result<()> {
    let mut out = stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error),
        _ => Ok(()),
    }
}
