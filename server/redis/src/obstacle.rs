//! Why a server cannot be used, from what the system or Redis says of a plain connection to it.

use std::io;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::address::{Address, Host};

/// Bytes of what a server says unasked.
const GREETING_MAX: usize = 256;
/// A server that refuses a connection says so when it accepts it.
const GREETING_WAIT: Duration = Duration::from_millis(300);

/// What prevents a connection.
#[derive(Debug, thiserror::Error)]
pub enum Obstacle {
    /// The system cannot connect, or does not know the name.
    #[error("no connection to {host}: {error}")]
    Unreachable {
        /// The server.
        host: Host,
        /// The words of the system.
        error: io::Error,
    },
    /// `maxclients` is reached.
    #[error("Redis has no connection left at {host}: {words}")]
    NoneLeft {
        /// The server.
        host: Host,
        /// The words of Redis.
        words: String,
    },
    /// Redis serves nobody from here, because of its protected mode for example.
    #[error("Redis refuses the connection to {host}: {words}")]
    Refused {
        /// The server.
        host: Host,
        /// The words of Redis.
        words: String,
    },
}

/// The obstacle at the first address that has one. Waits `wait` for each connection.
pub async fn find(address: &Address, wait: Duration) -> Option<Obstacle> {
    for host in address.hosts() {
        let connecting = TcpStream::connect((host.name.as_str(), host.port));
        let refused = match timeout(wait, connecting).await {
            Ok(Err(error)) => {
                return Some(Obstacle::Unreachable { host: host.clone(), error });
            }
            // Over TLS nothing is said before the handshake.
            Ok(Ok(stream)) if !address.is_tls => greeting(stream).await.and_then(refusal),
            Ok(Ok(_)) | Err(_) => None,
        };
        if let Some(words) = refused {
            let host = host.clone();
            return Some(if words.starts_with("max number of clients") {
                Obstacle::NoneLeft { host, words }
            } else {
                Obstacle::Refused { host, words }
            });
        }
    }
    None
}

/// What the server says unasked. A Redis that serves the connection says nothing.
async fn greeting(mut stream: TcpStream) -> Option<Vec<u8>> {
    let mut bytes = vec![0; GREETING_MAX];
    let count = timeout(GREETING_WAIT, stream.read(&mut bytes)).await.ok()?.ok()?;
    bytes.truncate(count);
    Some(bytes)
}

/// The first sentence of an error without its code: `-CODE Sentence. Others.`
fn refusal(greeting: Vec<u8>) -> Option<String> {
    let text = String::from_utf8(greeting).ok()?;
    let (code, words) = text.lines().next()?.strip_prefix('-')?.split_once(' ')?;
    let is_code = !code.is_empty() && code.bytes().all(|byte| byte.is_ascii_uppercase());
    let sentence = words.split(". ").next()?.trim_end_matches('.');
    (is_code && !sentence.chars().any(char::is_control)).then(|| sentence.to_owned())
}

#[cfg(test)]
mod tests {
    use super::refusal;

    #[test]
    fn a_greeting_is_a_refusal_if_it_is_an_error_of_redis() {
        for (greeting, expected) in [
            ("-ERR max number of clients reached\r\n", Some("max number of clients reached")),
            (
                "-DENIED Redis is running in protected mode. In this mode it is for",
                Some("Redis is running in protected mode"),
            ),
            ("-ERR \u{1b}[2J\r\n", None),
            ("-oops there\r\n", None),
            ("220 mail.example ESMTP\r\n", None),
            ("-", None),
            ("", None),
        ] {
            assert_eq!(refusal(greeting.into()).as_deref(), expected, "{greeting}");
        }
    }
}
