//! A script: what happens to one shard, a line for each thing. Any bytes are a script, so that a fuzzer
//! may write it; README.md has the list of lines.

/// Lines of one script that are looked at.
const LINES_MAX: usize = 200;
/// Longest time that one line lets pass.
const TIME_MS_MAX: u64 = 60_000;
/// Clients at a time.
pub const CLIENTS: usize = 8;
/// Stands for what makes a message long.
const FILLER: char = '~';
/// What a digit of filler is counted in.
const FILLER_BYTES: usize = 64;
/// Digits of a token are those of its user.
const TOKEN: char = '$';
const USERS: u32 = 9;

/// What happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A client begins.
    Open { client: usize, kind: Kind, user: Option<u32> },
    /// It opens a WebSocket to take over from the polling of another.
    Probe { client: usize, polling: usize },
    /// It sends one frame so many times, cut into pieces of so many bytes if that is not 0.
    Frame { client: usize, first: u8, payload: Vec<u8>, times: usize, piece: usize },
    /// It sends a part of a frame.
    Half { client: usize, payload: Vec<u8> },
    /// It sends bytes that need not be frames.
    Raw { client: usize, bytes: Vec<u8> },
    /// It polls.
    Poll { client: usize },
    /// It reads so many bytes more and then no more; `None`: everything again.
    Read { client: usize, bytes: Option<usize> },
    /// It ends: in order, or not.
    Close { client: usize, is_failed: bool },
    /// Time passes.
    Wait { ms: u64 },
    /// The store works, fails or does not answer.
    Store(StoreState),
    /// The user logs out.
    Revoke { user: u32 },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Websocket4,
    Websocket3,
    Polling4,
    Polling3,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreState {
    Up,
    Down,
    Paused,
}

/// The steps of a script; lines that say nothing are left out.
pub fn steps(script: &[u8]) -> Vec<Step> {
    script.split(|byte| *byte == b'\n').take(LINES_MAX).filter_map(step).collect()
}

fn step(line: &[u8]) -> Option<Step> {
    let (what, rest) = line.split_first()?;
    match what {
        b't' => {
            let ms = std::str::from_utf8(rest).ok()?.trim().parse::<u64>().ok()?;
            return Some(Step::Wait { ms: ms.min(TIME_MS_MAX) });
        }
        b'd' => {
            return Some(Step::Store(match rest.first()? {
                b'0' => StoreState::Up,
                b'1' => StoreState::Down,
                _ => StoreState::Paused,
            }));
        }
        b'v' => return Some(Step::Revoke { user: user(*rest.first()?)? }),
        _ => {}
    }
    let (name, rest) = rest.split_first()?;
    let client = usize::from(name.checked_sub(b'0')?) % CLIENTS;
    let frame = |first: u8, payload: &[u8]| Step::Frame {
        client,
        first,
        payload: payload.to_vec(),
        times: 1,
        piece: 0,
    };
    let count = || rest.first().map_or(0, |byte| usize::from(byte.saturating_sub(b'0')) % 10);
    let behind = rest.get(1..).unwrap_or_default();
    Some(match what {
        b'o' => {
            let kind = match rest.first()? {
                b'3' => Kind::Websocket3,
                b'p' => Kind::Polling4,
                b'q' => Kind::Polling3,
                _ => Kind::Websocket4,
            };
            Step::Open { client, kind, user: rest.get(1).and_then(|byte| user(*byte)) }
        }
        b'u' => Step::Probe { client, polling: count() % CLIENTS },
        b'm' => frame(0x81, &text(rest, 0)),
        b'l' => frame(0x81, &text(behind, FILLER_BYTES << count())),
        b'x' => Step::Frame {
            client,
            first: 0x81,
            payload: text(behind, 0),
            times: 1 << count(),
            piece: 0,
        },
        b'c' => Step::Frame {
            client,
            first: 0x81,
            payload: text(behind, 0),
            times: 1,
            piece: 1 + count(),
        },
        b'b' => frame(0x82, rest),
        b'p' => Step::Frame {
            client,
            first: 0x89,
            payload: behind.iter().copied().take(125).collect(),
            times: 1 << count(),
            piece: 0,
        },
        b'i' => frame(0x01, &text(rest, FILLER_BYTES << 6)),
        b'j' => frame(0x80, &text(rest, FILLER_BYTES << 6)),
        b'h' => Step::Half { client, payload: text(behind, FILLER_BYTES << count()) },
        b'r' => Step::Raw { client, bytes: rest.to_vec() },
        b'g' => Step::Poll { client },
        b'n' => Step::Read { client, bytes: Some(0) },
        b'k' => Step::Read { client, bytes: Some(FILLER_BYTES << count()) },
        b'y' => Step::Read { client, bytes: None },
        b'e' => Step::Close { client, is_failed: false },
        b'z' => Step::Close { client, is_failed: true },
        _ => return None,
    })
}

fn user(digit: u8) -> Option<u32> {
    let user = u32::from(digit.checked_sub(b'0')?);
    (1..=USERS).contains(&user).then_some(user)
}

/// The bytes as text, with tokens and filler in place of what stands for them.
fn text(bytes: &[u8], filler: usize) -> Vec<u8> {
    let text = String::from_utf8_lossy(bytes);
    let mut out = String::with_capacity(text.len() + filler);
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        match char {
            FILLER => out.extend(std::iter::repeat_n('x', filler)),
            TOKEN => {
                let user = chars.next().and_then(|digit| user(u8::try_from(digit).ok()?));
                out.push_str(&throng_world::chat::token(user.unwrap_or(0)));
            }
            char => out.push(char),
        }
        // A second filler would make it as long again.
        if out.len() > filler + 2 * bytes.len() + 1024 {
            break;
        }
    }
    out.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_a_step_or_nothing() {
        let script = b"o04\nm040{\"token\":\"$3\"}\n\nx03 2\nt70000\n?\nd2\nv3\no9p1\xff";
        let token = throng_world::chat::token(3);
        let connect = format!(r#"40{{"token":"{token}"}}"#).into_bytes();
        let frame = |payload: Vec<u8>, times| Step::Frame {
            client: 0,
            first: 0x81,
            payload,
            times,
            piece: 0,
        };
        let want = [
            Step::Open { client: 0, kind: Kind::Websocket4, user: None },
            frame(connect, 1),
            frame(b" 2".to_vec(), 8),
            Step::Wait { ms: TIME_MS_MAX },
            Step::Store(StoreState::Paused),
            Step::Revoke { user: 3 },
            Step::Open { client: 1, kind: Kind::Polling4, user: Some(1) },
        ];
        assert_eq!(steps(script), want);
    }
}
