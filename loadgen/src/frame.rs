//! The client half of RFC 6455, as little of it as a generator needs: walk over unmasked server
//! frames where they lie, write masked client frames.

/// What stands at the head of `bytes`.
#[derive(Debug, PartialEq, Eq)]
pub enum Head {
    /// The header or payload is not complete; `need` is the whole frame's length once it is known.
    Partial {
        need: usize,
    },
    Frame {
        fin: bool,
        opcode: u8,
        header: usize,
        len: usize,
    },
    /// Masked, reserved bits, or longer than [`PAYLOAD_MAX`]: not a server we understand.
    Malformed(&'static str),
}

pub const CONTINUATION: u8 = 0;
pub const TEXT: u8 = 1;
pub const BINARY: u8 = 2;
pub const CLOSE: u8 = 8;
pub const PING: u8 = 9;
pub const PONG: u8 = 10;

/// Rosters of very large rooms are the largest frames met.
pub const PAYLOAD_MAX: usize = 64 << 20;

/// Reads the frame header at the start of `bytes`.
#[inline]
#[must_use]
pub fn head(bytes: &[u8]) -> Head {
    let &[first, second, ..] = bytes else { return Head::Partial { need: 2 } };
    if first & 0x70 != 0 {
        return Head::Malformed("reserved bits set");
    }
    if second & 0x80 != 0 {
        return Head::Malformed("masked server frame");
    }
    let (header, len) = match second {
        126 => match bytes.get(2..4) {
            Some(len) => (4, usize::from(u16::from_be_bytes([len[0], len[1]]))),
            None => return Head::Partial { need: 4 },
        },
        127 => match bytes.get(2..10).and_then(|len| <[u8; 8]>::try_from(len).ok()) {
            Some(len) => (10, usize::try_from(u64::from_be_bytes(len)).unwrap_or(usize::MAX)),
            None => return Head::Partial { need: 10 },
        },
        len => (2, usize::from(len)),
    };
    if len > PAYLOAD_MAX {
        return Head::Malformed("frame too long");
    }
    if bytes.len() < header + len {
        return Head::Partial { need: header + len };
    }
    Head::Frame { fin: first & 0x80 != 0, opcode: first & 15, header, len }
}

/// Appends one masked frame with FIN set.
pub fn put(out: &mut Vec<u8>, opcode: u8, mask: u32, payload: &[u8]) {
    out.push(0x80 | opcode);
    match payload.len() {
        len @ 0..126 => out.push(0x80 | len as u8),
        len @ 126..0x1_0000 => {
            out.push(0x80 | 126);
            out.extend_from_slice(&(len as u16).to_be_bytes());
        }
        len => {
            out.push(0x80 | 127);
            out.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    let mask = mask.to_be_bytes();
    out.extend_from_slice(&mask);
    let start = out.len();
    out.extend_from_slice(payload);
    for (i, byte) in out[start..].iter_mut().enumerate() {
        *byte ^= mask[i % 4];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server_frame(len: usize) -> Vec<u8> {
        let mut frame = vec![0x81];
        match len {
            0..126 => frame.push(len as u8),
            126..0x1_0000 => {
                frame.push(126);
                frame.extend_from_slice(&(len as u16).to_be_bytes());
            }
            _ => {
                frame.push(127);
                frame.extend_from_slice(&(len as u64).to_be_bytes());
            }
        }
        frame.resize(frame.len() + len, b'x');
        frame
    }

    #[test]
    fn every_length_class_is_walked_and_every_prefix_is_partial() {
        for len in [0, 1, 125, 126, 300, 65_535, 65_536] {
            let frame = server_frame(len);
            let header = frame.len() - len;
            assert_eq!(head(&frame), Head::Frame { fin: true, opcode: TEXT, header, len });
            for cut in 0..frame.len().min(200) {
                assert!(matches!(head(&frame[..cut]), Head::Partial { need } if need > cut));
            }
        }
    }

    #[test]
    fn a_masked_server_frame_is_malformed() {
        assert!(matches!(head(&[0x81, 0x81, 0, 0, 0, 0, 0]), Head::Malformed(_)));
        assert!(matches!(head(&[0xc1, 0x01, 0]), Head::Malformed(_)));
    }

    #[test]
    fn a_client_frame_unmasks_to_its_payload() {
        for len in [0, 3, 125, 126, 70_000] {
            let payload: Vec<u8> = (0..len).map(|i| i as u8).collect();
            let mut out = Vec::new();
            put(&mut out, TEXT, 0x1234_5678, &payload);
            let header = out.len() - len - 4;
            let mask = [out[header], out[header + 1], out[header + 2], out[header + 3]];
            let plain: Vec<u8> =
                out[header + 4..].iter().enumerate().map(|(i, b)| b ^ mask[i % 4]).collect();
            assert_eq!(plain, payload);
            assert_eq!(out[1] & 0x80, 0x80);
        }
    }
}
