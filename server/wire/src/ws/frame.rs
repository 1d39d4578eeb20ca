use super::{Control, Data, OpCode};
use crate::Fault;

/// The longest client frame header: 2 + 8 length bytes + 4 mask bytes.
pub(super) const HEADER_BYTES_MAX: usize = 14;

/// The header of a client frame that breaks no rule.
#[derive(Debug, Clone, Copy)]
pub(super) struct Header {
    pub opcode: OpCode,
    pub is_final: bool,
    pub mask: [u8; 4],
    /// Bytes of the header itself.
    pub size: usize,
    /// Bytes of the payload that follows.
    pub payload: usize,
}

/// What came before the frame, and what it may add.
#[derive(Debug, Clone, Copy)]
pub(super) struct Context {
    /// Payload bytes and fragments so far of the message in progress, if there is one.
    pub in_progress: Option<(usize, u32)>,
    pub message_bytes_max: usize,
    pub fragments_max: u32,
}

impl Header {
    /// Reads the header at the start of `bytes`; `None` = more bytes needed. Each rule is checked as
    /// soon as the byte that breaks it is there, so that a bad peer is not waited for.
    ///
    /// tungstenite's `FrameHeader::parse` is not used here: it judges a frame only once its header is
    /// whole, and reads it through a `Cursor`.
    pub fn parse(bytes: &[u8], context: &Context) -> Result<Option<Header>, Fault> {
        let Some(&first) = bytes.first() else { return Ok(None) };
        if first & 0x70 != 0 {
            return Err(Fault::ReservedBits);
        }
        let opcode = OpCode::from(first & 0x0F);
        let is_final = first & 0x80 != 0;
        match (opcode, context.in_progress) {
            (OpCode::Data(Data::Reserved(_)) | OpCode::Control(Control::Reserved(_)), _) => {
                return Err(Fault::ReservedOpcode);
            }
            (OpCode::Control(_), _) if !is_final => return Err(Fault::ControlFragmented),
            (OpCode::Data(Data::Continue), None) => return Err(Fault::UnexpectedContinuation),
            (OpCode::Data(Data::Text | Data::Binary), Some(_)) => {
                return Err(Fault::InterleavedMessage);
            }
            _ => {}
        }
        let is_data = matches!(opcode, OpCode::Data(_));
        let (buffered, fragments) = context.in_progress.unwrap_or((0, 0));
        if is_data && fragments >= context.fragments_max {
            return Err(Fault::TooManyFragments);
        }

        let Some(&second) = bytes.get(1) else { return Ok(None) };
        if second & 0x80 == 0 {
            return Err(Fault::Unmasked);
        }
        let short = second & 0x7F;
        if !is_data && short > 125 {
            return Err(Fault::ControlTooLong);
        }
        let (length, mask_at) = match short {
            126 => match bytes.get(2..4).and_then(|b| b.try_into().ok()) {
                Some(length) => (u64::from(u16::from_be_bytes(length)), 4),
                None => return Ok(None),
            },
            127 => match bytes.get(2..10).and_then(|b| b.try_into().ok()) {
                Some(length) => (u64::from_be_bytes(length), 10),
                None => return Ok(None),
            },
            _ => (u64::from(short), 2),
        };
        if length >> 63 != 0 {
            return Err(Fault::LengthOverflow);
        }
        let free = context.message_bytes_max.max(buffered) - buffered;
        let payload = match usize::try_from(length) {
            Ok(payload) if !is_data || payload <= free => payload,
            _ => return Err(Fault::MessageTooLarge),
        };
        let Some(mask) = bytes.get(mask_at..mask_at + 4).and_then(|b| b.try_into().ok()) else {
            return Ok(None);
        };
        Ok(Some(Header { opcode, is_final, mask, size: mask_at + 4, payload }))
    }
}

/// Takes the mask off `payload`, whose first byte is byte number `offset` of its frame's payload.
pub(super) fn unmask(payload: &mut [u8], mask: [u8; 4], offset: usize) {
    let mut mask = mask;
    mask.rotate_left(offset % 4);
    let [a, b, c, d] = mask;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, rest) = payload.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
}
