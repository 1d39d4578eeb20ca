use std::mem;

use super::frame::{Context, HEADER_BYTES_MAX, Header, unmask};
use super::{Control, Data, OpCode, is_sendable};
use crate::Fault;

/// Bounds on one inbound message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Payload bytes of one message, all its fragments together.
    pub message_bytes_max: usize,
    /// Frames of one message.
    pub fragments_max: u32,
}

/// One whole message, or one control frame. Text is valid UTF-8; a close code is one that may be sent.
#[derive(Debug, PartialEq, Eq)]
pub enum Message<'m> {
    /// Text, its fragments joined.
    Text(&'m mut str),
    /// Bytes, their fragments joined.
    Binary(&'m mut [u8]),
    /// At most 125 bytes, to be sent back in a pong.
    Ping(&'m [u8]),
    /// At most 125 bytes.
    Pong(&'m [u8]),
    /// Code and reason, if the close frame has a body.
    Close(Option<(u16, &'m str)>),
}

impl Message<'_> {
    /// Payload bytes.
    pub fn len(&self) -> usize {
        match self {
            Message::Text(text) => text.len(),
            Message::Binary(bytes) => bytes.len(),
            Message::Ping(payload) | Message::Pong(payload) => payload.len(),
            Message::Close(reason) => reason.map_or(0, |(_, reason)| 2 + reason.len()),
        }
    }

    /// Whether it has no payload.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Turns the byte stream of one client into messages.
///
/// Between messages it is one null pointer: an idle connection keeps no buffer.
#[derive(Debug, Default)]
pub struct Decoder {
    partial: Option<Box<Partial>>,
}

/// What has arrived of frames and messages that are not whole.
#[derive(Debug, Default)]
struct Partial {
    /// The start of a frame whose header is not whole.
    header: [u8; HEADER_BYTES_MAX],
    header_len: usize,
    /// The frame whose payload is arriving, and how much of it is here.
    frame: Option<(Header, usize)>,
    /// The fragmented, or not yet whole, data message.
    message: Option<Assembly>,
    /// Payload of a control frame that arrived in pieces; it may come inside a fragmented message.
    control: Vec<u8>,
    /// Borrowed by the caller since the last call; freed by the next one.
    lent: Option<Lent>,
}

#[derive(Debug)]
struct Assembly {
    is_text: bool,
    /// Frames begun so far.
    fragments: u32,
    bytes: Vec<u8>,
    /// A prefix of `bytes` known to be UTF-8. At most three bytes behind, so that bad text fails
    /// when it arrives, not when the message ends.
    utf8_len: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lent {
    Control(Control),
    Message,
}

/// Where the next message was found.
enum Found<'i> {
    Input(OpCode, &'i mut [u8]),
    Kept(Lent),
}

impl Decoder {
    /// Takes bytes off `input` until one message is whole. `None` = `input` is empty, more is needed.
    ///
    /// A message that lies in `input` as one whole frame is unmasked in place and borrowed from it;
    /// anything else is gathered inside. Control frames between fragments come out at once.
    ///
    /// # Errors
    /// [`Fault`] names the broken rule. The stream is then beyond repair: close with
    /// [`Fault::close_code`] and feed no more.
    pub fn next<'s, 'i: 's>(
        &'s mut self,
        input: &mut &'i mut [u8],
        limits: &Limits,
    ) -> Result<Option<Message<'s>>, Fault> {
        self.take_back();
        let found = match self.find(input, limits)? {
            None => return Ok(None),
            Some(found) => found,
        };
        let message = match found {
            Found::Input(OpCode::Control(kind), payload) => control(kind, payload)?,
            Found::Input(OpCode::Data(kind), payload) => data(kind == Data::Text, payload)?,
            Found::Kept(lent) => {
                let partial = self.partial.as_mut().expect("what is lent is kept");
                match lent {
                    Lent::Control(kind) => control(kind, &partial.control)?,
                    Lent::Message => {
                        let message = partial.message.as_mut().expect("a lent message is kept");
                        data(message.is_text, &mut message.bytes)?
                    }
                }
            }
        };
        Ok(Some(message))
    }

    /// Bytes that are kept of frames and messages that are not whole.
    pub fn buffered(&self) -> usize {
        let Some(partial) = &self.partial else { return 0 };
        let message = match (partial.lent, &partial.message) {
            (Some(Lent::Message), _) | (_, None) => 0,
            (_, Some(message)) => message.bytes.capacity(),
        };
        // A fragment without payload is a beginning too.
        let is_begun = usize::from(!self.is_idle());
        partial.header_len + partial.control.capacity() + message + is_begun
    }

    /// Frames so far of the message that is not whole.
    pub fn fragments(&self) -> u32 {
        match self.partial.as_deref() {
            Some(Partial { message: Some(message), lent: None, .. }) => message.fragments,
            _ => 0,
        }
    }

    /// Nothing is buffered: no frame has begun, no message is unfinished.
    pub fn is_idle(&self) -> bool {
        self.partial.as_ref().is_none_or(|p| p.lent == Some(Lent::Message) || p.is_empty())
    }

    fn find<'i>(
        &mut self,
        input: &mut &'i mut [u8],
        limits: &Limits,
    ) -> Result<Option<Found<'i>>, Fault> {
        while !input.is_empty() {
            if self.partial.as_ref().is_none_or(|p| p.header_len == 0 && p.frame.is_none()) {
                let context = self.context(limits);
                if let Some(header) = Header::parse(input, &context)?
                    && header.payload <= input.len() - header.size
                {
                    let (frame, rest) = mem::take(input).split_at_mut(header.size + header.payload);
                    *input = rest;
                    let payload = &mut frame[header.size..];
                    unmask(payload, header.mask, 0);
                    let is_whole_message =
                        header.is_final && header.opcode != OpCode::Data(Data::Continue);
                    if is_whole_message {
                        return Ok(Some(Found::Input(header.opcode, payload)));
                    }
                    let partial = self.partial.get_or_insert_default();
                    partial.begin(&header);
                    partial.gather(payload, payload.len())?;
                    if let Some(lent) = partial.end(&header) {
                        return Ok(Some(Found::Kept(lent)));
                    }
                    continue;
                }
            }
            if let Some(lent) = self.creep(input, limits)? {
                return Ok(Some(Found::Kept(lent)));
            }
        }
        Ok(None)
    }

    /// The slow path: a frame that arrives in pieces.
    fn creep(&mut self, input: &mut &mut [u8], limits: &Limits) -> Result<Option<Lent>, Fault> {
        let context = self.context(limits);
        let partial = self.partial.get_or_insert_default();
        let (header, received) = match partial.frame {
            Some(frame) => frame,
            None => {
                let header = loop {
                    let Some((&byte, _)) = input.split_first() else { return Ok(None) };
                    *input = &mut mem::take(input)[1..];
                    partial.header[partial.header_len] = byte;
                    partial.header_len += 1;
                    let so_far = &partial.header[..partial.header_len];
                    if let Some(header) = Header::parse(so_far, &context)? {
                        break header;
                    }
                };
                partial.header_len = 0;
                partial.begin(&header);
                (header, 0)
            }
        };
        let missing = header.payload - received;
        let here = missing.min(input.len());
        let (payload, rest) = mem::take(input).split_at_mut(here);
        *input = rest;
        unmask(payload, header.mask, received);
        let received = received + payload.len();
        partial.frame = Some((header, received));
        if matches!(header.opcode, OpCode::Control(_)) {
            partial.control.extend_from_slice(payload);
        } else {
            partial.gather(payload, missing)?;
        }
        if received < header.payload {
            return Ok(None);
        }
        partial.frame = None;
        Ok(partial.end(&header))
    }

    fn context(&self, limits: &Limits) -> Context {
        let message = self.partial.as_ref().and_then(|p| p.message.as_ref());
        Context {
            in_progress: message.map(|m| (m.bytes.len(), m.fragments)),
            message_bytes_max: limits.message_bytes_max,
            fragments_max: limits.fragments_max,
        }
    }

    /// Frees what the last call lent out.
    fn take_back(&mut self) {
        let Some(partial) = &mut self.partial else { return };
        match partial.lent.take() {
            Some(Lent::Control(_)) => partial.control = Vec::new(),
            Some(Lent::Message) => partial.message = None,
            None => {}
        }
        if partial.is_empty() {
            self.partial = None;
        }
    }
}

impl Partial {
    fn is_empty(&self) -> bool {
        self.header_len == 0 && self.frame.is_none() && self.message.is_none()
    }

    /// A data frame opens or continues the message.
    fn begin(&mut self, header: &Header) {
        let OpCode::Data(kind) = header.opcode else { return };
        let message = self.message.get_or_insert_with(|| Assembly {
            is_text: kind == Data::Text,
            fragments: 0,
            bytes: Vec::new(),
            utf8_len: 0,
        });
        message.fragments += 1;
    }

    /// Adds unmasked `payload` to the message; the frame has `missing` bytes left, these included.
    fn gather(&mut self, payload: &[u8], missing: usize) -> Result<(), Fault> {
        let message = self.message.as_mut().expect("a data frame has begun");
        let bytes = &mut message.bytes;
        if bytes.capacity() - bytes.len() < payload.len() {
            // Double, but never beyond the frame, and never on the word of a header alone.
            bytes.reserve_exact(missing.min(payload.len().max(bytes.len())));
        }
        bytes.extend_from_slice(payload);
        if message.is_text {
            match std::str::from_utf8(&bytes[message.utf8_len..]) {
                Ok(_) => message.utf8_len = bytes.len(),
                Err(e) if e.error_len().is_some() => return Err(Fault::TextNotUtf8),
                Err(e) => message.utf8_len += e.valid_up_to(),
            }
        }
        Ok(())
    }

    /// The frame is whole. Lends out what it completes.
    fn end(&mut self, header: &Header) -> Option<Lent> {
        self.lent = match header.opcode {
            OpCode::Control(kind) => Some(Lent::Control(kind)),
            OpCode::Data(_) if !header.is_final => None,
            OpCode::Data(_) => Some(Lent::Message),
        };
        self.lent
    }
}

fn data(is_text: bool, payload: &mut [u8]) -> Result<Message<'_>, Fault> {
    if is_text {
        // Other checks take milliseconds for the longest messages.
        let text = simdutf8::basic::from_utf8_mut(payload);
        text.map(Message::Text).map_err(|_| Fault::TextNotUtf8)
    } else {
        Ok(Message::Binary(payload))
    }
}

fn control(kind: Control, payload: &[u8]) -> Result<Message<'_>, Fault> {
    match kind {
        Control::Ping => Ok(Message::Ping(payload)),
        Control::Pong => Ok(Message::Pong(payload)),
        Control::Close => close(payload),
        Control::Reserved(_) => Err(Fault::ReservedOpcode),
    }
}

fn close(payload: &[u8]) -> Result<Message<'_>, Fault> {
    let (code, reason) = match payload {
        [] => return Ok(Message::Close(None)),
        [_] => return Err(Fault::CloseTruncated),
        [high, low, reason @ ..] => (u16::from_be_bytes([*high, *low]), reason),
    };
    if !is_sendable(code) {
        return Err(Fault::CloseCodeInvalid);
    }
    let reason = std::str::from_utf8(reason).map_err(|_| Fault::CloseReasonNotUtf8)?;
    Ok(Message::Close(Some((code, reason))))
}
