//! RFC 6455 frames, as little of it as a generator needs: parse headers in place, write whole frames.
//!
//! Client frames are masked, server frames are not. The server's side is for the programs the
//! generator is tried on.

/// What is at the start of the bytes.
#[derive(Debug, PartialEq, Eq)]
pub enum Head {
    /// The header or payload is not complete; `need` is the whole frame's length once it is known.
    Partial { need: usize },
    /// `header` includes the mask of a client frame.
    Frame { fin: bool, opcode: u8, header: usize, len: usize },
    /// Mask missing or not allowed, reserved bits, or longer than [`PAYLOAD_MAX`].
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

/// Reads the header of a server's frame at the start of `bytes`.
#[inline]
#[must_use]
pub fn head(bytes: &[u8]) -> Head {
    parse::<false>(bytes)
}

/// Reads the header of a client's frame at the start of `bytes`.
#[must_use]
pub fn client_head(bytes: &[u8]) -> Head {
    parse::<true>(bytes)
}

#[inline]
fn parse<const IS_MASKED: bool>(bytes: &[u8]) -> Head {
    let &[first, second, ..] = bytes else { return Head::Partial { need: 2 } };
    if first & 0x70 != 0 {
        return Head::Malformed("reserved bits set");
    }
    if (second & 0x80 != 0) != IS_MASKED {
        return Head::Malformed(if IS_MASKED {
            "unmasked client frame"
        } else {
            "masked server frame"
        });
    }
    let (header, len) = match second & 0x7f {
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
    let header = if IS_MASKED { header + 4 } else { header };
    if bytes.len() < header + len {
        return Head::Partial { need: header + len };
    }
    Head::Frame { fin: first & 0x80 != 0, opcode: first & 15, header, len }
}

/// Appends one frame of a client, masked, with FIN set.
pub fn put(out: &mut Vec<u8>, opcode: u8, mask: u32, payload: &[u8]) {
    put_header(out, opcode, 0x80, payload.len());
    let mask = mask.to_be_bytes();
    out.extend_from_slice(&mask);
    let start = out.len();
    out.extend_from_slice(payload);
    apply_mask(mask, &mut out[start..]);
}

/// Appends one frame of a server, not masked, with FIN set.
pub fn put_unmasked(out: &mut Vec<u8>, opcode: u8, payload: &[u8]) {
    put_header(out, opcode, 0, payload.len());
    out.extend_from_slice(payload);
}

fn put_header(out: &mut Vec<u8>, opcode: u8, mask_bit: u8, len: usize) {
    out.push(0x80 | opcode);
    match len {
        0..126 => out.push(mask_bit | len as u8),
        126..0x1_0000 => {
            out.push(mask_bit | 126);
            out.extend_from_slice(&(len as u16).to_be_bytes());
        }
        _ => {
            out.push(mask_bit | 127);
            out.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
}

/// Masks a payload, or removes the mask: it is its own inverse.
pub fn apply_mask(mask: [u8; 4], payload: &mut [u8]) {
    for (i, byte) in payload.iter_mut().enumerate() {
        *byte ^= mask[i % 4];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_class_is_parsed_and_every_prefix_is_partial() {
        for len in [0, 1, 125, 126, 300, 65_535, 65_536] {
            let mut frame = Vec::new();
            put_unmasked(&mut frame, TEXT, &vec![b'x'; len]);
            let header = frame.len() - len;
            assert_eq!(
                header,
                if len < 126 {
                    2
                } else if len < 65_536 {
                    4
                } else {
                    10
                }
            );
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
        assert!(matches!(client_head(&[0x81, 0x01, 0]), Head::Malformed(_)));
    }

    #[test]
    fn a_client_frame_unmasks_to_its_payload() {
        for len in [0, 3, 125, 126, 70_000] {
            let payload: Vec<u8> = (0..len).map(|i| i as u8).collect();
            let mut out = Vec::new();
            put(&mut out, TEXT, 0x1234_5678, &payload);
            let header = out.len() - len;
            assert_eq!(client_head(&out), Head::Frame { fin: true, opcode: TEXT, header, len });
            assert_eq!(out[header - 4..header], [0x12, 0x34, 0x56, 0x78]);
            let mut plain = out.split_off(header);
            apply_mask([0x12, 0x34, 0x56, 0x78], &mut plain);
            assert_eq!(plain, payload);
        }
    }
}
