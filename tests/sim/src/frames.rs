//! WebSocket frames as a client writes and reads them (RFC 6455), with a fixed mask so that two
//! runs of one seed send the same bytes.

const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    Text(String),
    Binary(Vec<u8>),
    Close(u16),
    Pong,
}

pub fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        len @ 0..126 => frame.push(0x80 | len as u8),
        len @ 126..0x1_0000 => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&(len as u16).to_be_bytes());
        }
        len => {
            frame.push(0x80 | 127);
            frame.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(&MASK);
    frame.extend(payload.iter().enumerate().map(|(index, byte)| byte ^ MASK[index % 4]));
    frame
}

pub fn text(payload: &str) -> Vec<u8> {
    masked(0x81, payload.as_bytes())
}

/// Takes one whole frame off the front of `bytes`; `Ok(None)` if it is not complete.
pub fn take(bytes: &mut Vec<u8>) -> Result<Option<Frame>, String> {
    let [first, second, rest @ ..] = &bytes[..] else { return Ok(None) };
    let (header, len) = match *second {
        126 => match rest {
            [a, b, ..] => (4, usize::from(u16::from_be_bytes([*a, *b]))),
            _ => return Ok(None),
        },
        127 => match rest {
            [0, 0, 0, 0, a, b, c, d, ..] => (10, u32::from_be_bytes([*a, *b, *c, *d]) as usize),
            [_, _, _, _, _, _, _, _, ..] => return Err("a frame beyond any size".into()),
            _ => return Ok(None),
        },
        len @ 0..126 => (2, usize::from(len)),
        _ => return Err("a masked frame of the server".into()),
    };
    if bytes.len() < header + len {
        return Ok(None);
    }
    let payload = &bytes[header..header + len];
    let frame = match first {
        0x81 => match std::str::from_utf8(payload) {
            Ok(text) => Frame::Text(text.to_owned()),
            Err(_) => return Err("a text frame that is not UTF-8".into()),
        },
        0x82 => Frame::Binary(payload.to_vec()),
        0x88 => match payload {
            [] => Frame::Close(1005),
            [a, b, ..] => Frame::Close(u16::from_be_bytes([*a, *b])),
            [_] => return Err("a close frame of one byte".into()),
        },
        0x8a => Frame::Pong,
        other => return Err(format!("an unexpected frame {other:#x}")),
    };
    bytes.drain(..header + len);
    Ok(Some(frame))
}

/// Takes the head of an HTTP answer off the front of `bytes`; `Ok(None)` if it is not whole yet.
pub fn take_head(bytes: &mut Vec<u8>) -> Option<u16> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let status = std::str::from_utf8(bytes.get(9..12)?).ok()?.parse().ok()?;
    bytes.drain(..end);
    Some(status)
}
